"""composer.optim.scheduler (Composer 0.32.1). t counts what the times are given in: batches, samples or tokens.

Composer multiplies lr by α(timestamp). ``t_*`` are numbers here: the importer has turned ``100ba``, ``1ep``, ``0.1dur``
into the units of the clock. Schedulers with a warm-up refuse to train past t_max.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from lrwatch.importers._join import multiplied
from lrwatch.importers._parts import Cycle, Part, Schedule, part, positive, sequence, share


def _made(lr: float, *parts: Part | None) -> Schedule:
    return Schedule(positive(lr, "composer", "lr"), sequence(*parts))


def _warmup(t_warmup: float, top: float = 1.0) -> Part:
    return part("linear", f"t_warmup {t_warmup:g}", from_=0, to=None if top == 1.0 else share(top), for_=t_warmup)


def step(*, lr: float, step_size: float, gamma: float = 0.1) -> Schedule:
    """lr·gamma^⌊t/step_size⌋. First value: lr. Past the end: goes on dropping."""
    return _made(lr, part("step", "StepScheduler", every=step_size, gamma=gamma))


def multi_step(*, lr: float, milestones: Sequence[float], gamma: float = 0.1) -> Schedule:
    """lr·gamma^#{m ≤ t}. First value: lr. Past the end: the last value."""
    return _made(lr, part("multi_step", "MultiStepScheduler", milestones=sorted(milestones), gamma=gamma))


def constant(*, lr: float, t_max: float, alpha: float = 1.0) -> Schedule:
    """lr·alpha for t < t_max, then lr. First value: lr·alpha. Past the end: lr."""
    first = part("constant", "ConstantScheduler", at=share(alpha), for_=t_max)
    return _made(lr, first, part("constant", "from t_max on"))


def linear(*, lr: float, t_max: float, alpha_i: float = 1.0, alpha_f: float = 0.0) -> Schedule:
    """lr times the line from alpha_i to alpha_f. First value: lr·alpha_i. Past the end: lr·alpha_f."""
    return _made(lr, part("linear", "LinearScheduler", from_=share(alpha_i), to=share(alpha_f), for_=t_max))


def exponential(*, lr: float, gamma: float, decay_period: float) -> Schedule:
    """lr·gamma^(t/decay_period). First value: lr. Past the end: goes on decaying."""
    return _made(lr, part("exponential", "ExponentialScheduler", gamma=gamma, every=decay_period))


def cosine(*, lr: float, t_max: float, alpha_f: float = 0.0) -> Schedule:
    """lr·(α + (1 - α)·(1 + cos(π·t/t_max))/2), α = alpha_f. First value: lr. Past the end: lr·alpha_f."""
    return _made(lr, part("cosine", "CosineAnnealingScheduler", to=share(alpha_f), for_=t_max))


def cosine_restarts(*, lr: float, t_0: float, t_mult: float = 1.0, alpha_f: float = 0.0) -> Schedule:
    """Cosine cycles of t_0, int(t_0·t_mult), … First value: lr. Past the end: restarts."""
    low = share(alpha_f)
    if float(t_mult).is_integer():
        cycle = {"period": t_0, "multiply": int(t_mult) if t_mult != 1 else None, "to": low}
        return _made(lr, part("cosine_restarts", "CosineAnnealingWarmRestartsScheduler", **cycle))
    waves = [
        part("cosine", f"cycle {c.number + 1}, of whole units", to=low, for_=c.length)
        for c in islice(_truncated(t_0, t_mult), 64)
    ]
    return _made(lr, *waves)


def _truncated(length: float, multiply: float) -> list[Cycle]:
    """Cycles whose lengths are rounded down; far more than any run has, or until they stop growing."""
    cycles: list[Cycle] = []
    begins = 0.0
    while len(cycles) < 64 and begins < 2**50:
        cycles.append(Cycle(len(cycles), int(begins), begins, length))
        begins, length = begins + length, float(int(multiply * length))
        if length < 1:
            break
    return cycles


def polynomial(*, lr: float, power: float, t_max: float, alpha_f: float = 0.0) -> Schedule:
    """lr·(α + (1 - α)·(1 - t/t_max)^power). First value: lr. Past the end: lr·alpha_f."""
    return _made(lr, part("polynomial", "PolynomialScheduler", to=share(alpha_f), power=power, for_=t_max))


def multi_step_warmup(*, lr: float, t_warmup: float, milestones: Sequence[float], gamma: float = 0.1) -> Schedule:
    """lr·t/w, then lr·gamma^#{m ≤ t}, milestones counted from 0. First value: 0. Past the end: the last value."""
    drops = part("multi_step", "milestones count from the start", milestones=sorted(milestones), gamma=gamma,
                 offset=t_warmup or None)  # fmt: skip
    return _made(lr, _warmup(t_warmup), drops)


def constant_warmup(*, lr: float, t_warmup: float, t_max: float, alpha: float = 1.0) -> Schedule:
    """lr·alpha·t/w, then lr·alpha. First value: 0. Past the end: refuses to train."""
    del t_max  # must not be less than the run
    return _made(lr, _warmup(t_warmup, alpha), part("constant", "ConstantWithWarmupScheduler", at=share(alpha)))


def linear_warmup(*, lr: float, t_warmup: float, t_max: float, alpha_i: float = 1.0, alpha_f: float = 0.0) -> Schedule:
    """lr·alpha_i·t/w, then the line from alpha_i to alpha_f at t_max. First value: 0.
    Past the end: refuses to train.
    """
    down = part("linear", "to alpha_f at t_max", from_=share(alpha_i), to=share(alpha_f), for_=t_max - t_warmup)
    return _made(lr, _warmup(t_warmup, alpha_i), down)


def cosine_warmup(*, lr: float, t_warmup: float, t_max: float, alpha_f: float = 0.0) -> Schedule:
    """lr·t/w, then lr·(α + (1 - α)·(1 + cos(π·p))/2), p = (t - w)/(t_max - w). First value: 0.
    Past the end: refuses to train.
    """
    return _made(lr, _warmup(t_warmup), part("cosine", "to alpha_f at t_max", to=share(alpha_f), for_=t_max - t_warmup))


def polynomial_warmup(
    *, lr: float, t_warmup: float, t_max: float, power: float = 2.0, alpha_f: float = 0.0
) -> Schedule:
    """lr·t/w, then lr·(α + (1 - α)·(1 - p)^power). First value: 0. Past the end: refuses to train."""
    down = part("polynomial", "to alpha_f at t_max", to=share(alpha_f), power=power, for_=t_max - t_warmup)
    return _made(lr, _warmup(t_warmup), down)


def several(*, schedules: Sequence[Schedule]) -> Schedule:
    """The product of all. First value: the product. Past the end: as each does."""
    return multiplied(schedules, "several schedulers multiply")


SCHEDULES = {
    "StepScheduler": step,
    "MultiStepScheduler": multi_step,
    "ConstantScheduler": constant,
    "LinearScheduler": linear,
    "ExponentialScheduler": exponential,
    "CosineAnnealingScheduler": cosine,
    "CosineAnnealingWarmRestartsScheduler": cosine_restarts,
    "PolynomialScheduler": polynomial,
    "MultiStepWithWarmupScheduler": multi_step_warmup,
    "ConstantWithWarmupScheduler": constant_warmup,
    "LinearWithWarmupScheduler": linear_warmup,
    "CosineAnnealingWithWarmupScheduler": cosine_warmup,
    "PolynomialWithWarmupScheduler": polynomial_warmup,
    "several schedulers": several,
}
