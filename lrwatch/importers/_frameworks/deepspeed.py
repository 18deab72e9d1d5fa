"""deepspeed.runtime.lr_schedules (DeepSpeed 0.19.8). t counts updates that were applied.

The engine steps the scheduler after each update that did not overflow, and the scheduler's own index starts at -1:
update 0 uses the value that the constructor set, update t the value at index i = t - 1. W = max(2, warmup_num_steps).
"""

from __future__ import annotations

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Part, Schedule, part, positive, sequence, share


def _made(base: float, *parts: Part | None) -> Schedule:
    return Schedule(positive(base, "deepspeed", "lr"), sequence(*parts))


def _first(value: float | str) -> Part:
    return part("constant", "update 0 uses what the constructor set", at=value, for_=1)


def _warmup(kind: str, steps: int, low: float | str) -> tuple[int, Part]:
    """W, and its W updates."""
    steps = max(2, steps)
    if kind == "linear":
        return steps, part("linear", f"warmup_type linear: i/{steps} at update i + 1", from_=low, for_=steps)
    why = f"warmup_type log: ln(i + 1)/ln {steps} at update i + 1"
    return steps, part("logarithmic", why, from_=low, for_=steps)


def warmup(
    *, warmup_max_lr: float, warmup_min_lr: float = 0.0, warmup_num_steps: int = 1000, warmup_type: str = "log"
) -> Schedule:
    """min + (max - min)·g, g = ln(i + 1)/ln W or i/W, then max. First value: warmup_min_lr, twice.
    Past the end: warmup_max_lr.
    """
    _, up = _warmup(warmup_type, warmup_num_steps, warmup_min_lr)
    return _made(warmup_max_lr, _first(warmup_min_lr), up, part("constant", "warmup_max_lr from then on"))


def warmup_decay(
    *,
    total_num_steps: int,
    warmup_max_lr: float = 0.001,
    warmup_min_lr: float = 0.0,
    warmup_num_steps: int = 1000,
    warmup_type: str = "log",
) -> Schedule:
    """The warm-up, then min + (max - min)·(T - i)/(T - W). First value: warmup_min_lr, twice. Past the end: min."""
    steps, up = _warmup(warmup_type, warmup_num_steps, warmup_min_lr)
    left = total_num_steps - steps
    why = f"down to warmup_min_lr at update {total_num_steps + 1}: total_num_steps {total_num_steps}, one late"
    down = part("linear", why, to=warmup_min_lr, for_=left) if left > 0 else part("constant", at=warmup_min_lr)
    return _made(warmup_max_lr, _first(warmup_min_lr), up, down)


def warmup_cosine(
    *,
    lr: float,
    total_num_steps: int,
    warmup_min_ratio: float = 0.0,
    warmup_num_steps: int = 1000,
    cos_min_ratio: float = 0.0001,
    warmup_type: str = "log",
) -> Schedule:
    """lr times the warm-up from warmup_min_ratio, then the cosine at (i - W + 1)/(T - W), which skips the peak.
    First value: 0, then lr·warmup_min_ratio. Past the end: lr·cos_min_ratio.
    """
    steps, up = _warmup(warmup_type, warmup_num_steps, share(warmup_min_ratio))
    left = max(1, total_num_steps - steps)
    why = f"one step into the cosine already: skips the peak; lowest from update {total_num_steps} on"
    return _made(lr, _first(0), up, part("cosine", why, to=share(cos_min_ratio), for_=left, offset=1))


def range_test(
    *,
    lr_range_test_min_lr: float = 1e-3,
    lr_range_test_step_size: int = 2000,
    lr_range_test_step_rate: float = 1.0,
    lr_range_test_staircase: bool = False,
) -> Schedule:
    """min·(1 + rate·t/size), t/size rounded down with staircase. First value: min. Past the end: no end, it grows."""
    line = part(
        "linear",
        f"LRRangeTest: {lr_range_test_step_rate:g} of it more every {lr_range_test_step_size} updates, for ever",
        to=share(1 + lr_range_test_step_rate),
        for_=lr_range_test_step_size,
        stairs=lr_range_test_step_size if lr_range_test_staircase else None,
        after="continue",
    )
    return _made(lr_range_test_min_lr, line)


