"""transformers.get_scheduler (transformers 5.23): LambdaLR on lr, T = num_training_steps, w = num_warmup_steps.

t counts ``scheduler.step()`` calls, one per update in the Trainer. Ratios are of the optimizer's own learning rate:
``min_lr`` and ``lr_end`` scale with a group's base, as they do there.
"""

from __future__ import annotations

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Cycle, Part, Schedule, in_cycles, part, positive, sequence, share


def _made(lr: float, *parts: Part | None) -> Schedule:
    return Schedule(positive(lr, "transformers", "lr"), sequence(*parts))


def _warmup(steps: float) -> Part:
    return part("linear", f"num_warmup_steps {steps:g}: update t uses t/{steps:g}", from_=0, for_=steps)


def constant(*, lr: float) -> Schedule:
    """lr; a warm-up is ignored. First value: lr. Past the end: lr."""
    return _made(lr, part("constant", "constant: ignores num_warmup_steps"))


def constant_with_warmup(*, lr: float, num_warmup_steps: int) -> Schedule:
    """lr·min(1, t/w). First value: 0. Past the end: lr."""
    return _made(lr, _warmup(num_warmup_steps), part("constant", "after the warm-up"))


def linear(*, lr: float, num_warmup_steps: int, num_training_steps: int) -> Schedule:
    """Warm-up t/w, then (T - t)/(T - w). First value: 0. Past the end: 0."""
    steps = num_training_steps - num_warmup_steps
    if steps <= 0:
        return _made(lr, _warmup(num_warmup_steps), part("constant", "no training steps are left", at=0))
    why = f"linear: 0 at num_training_steps {num_training_steps}"
    return _made(lr, _warmup(num_warmup_steps), part("linear", why, to=0, for_=steps))


