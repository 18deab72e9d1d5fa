from __future__ import annotations

import json

import pytest

from lrwatch.agent.ranks import Identity, identify

CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Identity(0, 1, 0, "none")),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "job7"},
            Identity(3, 4, 1, "torchrun", "job7"),
        ),
        ({"RANK": "3", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}, Identity(3, 4, 3, "torchrun")),
        (
            {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            Identity(5, 8, 1, "openmpi"),
        ),
        ({"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2", "HOROVOD_LOCAL_RANK": "0"}, Identity(1, 2, 0, "horovod")),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, Identity(1, 2, 1, "mpi")),
        (
            {"SLURM_PROCID": "6", "SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "2", "SLURM_JOB_ID": "991"},
            Identity(6, 16, 2, "slurm", "991"),
        ),
        # A batch script without srun is one process, however many tasks were asked for.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "16", "SLURM_JOB_ID": "991"}, Identity(0, 1, 0, "none")),
        # torchrun inside an srun of one task per node.
        (
            {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"},
            Identity(9, 16, 1, "torchrun"),
        ),
        ({"JOB_COMPLETION_INDEX": "2"}, Identity(2, None, 0, "indexed_job")),
        ({"JOB_COMPLETION_INDEX": "2", "WORLD_SIZE": "4", "JOB_NAME": "gpt"}, Identity(2, 4, 0, "indexed_job", "gpt")),
        (
            {"TF_CONFIG": json.dumps({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}})},
            Identity(0, 3, 0, "tf_config"),
        ),
        (
            {"TF_CONFIG": json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}})},
            Identity(2, 3, 2, "tf_config"),
        ),
        ({"TF_CONFIG": json.dumps({"cluster": CLUSTER, "task": {"type": "ps", "index": 0}})}, Identity()),
        ({"TF_CONFIG": "{"}, Identity()),
        ({"TF_CONFIG": "[]"}, Identity()),
        ({"RANK": "x", "WORLD_SIZE": "4"}, Identity()),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, Identity()),
        ({"RANK": "4", "WORLD_SIZE": "4"}, Identity()),
        ({"RANK": "1"}, Identity()),
    ],
)
def test_the_environment_says_who_this_is(environ: dict[str, str], expected: Identity) -> None:
    assert identify(environ) == expected


def test_an_initialised_process_group_is_believed_first(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = identify({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "job7"})
    finally:
        dist.destroy_process_group()
    assert found == Identity(0, 1, 0, "torch.distributed", "job7")
