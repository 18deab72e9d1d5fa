r"""Warm-up with the logarithm of time: steep at first, then flatter and flatter.

    f(t) = from + (to - from) · ln(1 + t)/ln(L)          0 ≤ t ≤ L - 1

First value: ``from``. At t = L - 1: ``to``, one step before the length is over; half of the way is done at t = √L - 1.
Past L - 1: ``hold`` keeps ``to``.

Example:
    ``{logarithmic: {from: 0, for: 1000}}``

Source: DeepSpeed WarmupLR, WarmupDecayLR and WarmupCosineLR with ``warmup_type: log``, their default.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def logarithmic(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    x = np.log1p(np.minimum(t, p["length"] - 1.0)) / np.log(p["length"])
    value: FloatArray = p["from"] + (p["to"] - p["from"]) * x
    return value


FAMILY = Family(
    "logarithmic",
    logarithmic,
    (
        Param("from", "value", "value at the start", default=0.0, ge=0),
        Param("to", "value", "value at the end", default="100%", ge=0),
    ),
    length="required",
    after=("hold",),
    landmarks=lambda p: {"end of warm-up": p["length"] - 1.0},
    check=lambda p: "needs a length of at least 2" if p["length"] and p["length"] < 2.0 else None,
)
