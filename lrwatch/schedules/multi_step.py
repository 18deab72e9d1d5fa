r"""A drop by the same factor at each of the listed points.

    f(t) = gamma^#{m in milestones : m ≤ t}          t ≥ 0

First value: the base, unless 0 is a milestone. At t = m: the drop has happened (torch and optax; Keras'
PiecewiseConstantDecay drops one later, timm's MultiStepLRScheduler one earlier). A milestone that is listed
twice counts twice.
Past L: the value after the last milestone, for ever; the length plays no part.

Example:
    ``{multi_step: {milestones: [30, 60, 80], gamma: 0.1}}``

Source: torch.optim.lr_scheduler.MultiStepLR.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def multi_step(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    levels = np.power(p["gamma"], np.arange(len(p["milestones"]) + 1.0))
    value: FloatArray = levels[np.searchsorted(p["milestones"], t, side="right")]
    return value


FAMILY = Family(
    "multi_step",
    multi_step,
    (
        Param("milestones", "counts", "where the drops are"),
        Param("gamma", "number", "what each drop multiplies by", default=0.1, ge=0),
    ),
    landmarks=lambda p: {f"milestone {i}": m for i, m in enumerate(p["milestones"], 1)},
)
