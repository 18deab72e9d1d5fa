"""A live torch scheduler and its optimizer → a contract.

    from lrwatch.importers.torch import contract_of
    contract_of(optimizer, scheduler, stepped="update", total_steps=20_000).yaml()

Every class of torch.optim.lr_scheduler in any nesting is read; a function of one's own is sampled into a table. A copy
is stepped beside it: what the contract says is what the scheduler does, or the importer refuses. That the schedule
itself is the one that was wanted, no import of a live object can tell.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from lrwatch.errors import ContractError
from lrwatch.importers._document import Clock, Group, Imported, Noted, document
from lrwatch.importers._live import Unreadable, momentum, read
from lrwatch.importers._parts import Schedule, part
from lrwatch.importers._replay import Replay, first_difference, replay
from lrwatch.importers._table import tabled
from lrwatch.importers.base import Importer, Options, Source, Stepped

REPLAYED = 20_000
"""Steps that are compared at most; a few microseconds each."""
BLIND = 2_000
"""Steps that are compared where the length of the run is not known."""
FROZEN = Schedule(1.0, (part("constant", "a learning rate of 0", at=0),))


def contract_of(
    optimizer: Any,
    scheduler: Any,
    *,
    stepped: Stepped,
    total_steps: int | None = None,
    steps_per_epoch: int | None = None,
    world_size: int | None = None,
    metric: str | None = None,
    experiment: str | None = None,
) -> Imported:
    """The contract that a scheduler describes.

    Args:
        optimizer, scheduler: the live objects, before training; accelerate's wrappers are looked through.
        stepped: who calls ``scheduler.step()``: once per applied ``update``, per ``attempt`` (skipped ones too, as a
            loop with a loss scaler does that never asks) or per ``epoch``. The objects do not know.
        total_steps: updates of the whole run: the horizon, and what a function is sampled for.
        steps_per_epoch: updates of an epoch, for ``stepped="epoch"``.
        world_size: processes, for accelerate's scheduler, which steps once per process.
        metric: the name that the trace gives to what ReduceLROnPlateau reacts to. experiment: the contract's name.

    Raises:
        ContractError: something that changes the schedule is missing or impossible; names the argument.

    Example:
        >>> import torch
        >>> opt = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> made = contract_of(opt, torch.optim.lr_scheduler.StepLR(opt, 30), stepped="epoch")
        >>> made.plain()["lr"]
        {'base': 0.1, 'schedule': [{'step': {'every': 30, 'gamma': 0.1}}]}
    """
    source = type(scheduler).__name__
    if stepped not in ("update", "attempt", "epoch"):
        raise ContractError(f"must be update, attempt or epoch, got {stepped!r}", source=source, path="stepped")
    scheduler, ticks = _unwrapped(scheduler, world_size)
    optimizer = _innermost(optimizer)
    clock, horizon = _clock(source, stepped, total_steps, steps_per_epoch, ticks)
    number = len(optimizer.param_groups)
    narrow = _dtype(optimizer)
    read_all = [_schedule(scheduler, i, metric, narrow) for i in range(number)]
    notes = ["A contract taken from a live scheduler proves that it is stepped rightly, not that it is the right one."]
    signals: dict[str, list[Schedule | str]] = {"lr": read_all}
    moved = [schedule for i in range(number) if (schedule := momentum(scheduler, i))]
    if moved:
        signals["momentum"] = [*moved]
    if _position(scheduler):
        notes.append(
            f"The scheduler had been stepped {_position(scheduler)} times: it could not be compared with a replay."
        )
        _refuse_unreadable(source, read_all, "import it before training, when it can be sampled")
    elif not any(p.family == "plateau" for s in read_all if isinstance(s, Schedule) for p in s.parts):
        run = replay(optimizer, scheduler, min(horizon or BLIND, REPLAYED))
        signals = {name: _really(source, name, found, run, horizon) for name, found in signals.items()}
        if run.stopped:
            notes.append(f"The scheduler ends after {len(run)} steps: {run.stopped}")
    chosen: dict[str, Schedule] = {}
    groups: dict[str, dict[str, Group]] = {}
    for name, found in signals.items():
        first, others = _grouped([s for s in found if isinstance(s, Schedule)], _names(optimizer))
        why = "initial learning rate of the first group" if name == "lr" else "max_momentum"
        chosen[name] = replace(first, why=why)
        groups[name] = others
    named = Noted(experiment) if experiment is not None else None
    return document(f"a live {source}", clock, chosen, experiment=named, groups=groups, notes=tuple(notes))


def _schedule(scheduler: Any, group: int, metric: str | None, dtype: str) -> Schedule | str:
    """The schedule of a group, or why it can only be sampled."""
    found = scheduler.optimizer.param_groups[group]
    if not float(found.get("initial_lr", found["lr"])):  # a multiple of nothing; what it does is left to the replay
        return FROZEN
    try:
        return replace(read(scheduler, group, metric), dtype=dtype)
    except Unreadable as e:
        return str(e)


def _refuse_unreadable(source: str, found: list[Any], remedy: str) -> None:
    for problem in found:
        if problem == FROZEN:
            problem = "a group has a learning rate of 0"
        if isinstance(problem, str):
            raise ContractError(f"{problem}; {remedy}", source=source)


def _really(source: str, signal: str, found: list[Any], run: Replay, horizon: int | None) -> list[Any]:
    """The schedules that agree with the replay, and tables of it in place of the others."""
    result: list[Any] = []
    for i, schedule in enumerate(found):
        values = run.values[signal][:, i]
        why = schedule if isinstance(schedule, str) else ""
        if not why:
            difference = first_difference(schedule, values)
            if difference is None:
                result.append(schedule)
                continue
            t, promised, real = difference
            why = f"{source} does not compute what its parts say (step {t}: {real:.6g}, not {promised:.6g})"
        if horizon is None:
            raise ContractError(f"{why}, so it has to be sampled; pass total_steps=", source=source)
        if horizon > REPLAYED and not run.stopped:
            problem = f"{why}, and {horizon} steps are too many to sample (at most {REPLAYED})"
            raise ContractError(f"{problem}; write the contract by hand", source=source)
        base = float(values.max())
        result.append(Schedule(base or 1.0, (tabled(values.tolist(), f"{why}: {len(values)} samples", source),)))
    return result


def _unwrapped(scheduler: Any, world_size: int | None) -> tuple[Any, int]:
    """The torch scheduler inside accelerate's, and how often one ``step()`` steps it."""
    if type(scheduler).__name__ != "AcceleratedScheduler":
        return scheduler, 1
    if scheduler.split_batches or not scheduler.step_with_optimizer:
        return scheduler.scheduler, 1
    if world_size is None:
        state = getattr(sys.modules.get("accelerate.state"), "AcceleratorState", None)
        world_size = getattr(state, "_shared_state", {}).get("num_processes")  # calling it would initialise it
        if world_size is None:
            what = "steps once per process, and how many there are is not known; pass world_size="
            raise ContractError(what, source="AcceleratedScheduler")
    return scheduler.scheduler, world_size


