"""Every family with a shape of its own, tried on a column."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from lrwatch.infer import _look as look
from lrwatch.infer._explanation import Explanation
from lrwatch.infer._rows import Column
from lrwatch.infer._search import NEAR, Solved, fitted, solve, told
from lrwatch.infer._shapes import SHAPES, Shape
from lrwatch.infer._warmup import Start, starts
from lrwatch.schedules.base import FloatArray

USUAL: Final = 5.0
"""Numbers that most schedules take: three of a shape, and a warm-up."""
_LINE: Final = Shape("linear", ("length",), after="hold")


def lines(column: Column, best: float) -> Iterator[Explanation]:
    """A straight decay, after a warm-up or at once, and a constant after a warm-up."""
    for start in (None, *starts(column)):
        rows = slice(0 if start is None else start.row, None)
        t, y, allowed = column.t[rows], column.y[rows], column.allowed[rows]
        s = 0.0 if start is None else start.s
        if look.flat(y, allowed) == len(y) - 1:
            if start is not None:
                said = "after the warm-up the learning rate never changed: what may follow the trace does not show"
                for e in fitted(column, Shape("constant", (), ("at",)), start, s, 0.0, [np.empty(0)]):
                    yield replace(e, unknown=(said,))
            continue
        rest = look.tail(y, allowed)
        last = len(t) - 1 if rest is None else rest
        if y[-1] < y[0] and look.straight(t, y, allowed) >= last - 1 - (rest is not None):
            yield from fitted(column, _LINE, start, s, 0.0, None)


def usual(column: Column, best: float) -> Iterator[Explanation]:
    """What most runs follow: families of three numbers, with or without a warm-up."""
    return _families(column, best, 0.0, USUAL)


def unusual(column: Column, best: float) -> Iterator[Explanation]:
    """All the others."""
    return _families(column, best, USUAL, math.inf)


def _families(column: Column, best: float, above: float, most: float) -> Iterator[Explanation]:
    """Every family with a shape of its own: from the start, after a warm-up, or hidden by one until its end.

    The plainest first, of ranks above one and up to another; none that takes more numbers than one that fits.
    """
    begun = (None, *starts(column))
    trials = []
    for shape in SHAPES:
        for i, start in enumerate(begun):
            hidden = () if start is None or shape.family == "one_cycle" else (0.0,)
            for origin in ((0.0,) if start is None else (start.s, *hidden)):
                rank = shape.rank + (0.0 if start is None else 2.0 + 0.5 * (origin == 0.0))
                if above < rank <= most:
                    trials.append((rank, i, origin == 0.0, shape, start, origin))
    nearest: dict[tuple[int, bool], float] = {}
    for rank, i, hides, shape, start, origin in sorted(trials, key=lambda trial: trial[:3]):
        if rank > best:
            return
        row = 0 if start is None else start.row
        if not _may_be(shape, column.y[row:], float(column.allowed.max())):
            continue
        kind = (id(shape), hides)
        if i > 2 and nearest.get(kind, 0.0) > NEAR:  # a row earlier makes no hopeless shape fit
            continue
        for e in fitted(column, shape, start, origin, 0.0, None):
            best = min(best, e.rank) if e.fits else best
            off = e.worst * float(column.allowed.min()) / float(np.ptp(column.y))
            nearest[kind] = min(nearest.get(kind, math.inf), off)
            yield e
        nearest.setdefault(kind, math.inf)


def _may_be(shape: Shape, y: FloatArray, allowed: float) -> bool:
    """Whether values that begin like these can be of the family: at its top, or at its low."""
    if shape.family in ("triangular", "triangular2", "exp_range"):
        return bool(y[0] <= y.min() + 4.0 * allowed)
    if shape.family == "one_cycle":
        return bool(y[0] < y.max() - 4.0 * allowed)
    return bool(y[0] >= y.max() - 4.0 * allowed)


def holding(column: Column, best: float) -> Iterator[Explanation]:
    """A level stretch, then a decay: warmup-stable-decay and its relatives."""
    if best < math.inf:
        return
    decays = [s for s in SHAPES if s.after == "hold" and s.family in ("cosine", "k_decay", "polynomial")]
    decays = [_LINE, *decays]
    solved: dict[tuple[int, int], Solved | None] = {}

    def at(shape: Shape, start: Start | None, begin: int) -> list[Explanation]:
        key = (id(shape), begin)  # what comes after the level stretch does not know how the run began
        origin = float(column.t[begin])
        if key not in solved:
            solved[key] = solve(column, shape, begin, origin, None)
        found = solved[key]
        return [] if found is None else list(told(column, found, start, origin, 0.0, begin))

    for start in (None, *starts(column)):
        row = 0 if start is None else start.row
        level = row + look.flat(column.y[row:], column.allowed[row:])
        if level - row < 2 or level > len(column.t) - 4:
            continue
        for shape in decays:
            held: list[Explanation] = []
            for begin in dict.fromkeys((level, level + 1, level - 1)):
                held += at(shape, start, begin)
                if held and held[-1].fits:
                    break
            else:
                if shape.family == "cosine" and shape.after == "hold":  # so level at first that digits hide its start
                    held += _smooth_start(column, partial(at, shape, start), row, level)
            yield from held


def _smooth_start(
    column: Column, fitted: Callable[[int], list[Explanation]], row: int, level: int
) -> Iterator[Explanation]:
    """The same for a decay that began somewhere on the stretch that looks level: the best place, in halving steps."""
    over = (look.tail(column.y, column.allowed) or len(column.t) - 1) - level
    tried: dict[int, list[Explanation]] = {}

    def at(begin: int) -> float:
        if begin not in tried:
            tried[begin] = fitted(begin) if row < begin <= level else []
        return min((e.worst for e in tried[begin]), default=math.inf)

    begin = min((level - round(over * part) for part in (0.02, 0.04, 0.08, 0.16)), key=at)
    stride = max(round(over * 0.02), 1)
    while at(begin) > 1.0:
        better = min((begin - stride, begin + stride), key=at)
        if at(better) < at(begin):
            begin = better
        elif stride == 1:
            break
        else:
            stride = (stride + 1) // 2
    yield from tried[begin]