def one_cycle(
    *,
    cycle_min_lr: float,
    cycle_max_lr: float,
    decay_lr_rate: float = 0.0,
    cycle_first_step_size: int = 2000,
    cycle_second_step_size: int | None = None,
    cycle_first_stair_count: int = 0,
    cycle_second_stair_count: int | None = None,
    decay_step_size: int = 0,
) -> Schedule:
    """Lines up to max and down to min, in stairs if so wished, then min/(1 + rate·j/size). First value: cycle_min_lr.
    Past the end: decays on, or stays at min.
    """
    first, second = _halves(cycle_first_step_size, cycle_second_step_size)
    stairs = (cycle_first_stair_count, _or(cycle_second_stair_count, cycle_first_stair_count))
    up, down = _flight(first, stairs[0], "first"), _flight(second, stairs[1], "second")
    after = part("constant", "no decay after the cycle")
    if decay_step_size and decay_lr_rate:
        after = part("inverse_power", "decay after the cycle", timescale=decay_step_size / decay_lr_rate)
    peak = cycle_max_lr
    tail = (
        _on(after, cycle_min_lr / peak) if after.family != "constant" else part("constant", after.why, at=cycle_min_lr)
    )
    return _made(
        peak,
        part("linear", f"up in {first} updates", from_=cycle_min_lr, for_=first, **up),
        part("linear", f"down in {second}", to=cycle_min_lr, for_=second, **(down | _rounded_up(down))),
        tail,
    )


def one_cycle_momentum(
    *,
    cycle_min_mom: float = 0.8,
    cycle_max_mom: float = 0.9,
    decay_mom_rate: float = 0.0,
    cycle_first_step_size: int = 2000,
    cycle_second_step_size: int | None = None,
    decay_step_size: int = 0,
) -> Schedule:
    """Adam's beta1: max down to min and back, then max·(1 + rate·j/size), above 1 in the end.
    First value: cycle_min_mom. Past the end: grows on, or stays at max.
    """
    first, second = _halves(cycle_first_step_size, cycle_second_step_size)
    after = part("constant", "after the cycle")
    if decay_step_size and decay_mom_rate:
        why = "grows after the cycle; bounded by nothing"
        after = part("linear", why, to=share(1 + decay_mom_rate), for_=decay_step_size, after="continue")
    return _made(
        cycle_max_mom,
        _first(cycle_min_mom),
        part("linear", "down while lr goes up", to=cycle_min_mom, over=first, offset=1, for_=first - 1),
        part("linear", "and back up", from_=cycle_min_mom, for_=second),
        after,
    )


def _halves(first: int, second: int | None) -> tuple[int, int]:
    return int(first), int(_or(second, first))


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _flight(steps: int, count: int, which: str) -> dict[str, int]:
    if not count:
        return {}
    if steps % count:
        what = f"does not divide the {which} {steps} updates into stairs of whole updates, got {count}"
        raise ContractError(what, source="deepspeed.OneCycle", path=f"cycle_{which}_stair_count")
    return {"stairs": steps // count}


def _rounded_up(stairs: dict[str, int]) -> dict[str, int]:
    """On the way down a stair is as high as its lower end."""
    return {"offset": stairs["stairs"] - 1} if stairs else {}


def _on(p: Part, ratio: float) -> Part:
    return part("product", p.why, of=[{"constant": {"at": share(ratio)}}, p.plain()])


SCHEDULES = {
    "WarmupLR": warmup,
    "WarmupDecayLR": warmup_decay,
    "WarmupCosineLR": warmup_cosine,
    "LRRangeTest": range_test,
    "OneCycle": one_cycle,
    "OneCycle momentum": one_cycle_momentum,
}
