"""A bug that begins in mid-run, on top of nothing or of one that was there before: one cause, then another.

    O(t) = h(t) for t < s, and from s on   c·h(t)       somebody changed the rate
                                           h(s)         the scheduler was not stepped any more
                                           h(t - s)     it was built anew
                                           h(t + d)     it missed or made some steps
                                           h(s + k·(t - s))   it is stepped k times
                                           E(t)         the bug has gone

h is the promise itself, or a hypothesis that every row before s agrees with. Between the last row of the one and the
first of the other nothing was recorded, or a part of the rows: what lies there may be of either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.pairs import both
from lrwatch.diagnosis.search import slopes
from lrwatch.diagnosis.transforms.base import following, tidy
from lrwatch.diagnosis.transforms.resume import final
from lrwatch.schedules.base import FloatArray

LEAST = 8
"""Rows that a span must have: fewer agree with too much."""
STARTS = 16
"""Places tried for the step at which the second span began, where rows are missing between the two."""
BEFORE = 3
"""Hypotheses about the first span that the second is searched on top of: those that reach furthest."""
NEAR = 8
"""Steps missed or made that are tried."""

Predict = Callable[[Rows], FloatArray]


@dataclass(frozen=True)
class Span:
    """A hypothesis about the rows before ``end``, an index; the promise itself when ``of`` is None."""

    of: Hypothesis | None
    predict: Predict
    end: int


def since(case: Case) -> list[Hypothesis]:
    """One cause that begins in mid-run, after rows that keep the promise."""
    bad = np.flatnonzero(~case.rows.match(case.expected))
    if not len(bad) or bad[0] < LEAST:
        return []
    promise = following(case.curve)
    clean, found = Span(None, promise, int(bad[0])), list[Hypothesis]()
    for last in dict.fromkeys((len(case.rows), int(bad[-1]) + 1)):
        found = found or [h for h in _second(case, clean, last) if h.fits(case.rows)]
    return found


def spans(case: Case, tried: Sequence[Hypothesis]) -> list[Hypothesis]:
    """One cause up to a step, another from there on; ``tried`` are the hypotheses about the whole segment."""
    promise = following(case.curve)
    off = ~case.rows.match(case.expected)
    found: dict[int, Span] = {}
    for h in (*_first_factors(case), *tried):
        match = case.rows.match(h.predict(case.rows))
        end = len(match) if match.all() else int(np.argmin(match))
        if LEAST <= end <= len(match) - LEAST and 2 * np.count_nonzero(off[:end]) >= end:
            found.setdefault(end, Span(h, h.predict, end))
    best = sorted(found.values(), key=lambda span: -span.end)[:BEFORE]
    every = [h for span in best for h in (*_second(case, span, len(off)), *_gone(case, span, promise))]
    return [h for h in every if h.fits(case.rows)]


def _first_factors(case: Case) -> Iterator[Hypothesis]:
    """The factor of the first rows, whatever comes later."""
    rows, expected = case.rows, case.expected
    at = np.flatnonzero(expected != 0.0)[:LEAST]
    for c in slopes(rows.observed[at], np.zeros(len(at)), expected[at], rows.allowed(rows.observed)[at]):
        if c not in (0.0, 1.0):
            yield Hypothesis("factor", {"c": tidy(c)}, partial(_multiple, case.curve, c))


def _multiple(curve: Curve, c: float, rows: Rows) -> FloatArray:
    return c * curve.at(rows.t)


def _part(rows: Rows, begin: int, end: int) -> Rows:
    return Rows(*(getattr(rows, f.name)[begin:end] for f in fields(rows)))


def _second(case: Case, span: Span, last: int) -> Iterator[Hypothesis]:
    """What may have happened on top of the first span, up to the row ``last``."""
    rows = _part(case.rows, span.end, last)
    if len(rows) < LEAST:
        return
    before, first = float(case.rows.t[span.end - 1]), float(rows.t[0])
    for low in dict.fromkeys((0.0, final(case.curve))):
        expected = span.predict(rows) - low
        for c in slopes(rows.observed - low, np.zeros(len(rows)), expected, rows.allowed(rows.observed)):
            if c != 0.0 and abs(c - 1.0) > 3.0 * rows.resolution():
                params = {"c": tidy(c), **({"above": low} if low else {})}
                yield _joined(case, span, Hypothesis("factor", params, _scaled(span.predict, c, low)), first, last)
    for s in np.unique(np.linspace(before + 1.0, first, STARTS).round()).tolist()[::-1]:
        for name, params, position in _moves(case, s):
            if bool(np.all(rows.match(span.predict(replace(rows, t=position(rows.t)))))):
                moved = _at(span.predict, position)
                yield _joined(case, span, Hypothesis(name, params, moved), s, last)


def _moves(case: Case, s: float) -> Iterator[tuple[str, dict[str, float | int], Callable[[FloatArray], FloatArray]]]:
    """Ways in which a scheduler may go wrong at ``s``: cause, numbers, where it then stands."""
    yield "frozen", {"at": tidy(s - 1.0)}, lambda t: np.minimum(t, s - 1.0)
    yield "restart", {"at": tidy(s)}, lambda t: t - s
    for d in (sign * d for d in range(1, NEAR + 1) for sign in (-1.0, 1.0)):
        yield "offset", {"d": tidy(d)}, lambda t, d=d: np.maximum(t + d, 0.0)  # type: ignore[misc]
    wholes = dict.fromkeys([*map(float, case.facts.owners().values()), *map(float, range(2, 9))])
    for k in (x for n in wholes for x in (n, 1.0 / n)):
        for origin in (s - 1.0, s):
            yield "rate", {"k": tidy(k)}, lambda t, k=k, o=origin: o + k * (t - o)  # type: ignore[misc]


def _gone(case: Case, span: Span, promise: Predict) -> Iterator[Hypothesis]:
    """The first bug, and then the promise."""
    rows = _part(case.rows, span.end, len(case.rows))
    if span.of is not None and bool(np.all(rows.match(promise(rows)))):
        first = float(rows.t[0])
        params = {**span.of.params, "ended": tidy(first - 1.0)}
        yield Hypothesis(span.of.name, params, _switch(span, promise, case, len(case.rows)))


def _scaled(predict: Predict, c: float, low: float) -> Predict:
    return lambda rows: low + c * (predict(rows) - low)


def _at(predict: Predict, position: Callable[[FloatArray], FloatArray]) -> Predict:
    return lambda rows: predict(replace(rows, t=position(rows.t)))


def _joined(case: Case, span: Span, second: Hypothesis, s: float, last: int) -> Hypothesis:
    until = {} if last == len(case.rows) else {"ended": tidy(float(case.rows.t[last - 1]))}
    ends = [span.end, *([last] if until else [])]
    inside = any(float(case.rows.t[i] - case.rows.t[i - 1]) > 1.0 for i in ends)
    params = {**second.params, "since": tidy(s), **until, **({"bound": "about"} if inside else {})}
    later = replace(second, params=params)
    predict = _switch(span, second.predict, case, last)
    return replace(later, predict=predict) if span.of is None else both(span.of, later, predict)


def _switch(span: Span, second: Predict, case: Case, last: int) -> Predict:
    """The first span's value, then the second's, then the promise; where no row was kept, the nearer of the two."""
    t = case.rows.t
    before, first, end = float(t[span.end - 1]), float(t[span.end]), float(t[last - 1])
    after = float(t[last]) if last < len(t) else np.inf
    promise = following(case.curve)

    def predict(rows: Rows) -> FloatArray:
        early, late, healed = span.predict(rows), second(rows), promise(rows)
        result = np.where(rows.t <= before, early, np.where(rows.t <= end, late, healed))
        for low, high, a, b in ((before, first, early, late), (end, after, late, healed)):
            nearer = np.where(np.abs(rows.observed - a) <= np.abs(rows.observed - b), a, b)
            result = np.where((rows.t > low) & (rows.t < high), nearer, result)
        return result

    return predict
