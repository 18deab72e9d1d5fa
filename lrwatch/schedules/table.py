r"""Values written out, one after another.

    f(t) = values[i]                                            hold       i = the last one with at[i] ≤ t
           values[i] + (values[i+1] - values[i]) · x            linear     x = (t - at[i])/(at[i+1] - at[i])

    at[i] = i·every unless it is given

First value: ``values[0]``, before at[0] too. At at[i]: ``values[i]``, either way.
Past the last: that one, for ever; the length plays no part.

For schedules that no formula describes: a function in somebody's training loop, sampled. Between two samples a table
knows nothing, so ``every: 1`` is the only one that promises each step.

Example:
    ``{table: {values: [1.0e-4, 3.0e-4, 3.0e-4, 0], at: [0, 200, 800, 1000], between: linear}}``

Source: torch.optim.lr_scheduler.LambdaLR and MultiplicativeLR with functions of one's own, sampled by an importer.
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def table(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    values = np.asarray(p["values"], dtype=np.float64)
    if p["at"] is None and p["between"] == "hold":
        index = np.minimum(np.floor(t / p["every"]), len(values) - 1.0).astype(np.intp)
        chosen: FloatArray = values[index]
        return chosen
    at = np.arange(len(values)) * p["every"] if p["at"] is None else np.asarray(p["at"], dtype=np.float64)
    if p["between"] == "linear":
        return np.interp(t, at, values)
    return np.take(values, np.maximum(np.searchsorted(at, t, side="right") - 1, 0))


def _as_many(p: Params) -> str | None:
    if p["at"] is None or len(p["at"]) == len(p["values"]):
        return None
    return f"has {len(p['values'])} values at {len(p['at'])} points; give as many of both"


FAMILY = Family(
    "table",
    table,
    (
        Param("values", "values", "the values, in order", ge=0),
        Param("at", "counts", "where each of them is; one after another unless given", default=None),
        Param("every", "count", "clock units from one to the next", default=1.0),
        Param("between", "choice", "keep the last one, or a straight line", default="hold", choices=("hold", "linear")),
    ),
    landmarks=lambda p: {"last value": p["at"][-1] if p["at"] is not None else (len(p["values"]) - 1) * p["every"]},
    check=_as_many,
)
