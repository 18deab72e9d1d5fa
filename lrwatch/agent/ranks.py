"""Which worker of how many this process is, from what its launcher left in the environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Identity:
    """A worker's place in its job.

    Attributes:
        rank: 0 for a process on its own. world: number of workers, None where nobody says.
        local_rank: its place on the node, ``rank`` where nobody says.
        launcher: who said so. job: the launcher's own name for the job, the same on every worker; None without one.
    """

    rank: int = 0
    world: int | None = 1
    local_rank: int = 0
    launcher: str = "none"
    job: str | None = None


_VARIABLES: tuple[tuple[str, str, str, str, str | None], ...] = (
    # launcher, rank, world, local rank, job
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"),
    ("openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "PMIX_NAMESPACE"),
    ("horovod", "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", None),
    ("mpi", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", None),
    # The task variables of srun: in a batch script without it, SLURM_NTASKS counts tasks that were never started.
    ("slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_ID"),
)
"""In order of trust: torchrun inside an srun knows more workers than srun does."""


def identify(environ: Mapping[str, str] | None = None) -> Identity:
    """This process's place, without any communication.

    An initialised ``torch.distributed`` is asked first; then torchrun, OpenMPI, Horovod, MPI (PMI), SLURM, TF_CONFIG
    and the index of a Kubernetes Indexed Job (JobSet makes those too). Values that are no numbers count as absent.

    >>> identify({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}).rank
    3
    """
    environ = os.environ if environ is None else environ
    found = _launched(environ) or _tensorflow(environ) or _indexed_job(environ) or Identity()
    known = _process_group()
    if known is None:
        return found
    rank, world = known
    local = found.local_rank if found.rank == rank and found.launcher != "none" else rank
    return Identity(rank, world, local, "torch.distributed", found.job)


def _launched(environ: Mapping[str, str]) -> Identity | None:
    for launcher, rank_name, world_name, local_name, job_name in _VARIABLES:
        rank, world = _number(environ, rank_name), _number(environ, world_name)
        if rank is None or world is None or rank >= world:
            continue
        local = _number(environ, local_name)
        job = environ.get(job_name) if job_name else None
        if job == "none":  # what torchrun says without --rdzv-id
            job = None
        return Identity(rank, world, rank if local is None else local, launcher, job)
    return None


def _tensorflow(environ: Mapping[str, str]) -> Identity | None:
    """TF_CONFIG: chiefs come before workers; parameter servers and evaluators do not train."""
    try:
        config = json.loads(environ.get("TF_CONFIG", ""))
        cluster, kind, index = config["cluster"], config["task"]["type"], int(config["task"]["index"])
        before = {"chief": 0, "master": 0, "worker": len(cluster.get("chief", cluster.get("master", ())))}
        world = before["worker"] + len(cluster.get("worker", ()))
        rank = before[kind] + index
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Identity(rank, world, rank, "tf_config") if 0 <= rank < world else None


def _indexed_job(environ: Mapping[str, str]) -> Identity | None:
    """One process per pod; Kubernetes gives the index and, unless the manifest adds it, not the number of pods."""
    index, world = _number(environ, "JOB_COMPLETION_INDEX"), _number(environ, "WORLD_SIZE")
    if index is None or (world is not None and index >= world):
        return None
    return Identity(index, world, 0, "indexed_job", environ.get("JOB_NAME"))


def _process_group() -> tuple[int, int] | None:
    """Rank and size of an initialised process group; torch is never imported for it, and no collective is made."""
    distributed: Any = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:  # a half-initialised back end; the environment still says who we are
        pass
    return None


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None
