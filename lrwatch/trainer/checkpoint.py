"""Checkpoints from which a run continues bit for bit, also in the middle of an accumulation window.

    RUN_DIR/checkpoints/update00000120/shared.pt       model, optimizer, scheduler, scaler
                                      /rank00003.pt    counters, RNG, data position, gradients so far, watch
    RUN_DIR/checkpoints/update00000120-stopped/…       written on the way to the next update
    RUN_DIR/checkpoints/latest                         name of the newest complete one

Workers may stop at different micro-batches on the way to the same update: what they have by then is their own.
Every file is written beside its place, flushed to disk and renamed; ``latest`` moves on only when all workers
have written theirs, so a crash at any moment leaves the checkpoint before it usable.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lrwatch.contract import Contract, Identity, compare
from lrwatch.errors import LrwatchError
from lrwatch.trainer import schedule
from lrwatch.trainer.job import Counters, Job
from lrwatch.trainer.model import parameters
from lrwatch.trainer.place import Place

KEPT = 2
"""Complete checkpoints that are kept; older ones are deleted."""

State = Mapping[str, Any]


def save(run_dir: Path, name: str, job: Job, place: Place, contract: Contract, watch: State) -> Path:
    """Write a checkpoint and return its folder. All workers call it between the same two updates.

    Names sort by age.
    """
    folder = run_dir / "checkpoints" / name
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _own(place), _own_state(job, watch))
    if place.rank == 0:
        _write(folder / "shared.pt", _shared_state(job, contract))
    place.any(False)  # all files are there
    if place.rank == 0:
        _replace(folder.parent / "latest", folder.name.encode())
        _prune(folder)
    return folder


def newest(run_dir: Path) -> Path | None:
    """Folder of the newest complete checkpoint, None if there is none."""
    try:
        name = (run_dir / "checkpoints" / "latest").read_text().strip()
    except FileNotFoundError:
        return None
    return run_dir / "checkpoints" / name


def restore(folder: Path, job: Job, place: Place, contract: Contract, restore_scheduler: bool = True) -> State:
    """Bring a fresh job to where ``folder`` was written, and return the watch's state.

    Raises:
        LrwatchError: a file is missing or damaged, or the run was another one: workers, model, contract.
    """
    shared = _read(folder / "shared.pt")
    _compare(folder, shared["fingerprint"], job.fingerprint)
    own = _read(folder / _own(place))
    job.module.load_state_dict(shared["model"])
    job.optimizer.load_state_dict(shared["optimizer"])
    job.scaler.load_state_dict(shared["scaler"])
    job.counters = Counters(**own["counters"])
    if restore_scheduler:
        same = _same_contract(folder, Identity.parse(shared["contract"]), contract)
        if same and not contract.signals["lr"].shift:  # else the shared state is not this worker's
            job.scheduler.load_state_dict(shared["scheduler"])
        else:
            schedule.fast_forward(job.scheduler, job.counters.scheduled)
    job.batches.position = own["position"]
    job.window_loss = own["window_loss"].to(job.device)
    for parameter, gradient in zip(parameters(job.optimizer), own["gradients"], strict=True):
        parameter.grad = None if gradient is None else gradient.to(job.device)
    torch.set_rng_state(own["rng"])
    if own["cuda_rng"] is not None:
        torch.cuda.set_rng_state(own["cuda_rng"], job.device)
    state: State = own["watch"]
    return state


def _shared_state(job: Job, contract: Contract) -> State:
    return {
        "fingerprint": job.fingerprint,
        "contract": str(contract.identity),
        "model": job.module.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "scheduler": job.scheduler.state_dict(),
        "scaler": job.scaler.state_dict(),
    }


def _own_state(job: Job, watch: State) -> State:
    """What differs between the workers. Gradients inside a window are this worker's own, not yet reduced."""
    return {
        "counters": asdict(job.counters),
        "position": job.batches.position,
        "window_loss": job.window_loss,
        "gradients": [p.grad if job.inside_window else None for p in parameters(job.optimizer)],
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state(job.device) if job.device.type == "cuda" else None,
        "watch": dict(watch),
    }


def _own(place: Place) -> str:
    return f"rank{place.rank:05d}.pt"


def _compare(folder: Path, written: State, now: State) -> None:
    for key, value in written.items():
        if now.get(key) != value:
            raise LrwatchError(
                f"{folder}: was written with {key} {value}, this run has {now.get(key)}; resume with the same"
            )


def _same_contract(folder: Path, written: Identity, contract: Contract) -> bool:
    """Whether the schedule is unchanged; False if amendments were added since."""
    relation = compare(written, contract.identity)
    if relation == "same":
        return True
    if relation == "amended" and len(contract.identity.chain) > len(written.chain):
        return False
    raise LrwatchError(
        f"{contract.source}: is not the contract that {folder} was trained under; "
        "resume with that one, and declare a change of plan under `amendments`"
    )


def _write(path: Path, state: State) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _replace(path, buffer.getvalue())


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` so that a reader finds either all of it or what was there before."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> dict[str, Any]:
    remedy = "write the name of an older folder into checkpoints/latest, or start a new run"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LrwatchError(f"{path}: is missing; {remedy}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise LrwatchError(f"{path}: is damaged ({str(error).splitlines()[0]}); {remedy}") from None
    return state


def _prune(newest_folder: Path) -> None:
    """Delete all but the newest complete checkpoints."""
    folders = sorted(p for p in newest_folder.parent.iterdir() if p.is_dir() and p.name <= newest_folder.name)
    for old in folders[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
