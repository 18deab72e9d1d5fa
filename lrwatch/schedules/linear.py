r"""A straight line from one value to another: a warm-up or a decay.

    f(t) = from + (to - from) · t/L          0 ≤ t ≤ L

First value: ``from``. At t = L: ``to``. ``offset: 1`` starts the line one step in, which gives the
warm-up (t+1)/L; with ``over: W+1`` as well, (t+1)/(W+1).
Past L: ``hold`` keeps ``to``; ``continue`` follows the line, below zero too (torchtitan).

Example:
    ``{linear: {from: 0, for: 200}}``

Source: torch.optim.lr_scheduler.LinearLR; Goyal et al., 2017, section 2.2 (gradual warm-up).
"""

from __future__ import annotations

from lrwatch.schedules.base import Family, FloatArray, Param, Params, fold


def linear(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    x = fold(t, p["length"], p["after"]) / p["length"]
    value: FloatArray = p["from"] + (p["to"] - p["from"]) * x
    return value


FAMILY = Family(
    "linear",
    linear,
    (
        Param("from", "value", "value at the start", default="100%", ge=0),
        Param("to", "value", "value at the end", default="100%", ge=0),
    ),
    length="required",
    after=("hold", "continue"),
)
