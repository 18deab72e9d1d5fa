"""Bugs, each made by driving the real scheduler wrongly; the names a correct diagnosis may give beside each.

A bug is a function of a ``Run`` that returns its segments. ``truth`` is the cause; ``same`` are causes that give
exactly the same curve on some shapes, so that naming them beside the truth is right and naming only them is not wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from tests.mutations.loop import Loop, sgd
from tests.mutations.shapes import Plan, Shape


@dataclass(frozen=True)
class Run:
    """What a trainer knows: the shape and plan of the schedule, the base rate and the sizes of the run."""

    shape: Shape
    plan: Plan
    base: float
    world: int
    accumulate: int
    per_epoch: int
    seed: int

    @property
    def steps(self) -> int:
        return int(self.plan["T"])

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def loop(self, *, base: float = 1.0, plan: Plan | None = None, dtype: torch.dtype | None = None) -> Loop:
        """A fresh loop on ``base`` × the base rate."""
        optimizer = sgd(self.base * base, dtype=dtype)
        return Loop(optimizer, self.shape.build(optimizer, {"base": self.base, "factor": base, **(plan or self.plan)}))

    def resume_at(self) -> int:
        """Where a run is interrupted: somewhere in the middle, past any warm-up."""
        return int(self.rng().integers(self.steps // 3, self.steps // 2))


Segments = list[Loop]


@dataclass(frozen=True)
class Bug:
    """A way to go wrong.

    ``where`` says for which shapes it makes sense; ``same`` are causes with the same curve there.
    """

    name: str
    truth: str
    make: Callable[[Run], Segments]
    where: Callable[[Shape], bool] = lambda shape: shape.name != "constant"
    same: frozenset[str] = field(default_factory=frozenset)


def clean(run: Run) -> Segments:
    return [run.loop().run(run.steps)]


def _safe(run: Run, k: int) -> int:
    """OneCycleLR raises when it is stepped past its end; a run then dies there."""
    return run.steps if run.shape.name != "one_cycle" else run.steps // max(k, 1) - 1


def per_worker(run: Run) -> Segments:
    loop = run.loop()
    loop.step_scheduler = lambda t: run.world
    return [loop.run(_safe(run, run.world))]


def per_micro_batch(run: Run) -> Segments:
    return [per_micro_batch_loop(run).run(_safe(run, run.accumulate))]


def within_the_accumulation(run: Run) -> Segments:
    """scheduler.step() after every micro-batch, the ones before the first update too."""
    loop = per_micro_batch_loop(run)
    for _ in range(run.accumulate - 1):
        loop.scheduler.step()
    return [loop.run(_safe(run, run.accumulate) - 1)]


def per_micro_batch_loop(run: Run) -> Loop:
    loop = run.loop()
    loop.step_scheduler = lambda t: run.accumulate
    return loop


def per_epoch(run: Run) -> Segments:
    loop = run.loop()
    loop.step_scheduler = lambda t: int((t + 1) % run.per_epoch == 0)
    return [loop.run(run.steps)]


def also_per_epoch(run: Run) -> Segments:
    loop = run.loop()
    loop.step_scheduler = lambda t: 1 + int((t + 1) % run.per_epoch == 0)
    return [loop.run(run.steps * 9 // 10 if run.shape.name == "one_cycle" else run.steps)]


def stepped_before(run: Run) -> Segments:
    loop = run.loop()
    loop.optimizer.step()
    loop.scheduler.step()
    return [loop.run(run.steps - 1)]


def first_step_missed(run: Run) -> Segments:
    loop = run.loop()
    loop.step_scheduler = lambda t: int(t > 0)
    return [loop.run(run.steps)]


def never_stepped(run: Run) -> Segments:
    loop = run.loop()
    loop.step_scheduler = lambda t: 0
    return [loop.run(run.steps)]


def stopped_stepping(run: Run) -> Segments:
    loop, at = run.loop(), int(run.rng().integers(run.steps // 4, run.steps // 2))
    loop.step_scheduler = lambda t: int(t < at)
    return [loop.run(run.steps)]


def other_horizon(run: Run) -> Segments:
    factor = float(run.rng().choice([0.5, 0.8, 1.5, 3.0]))
    return [run.loop(plan={**run.plan, "T": round(run.steps * factor)}).run(min(run.steps, round(run.steps * factor)))]


def other_warmup(run: Run) -> Segments:
    width = run.plan["W"] + int(run.rng().choice([-7, -3, 5, 11, 29]))
    return [run.loop(plan={**run.plan, "W": max(2, width)}).run(run.steps)]


def warmup_times_world(run: Run) -> Segments:
    return [run.loop(plan={**run.plan, "W": run.plan["W"] * run.world}).run(run.steps)]


def base_times(run: Run) -> Segments:
    return [run.loop(base=float(run.rng().choice([0.5, 2.0, 8.0, 10.0, 1.7]))).run(run.steps)]


def base_times_world(run: Run) -> Segments:
    return [run.loop(base=float(run.world)).run(run.steps)]


def floor_ignored(run: Run) -> Segments:
    return [run.loop(plan={**run.plan, "floor": 0.0}).run(run.steps)]


def float32_rate(run: Run) -> Segments:
    return [run.loop(dtype=torch.float32).run(run.steps)]


def scheduler_not_restored(run: Run) -> Segments:
    r = run.resume_at()
    first = run.loop().run(r)
    second = run.loop()
    second.update = second.attempt = r
    return [first, second.run(run.steps - r)]


def only_optimizer_restored(run: Run) -> Segments:
    """The scheduler is built, then the optimizer is loaded; the scheduler's own state is forgotten."""
    r = run.resume_at()
    first = run.loop().run(r)
    second = run.loop()
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.update = second.attempt = r
    return [first, second.run(run.steps - r)]


