r"""One cycle: up to the base, which is the peak, and down to almost nothing.

    f(t) = b + (a - b)·(1 + cos(π·x))/2  cos       f(t) = a + (b - a)·x  linear       x = (t - s)/(e - s)

    a → b over s … e       two phases              three_phase
                           from → base  0 … A      from → base  0 … A           A = peak_at·N - 1
                           base → to    A … N-1    base → from  A … B           B = 2·peak_at·N - 2
                                                   from → to    B … N-1

N is the length. The curve has N values, t = 0 … N-1, so it ends one before t = N, and the peak falls on a whole
step only where peak_at·N is whole.
First value: ``from`` (default 4% of the base), or a little further on where A < 0.
Past N-1: ``hold`` keeps ``to``. torch allows one more step, t = N, which goes past x = 1 (a slight rise with
``cos``, below zero with ``linear``), and raises ValueError on the next.

Example:
    ``{one_cycle: {peak_at: 0.3, until: horizon}}``

Source: Smith and Topin, Super-convergence, 2017; torch.optim.lr_scheduler.OneCycleLR with the base as ``max_lr``,
``peak_at`` as ``pct_start``, ``from`` as 1/div_factor and ``to`` as 1/(div_factor·final_div_factor).
"""

from __future__ import annotations

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params, half_cosine


def one_cycle(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    peak, back, last = _borders(p)
    if p["three_phase"]:
        borders = np.array([0.0, peak, back, last])
        levels = np.array([p["from"], 1.0, p["from"], p["to"]])
    else:
        borders = np.array([0.0, peak, last])
        levels = np.array([p["from"], 1.0, p["to"]])
    t = np.minimum(t, last)
    ends = borders[1:-1]
    first, final = np.searchsorted(ends, (t.min(initial=last), t.max(initial=0.0)), side="left")
    phase = first if first == final else np.searchsorted(ends, t, side="left")  # most chunks of a run lie in one phase
    begin, span = borders[phase], np.diff(borders)[phase]
    # A phase of no length is over at once.
    if first == final:
        x = (t - begin) / span if span else np.ones_like(t)
    else:
        x = np.divide(t - begin, span, out=np.ones_like(t), where=span != 0.0)
    start, end = levels[phase], levels[phase + 1]
    if p["anneal"] == "linear":
        value: FloatArray = start + (end - start) * x
        return value
    return half_cosine(x, start, end)


def _borders(p: Params) -> tuple[float, float, float]:
    """Where the peak is, where a third phase would begin, and the last t of the curve."""
    peak_step = p["peak_at"] * p["length"]
    return peak_step - 1.0, 2.0 * peak_step - 2.0, p["length"] - 1.0


def _landmarks(p: Params) -> dict[str, float]:
    peak, back, last = _borders(p)
    marks = {"peak": max(peak, 0.0)}
    if p["three_phase"] and peak < back < last:
        marks["back at the start value"] = back
    return {**marks, "last value": max(last, 0.0)}


FAMILY = Family(
    "one_cycle",
    one_cycle,
    (
        Param("from", "value", "value at the start", default="4%", ge=0),
        Param("to", "value", "value at the end", default="0.0004%", ge=0),
        Param("peak_at", "number", "where the peak is, as a share of the length", default=0.3, ge=0, le=1),
        Param("anneal", "choice", "shape of each phase", default="cos", choices=("cos", "linear")),
        Param("three_phase", "flag", "come down to the start value first, then to the end", default=False),
    ),
    length="required",
    after=("hold",),
    landmarks=_landmarks,
)
