"""A shape on the rows of a column → its best numbers, and the schedules that these make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from lrwatch.infer import _look as look
from lrwatch.infer._explanation import Explanation, checked
from lrwatch.infer._rows import Column, thinned
from lrwatch.infer._shapes import Shape
from lrwatch.infer._solve import Basis, Problem, Solution
from lrwatch.infer._spell import written
from lrwatch.infer._warmup import Start
from lrwatch.schedules.base import FloatArray

FEW: Final = 240
"""Rows that shapes are tried on …"""
MANY: Final = 2000
"""… and rows that decide."""
NEAR: Final = 0.02
"""Of the range: a shape that stays so far from the values is not worth another try."""


def fitted(
    column: Column,
    shape: Shape,
    start: Start | None,
    origin: float,
    offset: float,
    guesses: list[FloatArray] | None,
) -> Iterator[Explanation]:
    """The shape on the rows from ``start`` on, its time counted from ``origin`` less ``offset``."""
    row = 0 if start is None else start.row
    found = solve(column, shape, row, origin - offset, guesses)
    if found is not None:
        yield from told(column, found, start, origin, offset, None)


@dataclass(frozen=True)
class Solved:
    """A shape with its numbers; ``open_end`` where its length and the value that it leads to are not told apart."""

    shape: Shape
    solution: Solution
    freedom: tuple[FloatArray, FloatArray]
    open_end: bool


def solve(column: Column, shape: Shape, row: int, origin: float, guesses: list[FloatArray] | None) -> Solved | None:
    """The shape's best numbers for the rows from ``row`` on, its time counted from ``origin``."""
    t, y, allowed = column.t[row:], column.y[row:], column.allowed[row:]
    u = t - origin
    if len(t) < len(shape.unknown) + len(shape.whole) + 1:
        return None
    seen = look.features(u, y, allowed)
    open_end = seen.tail is None and shape.endless
    if open_end:  # how long it is and where it leads cannot be told apart: it leads to where the rows end
        shape = replace(shape, unknown=shape.unknown[1:], given={**shape.given, "length": seen.end + 1.0})
    places = [origin + x for x in (*seen.jumps[:20], seen.top, seen.low, seen.tail or 0.0)]
    few = thinned(replace(column, t=t, y=y, allowed=allowed), FEW, places)
    problem = Problem(y[few], allowed[few])
    solution = _searched(problem, lambda x: shape.columns(u[few], x), guesses or list(shape.guesses(seen)))
    if solution is None:
        return None
    if solution.worst > 1e4 and solution.worst * float(allowed.min()) > NEAR * float(np.ptp(y)):
        return None  # nothing like it
    many = thinned(replace(column, t=t, y=y, allowed=allowed), MANY, places)
    problem = Problem(y[many], allowed[many])

    def basis(x: FloatArray) -> FloatArray:
        return shape.columns(u[many], x)

    solution = problem.search(basis, solution.x)
    solution = problem.plainest(basis, solution)
    return Solved(shape, solution, problem.freedom(basis, solution), open_end)


def told(
    column: Column, solved: Solved, start: Start | None, origin: float, offset: float, hold: int | None
) -> Iterator[Explanation]:
    said: tuple[str, ...] = ()
    if solved.open_end and solved.solution.c[-1] > 0.0:
        said = ("where the decay ends, the trace does not show: the promise ends with the last row",)
    shape, solution, freedom = solved.shape, solved.solution, solved.freedom
    for e in written(column, shape, start, solution, origin, offset, hold, freedom):
        yield checked(replace(e, end=None) if said else e, column, *said)


def _searched(problem: Problem, basis: Basis, guesses: list[FloatArray]) -> Solution | None:
    """The best solution from any of the guesses: the first number kept as guessed, then all of them searched."""
    best: Solution | None = None
    for guess in guesses:
        for found in _from(problem, basis, guess):
            best = found if best is None or found.worst < best.worst else best
            if best.fits:
                return best
    return best


def _from(problem: Problem, basis: Basis, guess: FloatArray) -> Iterator[Solution]:
    if len(guess) > 1:
        kept = problem.search_rest(basis, guess, 0)
        yield kept
        guess = kept.x
    yield problem.search(basis, guess)
