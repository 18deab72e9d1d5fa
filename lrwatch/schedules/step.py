r"""A drop by the same factor at regular intervals.

    f(t) = gamma^⌊t/every⌋          t ≥ 0

First value: the base. At t = every, and at every multiple of it: the drop has happened.
Past L: goes on dropping; the length plays no part.

Example:
    ``{step: {every: 30, gamma: 0.1}}``

Source: torch.optim.lr_scheduler.StepLR, with ``every`` as ``step_size``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def step(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    with np.errstate(over="ignore"):  # gamma > 1 ends in infinity
        value: FloatArray = np.power(p["gamma"], np.floor(t / p["every"]))
    return value


FAMILY = Family(
    "step",
    step,
    (
        Param("every", "count", "clock units between drops"),
        Param("gamma", "number", "what each drop multiplies by", default=0.1, ge=0),
    ),
    landmarks=lambda p: {"first drop": p["every"]},
)
