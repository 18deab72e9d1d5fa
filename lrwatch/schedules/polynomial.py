r"""Polynomial decay from one value to another.

    f(t) = to + (from - to) · (1 - t/L)^power          0 ≤ t ≤ L

First value: ``from`` (default the base). At t = L: ``to``, exactly.
Past L: ``hold`` keeps ``to``, as torch, transformers, Keras and optax do; the formula itself has no value there
unless the power is whole.

Example:
    ``{polynomial: {to: 1.0e-7, power: 2, until: horizon}}``

Source: torch.optim.lr_scheduler.PolynomialLR (``to: 0``); transformers.get_polynomial_decay_schedule_with_warmup,
with ``to`` as ``lr_end``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, fold


def polynomial(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    x = fold(t, p["length"], p["after"]) / p["length"]
    value: FloatArray = p["to"] + (p["from"] - p["to"]) * np.power(1.0 - x, p["power"])
    return value


FAMILY = Family(
    "polynomial",
    polynomial,
    (
        Param("power", "number", "1 is a straight line, more falls faster at first", default=1.0, gt=0),
        Param("from", "value", "value at the start", default="100%", ge=0),
        Param("to", "value", "value at the end", default=0.0, ge=0),
    ),
    length="required",
    after=("hold",),
)