def only_scheduler_restored(run: Run) -> Segments:
    """The scheduler's state is loaded, the optimizer's is not."""
    r = run.resume_at()
    first = run.loop().run(r)
    second = run.loop()
    second.scheduler.load_state_dict(copy.deepcopy(first.scheduler.state_dict()))
    second.update = second.attempt = r
    return [first, second.run(run.steps - r)]


def one_behind(run: Run) -> Segments:
    """The checkpoint was written before ``scheduler.step``."""
    r = run.resume_at()
    first = run.loop().run(r - 1)
    saved = copy.deepcopy((first.optimizer.state_dict(), first.scheduler.state_dict()))
    first.run(1)
    second = run.loop()
    second.optimizer.load_state_dict(saved[0])
    second.scheduler.load_state_dict(saved[1])
    second.update = second.attempt = r
    return [first, second.run(run.steps - r)]


def fast_forwarded_twice(run: Run) -> Segments:
    r = run.resume_at()
    first = run.loop().run(r)
    second = _restored(run, first)
    for _ in range(r):
        second.optimizer.step()
        second.scheduler.step()
    return [first, second.run(run.steps - r if run.shape.name != "one_cycle" else run.steps - 2 * r)]


def frozen_after_resume(run: Run) -> Segments:
    """The scheduler moves the optimizer of before the resume."""
    r = run.resume_at()
    first = run.loop().run(r)
    second = _restored(run, first)
    second.step_scheduler = lambda t: 0
    return [first, second.run(run.steps - r)]


def horizon_rebuilt(run: Run) -> Segments:
    r = run.resume_at()
    first = run.loop().run(r)
    second = run.loop(plan={**run.plan, "T": round(run.steps * float(run.rng().choice([1.5, 2.0])))})
    for _ in range(r):
        second.optimizer.step()
        second.scheduler.step()
    second.update = second.attempt = r
    return [first, second.run(run.steps - r)]


def other_rate_after_resume(run: Run) -> Segments:
    r, c = run.resume_at(), float(run.rng().choice([0.5, 2.0, 0.1]))
    first = run.loop().run(r)
    second = run.loop(base=c)
    for _ in range(r):
        second.optimizer.step()
        second.scheduler.step()
    second.update = second.attempt = r
    return [first, second.run(run.steps - r)]


