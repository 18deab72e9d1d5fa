"""What a look tells without trying shapes: a constant, one straight line, stairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from lrwatch.infer import _look as look
from lrwatch.infer._explanation import Explanation, checked, whole
from lrwatch.infer._rows import Column
from lrwatch.infer._search import fitted
from lrwatch.infer._shapes import Shape
from lrwatch.infer._solve import Problem, shorter
from lrwatch.infer._warmup import starts
from lrwatch.schedules.base import FloatArray

MOST_LEVELS: Final = 40


def constant(column: Column) -> Explanation:
    mid = float(np.median(column.y))
    value = next((v for v in shorter(mid) if np.all(np.abs(column.y - v) <= column.allowed)), mid)
    said = "the learning rate never changed: every schedule that has yet to move looks like this"
    return checked(Explanation(value, ({"constant": {}},), 1.0), column, said)


def straight(column: Column, best: float) -> Iterator[Explanation]:
    """One straight line from the first row to the last."""
    t, y, allowed = column.t, column.y, column.allowed
    if look.straight(t, y, allowed) < len(t) - 1:
        return
    end = float(t[-1]) + 1.0
    problem = Problem(y, allowed)

    def basis(x: FloatArray) -> FloatArray:
        return np.stack([1.0 - t / end, t / end], axis=1)

    found = problem.plainest(basis, problem.at(basis, np.empty(0)))
    start, stop = float(found.c[0]), float(found.c[1])
    if stop > start:
        said = "only a rising straight line was seen: a warm-up whose end, and the peak, the trace does not show"
        yield checked(Explanation(stop, ({"linear": {"from": whole(start), "for": whole(end)}},), 2.0), column, said)
    elif abs(stop) <= 2.0 * float(allowed[-1]):
        yield checked(Explanation(start, ({"linear": {"to": 0, "for": whole(end)}},), 2.0, end=end), column)
    else:
        said = "only a falling straight line was seen: where it ends, the trace does not show"
        yield checked(Explanation(start, ({"linear": {"to": stop, "for": whole(end)}},), 2.0), column, said)


def stairs(column: Column, best: float) -> Iterator[Explanation]:
    """Levels: equal drops at equal distances, equal drops, or a table of them; also after a warm-up."""
    for start in (None, *starts(column)):
        rows = slice(0 if start is None else start.row, None)
        t, y, allowed = column.t[rows], column.y[rows], column.allowed[rows]
        steps = look.levels(y, allowed) if len(t) > 2 else None
        if steps is None or len(steps) > MOST_LEVELS:
            continue
        s = 0.0 if start is None else start.s
        at = t[steps] - s
        gaps = np.diff(at)
        if len(gaps) == 0 or np.all(gaps == gaps[0]):
            every = float(gaps[0]) if len(gaps) else float(at[0])
            offset = every - float(at[0])
            if 0.0 <= offset < every and (len(gaps) or offset == 0.0):
                shape = Shape("step", ("gamma",), (), {"every": every}, scaled=True)
                yield from fitted(column, shape, start, s, offset, [np.array([_ratio(y, steps)])])
        if len(steps) <= 12:
            shape = Shape("multi_step", ("gamma",), (), {"milestones": tuple(at.tolist())}, scaled=True)
            yield from fitted(column, shape, start, s, 0.0, [np.array([_ratio(y, steps)])])
        if start is None:
            yield _table(column, steps)


def _ratio(y: FloatArray, steps: Any) -> float:
    below, above = float(y[steps[0]]), float(y[steps[0] - 1])
    return below / above if above > 0 and below > 0 else 0.1


def _table(column: Column, steps: Any) -> Explanation:
    rows = [0, *steps.tolist()]
    values = []
    for a, b in zip(rows, [*rows[1:], len(column.y)], strict=True):
        mid = float(np.median(column.y[a:b]))
        ok = (v for v in shorter(mid) if np.all(np.abs(column.y[a:b] - v) <= column.allowed[a:b]))
        values.append(next(ok, mid))
    at = [0, *(whole(float(column.t[i])) for i in steps)]
    listed = {"table": {"values": values, "at": at}}
    return checked(Explanation(max(values), (listed,), 2.0 * len(values) - 1.0), column)
