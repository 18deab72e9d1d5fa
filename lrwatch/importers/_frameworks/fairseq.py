"""fairseq.optim.lr_scheduler (fairseq 0.12.2). t = num_updates, which counts applied updates, from 0.

fairseq calls ``step_update(0)`` as soon as it has built the optimizer and ``step_update(n)`` after update n, so update
t uses the value at t. One learning rate, not a list by epoch; no ``force_anneal``.
"""

from __future__ import annotations

import math
from itertools import islice

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Cycle, Part, Schedule, geometric, in_cycles, part, positive, sequence, share


def _made(lr: float, *parts: Part | None) -> Schedule:
    return Schedule(positive(lr, "fairseq", "lr"), sequence(*parts))


def _warmup(updates: int, init: float) -> Part | None:
    return part("linear", f"warmup_updates {updates}", from_=init, for_=updates) if updates > 0 else None


def cosine(
    *,
    lr: float,
    warmup_updates: int = 0,
    warmup_init_lr: float = -1,
    min_lr: float = 0.0,
    t_mult: float = 1.0,
    lr_period_updates: float = -1,
    lr_shrink: float = 0.1,
    max_update: int = 0,
) -> Schedule:
    """shrink^i·(min_lr + (lr - min_lr)·(1 + cos(π·x))/2) in cycle i of length period·t_mult^i.
    First value: warmup_init_lr, or min_lr. Past the end: restarts; the period is max_update - w unless it is given.
    """
    period = lr_period_updates if lr_period_updates > 0 else max_update - warmup_updates
    if period <= 0:
        raise ContractError("needs max_update or lr_period_updates", source="fairseq.cosine")
    up = _warmup(warmup_updates, min_lr if warmup_init_lr < 0 else warmup_init_lr)
    if t_mult == 1:
        shrink = {"decay": lr_shrink, "decays": "whole"} if lr_shrink != 1 else {}
        return _made(lr, up, part("cosine_restarts", "cosine, shrunk as a whole", period=period, to=min_lr, **shrink))
    if max_update <= 0:
        raise ContractError("with t_mult needs max_update, the length of the run", source="fairseq.cosine")

    def which(t: int) -> int:
        return math.floor(math.log(1 - t / period * (1 - t_mult), t_mult))

    def make(cycle: Cycle) -> Part:
        left = lr_shrink**cycle.number
        why = f"cosine, cycle {cycle.number + 1}"
        return part("cosine", why, from_=share(left) if cycle.number else None, to=min_lr * left)

    cycles = islice(geometric(period, t_mult, which, max_update - warmup_updates), 100)
    return _made(lr, up, *in_cycles(cycles, make))


def polynomial(
    *,
    lr: float,
    total_num_update: float,
    warmup_updates: int = 0,
    end_learning_rate: float = 0.0,
    power: float = 1.0,
) -> Schedule:
    """lr·t/w to t = w, then end + (lr - end)·(1 - p)^power. First value: 0, or lr. Past the end: end_learning_rate."""
    down = part("polynomial", "to end_learning_rate at total_num_update", to=end_learning_rate, power=power,
                for_=total_num_update - warmup_updates)  # fmt: skip
    return _made(lr, _warmup(warmup_updates, 0), down)


def inverse_sqrt(*, lr: float, warmup_updates: int = 4000, warmup_init_lr: float = -1) -> Schedule:
    """From warmup_init_lr, or 0, to lr in w updates, then lr·√(w/t). First value: warmup_init_lr, or 0.
    Past the end: goes on.
    """
    if warmup_updates <= 0:
        raise ContractError("must be more than 0: fairseq divides by it", source="fairseq", path="warmup_updates")
    up = _warmup(warmup_updates, max(warmup_init_lr, 0))
    return _made(lr, up, part("inverse_sqrt", "√(w/t)", timescale=warmup_updates))


def tri_stage(
    *,
    lr: float,
    warmup_steps: int = 0,
    hold_steps: int = 0,
    decay_steps: int = 0,
    phase_ratio: tuple[float, float, float] | None = None,
    init_lr_scale: float = 0.01,
    final_lr_scale: float = 0.01,
    max_update: float = 0,
) -> Schedule:
    """From init_lr_scale·lr up in w, lr for h, then lr·final_lr_scale^(j/d). First value: lr·init_lr_scale.
    Past the end: lr·final_lr_scale.
    """
    if phase_ratio is not None:
        warmup_steps, hold_steps, decay_steps = (int(max_update * ratio) for ratio in phase_ratio)
    up = part("linear", f"{warmup_steps} updates up", from_=share(init_lr_scale), for_=warmup_steps)
    down = part("exponential", f"{decay_steps} down to final_lr_scale", gamma=final_lr_scale, every=decay_steps,
                for_=decay_steps)  # fmt: skip
    after = part("constant", "final_lr_scale from then on", at=share(final_lr_scale))
    return _made(lr, up, part("constant", "hold", for_=hold_steps), down, after)


def triangular(
    *,
    lr: float,
    max_lr: float,
    lr_period_updates: float = 5000,
    lr_shrink: float = 0.1,
    shrink_min: bool = False,
) -> Schedule:
    """Lines from lr to max_lr and back; max_lr (and lr with shrink_min) is multiplied by lr_shrink in each cycle.
    First value: lr. Past the end: cycles on.
    """
    size = lr_period_updates // 2
    shrink = {"step": {"every": 2 * size, "gamma": lr_shrink}}
    if shrink_min:
        wave = {"triangular": {"from": share(lr / max_lr), "to": "100%", "up": size}}
        return _made(max_lr, part("product", "triangular, shrunk as a whole", of=[wave, shrink]))
    wave = {"triangular": {"from": "0%", "to": "100%", "up": size}}
    return _made(max_lr, part("product", "triangular, shrunk at the top", of=[shrink, wave], to=lr))


def fixed(*, lr: float, warmup_updates: int = 0) -> Schedule:
    """lr·(t + 1)/w, then lr. First value: lr/w. Past the end: lr."""
    why = f"warm-up (t + 1)/{warmup_updates}"
    up = part("linear", why, from_=0, offset=1, for_=warmup_updates) if warmup_updates else None
    return _made(lr, up, part("constant", "fixed"))


def step(
    *,
    lr: float,
    warmup_updates: int = 0,
    warmup_init_lr: float = -1,
    min_lr: float = 0.0,
    lr_deacy_period: int = 25000,
    lr_decay: float = 0.5,
) -> Schedule:
    """max(min_lr, lr·lr_decay^⌊(t - w)/period⌋). First value: warmup_init_lr, else min_lr. Past the end: to min_lr."""
    up = _warmup(warmup_updates, warmup_init_lr if warmup_init_lr >= 0 else min_lr)
    return _made(lr, up, part("step", "not below min_lr", every=lr_deacy_period, gamma=lr_decay, min=min_lr))


SCHEDULES = {
    "cosine": cosine,
    "polynomial_decay": polynomial,
    "inverse_sqrt": inverse_sqrt,
    "tri_stage": tri_stage,
    "triangular": triangular,
    "fixed": fixed,
    "step": step,
}
