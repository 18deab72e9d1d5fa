"""Transforms of the expected curve that real bugs amount to, each with its fit.

A transform function takes a case and yields hypotheses worth testing; testing is done by ``causes``. With τ for where
the scheduler really stands:

    rate      O(t) = E(k·t)             offset    O(t) = E(t + d)            frozen   O(t) = E(min(t, s))
    restart   O(t) = E(t - r), t ≥ r    factor    O(t) = c·E(t)              horizon  O(t) = E with another end T'

Where the trace records the scheduler's position, τ is known and nothing is searched. A real scheduler past its end may
do something else than the contract, which never expected it to get there: then every behaviour is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.search import best_integer, minimise, simple_fraction
from lrwatch.schedules import families
from lrwatch.schedules.base import FloatArray

SEARCH_ROWS = 256
Position = Callable[[Rows], FloatArray]
Predict = Callable[[Rows], FloatArray]
Transform = Callable[[Case], Iterator[Hypothesis]]


def rate(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(k·t), or from a resume at r on, E(r + k·(t - r))."""
    origins = [0.0] if case.resumed_at is None else [0.0, case.resumed_at]
    for origin in origins:
        for k in _rates(case, origin):
            if k > 0 and k != 1.0:
                params = {"k": _tidy(k)} | ({"from": _tidy(origin)} if origin else {})
                yield from _moved(case, "rate", params, _paced(k, origin))


def _paced(k: float, origin: float) -> Position:
    return lambda r: np.where(r.t >= origin, origin + k * (r.t - origin), r.t)


def _rates(case: Case, origin: float) -> list[float]:
    rows, known = case.rows, np.isfinite(case.rows.sched)
    late = known & (rows.t > origin)
    if late.any():
        i = int(np.flatnonzero(late)[-1])
        return [simple_fraction(float((rows.sched[i] - origin) / (rows.t[i] - origin)), rtol=1e-3)]
    wholes = {float(v) for v in case.facts.owners().values()} | {float(k) for k in range(2, 17)}
    guesses = sorted(wholes | {1.0 / k for k in wholes})
    thin = rows.thin(SEARCH_ROWS)
    grid = np.geomspace(1.0 / 128.0, 128.0, 513)
    found = minimise(lambda k: _loss(case.curve.at(origin + k * (thin.t - origin)), thin), grid.tolist())
    return [*guesses, simple_fraction(found), found]


