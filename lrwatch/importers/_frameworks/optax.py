"""optax.schedules (optax 0.2.8), computed in float32. t = the count that the optimizer passes, from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lrwatch.errors import ContractError
from lrwatch.importers._join import joined
from lrwatch.importers._parts import Part, Schedule, part, positive, sequence, share


def _made(peak: float, *parts: Part | None) -> Schedule:
    return Schedule(positive(peak, "optax", "init_value"), sequence(*parts), dtype="float32")


def constant(*, value: float) -> Schedule:
    """value. First value: value. Past the end: value."""
    return _made(value, part("constant", "constant_schedule"))


def polynomial(
    *, init_value: float, end_value: float, power: float, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """end + (init - end)·(1 - clip(t - begin, 0, n)/n)^power. First value: init. Past the end: end."""
    base = max(init_value, end_value)
    if transition_steps <= 0:
        return _made(init_value, part("constant", "no transition_steps: init_value for ever", at=init_value))
    family = {"family": "linear"} if power == 1 else {"family": "polynomial", "power": power}
    why = f"over transition_steps {transition_steps}"
    ends = {"from_": init_value, "to": end_value, "for_": transition_steps}
    move = part(str(family.pop("family")), why, **ends, **family)
    wait = part("constant", "until transition_begin", at=init_value, for_=max(transition_begin, 0))
    return _made(base, wait, move)


def linear(*, init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0) -> Schedule:
    """The line from init to end. First value: init. Past the end: end."""
    return polynomial(
        init_value=init_value,
        end_value=end_value,
        power=1,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )


def piecewise_constant(*, init_value: float, boundaries_and_scales: Mapping[int, float] | None = None) -> Schedule:
    """init times every scale whose boundary b ≤ t. First value: init. Past the end: the last value."""
    value, start, levels = init_value, 0, []
    for boundary, scale in sorted((int(b), s) for b, s in (boundaries_and_scales or {}).items()):
        levels.append(part("constant", f"until {boundary}", at=value, for_=boundary - start))
        value, start = value * scale, boundary
    return _made(init_value, *levels, part("constant", "after the last boundary", at=value))


def piecewise_interpolate(
    *, interpolate_type: str, init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """From init to init·scale₁ at boundary₁, on to ·scale₂ at boundary₂, …, along lines or cosines. First value: init.
    Past the end: the last value.
    """
    if interpolate_type not in ("linear", "cosine"):
        problem = f"must be linear or cosine, got {interpolate_type!r}"
        raise ContractError(problem, source="optax", path="interpolate_type")
    value, start, levels = init_value, 0, [init_value]
    parts = []
    for boundary, scale in sorted((int(b), s) for b, s in (boundaries_and_scales or {}).items()):
        ends = {"from_": value, "to": value * scale, "for_": boundary - start}
        parts.append(part(interpolate_type, f"to boundary {boundary}", **ends))
        value, start = value * scale, boundary
        levels.append(value)
    return _made(max(levels), *parts, part("constant", "after the last boundary", at=value))


def exponential(
    *,
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """init·rate^((t - begin)/n), the exponent rounded down with staircase, clipped at end_value. First value: init.
    Past the end: goes on to end_value.
    """
    if transition_steps <= 0 or decay_rate == 0:
        return _made(init_value, part("constant", "no transition: init_value for ever"))
    bound = {} if end_value is None else {"min" if decay_rate < 1 else "max": end_value}
    wait = part("constant", "until transition_begin", for_=max(transition_begin, 0), **bound)
    family, why = ("step" if staircase else "exponential"), f"decay_rate every {transition_steps} steps"
    return _made(init_value, wait, part(family, why, gamma=decay_rate, every=transition_steps, **bound))


def cosine(*, init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0) -> Schedule:
    """init·(α + (1 - α)·((1 + cos(π·t/n))/2)^exponent). First value: init. Past the end: α·init."""
    if exponent == 1.0:
        return _made(init_value, part("cosine", "cosine_decay_schedule", to=share(alpha), for_=decay_steps))
    shape = {"shape": "cosine", "power": exponent}
    return _made(init_value, part("k_decay", f"exponent {exponent:g}", **shape, to=share(alpha), for_=decay_steps))


def linear_onecycle(
    *,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Lines: peak/div, peak at int(pct_start·N), peak/div at int(pct_final·N), peak/div/final_div at N.
    First value: peak/div_factor. Past the end: peak/div_factor/final_div_factor.
    """
    scales = [
        (int(pct_start * transition_steps), div_factor),
        (int(pct_final * transition_steps), 1.0 / div_factor),
        (transition_steps, 1.0 / final_div_factor),
    ]
    return piecewise_interpolate(
        interpolate_type="linear", init_value=peak_value / div_factor, boundaries_and_scales=dict(scales)
    )


