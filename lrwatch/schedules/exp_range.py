r"""Up and down between two values in straight lines, under an exponentially sinking roof.

    f(t) = from + (to - from) · h(t) · gamma^t          t ≥ 0

    h(t) = τ/up                        0 ≤ τ ≤ up             τ = t mod (up + down)
           (up + down - τ)/down        up < τ < up + down

First value: ``from``, the low one (default the base). At t = up: gamma^up of the way to ``to``.
Past L: goes on cycling; the length plays no part.

Example:
    ``{exp_range: {to: 6.0e-3, up: 2000, gamma: 0.99994}}``

Source: Smith, Cyclical learning rates, 2015; torch.optim.lr_scheduler.CyclicLR, mode ``exp_range``, with the
base as ``base_lr`` and ``to`` as ``max_lr``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, triangle


def exp_range(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    _, height = triangle(t, p["up"], p["down"] or p["up"])
    value: FloatArray = p["from"] + (p["to"] - p["from"]) * height * np.power(p["gamma"], t)
    return value


FAMILY = Family(
    "exp_range",
    exp_range,
    (
        Param("from", "value", "the low value, at the start", default="100%", ge=0),
        Param("to", "value", "the high value, before the roof sinks", ge=0),
        Param("up", "count", "length of the way up"),
        Param("down", "count", "length of the way down; as long as the way up unless given", default=None),
        Param("gamma", "number", "what one clock unit multiplies the height by", gt=0, le=1),
    ),
    landmarks=lambda p: {"first peak": p["up"], "second cycle": p["up"] + (p["down"] or p["up"])},
)