def offset(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(t + d), d a whole number."""
    rows, known = case.rows, np.isfinite(case.rows.sched)
    if known.any():
        candidates = {float(np.median(rows.sched[known] - rows.t[known]))}
    else:
        span = int(max(rows.t[-1] - rows.t[0], case.curve.horizon or 0.0)) + 1
        thin = rows.thin(SEARCH_ROWS)
        found = best_integer(lambda d: _loss(case.curve.at(thin.t + d), thin), -span, span)
        candidates = {-2.0, -1.0, 1.0, 2.0, float(found)}
    for d in sorted(candidates, key=abs):
        if d != 0.0 and (case.resumed_at is None or d != -case.resumed_at):  # that one is a restart
            name = "offset" if case.resumed_at is None else "offset_at_resume"
            yield from _moved(case, name, {"d": _tidy(d)}, _ahead(d))


def _ahead(d: float) -> Position:
    return lambda r: r.t + d


def frozen(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(min(t, s)): the scheduler was not stepped after s."""
    s = case.first_bad - 1.0
    if case.resumed_at is not None and case.first_bad <= case.resumed_at + 1:
        s = case.resumed_at
    known = np.isfinite(case.rows.sched)
    if known.any():
        s = float(np.max(case.rows.sched[known]))
    s = max(s, 0.0)
    yield from _moved(case, "frozen", {"at": _tidy(s)}, lambda r: np.minimum(r.t, s), variants=False)


def restart_at_resume(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(t - r) for a closed-form scheduler; E(t - r)·E(r)/E(0) for a recursive one on a restored optimizer."""
    r = case.resumed_at
    if r is None:
        return

    def position(rows: Rows) -> FloatArray:
        return np.maximum(rows.t - r, 0.0)

    yield from _moved(case, "restart_at_resume", {"at": _tidy(r)}, position)
    at_resume, first = (float(v) for v in case.curve.at(np.array([r, 0.0])))
    if first > 0:
        floor = float(case.curve.at(np.array([case.curve.horizon or np.inf]))[0]) if case.curve.horizon else 0.0
        for low in {0.0, floor}:
            if first != low:
                scale = (at_resume - low) / (first - low)
                bent = _scaled_above(case.curve, position, low, scale)
                yield Hypothesis("restart_at_resume", {"at": _tidy(r), "scale": scale}, bent, position)
    # The first phase runs on from the restored value; at the next one SequentialLR starts from the base again.
    border = case.curve.phases[0].end
    if border is not None and first > 0:
        scale = at_resume / first

        def mixed(rows: Rows) -> FloatArray:
            tau = position(rows)
            return case.curve.at(tau) * np.where(tau < border, scale, 1.0)

        yield Hypothesis("restart_at_resume", {"at": _tidy(r), "scale": scale, "until": border}, mixed, position)


def _scaled_above(curve: Curve, position: Position, low: float, scale: float) -> Predict:
    return lambda rows: low + (curve.at(position(rows)) - low) * scale


def factor(case: Case) -> Iterator[Hypothesis]:
    """O(t) = c·E(t)."""
    expected = case.expected
    rows = np.abs(expected) > 1e3 * case.rows.allowed
    if not rows.any():
        return
    c = float(np.median(case.rows.observed[rows] / expected[rows]))
    for value in dict.fromkeys((simple_fraction(c, limit=1000, rtol=1e-7), c)):
        if value != 1.0:
            yield Hypothesis(
                "factor" if case.resumed_at is None else "factor_at_resume",
                {"c": _tidy(value)},
                _times(case.curve, value),
            )


def _times(curve: Curve, c: float) -> Predict:
    return lambda r: c * curve.at(r.t)


def _following(curve: Curve) -> Predict:
    return lambda r: curve.at(r.t)


def base(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E with c times the base, floors that are given absolutely staying where they are."""
    thin = case.rows.thin(SEARCH_ROWS)
    top = int(np.argmax(thin.observed))
    peak = float(np.max(case.curve.at(thin.t)))
    grid = np.geomspace(1e-3, 1e3, 257).tolist()
    searched = minimise(lambda c: _loss(case.curve.with_base(c).at(thin.t), thin), grid)
    guesses = [float(thin.observed[top]) / peak if peak > 0 else 1.0, searched]
    for guess in guesses:
        c = simple_fraction(guess, limit=1000, rtol=1e-6)
        if c > 0 and abs(c - 1.0) > 1e-12:
            yield Hypothesis(
                "factor" if case.resumed_at is None else "factor_at_resume",
                {"c": _tidy(c), "floor": "kept"},
                _following(case.curve.with_base(c)),
            )


def horizon(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E with the last phase ending at T' instead of T; what comes before it is right."""
    last = case.curve.phases[-1]
    if last.length is None:
        return
    thin = case.rows.thin(SEARCH_ROWS)
    planned = last.start + last.length
    grid = last.start + last.length * np.geomspace(1.0 / 64.0, 64.0, 513)
    for after in _behaviours(case.curve):

        def curve_to(end: float, after: str = after) -> Curve:
            return case.curve.with_last_phase(length=end - last.start, after=after)

        found = minimise(lambda end: _loss(curve_to(end).at(thin.t), thin), grid.tolist())
        for end in dict.fromkeys((float(round(found)), found)):
            if end > last.start and end != planned:
                params = {"horizon": _tidy(end), "planned": _tidy(planned)} | (
                    {"after": after} if after != last.after else {}
                )
                name = "horizon" if case.resumed_at is None else "horizon_at_resume"
                yield Hypothesis(name, params, _following(curve_to(end)))


TRANSFORMS: tuple[Transform, ...] = (restart_at_resume, rate, offset, horizon, factor, base, frozen)
"""In the order in which they are preferred when several fit."""


def _moved(
    case: Case,
    name: str,
    params: Mapping[str, object],
    position: Position,
    *,
    variants: bool = True,
) -> Iterator[Hypothesis]:
    """E at another position, with every behaviour past the end where the position gets there."""
    last = case.curve.phases[-1]
    end = last.start + last.length if last.length is not None else np.inf
    beyond = variants and len(case.rows) and float(np.max(position(case.rows))) > end
    for after in _behaviours(case.curve) if beyond else [last.after]:
        curve = case.curve if after == last.after else case.curve.with_last_phase(after=after)
        extra = {} if after == last.after else {"after": after}
        yield Hypothesis(name, {**params, **extra}, _at_position(curve, position), position)


def _at_position(curve: Curve, position: Position) -> Predict:
    return lambda r: curve.at(position(r))


def _behaviours(curve: Curve) -> list[str]:
    last = curve.phases[-1]
    return [last.after, *(a for a in families()[last.family].after if a != last.after)]


def _loss(predicted: FloatArray, rows: Rows) -> float:
    return float(np.mean(np.abs(rows.observed - predicted)))


def _tidy(x: float) -> int | float:
    return int(x) if float(x).is_integer() else float(x)
