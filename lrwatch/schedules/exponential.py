r"""Decay by the same factor in every clock unit.

    f(t) = gamma^(t/every)          t ≥ 0

First value: the base. At t = every: gamma times that. ``step`` is the same curve as a staircase.
Past L: goes on decaying; the length plays no part. An offset and a factor look alike on this curve.

Example:
    ``{exponential: {gamma: 0.96, every: 1000}}``

Source: torch.optim.lr_scheduler.ExponentialLR (``every: 1``); Keras ExponentialDecay and
optax.exponential_decay, with ``every`` as ``decay_steps`` and ``transition_steps``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def exponential(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    with np.errstate(over="ignore"):  # gamma > 1, as in a range test, ends in infinity
        value: FloatArray = np.power(p["gamma"], t / p["every"])
    return value


FAMILY = Family(
    "exponential",
    exponential,
    (
        Param("gamma", "number", "what one interval multiplies by", gt=0),
        Param("every", "count", "length of that interval", default=1.0),
    ),
)
