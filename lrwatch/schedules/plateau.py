r"""Reduction when a recorded metric stops improving.

    f = ∏ of the reductions so far                    1 before the first metric

    For every metric m:   better    m < best·(1 - threshold)   rel, min      m < best - threshold   abs, min
                                    m > best·(1 + threshold)   rel, max      m > best + threshold   abs, max
                          bad       0 if better, else bad + 1; 0 during the cooldown, whose metrics count it down
                          reduce    when bad > patience: value = max(value·factor, floor), unless that lowers
                                    it by no more than eps; bad = 0 and the cooldown starts either way

First value: the base. NaN is never better. With the default patience the reduction comes at the eleventh bad
metric in a row. ``eps`` is absolute, in the signal's unit: a value that a reduction would lower by 1e-8 or less stays.
Keras reduces when bad ≥ patience and counts the cooldown down first: its patience p and cooldown c are p - 1 and
c - 1 here, its ``min_delta`` an absolute threshold.
Past any horizon: the same, for ever. Which metric was seen when comes from the trace, so without recorded
metrics this family cannot be checked.

Example:
    ``{plateau: {metric: val_loss, factor: 0.5, patience: 3, floor: 1.0e-6}}``

Source: torch.optim.lr_scheduler.ReduceLROnPlateau, with ``floor`` as ``min_lr``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrwatch.schedules.base import Family, FloatArray, Param, Params


@dataclass(frozen=True)
class PlateauState:
    """What the schedule remembers between metrics.

    Attributes:
        factor: multiplier of the base that holds now. best: the metric to improve on, None before the first
            one that counts. bad: metrics in a row that did not improve. cooldown: metrics still to ignore.
    """

    factor: float = 1.0
    best: float | None = None
    bad: int = 0
    cooldown: int = 0


def replay(state: PlateauState, p: Params, metric: float, base: float) -> PlateauState:
    """The state after one more metric.

    Args:
        state: the state before it. p: the family's parameters, ``floor`` as a multiplier of the base.
        metric: the validation value, NaN and infinities included.
        base: what a multiplier of 1 stands for, in the signal's unit; ``eps`` is compared in that unit.

    Example:
        >>> p = {"mode": "min", "threshold": 0.0, "threshold_mode": "abs", "patience": 1, "cooldown": 0,
        ...      "factor": 0.5, "floor": 0.0, "eps": 0.0}
        >>> state = PlateauState()
        >>> for loss in (2.0, 3.0, math.nan):
        ...     state = replay(state, p, loss, base=0.1)
        >>> state
        PlateauState(factor=0.5, best=2.0, bad=0, cooldown=0)
    """
    better = _better(metric, state.best, p)
    bad = 0 if better or state.cooldown else state.bad + 1
    best = metric if better else state.best
    cooldown = max(state.cooldown - 1, 0)
    if bad <= p["patience"]:
        return PlateauState(state.factor, best, bad, cooldown)
    reduced = max(state.factor * p["factor"], p["floor"])
    worth_it = (state.factor - reduced) * base > p["eps"]
    return PlateauState(reduced if worth_it else state.factor, best, 0, p["cooldown"])


def _better(metric: float, best: float | None, p: Params) -> bool:
    threshold, relative = p["threshold"], p["threshold_mode"] == "rel"
    if p["mode"] == "min":
        best = math.inf if best is None else best
        return bool(metric < (best * (1.0 - threshold) if relative else best - threshold))
    best = -math.inf if best is None else best
    return bool(metric > (best * (1.0 + threshold) if relative else best + threshold))


def plateau(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n]: ``p["factors"]`` float64[n], the replayed factor of each row."""
    factors: FloatArray = 1.0 * p["factors"]
    return factors


FAMILY = Family(
    "plateau",
    plateau,
    (
        Param("metric", "text", "the recorded metric it reacts to"),
        Param("mode", "choice", "whether the metric should go down or up", default="min", choices=("min", "max")),
        Param("factor", "number", "what a reduction multiplies by", default=0.1, ge=0, le=1),
        Param("patience", "whole", "bad metrics in a row that are tolerated", default=10, ge=0),
        Param("threshold", "number", "how much better counts as better", default=1e-4, ge=0),
        Param("threshold_mode", "choice", "threshold as a share or absolute", default="rel", choices=("rel", "abs")),
        Param("cooldown", "whole", "metrics ignored after a reduction", default=0, ge=0),
        Param("floor", "value", "no reduction goes below it", default=0.0, ge=0),
        Param("eps", "number", "a reduction of no more than this is not made", default=1e-8, ge=0),
    ),
    stateful=True,
)
