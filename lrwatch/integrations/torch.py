"""Plain torch: ``lrwatch.check``, a look at a schedule before the first update.

    lrwatch.check(optimizer, scheduler, total_steps=20_000)

Nothing is touched: a copy of the scheduler is stepped on a stub that has the optimizer's groups and no parameters.
"""

from __future__ import annotations

import bisect
import copy
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from torch import Tensor

from lrwatch.agent.arguments import naming, unwrapped, unwrapped_scheduler, with_position
from lrwatch.agent.ranks import identify
from lrwatch.errors import LrwatchError
from lrwatch.schedules.base import FloatArray

SECONDS: Final = 0.6
"""For stepping; what is left then is sampled where the schedule has a closed form."""
SAMPLES: Final = 2000
FALLBACK_STEPS: Final = 10_000
"""Replayed where neither the caller nor the scheduler says how long the run is."""
SAME: Final = 1e-9
"""Two learning rates this close, in relation to the peak, are the same."""
CYCLIC: Final = frozenset({"CosineAnnealingWarmRestarts", "CyclicLR"})
"""Schedules that are meant to rise again."""


@dataclass(frozen=True)
class Landmark:
    """A point of a curve: ``name``, the update, and the learning rate that this update uses."""

    group: str
    name: str
    step: int
    lr: float


@dataclass(frozen=True)
class CheckReport:
    """What a schedule will do.

    Attributes:
        scheduler: its class. steps: updates looked at, ``range(first, first + steps)``.
        total: planned updates, None when nobody said. landmarks, problems: what is on the way, what looks wrong.
    """

    scheduler: str
    first: int
    steps: int
    total: int | None
    landmarks: tuple[Landmark, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        several = len({mark.group for mark in self.landmarks}) > 1
        lines = [f"{self.scheduler}, updates {self.first} to {self.first + self.steps - 1}"]
        for mark in self.landmarks:
            group = f"group {mark.group}: " if several else ""
            lines.append(f"  {group}{mark.name:<13} {mark.lr:<12.6g} at update {mark.step}")
        lines += [f"  ! {problem}" for problem in self.problems] or ["  nothing looks wrong"]
        return "\n".join(lines)


def check(
    optimizer: Any,
    scheduler: Any,
    total_steps: int | None = None,
    world_size: int | None = None,
    accumulate: int | None = None,
) -> CheckReport:
    """Replay a copy of a scheduler, print its landmarks and what looks wrong, in less than a second.

    Args:
        total_steps: updates that the run will make, if each is followed by one ``scheduler.step()``.
        world_size, accumulate: workers and micro-batches per update, to name a horizon that counts these.

    Raises:
        LrwatchError: no optimizer, a scheduler that cannot be copied, ``total_steps`` below 1.

    Example:
        >>> lrwatch.check(optimizer, scheduler, total_steps=1000)                # doctest: +SKIP
        CosineAnnealingLR, updates 0 to 999
          first         0.0003       at update 0
          ...
    """
    if total_steps is not None and total_steps < 1:
        raise LrwatchError(f"total_steps={total_steps}: must be at least 1")
    inner, mine = unwrapped(optimizer), unwrapped_scheduler(scheduler)
    if with_position(mine) is None:
        raise LrwatchError(f"check() needs a scheduler with step() and last_epoch, got {type(scheduler).__name__}")
    identity = identify()
    report = _report(mine, inner, total_steps, world_size or identity.world, accumulate)
    if identity.rank == 0:
        print(report)
    return report


def _report(
    scheduler: Any, optimizer: Any, total: int | None, world_size: int | None, accumulate: int | None
) -> CheckReport:
    problems: list[str] = []
    length, position = planned(scheduler), with_position(scheduler)
    steps = total or length or FALLBACK_STEPS
    driven = getattr(position, "optimizer", optimizer)
    if driven is not optimizer:
        problems.append("the scheduler steps another optimizer than the one given: make it from this one")
    stub = Stub(driven)
    name = naming(stub.param_groups, None)
    called = [name(i, g) for i, g in enumerate(stub.param_groups)]
    first = int(position.last_epoch)
    if first > 0:
        problems.append(f"the scheduler stands at {first} already; the curve begins there")
    replay = Replay(_copied(scheduler, driven, stub), stub)
    at, lrs = replay.run(steps)
    problems += replay.problems
    marks: list[Landmark] = []
    for i, group in enumerate(called):
        curve = lrs[:, i]
        if i and _proportional(lrs[:, 0], curve):
            marks.append(Landmark(group, "peak", first + int(at[np.argmax(curve)]), float(curve.max())))
            continue
        marks += _landmarks(group, first + at, curve)
        problems += _shape(group if len(called) > 1 else "", at, curve, type(scheduler).__name__ in CYCLIC)
        problems += _ending(at, curve, steps, length if total else None, world_size, accumulate)
    if total is None and length is None:
        problems.append(f"looked at {len(at)} updates only; pass total_steps= to have the end checked")
    return CheckReport(
        type(scheduler).__name__, first, int(at[-1]) + 1, total, tuple(marks), tuple(dict.fromkeys(problems))
    )


# -- replaying ----------------------------------------------------------------------------------------


class Stub:
    """What a scheduler needs of an optimizer: its groups, and to believe that it was stepped."""

    _opt_called = True

    def __init__(self, optimizer: Any):
        self.defaults = dict(getattr(optimizer, "defaults", {}))
        self.param_groups = [
            {k: v.detach().cpu().clone() if isinstance(v, Tensor) else v for k, v in g.items() if k != "params"}
            | {"params": []}
            for g in optimizer.param_groups
        ]

    def step(self) -> None:
        """Nothing to update."""

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]  # or torch warns that step was overridden

    def rates(self) -> list[float]:
        return [float(g["lr"]) for g in self.param_groups]


