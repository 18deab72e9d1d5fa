r"""Decay with the square root of time.

    f(t) = √(timescale / (t + timescale))          t ≥ 0

First value: the base. At t = timescale: 1/√2 of it; at t = 3·timescale: half of it.
Past L: goes on decaying; it has no horizon, so a wrong one cannot show.

After a warm-up of W updates the usual timescale is W: then f = √(W/n), n counted from the start of the run.

Example:
    ``[{linear: {from: 0, for: 4000}}, {inverse_sqrt: {timescale: 4000}}]``

Source: transformers.get_inverse_sqrt_schedule; fairseq inverse_sqrt; Vaswani et al., 2017, section 5.3.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def inverse_sqrt(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    value: FloatArray = 1.0 / np.sqrt((t + p["timescale"]) / p["timescale"])
    return value


FAMILY = Family(
    "inverse_sqrt",
    inverse_sqrt,
    (Param("timescale", "count", "clock units to 1/√2 of the base; usually the length of the warm-up"),),
    landmarks=lambda p: {"half": 3.0 * p["timescale"]},
)
