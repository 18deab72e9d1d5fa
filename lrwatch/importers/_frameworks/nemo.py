"""nemo.core.optim.lr_scheduler (NeMo 3.0). t counts ``scheduler.step()`` calls; W = warmup_steps, T = max_steps.

The warm-up of most policies is (t + 1)/(W + 1) for t ≤ W: full at t = W. A ratio is ``int(ratio·max_steps)`` steps.
"""

from __future__ import annotations

import math

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Part, Schedule, part, positive, sequence


def _made(lr: float, *parts: Part | None) -> Schedule:
    return Schedule(positive(lr, "nemo", "lr"), sequence(*parts))


def _warmup(steps: int) -> tuple[int, Part | None]:
    """The first step after the warm-up, and the warm-up."""
    if steps <= 0:
        return 0, None
    why = f"warm-up (t + 1)/{steps + 1}, full at t = {steps}"
    return steps + 1, part("linear", why, from_=0, offset=1, over=steps + 1, for_=steps + 1)


def _after(max_steps: int | None, min_lr: float) -> Part | None:
    return None if max_steps is None else part("constant", "min_lr past max_steps", at=min_lr)


def _policy(lr: float, warmup: int, max_steps: int, min_lr: float, decay: Part) -> Schedule:
    """Warm-up, ``decay`` from the step after it to max_steps inclusive, then min_lr."""
    start, up = _warmup(warmup)
    timed = part(decay.family, decay.why, **decay.params, for_=max_steps + 1 - start)
    return _made(lr, up, timed, _after(max_steps, min_lr))


def constant(*, lr: float, warmup_steps: int = 0, max_steps: int | None = None, min_lr: float = 0.0) -> Schedule:
    """The warm-up, then lr. First value: lr/(W + 1). Past the end: min_lr."""
    start, up = _warmup(warmup_steps)
    duration = None if max_steps is None else max_steps + 1 - start
    return _made(lr, up, part("constant", "WarmupPolicy", for_=duration), _after(max_steps, min_lr))