def _copied(scheduler: Any, driven: Any, stub: Stub) -> Any:
    """A deep copy that steps the stub; parameters and modules that it can reach are shared, not copied."""
    memo: dict[int, Any] = {id(driven): stub}
    for group in getattr(driven, "param_groups", ()):
        memo.update((id(p), p) for p in group["params"])
    try:
        return copy.deepcopy(scheduler, memo)
    except Exception as error:
        raise LrwatchError(
            f"this {type(scheduler).__name__} cannot be copied ({error}); check one made anew from the same settings"
        ) from None


class Replay:
    """Steps a copied scheduler, as far as time allows."""

    def __init__(self, scheduler: Any, stub: Stub):
        self.scheduler, self.stub = scheduler, stub
        self.problems: list[str] = []

    def run(self, steps: int) -> tuple[Any, FloatArray]:
        """Updates looked at, int64[n], from 0, and their learning rates, float64[n, groups]."""
        values = [self.stub.rates()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            deadline = time.perf_counter() + SECONDS
            while len(values) < steps and time.perf_counter() < deadline:
                if not self._step(len(values)):
                    break
                values.append(self.stub.rates())
            else:
                if len(values) < steps:
                    return self._sampled(values, steps)
        return np.arange(len(values)), np.array(values)

    def _step(self, done: int) -> bool:
        try:
            self.scheduler.step()
        except TypeError as error:
            self.problems.append(f"cannot be stepped without a metric ({error}): only its first value is known")
            return False
        except Exception as error:
            self.problems.append(f"refuses to be stepped after update {done - 1}: {error}")
            return False
        return True

    def _sampled(self, values: list[list[float]], steps: int) -> tuple[Any, FloatArray]:
        """The rest by the scheduler's closed form, if it agrees with the last value that was stepped to."""
        done = len(values)
        begun = int(getattr(self.scheduler, "last_epoch", 0)) - done + 1
        known = closed_form(self.scheduler, begun + done - 1)
        if known is None or not np.allclose(known, values[-1], rtol=1e-6, atol=0.0):
            self.problems.append(f"only the first {done} of {steps} updates were replayed in {SECONDS:g} s")
            return np.arange(done), np.array(values)
        rest = np.unique(np.linspace(done, steps - 1, SAMPLES).round().astype(np.int64))
        values = values + [closed_form(self.scheduler, begun + int(n)) or values[-1] for n in rest]
        return np.concatenate([np.arange(done), rest]), np.array(values)


def closed_form(scheduler: Any, n: int) -> list[float] | None:
    """The learning rates of a scheduler at position ``n``, None for classes that cannot jump. Moves the scheduler."""
    kind = type(scheduler).__name__
    if kind == "SequentialLR":
        i = bisect.bisect_right(scheduler._milestones, n)
        return closed_form(scheduler._schedulers[i], n - scheduler._milestones[i - 1] if i else n)
    if not type(scheduler).__module__.startswith("torch."):
        return None
    scheduler.last_epoch = n
    if hasattr(scheduler, "_get_closed_form_lr"):
        return [float(v) for v in scheduler._get_closed_form_lr()]
    if kind in ("LambdaLR", "OneCycleLR"):
        return [float(v) for v in scheduler.get_lr()]
    return None


def planned(scheduler: Any) -> int | None:
    """The number of steps that a scheduler was built for, None where it does not say."""
    if type(scheduler).__name__ == "SequentialLR":
        last = planned(scheduler._schedulers[-1])
        return None if last is None else scheduler._milestones[-1] + last
    kind = type(scheduler).__name__
    falling = kind == "PolynomialLR" or (kind == "LinearLR" and scheduler.end_factor < scheduler.start_factor)
    for attribute in ("total_steps", "T_max", *(["total_iters"] if falling else [])):
        if isinstance(value := getattr(scheduler, attribute, None), (int, float)) and value >= 1:
            return int(value)
    for function in getattr(scheduler, "lr_lambdas", ()):  # transformers binds the horizon to its functions
        if isinstance(value := getattr(function, "keywords", {}).get("num_training_steps"), int) and value >= 1:
            return value
    return None


# -- looking at a curve -------------------------------------------------------------------------------


def _proportional(one: FloatArray, other: FloatArray) -> bool:
    i = int(np.argmax(np.abs(one)))
    return bool(one[i]) and np.allclose(other, one * (other[i] / one[i]), rtol=1e-9, atol=SAME * abs(other[i]))


def _landmarks(group: str, steps: Any, lrs: FloatArray) -> Iterator[Landmark]:
    if not np.isfinite(lrs).all():
        yield Landmark(group, "first", int(steps[0]), float(lrs[0]))
        return
    top = _top(lrs)
    moved = np.flatnonzero(lrs[top:] != lrs[top])
    kept = top + int(moved[0]) - 1 if len(moved) else top
    points = {"first": 0, "peak": top, "last": len(lrs) - 1}
    if top and (np.diff(lrs[: top + 1]) >= 0).all():
        points["warm-up ends"] = top
    if kept > top:
        points["decay begins"] = kept
    floor = _floor(lrs)
    if floor is not None and floor < len(lrs) - 1:
        points["floor"] = floor
    for name in ("first", "warm-up ends", "peak", "decay begins", "floor", "last"):
        if name in points:
            yield Landmark(group, name, int(steps[points[name]]), float(lrs[points[name]]))


def _top(lrs: FloatArray) -> int:
    """Where the curve reaches its peak for the first time."""
    return int(np.flatnonzero(lrs >= lrs.max() * (1.0 - SAME))[0])


def _floor(lrs: FloatArray) -> int | None:
    """Where the curve, having fallen from its peak, begins to stay at its last value; None if it never fell."""
    peak = float(lrs.max())
    if lrs[-1] >= peak * (1.0 - SAME):
        return None
    away = np.flatnonzero(np.abs(lrs - lrs[-1]) > SAME * peak)
    return int(away[-1]) + 1


def _shape(group: str, steps: Any, lrs: FloatArray, cyclic: bool) -> Iterator[str]:
    """What is odd whatever the length of the run."""
    where = f"group {group}: " if group else ""
    if not np.isfinite(lrs).all():
        yield f"{where}the learning rate is not a number at update {int(steps[np.argmax(~np.isfinite(lrs))])}"
        return
    if (lrs < 0).any():
        yield f"{where}the learning rate is negative at update {int(steps[np.argmax(lrs < 0)])}"
    if lrs[0] == 0.0:
        yield f"{where}the first update uses a learning rate of 0 and changes nothing: begin the warm-up above 0"
    peak = float(lrs.max())
    if len(lrs) > 1 and np.ptp(lrs) <= SAME * peak:
        yield f"{where}the learning rate never changes in {int(steps[-1]) + 1} updates"
        return
    top = _top(lrs)
    low = top + int(np.argmin(lrs[top:]))
    highest_after = float(lrs[low:].max())
    if not cyclic and highest_after > lrs[low] + SAME * peak:
        yield (
            f"{where}the learning rate rises again after its lowest value, {lrs[low]:.4g} at update {int(steps[low])}, "
            f"to {highest_after:.4g}: the horizon is shorter than the run"
        )


def _ending(
    steps: Any, lrs: FloatArray, total: int, length: int | None, world_size: int | None, accumulate: int | None
) -> Iterator[str]:
    """Whether the schedule ends where the run does; ``length`` is what the scheduler was built for, if known."""
    if int(steps[-1]) + 1 < total or not np.isfinite(lrs).all():
        return
    floor = _floor(lrs)
    end = int(steps[floor]) if floor is not None else None
    if length is not None and abs(length - total) > max(1, total // 100):
        word = _counted(length / total, world_size, accumulate)
        if length > total:
            share = lrs[-1] / lrs.max()
            yield (
                f"the schedule is made for {length} steps and the run has {total}: it ends at {lrs[-1]:.4g}, "
                f"{share:.0%} of the peak, before the schedule does{word}"
            )
        else:
            yield f"the schedule is made for {length} steps and the run has {total}: it ends early{word}"
    elif end is not None and end < 0.95 * total and not _stepwise(lrs):
        word = _counted(end / total, world_size, accumulate)
        yield f"the last value, {lrs[-1]:.4g}, is reached at update {end} of {total} and kept from there{word}"


def _stepwise(lrs: FloatArray) -> bool:
    """Whether the curve moves in a few jumps, so that a long last stair is nothing odd."""
    return int(np.count_nonzero(np.diff(lrs))) <= 0.05 * len(lrs)


def _counted(ratio: float, world_size: int | None, accumulate: int | None) -> str:
    """What a horizon that is ``ratio`` times too long seems to count."""
    world, micro = world_size or 1, accumulate or 1
    guesses: Sequence[tuple[float, str]] = (
        (1 / world, f"it is 1/{world} of the run: is the horizon divided by the {world} workers?"),
        (1 / micro, f"it is 1/{micro} of the run: is the horizon divided by the accumulation?"),
        (1 / (world * micro), f"it is 1/{world * micro} of the run: divided by workers and accumulation?"),
        (world, f"it is {world} times the run: does the horizon count every worker's batches?"),
        (micro, f"it is {micro} times the run: does the horizon count micro-batches?"),
        (world * micro, f"it is {world * micro} times the run: does it count every worker's micro-batches?"),
    )
    for factor, words in guesses:
        if factor != 1 and abs(ratio / factor - 1.0) < 0.02:
            return f"; {words}"
    return ""
