"""What the charts of an HTML report show: lines of numbers, thinned so that a page stays small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIGITS: Final = 7
"""Significant digits of a drawn value."""


@dataclass(frozen=True)
class Line:
    """Values over steps, float64[m] each; NaN leaves a gap, a step that goes back begins a new stroke.

    ``role`` decides the looks: ``used``, ``promised``, ``cause``, ``off``, ``left``, ``value``, ``validation``,
    ``a`` or ``b``.
    """

    role: str
    name: str
    x: Floats
    y: Floats

    @property
    def dots(self) -> bool:
        """Whether it is drawn as dots joined by a thin stroke: few values, far apart."""
        return self.role == "validation"


@dataclass(frozen=True)
class Plot:
    """One chart.

    Attributes:
        odd: steps at which a value was no number. mark: the first bad step.
        least: values up to this size are no differences: the axis shows at least -least … least. None for axes that
            need not show 0.
    """

    lines: tuple[Line, ...]
    odd: tuple[float, ...] = ()
    mark: float | None = None
    least: float | None = None

    def data(self) -> dict[str, Any]:
        """The plot as JSON can hold it."""
        lines = [{"role": n.role, "name": n.name, "x": plain(n.x, 12), "y": plain(n.y)} for n in self.lines]
        return {"lines": lines, "odd": plain(np.array(self.odd), 12), "mark": self.mark, "least": self.least}


def plain(values: Floats, digits: int = DIGITS) -> list[float | int | None]:
    """Numbers of so many digits, whole ones as whole numbers; None for what is none.

    >>> plain(np.array([1.0, 0.123456789, float("nan")]))
    [1, 0.1234568, None]
    """
    result: list[float | int | None] = []
    for value in values.tolist():
        if not math.isfinite(value):
            result.append(None)
        else:
            short = float(f"{value:.{digits}g}")
            result.append(int(short) if short.is_integer() and abs(short) < 1e15 else short)
    return result


def thinned(columns: Sequence[Floats], most: int, keep: Sequence[int] = ()) -> NDArray[np.intp]:
    """At most about ``most`` places, in order: the first and last one, those in ``keep``, and of every stretch the
    lowest and highest value of every column.

    >>> thinned([np.array([0.0, 9.0, 1.0, 2.0, 3.0, 4.0, -5.0, 5.0])], 6).tolist()
    [0, 1, 2, 4, 6, 7]
    """
    n = len(columns[0])
    if n <= most:
        return np.arange(n)
    stretches = max(most // 2, 1)
    while True:
        found = _extremes(columns, n, stretches)
        if len(found) <= most or stretches == 1:
            return np.unique(np.concatenate([found, np.array([0, n - 1, *keep], dtype=np.intp)]))
        stretches //= 2


def _extremes(columns: Sequence[Floats], n: int, stretches: int) -> NDArray[np.intp]:
    """The places of the lowest and the highest finite value of each column in each stretch."""
    starts = np.unique(np.linspace(0, n, stretches, endpoint=False).astype(np.intp))
    sizes = np.diff([*starts, n])
    places = []
    for values in (sign * column for column in columns for sign in (1.0, -1.0)):
        finite = np.isfinite(values)
        lowest = np.repeat(np.minimum.reduceat(np.where(finite, values, math.inf), starts), sizes)
        hits = np.flatnonzero(finite & (values == lowest))
        stretch = np.searchsorted(starts, hits, side="right")
        places.append(hits[np.unique(stretch, return_index=True)[1]])
    return np.unique(np.concatenate(places))
