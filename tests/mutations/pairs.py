"""Two bugs in one run, each made by driving the real scheduler wrongly in two ways at once, or one after the other.

``truth`` are the two causes, in no order. A run whose curve one cause explains as well is named by that one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.mutations.bugs import Run, Segments
from tests.mutations.shapes import Shape


@dataclass(frozen=True)
class Pair:
    """Two ways to go wrong at once; ``where`` says for which shapes it makes sense."""

    name: str
    truth: frozenset[str]
    make: Callable[[Run], Segments]
    where: Callable[[Shape], bool] = lambda shape: shape.name not in ("constant", "one_cycle")


def _stepped(run: Run, times: Callable[[int], int], base: float = 1.0, **plan: float) -> Segments:
    loop = run.loop(base=base, plan={**run.plan, **plan})
    loop.step_scheduler = times
    return [loop.run(run.steps)]


def _c(run: Run) -> float:
    return float(run.rng().choice([0.5, 2.0, 8.0, 1.7, 0.1]))


def _stop(run: Run) -> int:
    return int(run.rng().integers(run.steps // 4, run.steps // 2))


def _longer(run: Run) -> int:
    return round(run.steps * float(run.rng().choice([1.3, 1.5, 2.0])))


def base_and_one_ahead(run: Run) -> Segments:
    loop = run.loop(base=_c(run))
    loop.optimizer.step()
    loop.scheduler.step()
    return [loop.run(run.steps - 1)]


def base_and_one_behind(run: Run) -> Segments:
    return _stepped(run, lambda t: int(t > 0), _c(run))


def base_and_per_worker(run: Run) -> Segments:
    return _stepped(run, lambda t: run.world, _c(run))


def base_and_per_epoch(run: Run) -> Segments:
    return _stepped(run, lambda t: int((t + 1) % run.per_epoch == 0), _c(run))


def base_and_also_per_epoch(run: Run) -> Segments:
    return _stepped(run, lambda t: 1 + int((t + 1) % run.per_epoch == 0), _c(run))


def base_and_horizon(run: Run) -> Segments:
    return _stepped(run, lambda t: 1, _c(run), T=_longer(run))


def base_and_stopped(run: Run) -> Segments:
    return _stepped(run, lambda t: int(t < _stop(run)), _c(run))


def base_and_never_stepped(run: Run) -> Segments:
    return _stepped(run, lambda t: 0, _c(run))


def per_worker_and_horizon(run: Run) -> Segments:
    return _stepped(run, lambda t: run.world, T=_longer(run))


def one_behind_and_horizon(run: Run) -> Segments:
    return _stepped(run, lambda t: int(t > 0), T=_longer(run))


def horizon_and_stopped(run: Run) -> Segments:
    return _stepped(run, lambda t: int(t < _stop(run)), T=_longer(run))


def no_warmup_and_horizon(run: Run) -> Segments:
    return _stepped(run, lambda t: 1, T=_longer(run), W=0)


def no_warmup_and_base(run: Run) -> Segments:
    return _stepped(run, lambda t: 1, _c(run), W=0)


def other_warmup_and_horizon(run: Run) -> Segments:
    return _stepped(run, lambda t: 1, T=_longer(run), W=run.plan["W"] + 13)


def per_worker_and_stopped(run: Run) -> Segments:
    stop = max(2, _stop(run) // run.world)
    return _stepped(run, lambda t: run.world * int(t < stop))


def no_floor_and_horizon(run: Run) -> Segments:
    return _stepped(run, lambda t: 1, T=_longer(run), floor=0.0)


def no_floor_and_one_behind(run: Run) -> Segments:
    return _stepped(run, lambda t: int(t > 0), floor=0.0)


def per_worker_and_not_restored(run: Run) -> Segments:
    r = run.resume_at() // run.world
    loops = [run.loop(), run.loop()]
    for loop in loops:
        loop.step_scheduler = lambda t: run.world
    loops[1].update = loops[1].attempt = r
    return [loops[0].run(r), loops[1].run(run.steps // run.world)]


def base_and_not_restored(run: Run) -> Segments:
    r, c = run.resume_at(), _c(run)
    loops = [run.loop(base=c), run.loop(base=c)]
    loops[1].update = loops[1].attempt = r
    return [loops[0].run(r), loops[1].run(run.steps - r)]


def halved_on_the_way(run: Run) -> Segments:
    """One bug from the start, another from some step on: somebody lowers the base rate of a run with a wrong one."""
    loop = run.loop(base=2.0).run(_stop(run))
    for group in loop.optimizer.param_groups:
        group["lr"] /= 10.0
        group["initial_lr"] /= 10.0
    loop.scheduler.base_lrs = [b / 10.0 for b in loop.scheduler.base_lrs]
    return [loop.run(run.steps - loop.update)]


def _warm(shape: Shape) -> bool:
    return "warmup" in shape.tells and shape.name.startswith("hf")


def _ends(shape: Shape) -> bool:
    return "horizon" in shape.tells and shape.name != "one_cycle"


def _floored(shape: Shape) -> bool:
    return "floor" in shape.tells


def _closed(shape: Shape) -> bool:
    return not shape.recursive and shape.name not in ("constant", "one_cycle")


PAIRS: tuple[Pair, ...] = (
    Pair("base_and_one_ahead", frozenset({"factor", "offset"}), base_and_one_ahead),
    Pair("base_and_one_behind", frozenset({"factor", "offset"}), base_and_one_behind),
    Pair("base_and_per_worker", frozenset({"factor", "rate"}), base_and_per_worker),
    Pair("base_and_per_epoch", frozenset({"factor", "staircase"}), base_and_per_epoch),
    Pair("base_and_also_per_epoch", frozenset({"factor", "extra_per_epoch"}), base_and_also_per_epoch),
    Pair("base_and_horizon", frozenset({"factor", "horizon"}), base_and_horizon, _ends),
    Pair("base_and_stopped", frozenset({"factor", "frozen"}), base_and_stopped),
    Pair("base_and_never_stepped", frozenset({"factor", "frozen"}), base_and_never_stepped),
    Pair("per_worker_and_horizon", frozenset({"rate", "horizon"}), per_worker_and_horizon, _ends),
    Pair("one_behind_and_horizon", frozenset({"offset", "horizon"}), one_behind_and_horizon, _ends),
    Pair("horizon_and_stopped", frozenset({"horizon", "frozen"}), horizon_and_stopped, _ends),
    Pair("no_warmup_and_horizon", frozenset({"warmup_missing", "horizon"}), no_warmup_and_horizon, _warm),
    Pair("no_warmup_and_base", frozenset({"warmup_missing", "factor"}), no_warmup_and_base, _warm),
    Pair("other_warmup_and_horizon", frozenset({"warmup_length", "horizon"}), other_warmup_and_horizon, _warm),
    Pair("per_worker_and_stopped", frozenset({"rate", "frozen"}), per_worker_and_stopped),
    Pair("no_floor_and_horizon", frozenset({"floor", "horizon"}), no_floor_and_horizon, _floored),
    Pair("no_floor_and_one_behind", frozenset({"floor", "offset"}), no_floor_and_one_behind, _floored),
    Pair("per_worker_and_not_restored", frozenset({"rate", "restart_at_resume"}), per_worker_and_not_restored, _closed),
    Pair("base_and_not_restored", frozenset({"factor", "restart_at_resume"}), base_and_not_restored, _closed),
    Pair("halved_on_the_way", frozenset({"factor"}), halved_on_the_way, _closed),
)
