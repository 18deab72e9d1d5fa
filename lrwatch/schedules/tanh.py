r"""Decay along a hyperbolic tangent: level, then steep, then level.

    f(t) = to + (from - to) · (1 - tanh(lower·(1 - x) + upper·x))/2          x = t/L,  0 ≤ t ≤ L

First value: almost ``from`` (default the base): less by (1 + tanh(lower))/2 of the way, 8·10⁻⁷ with the default.
At t = L: ``to`` plus (1 - tanh(upper))/2 of the way, 0.25% with the default; it never gets there.
Past L: ``hold`` keeps the value at L; ``restart`` begins again at t = L, 2L, …

Example:
    ``{tanh: {to: 1.0e-5, until: horizon}}``

Source: Hsueh et al., Stochastic gradient descent with hyperbolic-tangent decay, 2019; timm TanhLRScheduler with
``lower`` as ``lb`` and ``upper`` as ``ub``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, fold


def tanh(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    x = fold(t, p["length"], p["after"]) / p["length"]
    left = (1.0 - np.tanh(p["lower"] * (1.0 - x) + p["upper"] * x)) / 2.0
    value: FloatArray = p["to"] + (p["from"] - p["to"]) * left
    return value


FAMILY = Family(
    "tanh",
    tanh,
    (
        Param("from", "value", "value that it leaves", default="100%", ge=0),
        Param("to", "value", "value that it tends to", default=0.0, ge=0),
        Param("lower", "number", "argument of the tangent at the start", default=-7.0),
        Param("upper", "number", "argument of the tangent at the end", default=3.0),
    ),
    length="required",
    after=("hold", "restart"),
)
