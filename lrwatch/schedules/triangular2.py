r"""Up and down between two values in straight lines, half as high in each new cycle.

    f(t) = from + (to - from) · h(t) / 2ⁿ          n·(up + down) ≤ t < (n + 1)·(up + down),  n = 0, 1, …

    h(t) = τ/up                        0 ≤ τ ≤ up             τ = t mod (up + down)
           (up + down - τ)/down        up < τ < up + down

First value: ``from``, the low one (default the base). At t = up: ``to``; one cycle later half-way between them.
Past L: goes on cycling; the length plays no part. After some 50 cycles what is left of them is rounded away;
torch raises OverflowError in the 1025th.

Example:
    ``{triangular2: {to: 6.0e-3, up: 2000}}``

Source: Smith, Cyclical learning rates, 2015; torch.optim.lr_scheduler.CyclicLR, mode ``triangular2``, with the
base as ``base_lr`` and ``to`` as ``max_lr``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, triangle


def triangular2(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    cycle, height = triangle(t, p["up"], p["down"] or p["up"])
    value: FloatArray = p["from"] + (p["to"] - p["from"]) * height * np.exp2(-cycle)
    return value


FAMILY = Family(
    "triangular2",
    triangular2,
    (
        Param("from", "value", "the low value, at the start", default="100%", ge=0),
        Param("to", "value", "the high value of the first cycle", ge=0),
        Param("up", "count", "length of the way up"),
        Param("down", "count", "length of the way down; as long as the way up unless given", default=None),
    ),
    landmarks=lambda p: {"first peak": p["up"], "second cycle": p["up"] + (p["down"] or p["up"])},
)
