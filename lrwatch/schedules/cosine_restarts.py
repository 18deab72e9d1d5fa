r"""Cosine decay that starts again at the peak, each cycle as long as the one before or a multiple of it (SGDR).

    f(t) = to + (from·decayⁿ - to) · (1 + cos(π·(t - Sₙ)/Tₙ)) / 2          Sₙ ≤ t < Sₙ + Tₙ

    Tₙ = period·multiplyⁿ, the length of cycle n = 0, 1, …; Sₙ = T₀ + … + Tₙ₋₁, where it begins

    with ``decays``: peak  as above · amplitude  to + (from - to)·decayⁿ·… · whole  decayⁿ·(to + (from - to)·…)

First value: ``from`` (default the base). At t = Sₙ: the peak of cycle n, not ``to``, which whole steps never reach.
Past L: ``continue`` (the default) goes on restarting (torch); ``hold`` keeps ``to`` from t = L on, which is
transformers' ``cosine_with_restarts`` with ``period`` L/num_cycles, and timm's ``cycle_limit``.

Example:
    ``{cosine_restarts: {period: 1000, multiply: 2, to: 1%}}``

Source: Loshchilov and Hutter, SGDR, 2016, eq. 5; torch.optim.lr_scheduler.CosineAnnealingWarmRestarts with
``period`` as ``T_0``, ``multiply`` as ``T_mult`` and ``to`` as ``eta_min``; timm CosineLRScheduler's
``cycle_decay`` as ``decay`` of the peak, Keras CosineDecayRestarts' ``m_mul`` as that of the amplitude, fairseq's
``lr_shrink`` as that of the whole.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, cycles, half_cosine

_MOST_LANDMARKS = 8


def cosine_restarts(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    cycle, x = _position(t, p["period"], p["multiply"])
    shrunk = np.power(p["decay"], cycle) if p["decay"] != 1.0 else 1.0
    value: FloatArray
    if p["decays"] == "peak":
        value = half_cosine(x, p["from"] * shrunk, p["to"])
    elif p["decays"] == "amplitude":
        value = half_cosine(x, p["to"] + (p["from"] - p["to"]) * shrunk, p["to"])
    else:
        value = half_cosine(x, p["from"], p["to"]) * shrunk
    length = p.get("length")
    if p["after"] == "hold" and length is not None:
        value = np.where(t >= length, p["to"], value)
    return value


def _position(t: FloatArray, period: float, multiply: int) -> tuple[FloatArray | float, FloatArray]:
    """The cycle that each ``t`` is in and the share of it that is over.

    Growing cycles are looked up by their starts; the closed form with a logarithm is off by one at some of them.
    """
    if multiply == 1:
        cycle, at = cycles(t, period)
        return cycle, at / period
    starts, lengths = [0.0], [period]
    while starts[-1] + lengths[-1] <= t.max(initial=0.0):
        starts.append(starts[-1] + lengths[-1])
        lengths.append(lengths[-1] * multiply)
    first, last = np.searchsorted(starts, (t.min(initial=np.inf), t.max(initial=0.0)), side="right") - 1
    if first == last:  # most chunks of a long run lie in one cycle
        return float(first), (t - starts[first]) / lengths[first]
    index = np.searchsorted(starts, t, side="right") - 1
    return index.astype(np.float64), (t - np.take(starts, index)) / np.take(lengths, index)


def _restarts(p: Params) -> dict[str, float]:
    """Where the first restarts are, as many as the length holds."""
    marks: dict[str, float] = {}
    at = length = p["period"]
    while at < (p.get("length") or np.inf) and len(marks) < _MOST_LANDMARKS:
        marks[f"restart {len(marks) + 1}"] = at
        length *= p["multiply"]
        at += length
    return marks


FAMILY = Family(
    "cosine_restarts",
    cosine_restarts,
    (
        Param("period", "count", "length of the first cycle"),
        Param("multiply", "whole", "each cycle is this many times as long as the one before", default=1, ge=1),
        Param("from", "value", "value at the start of the first cycle", default="100%", ge=0),
        Param("to", "value", "value that each cycle decays to", default=0.0, ge=0),
        Param("decay", "number", "each cycle is this share of the one before", default=1.0, gt=0, le=1),
        Param("decays", "choice", "of what", default="peak", choices=("peak", "amplitude", "whole")),
    ),
    after=("continue", "hold"),
    landmarks=_restarts,
)
