"""A warm-up: where one may end, and how a contract spells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrwatch.infer import _look as look
from lrwatch.infer._explanation import whole
from lrwatch.infer._rows import Column
from lrwatch.infer._shapes import LOGARITHMIC
from lrwatch.infer._solve import Problem, shorter
from lrwatch.schedules.base import FloatArray


@dataclass(frozen=True)
class Start:
    """A warm-up that ends at row ``row``, clock position ``s``; ``log`` for a logarithmic one."""

    row: int
    s: float
    log: bool = False


def starts(column: Column) -> Iterator[Start]:
    """Where a warm-up may end: around the row that a straight line from the first one no longer reaches."""
    t, y, allowed = column.t, column.y, column.allowed
    if y[min(2, len(y) - 1)] <= y[0]:
        return
    knee = look.straight(t, y, allowed)
    if knee >= 1 and knee < len(t) - 2:
        for row in dict.fromkeys((knee, knee + 1, knee - 1)):
            if 1 <= row < len(t) - 2:
                yield Start(row, float(t[row]))
    top = int(np.argmax(y))
    if 8 <= top < len(t) - 2 and knee < top // 2:
        yield Start(top, float(t[top]), log=True)


def warmups(column: Column, start: Start, base: float, reached: float) -> Iterator[dict[str, Any]]:
    """The warm-up that leads to ``base`` or to what the next phase begins with: t/W, (t+1)/W, (t+1)/(W+1), …"""
    s = start.s
    t, y, allowed = (a[: start.row] for a in (column.t, column.y, column.allowed))
    problem = Problem(y, allowed)
    if start.log:
        for length in (s + 1.0, s):
            solution = problem.at(lambda x: LOGARITHMIC.columns(t, x), np.array([length]), {1: base})
            lows = (0.0, *shorter(solution.c[0]))
            low = next((v for v in lows if _straight_log(problem, t, length, v, base)), None)
            if low is not None:
                extra = {} if length == s else {"over": whole(length)}
                yield {"logarithmic": {**({"from": low} if low else {}), "for": whole(s), **extra}}
        return
    slope_to = [base, reached] if reached != base else [base]
    for to in slope_to:
        ends = {} if to == base else {"to": to}
        others = [(0.0, over, low) for over in (s, s - 1.0) for low in shorter(float(y[0]))]
        for offset, over, low in ((0.0, s, 0.0), (1.0, s, 0.0), (1.0, s + 1.0, 0.0), (0.0, s - 1.0, 0.0), *others):
            if over > 0.0:
                line = low + (to - low) * np.minimum((t + offset) / over, 1.0)
                if np.all(np.abs(line - y) <= allowed):
                    more = {"offset": 1} if offset else {}
                    more |= {"over": whole(over)} if over != s else {}
                    yield {"linear": {"from": whole(low), **ends, "for": whole(s), **more}}
    columns = np.stack([np.ones_like(t), t], axis=1)
    c, _ = problem.linear(columns)
    if len(t) > 2:  # a line to somewhere else
        yield {"linear": {"from": max(float(c[0]), 0.0), "to": float(c[0] + c[1] * s), "for": whole(s)}}


def _straight_log(problem: Problem, t: FloatArray, length: float, low: float, base: float) -> bool:
    columns = LOGARITHMIC.columns(t, np.array([length]))
    return bool(np.all(np.abs(columns @ np.array([low, base]) - problem.y) <= problem.allowed))
