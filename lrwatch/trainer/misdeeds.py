"""What faults do to a job's optimizer and scheduler: after it was built, or after a resume restored it.

Each makes the calls that a real training script makes in the wrong order, on the wrong object or once too often.
"""

from __future__ import annotations

import torch

from lrwatch.contract import Contract
from lrwatch.trainer import model, schedule
from lrwatch.trainer.job import Job


def float32_lr(job: Job, contract: Contract) -> None:
    """The optimizer keeps its learning rates as float32 tensors, as compiled and captured ones do."""
    for group in job.optimizer.param_groups:
        group["lr"] = torch.tensor(group["initial_lr"], dtype=torch.float32)
        del group["initial_lr"]
    job.scheduler = schedule.build(job.optimizer, contract)


def groups_swapped(job: Job, contract: Contract) -> None:
    """The base rates of the first two groups are given in the wrong order."""
    first, second, *_ = job.optimizer.param_groups
    first["lr"], second["lr"] = second["initial_lr"], first["initial_lr"]
    for group in job.optimizer.param_groups:
        group.pop("initial_lr")
    job.scheduler = schedule.build(job.optimizer, contract)


def optimizer_not_restored(job: Job, contract: Contract) -> None:
    """Only the scheduler's state is loaded; the optimizer is as it was built, moments and rates."""
    fresh = model.adamw(job.module, contract)
    schedule.build(fresh, contract)  # sets the first rates, as before the resume
    job.optimizer.load_state_dict(fresh.state_dict())


def built_after_loading(job: Job, contract: Contract) -> None:
    """The scheduler is built when the optimizer is loaded already, then loaded, too: building it set the rates."""
    state = job.scheduler.state_dict()
    job.scheduler = schedule.build(job.optimizer, contract)
    job.scheduler.load_state_dict(state)


def fast_forwarded(job: Job, contract: Contract) -> None:
    """The scheduler is restored, and then stepped as often as it was before the resume."""
    _forward(job, job.counters.scheduled)


def orphaned(job: Job, contract: Contract) -> None:
    """The scheduler is built for another optimizer than the one that trains."""
    state = job.scheduler.state_dict()
    job.scheduler = schedule.build(model.adamw(job.module, contract), contract)
    job.scheduler.load_state_dict(state)


def rebuilt(job: Job, contract: Contract) -> None:
    """Optimizer rates and scheduler are made anew from ``contract``, and stepped to where the run is."""
    fresh = model.adamw(job.module, contract)
    for group, new in zip(job.optimizer.param_groups, fresh.param_groups, strict=True):
        group["lr"] = new["lr"]
        group.pop("initial_lr", None)
    job.scheduler = schedule.build(job.optimizer, contract)
    _forward(job, job.counters.scheduled)


def _forward(job: Job, steps: int) -> None:
    for _ in range(steps):
        job.scheduler.step()
