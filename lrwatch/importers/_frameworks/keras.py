"""keras.optimizers.schedules (Keras 3.15), computed in float32. t = ``optimizer.iterations``, from 0.

Parameters are those of ``get_config()``. With gradient accumulation Keras counts micro-batches, not updates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Part, Schedule, geometric, in_cycles, part, positive, sequence, share


def _made(lr: float, *parts: Part | None, name: str = "initial_learning_rate") -> Schedule:
    return Schedule(positive(lr, "keras", name), sequence(*parts), dtype="float32")


def constant(*, learning_rate: float) -> Schedule:
    """learning_rate. First value: learning_rate. Past the end: learning_rate."""
    return _made(learning_rate, part("constant", "a number, no schedule"), name="learning_rate")


def exponential(
    *, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
) -> Schedule:
    """a·rate^(t/n), the exponent rounded down with staircase. First value: a. Past the end: goes on decaying."""
    family = "step" if staircase else "exponential"
    why = f"ExponentialDecay{', staircase' if staircase else ''}"
    return _made(initial_learning_rate, part(family, why, gamma=decay_rate, every=decay_steps))


def piecewise_constant(*, boundaries: Sequence[int], values: Sequence[float]) -> Schedule:
    """values[i]; a boundary still has the value before it. First value: values[0]. Past the end: the last value."""
    if len(boundaries) != len(values) - 1:
        raise ContractError("needs one more value than boundaries", source="keras.PiecewiseConstantDecay")
    starts = [0, *(b + 1 for b in boundaries)]
    levels = [
        part("constant", f"until step {end - 1}, the boundary included", at=value, for_=end - start)
        for value, start, end in zip(values, starts, starts[1:], strict=False)
    ]
    return _made(max(values), *levels, part("constant", "after the last boundary", at=values[-1]), name="values")


def polynomial(
    *,
    initial_learning_rate: float,
    decay_steps: float,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
    steps: int | None = None,
) -> Schedule:
    """e + (a - e)·(1 - min(t, n)/n)^p; cycle: over the next multiple of n, up to ``steps``. First value: a.
    Past the end: e.
    """
    ends = {"to": end_learning_rate, "power": power}
    if not cycle:
        return _made(initial_learning_rate, part("polynomial", "PolynomialDecay", **ends, for_=decay_steps))
    if steps is None:
        raise ContractError("stretches with every cycle: needs steps, the length of the run", source="keras.cycle")
    parts = [part("polynomial", "PolynomialDecay, cycle 1", **ends, for_=decay_steps + 1, over=decay_steps)]
    for i in range(2, max(2, math.ceil(steps / decay_steps)) + 1):
        start = (i - 1) * decay_steps + 1  # a multiple of decay_steps still belongs to the cycle before
        why = f"cycle {i}: over {i}·decay_steps, from the beginning"
        parts.append(part("polynomial", why, **ends, for_=decay_steps, over=i * decay_steps, offset=start))
    return _made(initial_learning_rate, *parts)


def inverse_time(
    *, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
) -> Schedule:
    """a/(1 + rate·t/n), t/n rounded down with staircase. First value: a. Past the end: goes on decaying."""
    if decay_rate == 0:
        return _made(initial_learning_rate, part("constant", "InverseTimeDecay with decay_rate 0"))
    stairs = decay_steps if staircase else None
    why = f"InverseTimeDecay{', staircase' if staircase else ''}"
    return _made(initial_learning_rate, part("inverse_power", why, timescale=decay_steps / decay_rate, stairs=stairs))


def cosine(
    *,
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: float = 0,
) -> Schedule:
    """Line from a to the target in w steps, then target·(α + (1 - α)·(1 + cos(π·p))/2) over decay_steps, which come
    after the warm-up. First value: a. Past the end: α·target.
    """
    peak = initial_learning_rate if warmup_target is None else warmup_target
    warmup = None
    if warmup_target is not None:
        why = f"warm-up of {warmup_steps:g} steps to warmup_target"
        warmup = part("linear", why, from_=initial_learning_rate, for_=warmup_steps)
    decay = part("cosine", "CosineDecay: decay_steps begin after the warm-up", to=share(alpha), for_=decay_steps)
    return _made(peak, warmup, decay, name="initial_learning_rate" if warmup_target is None else "warmup_target")


def cosine_restarts(
    *,
    initial_learning_rate: float,
    first_decay_steps: float,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
    steps: int | None = None,
) -> Schedule:
    """a·(α + (1 - α)·m^i·(1 + cos(π·x))/2) in cycle i of length n·t_mul^i. First value: a. Past the end: restarts.

    Where the cycle is found by a float32 logarithm (t_mul ≠ 1), some restarts come a step late: up to ``steps`` they
    are written out as Keras computes them.
    """
    if t_mul == 1.0:
        shrink = {"decay": m_mul, "decays": "amplitude"} if m_mul != 1.0 else {}
        wave = part("cosine_restarts", "CosineDecayRestarts", period=first_decay_steps, to=share(alpha), **shrink)
        return _made(initial_learning_rate, wave)
    if steps is None:
        raise ContractError(
            f"with t_mul {t_mul:g} finds its cycles by a rounded logarithm: needs steps, the length of the run",
            source="keras.CosineDecayRestarts",
        )
    cycles = geometric(first_decay_steps, t_mul, lambda t: _cycle(t, first_decay_steps, t_mul), steps)
    parts = in_cycles(
        cycles,
        lambda c: part(
            "cosine",
            f"CosineDecayRestarts, cycle {c.number + 1}",
            from_=share(alpha + (1 - alpha) * m_mul**c.number) if m_mul != 1.0 and c.number else None,
            to=share(alpha),
        ),
    )
    return _made(initial_learning_rate, *parts)


def _cycle(t: int, first: float, t_mul: float) -> int:
    """The number of the cycle that step t is in, as Keras finds it."""
    one, over = np.float32(1.0), np.float32(t) / np.float32(first)
    m = np.float32(t_mul)
    return int(np.floor(np.log(one - over * (one - m)) / np.log(m)))


SCHEDULES = {
    "constant": constant,
    "ExponentialDecay": exponential,
    "PiecewiseConstantDecay": piecewise_constant,
    "PolynomialDecay": polynomial,
    "InverseTimeDecay": inverse_time,
    "CosineDecay": cosine,
    "CosineDecayRestarts": cosine_restarts,
}