def built_after_loading(run: Run) -> Segments:
    """optimizer.load_state_dict, then the scheduler is built (which resets the rate), then its state is loaded."""
    r = run.resume_at()
    first = run.loop().run(r)
    optimizer = sgd(run.base)
    optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    scheduler = run.shape.build(optimizer, {"base": run.base, "factor": 1.0, **run.plan})
    scheduler.load_state_dict(copy.deepcopy(first.scheduler.state_dict()))
    second = Loop(optimizer, scheduler, update=r, attempt=r)
    return [first, second.run(run.steps - r)]


def advances_on_skips(run: Run) -> Segments:
    skips = frozenset(run.rng().integers(1, run.steps - 2, size=9).tolist())
    return [run.loop().run(run.steps - 20, skips)]


def _restored(run: Run, first: Loop) -> Loop:
    second = run.loop()
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.scheduler.load_state_dict(copy.deepcopy(first.scheduler.state_dict()))
    second.update, second.attempt = first.update, first.attempt
    return second


def resumed_rightly(run: Run) -> Segments:
    first = run.loop().run(run.resume_at())
    return [first, _restored(run, first).run(run.steps - first.update)]


def holds_on_skips(run: Run) -> Segments:
    """A loop that does not step its scheduler when the scaler skipped: right for ``counts: applied``."""
    skips = frozenset(run.rng().integers(1, run.steps - 2, size=9).tolist())
    loop = run.loop()
    loop.step_scheduler = lambda attempt: int(attempt not in skips)
    return [loop.run(run.steps - 20, skips)]


def _has(word: str) -> Callable[[Shape], bool]:
    return lambda shape: word in shape.tells


def _closed(shape: Shape) -> bool:
    return not shape.recursive and shape.name != "constant"


CLEAN: tuple[Callable[[Run], Segments], ...] = (clean, resumed_rightly, holds_on_skips)

BUGS: tuple[Bug, ...] = (
    Bug("per_worker", "rate", per_worker),
    Bug("per_micro_batch", "rate", per_micro_batch),
    Bug("within_the_accumulation", "rate", within_the_accumulation),
    Bug("per_epoch", "staircase", per_epoch),
    Bug("also_per_epoch", "extra_per_epoch", also_per_epoch),
    Bug("stepped_before", "offset", stepped_before),
    Bug("first_step_missed", "offset", first_step_missed),
    Bug("never_stepped", "frozen", never_stepped),
    Bug("stopped_stepping", "frozen", stopped_stepping),
    Bug("other_horizon", "horizon", other_horizon, _has("horizon")),
    Bug("other_warmup", "warmup_length", other_warmup, _has("warmup")),
    Bug("warmup_times_world", "warmup_scale", warmup_times_world, _has("warmup")),
    Bug("base_times", "factor", base_times, lambda shape: True),
    Bug("base_times_world", "factor", base_times_world, lambda shape: True),
    Bug("floor_ignored", "floor", floor_ignored, _has("floor")),
    Bug("float32_rate", "quantised", float32_rate, _closed),
    Bug("scheduler_not_restored", "restart_at_resume", scheduler_not_restored),
    Bug("only_optimizer_restored", "restart_at_resume", only_optimizer_restored),
    Bug("only_scheduler_restored", "single_sample_at_resume", only_scheduler_restored, _closed),
    Bug("only_scheduler_restored_recursive", "factor_at_resume", only_scheduler_restored, lambda s: s.recursive),
    Bug("one_behind", "offset_at_resume", one_behind),
    Bug("fast_forwarded_twice", "offset_at_resume", fast_forwarded_twice),
    Bug("frozen_after_resume", "frozen_at_resume", frozen_after_resume),
    Bug("horizon_rebuilt", "horizon_at_resume", horizon_rebuilt, _has("horizon")),
    Bug("other_rate_after_resume", "factor_at_resume", other_rate_after_resume, lambda shape: True),
    Bug("built_after_loading", "single_sample_at_resume", built_after_loading, _closed),
    Bug("advances_on_skips", "skipped_updates", advances_on_skips),
)
