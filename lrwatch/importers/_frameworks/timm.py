"""timm.scheduler (timm 1.0.31). t is the epoch or update number that timm's loop passes, from 0; w = warmup_t.

timm sets the learning rate of epoch (or update) t to the value at t, except the first, which uses what the constructor
set: warmup_lr_init, or lr. Without ``warmup_prefix`` the curve does not wait
for the warm-up: it begins at t = 0 and is seen from t = w on. Noise is random and cannot be promised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice

from lrwatch.errors import ContractError
from lrwatch.importers._parts import (
    Cycle,
    Part,
    Schedule,
    cut,
    geometric,
    in_cycles,
    part,
    positive,
    sequence,
    share,
)


def _made(lr: float, parts: Sequence[Part], w: int, init: float, prefix: bool, peak: float | None = None) -> Schedule:
    """The curve behind its warm-up; ``peak`` is where the warm-up ends when that is not at lr."""
    base = positive(lr, "timm", "lr")
    if not w:
        whole = Schedule(base, sequence(*parts))
        if whole.value(0) == base:
            return whole
        first = part("constant", "epoch 0 uses what the constructor left, lr", for_=1)
        return Schedule(base, sequence(first, *cut(whole.parts, 1)))
    how = "then the curve from its start" if prefix else f"then the curve as it is at t = {w}"
    warmup = part("linear", f"warm-up of {w} from warmup_lr_init, {how}", from_=init, to=peak, for_=w)
    return Schedule(base, sequence(warmup, *(parts if prefix else cut(parts, w))))


def _cycles(t_initial: float, mul: float, limit: int, make: Callable[[Cycle], Part], lr_min: float) -> list[Part]:
    if limit < 1:
        raise ContractError(f"must be at least 1, got {limit}", source="timm", path="cycle_limit")

    def which(t: int) -> int:
        if mul == 1:
            return int(t // t_initial)
        return math.floor(math.log(1 - t / t_initial * (1 - mul), mul))

    *cycles, after = islice(geometric(t_initial, mul, which, math.inf), limit + 1)
    return [*in_cycles(cycles, make, after.first), part("constant", "lr_min after the last cycle", at=lr_min)]


def _peak(cycle: Cycle, decay: float) -> str | None:
    return None if cycle.number == 0 or decay == 1.0 else share(decay**cycle.number)


def cosine(
    *,
    lr: float,
    t_initial: int,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    k_decay: float = 1.0,
) -> Schedule:
    """lr_min + (lr·decay^i - lr_min)·(1 + cos(π·x^k))/2 in cycle i, x the share of it that is over.
    First value: warmup_lr_init, or lr. Past the end: lr_min.
    """
    plain = k_decay == 1.0

    def make(cycle: Cycle) -> Part:
        shape = {} if plain else {"shape": "cosine", "k": k_decay}
        why = f"cosine, cycle {cycle.number + 1} of {cycle_limit}" + ("" if plain else f", k-decay {k_decay:g}")
        return part("cosine" if plain else "k_decay", why, **shape, from_=_peak(cycle, cycle_decay), to=lr_min)

    parts = _cycles(t_initial, cycle_mul, cycle_limit, make, lr_min)
    return _made(lr, parts, warmup_t, warmup_lr_init, warmup_prefix)


def tanh(
    *,
    lr: float,
    t_initial: int,
    lb: float = -7.0,
    ub: float = 3.0,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
) -> Schedule:
    """lr_min + (lr·decay^i - lr_min)·(1 - tanh(lb·(1 - x) + ub·x))/2; without prefix the warm-up ends at the curve.
    First value: warmup_lr_init, or lr. Past the end: lr_min, with a jump.
    """

    def make(cycle: Cycle) -> Part:
        why = f"tanh, cycle {cycle.number + 1} of {cycle_limit}"
        return part("tanh", why, from_=_peak(cycle, cycle_decay), to=lr_min, lower=lb, upper=ub)

    parts = _cycles(t_initial, cycle_mul, cycle_limit, make, lr_min)
    peak = None
    if warmup_t and not warmup_prefix:
        peak = Schedule(positive(lr, "timm", "lr"), tuple(parts)).value(warmup_t)
    return _made(lr, parts, warmup_t, warmup_lr_init, warmup_prefix, peak)


def poly(
    *,
    lr: float,
    t_initial: int,
    power: float = 0.5,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    k_decay: float = 1.0,
) -> Schedule:
    """lr_min + (lr·decay^i - lr_min)·(1 - x^k)^power in cycle i; the factory gives decay_rate as power.
    First value: warmup_lr_init, or lr. Past the end: lr_min.
    """
    plain = k_decay == 1.0

    def make(cycle: Cycle) -> Part:
        shape = {} if plain else {"shape": "polynomial", "k": k_decay}
        why = f"poly, cycle {cycle.number + 1} of {cycle_limit}" + ("" if plain else f", k-decay {k_decay:g}")
        ends = {"from_": _peak(cycle, cycle_decay), "to": lr_min, "power": power}
        return part("polynomial" if plain else "k_decay", why, **shape, **ends)

    parts = _cycles(t_initial, cycle_mul, cycle_limit, make, lr_min)
    return _made(lr, parts, warmup_t, warmup_lr_init, warmup_prefix)


def step(
    *,
    lr: float,
    decay_t: float,
    decay_rate: float = 1.0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
) -> Schedule:
    """lr·decay_rate^⌊t/decay_t⌋, t less the warm-up by default. First value: warmup_lr_init, or lr.
    Past the end: goes on dropping.
    """
    curve = part("step", "step", every=decay_t, gamma=decay_rate) if decay_rate != 1.0 else part("constant", "constant")
    return _made(lr, [curve], warmup_t, warmup_lr_init, warmup_prefix)


def multistep(
    *,
    lr: float,
    decay_t: Sequence[float],
    decay_rate: float = 1.0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
) -> Schedule:
    """lr·decay_rate^#{m ≤ t + 1}: each drop comes one before its milestone. First value: warmup_lr_init, or lr.
    Past the end: the last value.
    """
    why = f"multistep: timm drops one before each of {list(decay_t)}"
    milestones = [max(m - 1, 0) for m in decay_t]
    curve = part("multi_step", why, milestones=milestones, gamma=decay_rate) if milestones else part("constant")
    return _made(lr, [curve], warmup_t, warmup_lr_init, warmup_prefix)


def wsd(
    *,
    lr: float,
    t_initial: int,
    decay_t: int,
    lr_min: float = 0.0,
    stable_fn: str = "constant",
    stable_timescale: float | None = None,
    stable_power: float = 0.5,
    decay_fn: str = "1-sqrt",
    decay_power: float = 0.5,
    decay_ratio: float = 0.1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
) -> Schedule:
    """lr_min + (max(lr·s(t - w), lr_min) - lr_min)·d(x): s constant, rsqrt or power, d over the last decay_t, shapes
    linear, 1-sqrt, cosine, power, exp. First value: warmup_lr_init, or lr. Past the end: lr_min.
    """
    shapes: dict[str, dict[str, str | float]] = {
        "linear": {"shape": "polynomial"},
        "1-sqrt": {"shape": "polynomial", "k": 0.5},
        "cosine": {"shape": "cosine"},
        "power": {"shape": "polynomial", "k": decay_power},
        "exp": {"shape": "exponential", "ratio": decay_ratio},
    }
    stables = ("constant", "rsqrt", "power")
    for key, known, got in (("decay_fn", tuple(shapes), decay_fn), ("stable_fn", stables, stable_fn)):
        if got not in known:
            raise ContractError(f"must be one of {', '.join(known)}; got {got!r}", source="timm.wsd", path=key)
    stable_t, why = t_initial - decay_t, f"{decay_fn} decay over the last {decay_t}"
    decay = shapes[decay_fn]
    if stable_fn == "constant":
        parts = [
            part("constant", "stable", for_=stable_t),
            part("k_decay", why, **decay, to=lr_min, for_=decay_t),
            part("constant", "lr_min from then on", at=lr_min),
        ]
        return _made(lr, sequence(*parts), warmup_t, warmup_lr_init, prefix=True)
    timescale = warmup_t if stable_timescale is None else stable_timescale
    power = 0.5 if stable_fn == "rsqrt" else stable_power
    stable = {"inverse_power": {"timescale": timescale, "power": power, "min": lr_min}}
    down = part("k_decay", "", **decay, to="0%", for_=decay_t).plain()
    factor = [{"constant": {"for": stable_t}}, down] if stable_t else down
    whole = part("product", f"{stable_fn}, timescale {timescale:g}; {why}", of=[stable, factor], to=lr_min)
    return _made(lr, [whole], warmup_t, warmup_lr_init, prefix=True)


def plateau(
    *,
    lr: float,
    metric: str,
    decay_rate: float = 0.1,
    patience_t: int = 10,
    threshold: float = 1e-4,
    cooldown_t: int = 0,
    warmup_t: int = 0,
    lr_min: float = 0.0,
    mode: str = "max",
) -> Schedule:
    """torch's ReduceLROnPlateau, per epoch. First value: lr. Past the end: the same rule."""
    if warmup_t:
        what = "makes the plateau ignore the metrics of the warm-up, which a contract cannot say; use no warm-up"
        raise ContractError(what, source="timm.plateau", path="warmup_t")
    rule = {"metric": metric, "mode": mode, "factor": decay_rate, "patience": patience_t, "threshold": threshold,
            "cooldown": cooldown_t, "floor": lr_min}  # fmt: skip
    return _made(lr, [part("plateau", "plateau, on the metric as the trace records it", **rule)], 0, 0.0, True)


SCHEDULES = {
    "cosine": cosine,
    "tanh": tanh,
    "poly": poly,
    "step": step,
    "multistep": multistep,
    "wsd": wsd,
    "plateau": plateau,
}