def cosine_onecycle(
    *,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Cosines: peak/div, peak at int(pct_start·N), peak/div/final_div at N. First value: peak/div_factor.
    Past the end: peak/div_factor/final_div_factor.
    """
    scales = [
        (int(pct_start * transition_steps), div_factor),
        (int(transition_steps), 1.0 / (div_factor * final_div_factor)),
    ]
    return piecewise_interpolate(
        interpolate_type="cosine", init_value=peak_value / div_factor, boundaries_and_scales=dict(scales)
    )


def warmup_constant(*, init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    """The line from init to peak in w steps. First value: init. Past the end: peak."""
    return linear(init_value=init_value, end_value=peak_value, transition_steps=warmup_steps)


def warmup_cosine(
    *,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Schedule:
    """The line from init to peak in w steps, then the cosine to end; decay_steps count from 0, the warm-up included.
    First value: init. Past the end: end_value.
    """
    decay = cosine(
        init_value=peak_value, decay_steps=decay_steps - warmup_steps, alpha=end_value / peak_value, exponent=exponent
    )
    return join(schedules=[_line_up(init_value, peak_value, warmup_steps), decay], boundaries=[warmup_steps])


def warmup_exponential(
    *,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """The line from init to peak in w steps, then exponential decay, which counts from there. First value: init.
    Past the end: goes on to end_value.
    """
    decay = exponential(
        init_value=peak_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        staircase=staircase,
        end_value=end_value,
    )
    return join(schedules=[_line_up(init_value, peak_value, warmup_steps), decay], boundaries=[warmup_steps])


def _line_up(init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    if warmup_steps <= 0:
        return _made(peak_value, part("constant", at=init_value))
    line = part("linear", f"warmup_steps {warmup_steps}", from_=init_value, to=peak_value, for_=warmup_steps)
    return _made(peak_value, line)


def sgdr(*, cosine_kwargs: Sequence[Mapping[str, float]]) -> Schedule:
    """One warmup_cosine after another, each decay_steps long. First value: the first init_value.
    Past the end: the last end_value.
    """
    cycles = [warmup_cosine(**kwargs) for kwargs in cosine_kwargs]  # type: ignore[arg-type]  # optax's own keywords
    ends, total = [], 0
    for kwargs in cosine_kwargs:
        total += int(kwargs["decay_steps"])
        ends.append(total)
    return join(schedules=cycles, boundaries=ends[:-1])


def join(*, schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Each on its own time from its boundary on, the boundary included. First value: the first one's.
    Past the end: the last one's.
    """
    return joined(schedules, boundaries)


SCHEDULES = {
    "constant_schedule": constant,
    "polynomial_schedule": polynomial,
    "linear_schedule": linear,
    "piecewise_constant_schedule": piecewise_constant,
    "piecewise_interpolate_schedule": piecewise_interpolate,
    "exponential_decay": exponential,
    "cosine_decay_schedule": cosine,
    "linear_onecycle_schedule": linear_onecycle,
    "cosine_onecycle_schedule": cosine_onecycle,
    "warmup_constant_schedule": warmup_constant,
    "warmup_cosine_decay_schedule": warmup_cosine,
    "warmup_exponential_decay_schedule": warmup_exponential,
    "sgdr_schedule": sgdr,
    "join_schedules": join,
}
