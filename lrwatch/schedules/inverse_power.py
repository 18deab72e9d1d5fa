r"""Decay with a power of time.

    f(t) = (timescale/(t + timescale))^power          t ≥ 0

First value: the base. At t = timescale: 1/2^power of it. With power 1/2 it is ``inverse_sqrt``; with power 1 it is
inverse-time decay, 1/(1 + t/timescale).
Past L: goes on decaying; it has no horizon, so a wrong one cannot show.

Example:
    ``{inverse_power: {timescale: 1000, power: 1}}``

Source: Keras InverseTimeDecay with ``timescale`` as decay_steps/decay_rate; NeMo NoamHoldAnnealing with ``power`` as
``decay_rate``; timm WSDLRScheduler's stable function ``power``; DeepSpeed OneCycle past its cycle.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def inverse_power(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    value: FloatArray = np.power(p["timescale"] / (t + p["timescale"]), p["power"])
    return value


FAMILY = Family(
    "inverse_power",
    inverse_power,
    (
        Param("timescale", "count", "clock units until time has doubled"),
        Param("power", "number", "what each doubling of time divides by, as a power of two", default=1.0, gt=0),
    ),
)
