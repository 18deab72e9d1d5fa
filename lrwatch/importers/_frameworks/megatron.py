"""Megatron-LM's OptimizerParamScheduler (megatron-core 0.16.1). t = num_steps, which counts samples of applied updates.

Updates stand at multiples of the global batch size. All times may be given in updates instead (``unit`` = the batch
size): the values are the same. ``lr_warmup_steps`` W and ``lr_decay_steps`` T as Megatron derives them, not floored.
"""

from __future__ import annotations

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Part, Schedule, part, positive, sequence

DECAYS: dict[str, dict[str, str | float]] = {
    "linear": {"shape": "polynomial"},
    "cosine": {"shape": "cosine"},
    "exponential": {"shape": "exponential", "ratio": 0.5},
    "minus_sqrt": {"shape": "polynomial", "k": 0.5},
}


def _made(max_lr: float, init_lr: float, warmup: float, *parts: Part | None) -> Schedule:
    up = part("linear", f"warm-up from init_lr, {warmup:g} long", from_=init_lr, for_=warmup)
    return Schedule(positive(max_lr, "megatron", "max_lr"), sequence(up if warmup > 0 else None, *parts))


def constant(*, max_lr: float, init_lr: float = 0.0, lr_warmup_steps: float = 0) -> Schedule:
    """The warm-up, then max_lr. First value: init_lr. Past the end: max_lr, which min_lr does not end."""
    return _made(max_lr, init_lr, lr_warmup_steps, part("constant", "lr_decay_style constant"))


def linear(
    *, max_lr: float, min_lr: float, lr_decay_steps: float, init_lr: float = 0.0, lr_warmup_steps: float = 0
) -> Schedule:
    """init + (max - init)·t/W to t = W, then the line to min_lr at T. First value: init_lr. Past the end: min_lr."""
    down = part("linear", "lr_decay_style linear", to=min_lr, for_=lr_decay_steps - lr_warmup_steps)
    return _made(max_lr, init_lr, lr_warmup_steps, down)


def cosine(
    *, max_lr: float, min_lr: float, lr_decay_steps: float, init_lr: float = 0.0, lr_warmup_steps: float = 0
) -> Schedule:
    """The warm-up to t = W, then min + (max - min)·(1 + cos(π·p))/2. First value: init_lr. Past the end: min_lr."""
    down = part("cosine", "lr_decay_style cosine", to=min_lr, for_=lr_decay_steps - lr_warmup_steps)
    return _made(max_lr, init_lr, lr_warmup_steps, down)


def inverse_square_root(
    *,
    max_lr: float,
    min_lr: float,
    lr_decay_steps: float,
    init_lr: float = 0.0,
    lr_warmup_steps: float = 0,
    unit: float = 1,
) -> Schedule:
    """The warm-up, then max(min_lr, max_lr·√(W/t)) to t = T. First value: init_lr. Past the end: jumps to min_lr."""
    sample = 1.0 / unit
    scale = max(lr_warmup_steps, sample)  # max(W, 1) samples
    # Without a warm-up, max(t, 1): the first sample has the value of the second.
    wait = part("constant", "before the first sample", for_=sample) if lr_warmup_steps < sample else None
    begins = max(lr_warmup_steps, sample)
    why = "lr_decay_style inverse-square-root, not below min_lr"
    down = part("inverse_sqrt", why, timescale=scale, min=min_lr, for_=lr_decay_steps + sample - begins)
    after = part("constant", "past lr_decay_steps it jumps to min_lr", at=min_lr)
    return _made(max_lr, init_lr, lr_warmup_steps if lr_warmup_steps >= sample else 0, wait, down, after)


def wsd(
    *,
    max_lr: float,
    min_lr: float,
    lr_decay_steps: float,
    wsd_decay_steps: float,
    lr_wsd_decay_style: str = "exponential",
    init_lr: float = 0.0,
    lr_warmup_steps: float = 0,
    unit: float = 1,
) -> Schedule:
    """The warm-up, max_lr to T - D, then down to min_lr at T: linear, cosine, minus_sqrt, exponential.
    First value: init_lr. Past the end: min_lr.
    """
    if lr_wsd_decay_style not in DECAYS:
        known = f"must be one of {', '.join(DECAYS)}; got {lr_wsd_decay_style!r}"
        raise ContractError(known, source="megatron", path="lr_wsd_decay_style")
    stable = lr_decay_steps - wsd_decay_steps - lr_warmup_steps
    late = {}
    if stable < 0:  # the decay is under way when the warm-up ends, which is still full at t = W
        sample = 1.0 / unit
        late = {"offset": sample - stable, "over": wsd_decay_steps}
        wsd_decay_steps, stable = wsd_decay_steps + stable - sample, sample
    shape = DECAYS[lr_wsd_decay_style]
    down = part("k_decay", f"WSD, {lr_wsd_decay_style}", **shape, to=min_lr, for_=wsd_decay_steps, **late)
    return _made(max_lr, init_lr, lr_warmup_steps, part("constant", "stable", for_=stable), down)


def weight_decay(*, start_wd: float, end_wd: float, wd_incr_steps: float, wd_incr_style: str = "constant") -> Schedule:
    """start + (end - start)·f(t/N), f linear or (1 - cos(π·t/N))/2, or constant. First value: start_wd.
    Past the end: end_wd.
    """
    base = max(end_wd, start_wd)
    if base == 0:
        return Schedule(1.0, (part("constant", "no weight decay", at=0),))
    if wd_incr_style == "constant":
        if start_wd != end_wd:
            problem = f"is constant, but start_wd is {start_wd:g} and end_wd {end_wd:g}"
            raise ContractError(problem, source="megatron", path="wd_incr_style")
        return Schedule(base, (part("constant", "weight_decay_incr_style constant"),))
    if wd_incr_style not in ("linear", "cosine"):
        problem = f"must be constant, linear or cosine, got {wd_incr_style!r}"
        raise ContractError(problem, source="megatron", path="wd_incr_style")
    why = f"weight_decay_incr_style {wd_incr_style}"
    return Schedule(base, (part(wd_incr_style, why, from_=start_wd, to=end_wd, for_=wd_incr_steps),))


SCHEDULES = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "inverse-square-root": inverse_square_root,
    "WSD": wsd,
    "weight decay": weight_decay,
}
