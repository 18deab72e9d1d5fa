"""What one worker does that the others do not, and a value that should follow the learning rate and does not.

rank_local_metric  O_i(t) = factor^n·E(t), n whole, O going down only: a plateau schedule on a metric of its own
rank_progress      O_i(t) = E(τ_i(t)), τ the worker's own progress: recorded, or found by looking O up on the curve
companion_broken   w(t) stays at one value
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.transforms.base import Transform, at_position
from lrwatch.schedules.base import FloatArray

PACE = 0.5
"""Progress of a worker that runs between half and one and a half times the pace of the promise."""


def local_metric(case: Case) -> Iterator[Hypothesis]:
    """O(t) = factor^n·E(t) on a plateau schedule, where another worker keeps the promise."""
    last = case.curve.phases[-1]
    if last.family != "plateau" or not case.place.apart:
        return
    factor = float(last.params["factor"])

    def levels(rows: Rows) -> FloatArray:
        expected = case.curve.at(rows.t)
        with np.errstate(divide="ignore", invalid="ignore"):
            n = np.round(np.log(rows.observed / expected) / np.log(factor))
        result: FloatArray = np.where(np.isfinite(n), n, 0.0)
        return result

    n = levels(case.rows)
    falls = np.diff(case.rows.observed)
    if n.any() and np.all(falls <= 0.0) and 2 * np.count_nonzero(falls) <= len(n):  # a plateau schedule goes down only
        params = {"factor": factor, "most": int(np.max(np.abs(n)))}
        yield Hypothesis("rank_local_metric", params, lambda rows: case.curve.at(rows.t) * factor ** levels(rows))


def progress(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(τ), τ the position that this worker recorded, or the one at which the promise has its values."""
    rows = case.rows
    if not case.place.apart or case.curve.stateful or len(rows) < 16:
        return
    if np.isfinite(rows.sched).all():
        lead = rows.sched - rows.t
        if np.all(np.diff(rows.sched) >= 0.0) and np.ptp(lead) > 0.0:
            params = {"lead": float(lead[np.argmax(np.abs(lead))])}
            yield Hypothesis("rank_progress", params, at_position(case.curve, lambda r: r.sched), lambda r: r.sched)
        return
    where = _looked_up(case.curve, rows)
    lead, since = where - rows.t, np.diff(rows.t)
    steady = np.abs(np.diff(lead)) <= PACE * since
    backward = np.max(np.maximum.accumulate(lead) - lead), np.max(lead - np.minimum.accumulate(lead))
    if steady.all() and min(backward) < 1.0 and max(backward) >= 2.0:
        by_t = dict(zip(rows.t.tolist(), where.tolist(), strict=True))

        def position(r: Rows) -> FloatArray:
            found: FloatArray = np.interp(r.t, list(by_t), list(by_t.values()))
            return found

        params = {"lead": float(lead[np.argmax(np.abs(lead))])}
        yield Hypothesis(
            "rank_progress", params, at_position(case.curve, position), position, notes={"looked_up": True}
        )


def _looked_up(curve: Curve, rows: Rows) -> FloatArray:
    """Positions at which the promise has the rows' values, float64[n]: of several, the one that goes on from the row
    before; where there is none, as far ahead as before."""
    end = float(curve.horizon or rows.t[-1])
    borders = [phase.start for phase in curve.phases if phase.start < end]
    grid = np.unique(np.concatenate([np.linspace(0.0, end, 4097), borders]))
    values = curve.at(grid)
    turns = np.flatnonzero(np.diff(np.sign(np.diff(values))) != 0) + 1
    found = []
    for a, b in zip([0, *turns.tolist()], [*turns.tolist(), len(grid) - 1], strict=True):
        first, last = values[a], values[b]
        inside = (rows.observed >= min(first, last)) & (rows.observed <= max(first, last))
        if first == last or not inside.any():
            continue
        low, high = np.full(len(rows), grid[a]), np.full(len(rows), grid[b])
        for _ in range(60):
            middle = (low + high) / 2.0
            before = (curve.at(middle) < rows.observed) == (last > first)
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        found.append(np.where(inside, (low + high) / 2.0, np.nan))
    result, lead = np.empty(len(rows)), 0.0
    for i, (t, *places) in enumerate(zip(rows.t.tolist(), *(f.tolist() for f in found), strict=True)):
        known = [x for x in places if x == x]
        result[i] = min(known, key=lambda x: abs(x - t - lead)) if known else t + lead
        lead = result[i] - t
    return result


def stays(case: Case) -> Iterator[Hypothesis]:
    """A companion of the learning rate that keeps one value."""
    if case.place.companion and np.ptp(case.rows.observed) == 0.0 and np.ptp(case.expected) > 0.0:
        value = float(case.rows.observed[0])
        yield Hypothesis(
            "companion_broken",
            {"signal": case.curve.signal, "value": value},
            lambda rows: np.full(len(rows), value),
        )


TRANSFORMS: tuple[Transform, ...] = (stays, local_metric)
LAST: tuple[Transform, ...] = (progress,)
"""Tried when no simpler story is left."""