def hold(*, lr: float, max_steps: int, warmup_steps: int = 0, hold_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """The warm-up, then lr, held or not. First value: lr/(W + 1). Past the end: min_lr."""
    del hold_steps  # what follows the hold is the same value
    return constant(lr=lr, warmup_steps=warmup_steps, max_steps=max_steps, min_lr=min_lr)


def square(*, lr: float, max_steps: int, warmup_steps: int = 0, min_lr: float = 1e-5) -> Schedule:
    """The warm-up, then max(min_lr, lr·((T - t)/(T - W))²). First value: lr/(W + 1). Past the end: min_lr."""
    offset = 1 if warmup_steps else None
    decay = part("polynomial", "not below min_lr", power=2, over=max_steps - warmup_steps, offset=offset, min=min_lr)
    return _policy(lr, warmup_steps, max_steps, min_lr, decay)


def square_root(*, lr: float, max_steps: int, warmup_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """The warm-up, then max(min_lr, lr·√((T - t)/T)), below lr at once. First value: lr/(W + 1).
    Past the end: min_lr.
    """
    offset = warmup_steps + 1 if warmup_steps else None
    why = "counts from 0, so the warm-up ends with a drop; not below min_lr"
    decay = part("polynomial", why, power=0.5, over=max_steps, offset=offset, min=min_lr)
    return _policy(lr, warmup_steps, max_steps, min_lr, decay)


def cosine(
    *, lr: float, max_steps: int, warmup_steps: int = 0, constant_steps: int = 0, min_lr: float = 0.0
) -> Schedule:
    """The warm-up, then min_lr + (lr - min_lr)·(1 + cos(π·p))/2 to T; with constant_steps C the warm-up is t/W and the
    cosine ends at T - C. First value: lr/(W + 1), or 0 with constant_steps. Past the end: min_lr.
    """
    if not constant_steps:
        offset = 1 if warmup_steps else None
        decay = part("cosine", "cosine to min_lr at max_steps", to=min_lr, over=max_steps - warmup_steps, offset=offset)
        return _policy(lr, warmup_steps, max_steps, min_lr, decay)
    up = part("linear", f"constant_steps: warm-up t/{warmup_steps}", from_=0, for_=warmup_steps)
    steps = max_steps - constant_steps - warmup_steps
    down = part("cosine", f"cosine over {steps} steps, then min_lr", to=min_lr, for_=steps)
    return _made(lr, up if warmup_steps else None, down)


def noam(
    *, lr: float, d_model: int, warmup_steps: int = 0, max_steps: int | None = None, min_lr: float = 0.0
) -> Schedule:
    """lr/√d·min(1/√t, t/W^1.5), t at least 1; not below min_lr after the warm-up. First value: that of t = 1.
    Past the end: goes on.
    """
    del max_steps  # nothing ends there
    peak = lr / math.sqrt(d_model * max(warmup_steps, 1))
    decay = {"timescale": max(warmup_steps, 1), "min": min_lr}
    if not warmup_steps:
        first = part("constant", "t = 0 counts as 1", for_=1)
        return _made(peak, first, part("inverse_sqrt", f"lr/√{d_model}/√t, not below min_lr", **decay))
    first = part("linear", "t = 0 counts as 1", from_=0, over=warmup_steps, offset=1, for_=1)
    up = part("linear", f"warm-up of {warmup_steps}", from_=0, over=warmup_steps, offset=1, for_=warmup_steps)
    return _made(peak, first, up, part("inverse_sqrt", "1/√t, not below min_lr", offset=1, **decay))


def noam_hold(
    *,
    lr: float,
    max_steps: int,
    warmup_steps: int,
    hold_steps: int = 0,
    decay_rate: float = 0.5,
    min_lr: float = 0.0,
) -> Schedule:
    """The warm-up, lr for H steps, then max(min_lr, lr·(W/(t - H))^decay_rate). First value: lr/(W + 1).
    Past the end: min_lr.
    """
    start, up = _warmup(warmup_steps)
    if up is None:
        raise ContractError("cannot be used without a warm-up", source="nemo.NoamHoldAnnealing", path="warmup_steps")
    stay = max(hold_steps - 1, 0)  # the hold ends hold_steps after t = W
    offset = 1 if hold_steps == 0 else None
    why = f"(W/(t - H))^{decay_rate:g}, not below min_lr"
    for_ = max_steps + 1 - start - stay
    down = part("inverse_power", why, timescale=warmup_steps, power=decay_rate, offset=offset, min=min_lr, for_=for_)
    return _made(lr, up, part("constant", "hold", for_=stay), down, _after(max_steps, min_lr))


def hold_one_minus_sqrt(
    *, lr: float, max_steps: int, warmup_steps: int = 0, hold_steps: int = 0, min_lr: float = 0.0
) -> Schedule:
    """The warm-up, lr for H steps, then max(min_lr, lr·(1 - √p)). First value: lr/(W + 1). Past the end: min_lr."""
    shape = {"shape": "polynomial", "k": 0.5}
    return _held(
        lr, max_steps, warmup_steps, hold_steps, min_lr, part("k_decay", "not below min_lr", **shape, min=min_lr)
    )


def hold_linear(
    *, lr: float, max_steps: int, warmup_steps: int = 0, hold_steps: int = 0, min_lr: float = 0.0
) -> Schedule:
    """The warm-up, lr for H steps, then the line to min_lr at T. First value: lr/(W + 1). Past the end: min_lr."""
    return _held(lr, max_steps, warmup_steps, hold_steps, min_lr, part("linear", "to min_lr at max_steps", to=min_lr))


def hold_polynomial(
    *,
    lr: float,
    max_steps: int,
    warmup_steps: int = 0,
    hold_steps: int = 0,
    min_lr: float = 0.0,
    power: float = 1.0,
) -> Schedule:
    """The warm-up, lr for H steps, then min_lr + (lr - min_lr)·(1 - p)^power. First value: lr/(W + 1).
    Past the end: min_lr.
    """
    decay = part("polynomial", "to min_lr at max_steps", to=min_lr, power=power)
    return _held(lr, max_steps, warmup_steps, hold_steps, min_lr, decay)


def _held(lr: float, max_steps: int, warmup: int, hold_steps: int, min_lr: float, decay: Part) -> Schedule:
    """Warm-up, lr until the hold is over (counted from t = W), ``decay`` from there to max_steps, then min_lr."""
    if not hold_steps:
        raise ContractError(
            "is 0, where NeMo's formula takes the wrong start; give a hold", source="nemo", path="hold_steps"
        )
    start, up = _warmup(warmup)
    end = warmup + hold_steps
    down = part(decay.family, decay.why, **decay.params, for_=max_steps - end)
    return _made(lr, up, part("constant", "hold", for_=end - start), down, _after(max_steps, min_lr))


def linear(*, lr: float, max_steps: int, warmup_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """The warm-up, then the line from lr at t = W to min_lr at T. First value: lr/(W + 1). Past the end: min_lr."""
    offset = 1 if warmup_steps else None
    decay = part("linear", "to min_lr at max_steps", to=min_lr, over=max_steps - warmup_steps, offset=offset)
    return _policy(lr, warmup_steps, max_steps, min_lr, decay)


def polynomial(
    *, lr: float, max_steps: int, warmup_steps: int = 0, min_lr: float = 0.0, power: float = 1.0
) -> Schedule:
    """The warm-up, then min_lr + (lr - min_lr)·(1 - p)^power, p = (t - W)/(T - W). First value: lr/(W + 1).
    Past the end: min_lr.
    """
    offset = 1 if warmup_steps else None
    why = "to min_lr at max_steps"
    decay = part("polynomial", why, to=min_lr, power=power, over=max_steps - warmup_steps, offset=offset)
    return _policy(lr, warmup_steps, max_steps, min_lr, decay)


def inverse_sqrt(*, lr: float, max_steps: int, warmup_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """The warm-up, then lr·√((W + 1)/(t + 1)). First value: lr/(W + 1). Past the end: jumps to min_lr."""
    offset = 1 if warmup_steps else None
    decay = part("inverse_sqrt", "√((W + 1)/(t + 1))", timescale=warmup_steps + 1, offset=offset)
    return _policy(lr, warmup_steps, max_steps, min_lr, decay)


def t5_inverse_sqrt(*, max_steps: int, constant_steps: int, min_lr: float = 0.0) -> Schedule:
    """1/√C to t = C, then 1/√t, whatever lr is. First value: 1/√C. Past the end: jumps to min_lr."""
    first = part(
        "constant", f"1/√{constant_steps}: the optimizer's learning rate plays no part", for_=constant_steps + 1
    )
    down = part("inverse_sqrt", "1/√t", timescale=constant_steps, offset=1, for_=max_steps - constant_steps)
    return _made(1 / math.sqrt(constant_steps), first, down, _after(max_steps, min_lr))


SCHEDULES = {
    "WarmupPolicy": constant,
    "WarmupHoldPolicy": hold,
    "SquareAnnealing": square,
    "SquareRootAnnealing": square_root,
    "CosineAnnealing": cosine,
    "NoamAnnealing": noam,
    "NoamHoldAnnealing": noam_hold,
    "WarmupHoldAnnealOneMinusSquareRoot": hold_one_minus_sqrt,
    "WarmupHoldAnnealLinear": hold_linear,
    "WarmupAnnealing": linear,
    "InverseSquareRootAnnealing": inverse_sqrt,
    "T5InverseSquareRootAnnealing": t5_inverse_sqrt,
    "PolynomialDecayAnnealing": polynomial,
    "PolynomialHoldDecayAnnealing": hold_polynomial,
}