def cosine(*, lr: float, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Schedule:
    """Warm-up t/w, then (1 + cos(2π·c·p))/2, p = (t - w)/(T - w). First value: 0. Past the end: climbs back."""
    wave = _wave(num_training_steps - num_warmup_steps, num_cycles, 0)
    return _made(lr, _warmup(num_warmup_steps), wave)


def _wave(steps: int, num_cycles: float, low: float | str, offset: int | None = None) -> Part:
    steps = max(1, steps)
    if num_cycles == 0:
        return part("constant", "no cycles")
    half = steps / (2.0 * num_cycles)
    what = "past num_training_steps it climbs back" if num_cycles == 0.5 else f"{num_cycles:g} waves"
    return part("cosine", f"cosine: {what}", to=low, for_=half, offset=offset, after="mirror")


def cosine_with_restarts(
    *, lr: float, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 1
) -> Schedule:
    """Warm-up t/w, then (1 + cos(π·(c·p mod 1)))/2, p = (t - w)/(T - w). First value: 0. Past the end: 0."""
    steps = max(1, num_training_steps - num_warmup_steps)
    if num_cycles <= 0:
        raise ContractError(f"must be > 0, got {num_cycles}", source="transformers", path="num_cycles")
    period = steps / num_cycles
    why = f"num_cycles {num_cycles:g}: {period:g} steps each; 0 from num_training_steps on"
    # p·c comes out below a whole number at some restarts, and the step is then still in the cycle before
    late = [k for k in range(1, int(num_cycles)) if k * steps % num_cycles == 0 and _cycle(k, steps, num_cycles) < k]
    if not late:
        wave = part("cosine_restarts", why, period=period, for_=steps, after="hold")
        return _made(lr, _warmup(num_warmup_steps), wave)
    cycles = [
        Cycle(k, -(-k * steps // int(num_cycles)) + (k in late), k * period, period) for k in range(int(num_cycles))
    ]
    waves = in_cycles(cycles, lambda cycle: part("cosine", f"{why}; cycle {cycle.number + 1}", to=0))
    return _made(lr, _warmup(num_warmup_steps), *waves, part("constant", "0 from num_training_steps on", at=0))


def _cycle(k: int, steps: int, num_cycles: float) -> int:
    """The cycle that transformers' rounded arithmetic puts the first step of cycle k in."""
    return int(float(num_cycles) * (float(k * steps // num_cycles) / float(steps)))


def polynomial(
    *, lr: float, num_warmup_steps: int, num_training_steps: int, lr_end: float = 1e-7, power: float = 1.0
) -> Schedule:
    """Warm-up t/w, then lr_end + (lr - lr_end)·(1 - p)^power. First value: 0. Past the end: lr_end."""
    if not lr > lr_end:
        raise ContractError(f"must be smaller than lr ({lr:g}), got {lr_end:g}", source="transformers", path="lr_end")
    why = "polynomial: lr_end is a ratio of the optimizer's default learning rate, so it scales with the group's"
    steps = num_training_steps - num_warmup_steps
    return _made(lr, _warmup(num_warmup_steps), part("polynomial", why, to=share(lr_end / lr), power=power, for_=steps))


def inverse_sqrt(*, lr: float, num_warmup_steps: int, timescale: int | None = None) -> Schedule:
    """Warm-up t/w, then √(τ/(t + τ - w)), τ = timescale, else w, else 10 000. First value: 0. Past the end: goes on."""
    scale = timescale if timescale is not None else num_warmup_steps or 10_000
    why = f"inverse_sqrt: timescale {'= num_warmup_steps' if timescale is None and num_warmup_steps else scale}"
    return _made(lr, _warmup(num_warmup_steps), part("inverse_sqrt", why, timescale=scale))


def _low(lr: float, min_lr: float | None, min_lr_rate: float | None) -> str:
    if (min_lr is None) == (min_lr_rate is None):
        raise ContractError("give exactly one of min_lr and min_lr_rate", source="transformers", path="min_lr")
    return share(min_lr / lr if min_lr is not None else float(min_lr_rate or 0.0))


def cosine_with_min_lr(
    *,
    lr: float,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> Schedule:
    """Warm-up t/w, then m + (1 - m)·(1 + cos(2π·c·p))/2, m = min_lr/lr. First value: 0. Past the end: climbs back."""
    wave = _wave(num_training_steps - num_warmup_steps, num_cycles, _low(lr, min_lr, min_lr_rate))
    return _made(lr, _warmup(num_warmup_steps), wave)


def cosine_warmup_with_min_lr(
    *,
    lr: float,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> Schedule:
    """Warm-up (t + 1)/w, then the cosine at p = (t - w + 1)/(T - w): full at t = w - 1, lowest at T - 1.
    First value: lr/w, or lr·warmup_lr_rate. Past the end: climbs back.
    """
    w = num_warmup_steps
    if warmup_lr_rate is None:
        warmup = part("linear", f"warm-up a step ahead: (t + 1)/{w}", from_=0, over=max(1, w), offset=1, for_=w)
    else:
        why = f"warmup_lr_rate {warmup_lr_rate:g}, full at t = {w - 1}"
        warmup = part("linear", why, from_=share(warmup_lr_rate), over=max(1, w - 1), for_=w)
    return _made(lr, warmup, _wave(num_training_steps - w, num_cycles, _low(lr, min_lr, min_lr_rate), offset=1))


def warmup_stable_decay(
    *,
    lr: float,
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
) -> Schedule:
    """From m up to 1 in w steps, 1, then down to m in num_decay_steps, m = min_lr_ratio; shapes linear, cosine, 1-sqrt.
    First value: lr·min_lr_ratio. Past the end: lr·min_lr_ratio.
    """
    w, d, low = num_warmup_steps, num_decay_steps, share(min_lr_ratio)
    stable = num_stable_steps
    if stable is None:
        if num_training_steps is None:
            raise ContractError("needs num_training_steps or num_stable_steps", source="transformers")
        stable = num_training_steps - w - d
    up = f"{warmup_type} warm-up from min_lr_ratio, {w} steps"
    down = f"{decay_type} decay to min_lr_ratio, {d} steps"
    warmups = {
        "linear": part("linear", up, from_=low, for_=w),
        "cosine": part("cosine", up, from_=low, to="100%", for_=w),
        "1-sqrt": part("polynomial", up, from_=low, to="100%", power=0.5, for_=w),
    }
    late = -stable if stable < 0 else None  # no room: the decay is under way when the warm-up ends
    end = d + min(stable, 0)
    half = d / (2.0 * num_cycles) if num_cycles else None
    decays = {
        "linear": part("linear", down, to=low, over=d, for_=end, offset=late),
        "cosine": part("cosine", down, to=low, over=half, for_=end, offset=late, after="mirror")
        if half
        else part("constant", down, for_=end),
        "1-sqrt": part("k_decay", down, shape="polynomial", k=0.5, to=low, over=d, for_=end, offset=late),
    }
    for key, known, got in (("warmup_type", warmups, warmup_type), ("decay_type", decays, decay_type)):
        if got not in known:
            raise ContractError(f"must be one of {', '.join(known)}; got {got!r}", source="transformers", path=key)
    return _made(
        lr,
        warmups[warmup_type],
        part("constant", "stable", for_=max(stable, 0)),
        decays[decay_type] if end > 0 else None,
        part("constant", "min_lr_ratio from then on", at=low),
    )


def greedy(**_: object) -> Schedule:
    """Raised and lowered as the metric improves or does not. First value: lr. Past the end: the same rule."""
    raise ContractError("reacts to the loss in both directions, which a contract cannot promise", source="greedy")


SCHEDULES = {
    "constant": constant,
    "constant_with_warmup": constant_with_warmup,
    "linear": linear,
    "cosine": cosine,
    "cosine_with_restarts": cosine_with_restarts,
    "polynomial": polynomial,
    "inverse_sqrt": inverse_sqrt,
    "cosine_with_min_lr": cosine_with_min_lr,
    "cosine_warmup_with_min_lr": cosine_warmup_with_min_lr,
    "warmup_stable_decay": warmup_stable_decay,
}
