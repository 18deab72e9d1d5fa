"""What the transforms share. τ is where the scheduler really stands, t where it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.search import minimise
from lrwatch.schedules import families
from lrwatch.schedules.base import FloatArray

Position = Callable[[Rows], FloatArray]
Predict = Callable[[Rows], FloatArray]
Transform = Callable[[Case], Iterator[Hypothesis]]

MAX_LANDMARK_SPAN = 1e6
"""Positions over which a staircase's steps are looked up."""

SEARCH_ROWS = 256
"""Rows that a search looks at; the test afterwards looks at all."""


def moved(
    case: Case, name: str, params: Mapping[str, object], position: Position, *, variants: bool = True
) -> Iterator[Hypothesis]:
    """E(τ), with every behaviour past the end where τ gets there.

    The contract never expected the scheduler to go past its end, so what a real one does there is tried.
    """
    last = case.curve.phases[-1]
    end = last.start + last.length if last.length is not None else np.inf
    beyond = variants and len(case.rows) and float(np.max(position(case.rows))) > end
    for after in behaviours(case.curve) if beyond else [last.after]:
        curve = case.curve if after == last.after else case.curve.with_last_phase(after=after)
        extra = {} if after == last.after else {"after": after}
        yield Hypothesis(name, {**params, **extra}, at_position(curve, position), position)


def at_position(curve: Curve, position: Position) -> Predict:
    return lambda rows: curve.at(position(rows))


def following(curve: Curve) -> Predict:
    return lambda rows: curve.at(rows.t)


def behaviours(curve: Curve) -> list[str]:
    """What the last phase may do past its end, as stated first."""
    last = curve.phases[-1]
    return [last.after, *(a for a in families()[last.family].after if a != last.after)]


def loss(predicted: FloatArray, rows: Rows) -> float:
    """Mean |O - predicted|."""
    return float(np.mean(np.abs(rows.observed - predicted)))


def settled(case: Case, curve_of: Callable[[float], Curve], found: float) -> list[float]:
    """A parameter found by its mean deviation, and, where that is not exact, the one with the smallest worst row.

    Rounded rows leave the mean a little off the truth; the worst row in units of what it may be off does not.
    """

    def worst(x: float) -> float:
        return worst_row(case.rows, curve_of(x).at(case.rows.t))

    if found <= 0.0 or not len(case.rows) or worst(found) <= 1.0:
        return [found]
    near = max(case.rows.resolution(), 1e-9) * 100.0
    return [found, minimise(worst, (found * np.linspace(1.0 - near, 1.0 + near, 17)).tolist(), rounds=30)]


def worst_row(rows: Rows, predicted: FloatArray) -> float:
    """The largest |O - predicted| in units of what its row allows."""
    off, allowed = np.abs(rows.observed - predicted), rows.allowed(predicted)
    exact = np.where(off > 0, np.inf, 0.0)  # where nothing at all is allowed: around a promise of 0
    return float(np.max(np.divide(off, allowed, out=exact, where=allowed > 0)))


def resumed(case: Case, name: str) -> str:
    """The cause's name, ``…_at_resume`` when the rows before the resume were right."""
    return f"{name}_at_resume" if case.place.since_resume else name


def landmarks(case: Case) -> list[tuple[int, float]]:
    """Changes of a staircase: (row just after an observed change, position at which the promise takes that value).

    Empty for curves that move at every row; there a search finds what the changes would tell.
    """
    rows, end = case.rows, case.curve.horizon or float(case.rows.t[-1]) * 4.0 + 1.0
    adjacent = np.flatnonzero((np.diff(rows.t) == 1.0) & (np.diff(rows.observed) != 0.0)) + 1
    if not len(adjacent) or len(adjacent) > len(rows) / 8 or end > MAX_LANDMARK_SPAN:
        return []
    grid = np.arange(end)
    promised = case.curve.at(grid)
    found = []
    for i in adjacent[:4].tolist():
        same = np.abs(promised - rows.observed[i]) <= rows.allowed(rows.observed)[i]
        if same.any():
            found.append((i, float(grid[np.argmax(same)])))
    return found


def differs(found: float, promised: float) -> bool:
    """Whether a fitted number is another one than the promised one when both are read, to six digits.

    >>> differs(746.99999, 747.0), differs(747.5, 747.0), differs(1000001.0, 1000000.0)
    (False, True, True)
    """
    whole = found.is_integer() and promised.is_integer()
    return found != promised and (whole or f"{found:.6g}" != f"{promised:.6g}")


def tidy(x: float) -> int | float:
    """A whole number as int, for messages and parameters."""
    return int(x) if float(x).is_integer() else float(x)