def _innermost(optimizer: Any) -> Any:
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _clock(
    source: str, stepped: Stepped, total_steps: int | None, steps_per_epoch: int | None, ticks: int
) -> tuple[Clock, int | None]:
    steps, why = total_steps, "total_steps"
    batch = {}
    if stepped == "epoch":
        if steps_per_epoch is not None:
            batch = {"steps_per_epoch": Noted(steps_per_epoch, "updates of an epoch")}
        if total_steps is not None:
            if steps_per_epoch is None:
                problem = "is stepped per epoch: total_steps needs the updates of an epoch; pass steps_per_epoch="
                raise ContractError(problem, source=source)
            steps, why = -(-total_steps // steps_per_epoch), f"{total_steps} updates, {steps_per_epoch} an epoch"
    horizon = None if steps is None else steps * ticks
    clock = Clock(
        axis=Noted("epoch" if stepped == "epoch" else "update", f"stepped once per {stepped}"),
        counts=Noted("attempted", "stepped even when the update was skipped") if stepped == "attempt" else None,
        horizon=None
        if horizon is None
        else Noted(horizon, why + (f", {ticks} steps of the scheduler each" * (ticks > 1))),
        ticks=Noted(ticks, "accelerate steps the scheduler once per process") if ticks > 1 else None,
        batch=batch,
    )
    return clock, horizon


def _position(scheduler: Any) -> int:
    return max(0, int(getattr(scheduler, "last_epoch", 0) or 0))


def _dtype(optimizer: Any) -> str:
    lr = optimizer.param_groups[0]["lr"]
    name = str(getattr(lr, "dtype", "torch.float64")).removeprefix("torch.")
    return name if name in ("float32", "bfloat16", "float16") else "float64"


def _names(optimizer: Any) -> list[str]:
    return [str(group.get("name", i)) for i, group in enumerate(optimizer.param_groups)]


def _grouped(schedules: list[Schedule], names: list[str]) -> tuple[Schedule, dict[str, Group]]:
    """The schedule that stands for all, and the groups that differ from it."""
    first = next((s for s in schedules if s != FROZEN), schedules[0])
    groups = {}
    for schedule, name in zip(schedules, names, strict=True):
        own = schedule.plain() != first.plain()
        if own or schedule.base != first.base:
            groups[name] = Group(schedule, own, "that of this group")
    return first, groups


def _convert(source: Source, options: Options) -> Imported:
    what = "holds no live scheduler; in Python, lrwatch.importers.torch.contract_of(optimizer, scheduler, stepped=…)"
    raise source.error(what)


IMPORTER = Importer("torch", "a live scheduler, in Python", lambda source: 0.0, _convert)
