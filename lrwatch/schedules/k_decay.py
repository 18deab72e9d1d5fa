r"""Decay that is slower or faster at first: a power of time inside, a power of the shape outside.

    f(t) = to + (from - to) · g(y)^power          y = (t/L)^k,  0 ≤ t ≤ L

    g(y) = (1 + cos(π·y))/2  cosine · 1 - y  polynomial · (ratio^y - ratio)/(1 - ratio)  exponential

First value: ``from`` (default the base). At t = L: ``to``. k < 1 falls faster at first, k > 1 later.
``k: 0.5`` with ``polynomial`` is 1 - √(t/L); with k = 1 and power = 1 it is ``cosine`` or a straight line.
Past L: ``hold`` keeps ``to``; ``continue`` follows the formula, below zero too (``polynomial`` with a whole power
only: a fraction has no power of a negative number).

Example:
    ``{k_decay: {shape: polynomial, k: 0.5, until: horizon}}``

Source: Zhang and Li, k-decay, 2020; timm CosineLRScheduler and PolyLRScheduler with ``k_decay`` as ``k``; optax
cosine_decay_schedule with ``exponent`` as ``power``; timm WSDLRScheduler's ``power`` and ``exp``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, fold

_SHAPES: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    "cosine": lambda y, ratio: (1.0 + np.cos(np.pi * y)) / 2.0,
    "polynomial": lambda y, ratio: 1.0 - y,
    "exponential": lambda y, ratio: (np.power(ratio, y) - ratio) / (1.0 - ratio),
}


def k_decay(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    y = np.power(fold(t, p["length"], p["after"]) / p["length"], p["k"])
    left = _SHAPES[p["shape"]](y, p["ratio"])
    if p["after"] == "hold":
        left = np.maximum(left, 0.0)  # rounding at t = L
    value: FloatArray = p["to"] + (p["from"] - p["to"]) * (np.power(left, p["power"]) if p["power"] != 1.0 else left)
    return value


def _has_values(p: Params) -> str | None:
    if p["shape"] == "exponential" and p["ratio"] == 1.0:
        return "ratio must not be 1, which does not decay"
    if p["shape"] == "exponential" and p["ratio"] > 1.0 and p.get("after") == "continue":
        return f"ratio ({p['ratio']:g}) falls without end past the length; make it less than 1, or `after: hold`"
    if p.get("after") == "continue" and not float(p["power"]).is_integer():
        return f"power ({p['power']:g}) has no value past the length; make it whole, or `after: hold`"
    return None


FAMILY = Family(
    "k_decay",
    k_decay,
    (
        Param("shape", "choice", "what the decay looks like for k = 1", choices=tuple(_SHAPES)),
        Param("k", "number", "power of the share of the length that is over", default=1.0, gt=0),
        Param("power", "number", "power of the shape", default=1.0, gt=0),
        Param("from", "value", "value at the start", default="100%", ge=0),
        Param("to", "value", "value at the end", default=0.0, ge=0),
        Param("ratio", "number", "where an exponential shape would end, were it not stretched to 0", default=0.5, gt=0),
    ),
    length="required",
    after=("hold", "continue"),
    check=_has_values,
)
