"""The shape of a curve from its values alone: where to look at it, and where it turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lrwatch.schedules.base import FloatArray

MOST: Final = 1 << 16
"""Positions at which a long run is looked at."""
AROUND: Final = 2
"""Rows on either side of a place worth looking at."""


@dataclass(frozen=True)
class Turn:
    """A low or a top: the rows where the curve first and last has its value, and the value."""

    first: int
    last: int
    value: float


def positions(end: float, stride: float, marks: Sequence[float]) -> FloatArray:
    """Multiples of ``stride`` below ``end``, float64[n]: all, or 65,536 of them and those around the marks.

    >>> positions(4.0, 1.0, ()).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    rows = max(int(np.ceil(end / stride)), 1)
    if rows <= MOST:
        return np.arange(float(rows)) * stride
    spread = np.rint(np.linspace(0.0, rows - 1.0, MOST))
    near = [np.floor(mark / stride) + k for mark in marks for k in range(-AROUND, AROUND + 1)]
    kept = np.unique(np.concatenate([spread, np.array([x for x in near if 0 <= x < rows])]))
    result: FloatArray = kept * stride
    return result


def turns(values: FloatArray, small: float) -> tuple[Turn, ...]:
    """The beginning and every turn of ``values`` float64[n], movements below ``small`` of the range left out.

    >>> [(t.first, t.last) for t in turns(np.array([0.0, 1.0, 2.0, 2.0, 0.0, 2.0, 1.0]), 0.01)]
    [(0, 0), (2, 3), (4, 4), (5, 5), (6, 6)]
    """
    threshold = small * float(values.max() - values.min())
    slope = np.sign(np.diff(values))
    moving = np.flatnonzero(slope)
    corners = moving[1:][slope[moving[1:]] != slope[moving[:-1]]]
    found, direction = [0], 0.0
    for i in (*corners.tolist(), len(values) - 1):
        move = values[i] - values[found[-1]]
        if abs(move) <= threshold and move * direction <= 0:
            continue
        if move * direction > 0:
            found[-1] = i
        else:
            found.append(i)
            direction = float(np.sign(move))
    runs = np.concatenate([[0], moving + 1, [len(values)]])  # where each stretch of one value begins
    at = np.searchsorted(runs, found, side="right")
    return tuple(Turn(int(runs[k - 1]), int(runs[k]) - 1, float(values[i])) for i, k in zip(found, at, strict=True))
