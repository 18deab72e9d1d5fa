r"""One value.

    f(t) = at

First value: ``at`` (default the base).
Past any horizon: the same, which is why a constant schedule cannot reveal how often the scheduler was stepped.

Example:
    ``{constant: {}}``

Source: torch.optim.lr_scheduler.ConstantLR with ``factor`` as ``at``.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def constant(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    return np.full(t.shape, float(p["at"]))


FAMILY = Family("constant", constant, (Param("at", "value", "the value", default="100%", ge=0),))
