"""The scheduler was stepped the wrong number of times.

    rate             O(t) = E(k·t)              offset           O(t) = E(t + d)
    frozen           O(t) = E(min(t, s))        skipped_updates  O(t) = E(the other counter of AMP)
    extra_per_epoch  O(t) = E(t + ⌊t/B⌋)        modulo           O(t) = E(t mod B)
    staircase        O(t) = E(⌊t/B⌋) (stepped once per epoch) or E(B·⌊t/B⌋) (held for B steps)

Where the trace records the scheduler's position, τ is known and nothing is searched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrwatch.diagnosis.case import Case, Hypothesis
from lrwatch.diagnosis.search import best_integer, minimise, simple_fraction
from lrwatch.diagnosis.transforms.base import (
    SEARCH_ROWS,
    Position,
    Transform,
    at_position,
    landmarks,
    loss,
    moved,
    resumed,
    tidy,
)

MAX_PERIODS = 16
"""Periods tried where the trace suggests some and the run's numbers do not."""


NEAR = 16
"""Offsets up to this are all tried: on a curve that repeats itself a search finds another period's."""


def rate(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(k·t), or from a resume at r on, E(r + k·(t - r)).

    With whole k also E(k·t + k - 1): a scheduler stepped after every micro-batch has made k - 1 steps before the first
    update, and one stepped after every update none.
    """
    origins = [0.0] if case.resumed_at is None else [case.resumed_at, 0.0]
    for origin in origins[:1] if case.place.since_resume else origins:
        for k in _rates(case, origin):
            if k > 0 and k != 1.0:
                params = {"k": tidy(k)} | ({"from": tidy(origin)} if origin else {})
                yield from moved(case, "rate", params, _paced(k, origin))
                if not origin:
                    yield from _replanned(case, k)
                if k > 1.0 and float(k).is_integer():
                    early = {**params, "ahead": tidy(k - 1.0)}
                    yield from moved(case, "rate", early, _paced(k, origin, k - 1.0))


def _replanned(case: Case, k: float) -> Iterator[Hypothesis]:
    """The same curve comes from a plan whose every length is 1/k of the promised one, where nothing says which.

    A rate that equals a number of the run is the likelier story, except where the plan has but one length.
    """
    curve, phases = case.curve, case.curve.phases
    owned = any(np.isclose(k, v) or np.isclose(k, 1.0 / v) for v in (2, *case.facts.owners().values()))
    if np.isfinite(case.rows.sched).any():
        return
    if phases[0].end is not None and phases[-1].family in ("inverse_sqrt", "constant"):
        width = phases[0].end
        scaled = any(np.isclose(k, v) or np.isclose(k, 1.0 / v) for v in case.facts.owners().values())
        name = "warmup_scale" if scaled else "warmup_length"
        params = {"warmup": tidy(width / k), "planned": tidy(width)}
        yield Hypothesis(name, params, at_position(curve, _paced(k, 0.0)))
    elif not owned and curve.horizon is not None and phases[-1].length is not None:
        end = tidy(round(curve.horizon / k, 6))
        stretched = {"horizon": end, "planned": tidy(curve.horizon), "moves": "every phase"}
        yield Hypothesis("horizon", stretched, at_position(curve, _paced(k, 0.0)))


def _paced(k: float, origin: float, ahead: float = 0.0) -> Position:
    return lambda r: np.where(r.t >= origin, origin + k * (r.t - origin) + ahead, r.t)


def _rates(case: Case, origin: float) -> list[float]:
    rows, known = case.rows, np.isfinite(case.rows.sched)
    late = np.flatnonzero(known & (rows.t >= origin))
    if len(late) > 1:
        i, j = int(late[0]), int(late[-1])
        slope = (rows.sched[j] - rows.sched[i]) / max(rows.t[j] - rows.t[i], 1.0)
        return [simple_fraction(float(slope), rtol=1e-3)]
    wholes = {float(v) for v in case.facts.owners().values()} | {float(k) for k in range(2, 17)}
    guesses = sorted(wholes | {1.0 / k for k in wholes})
    thin = rows.thin(SEARCH_ROWS)
    grid = np.geomspace(1.0 / 128.0, 128.0, 257)
    found = minimise(lambda k: loss(case.curve.at(origin + k * (thin.t - origin)), thin), grid.tolist())
    near = [f for i, t in landmarks(case) if (f := _simplest(t - origin, rows.t[i] - origin)) is not None]
    return list(dict.fromkeys([*guesses, simple_fraction(found), *near]))


def _simplest(expected: float, observed: float) -> float | None:
    """The simplest k for which a change expected at one position shows at another: k·(o - 1) < e ≤ k·o."""
    if expected <= 0 or observed <= 1:
        return None
    for q in range(1, 65):
        p = int(np.ceil(q * expected / observed))
        if p * (observed - 1) < q * expected:
            return p / q
    return None


def offset(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(t + d), d a whole number; after a resume also r·(1/P - 1), the position kept in steps of P workers."""
    rows, known, r = case.rows, np.isfinite(case.rows.sched), case.resumed_at
    candidates: dict[float, None] = {}
    if known.any():
        candidates[float(np.median(rows.sched[known] - rows.t[known]))] = None
    else:
        span = int(max(rows.t[-1] - rows.t[0], case.curve.horizon or 0.0)) + 1
        thin = rows.thin(SEARCH_ROWS)
        found = best_integer(lambda d: loss(case.curve.at(thin.t + d), thin), -span, span)
        candidates |= dict.fromkeys([s * d for d in range(1, NEAR + 1) for s in (-1.0, 1.0)])
        candidates[float(found)] = None
        if r is not None:
            candidates |= dict.fromkeys([r, *(r / n - r for n in case.facts.owners().values())])
        candidates |= dict.fromkeys(landmark - rows.t[i] for i, landmark in landmarks(case))
    for d in candidates:
        restart, clamped = r is not None and d == -r, rows.t[-1] + d <= 0.0
        beyond = case.curve.horizon is not None and d >= case.curve.horizon  # nobody's first value is past the end
        if d != 0.0 and not restart and not clamped and not beyond:
            kept = [name for name, n in case.facts.owners().items() if r and d < 0.0 and abs(r + d - r / n) < 1.0]
            params = {"d": tidy(d), **({"divided_by": kept[0]} if kept and case.place.since_resume else {})}
            yield from moved(case, resumed(case, "offset"), params, _ahead(d, case.curve.begins))


def _ahead(d: float, begins: float) -> Position:
    return lambda r: np.maximum(r.t + d, begins)  # no scheduler stands before its beginning


def frozen(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(min(t, s)): the scheduler was not stepped after s, or it moves an optimizer that nobody uses."""
    known = np.isfinite(case.rows.sched)
    if known.any():
        s = float(np.max(case.rows.sched[known]))
        yield from moved(case, _stopped(case, s), {"at": tidy(s)}, _until(s), variants=False)
    for s in _stops(case):
        before, at = case.curve.at(np.array([max(s - 1.0, 0.0), s]))
        hidden = {"bound": "at the latest"} if before == at and s > 0 else {}
        params = {"at": tidy(s), **hidden}
        if known.any():  # the values stand still, its own count goes on
            held = at_position(case.curve, _until(s))
            yield Hypothesis(_stopped(case, s), {**params, "scheduler": "goes on"}, held)
        else:
            yield from moved(case, _stopped(case, s), params, _until(s), variants=False)


def _stops(case: Case) -> list[float]:
    """Where the values may have stood still: at the resume, or between the last right row and the first wrong one."""
    if case.place.since_resume and case.resumed_at is not None:
        return [case.resumed_at]
    before = case.rows.t[case.rows.t < case.first_bad]
    low = float(before[-1]) if len(before) else 0.0
    places = np.linspace(low, case.first_bad - 1.0, min(max(int(case.first_bad - low), 1), 64)).round()
    return list(dict.fromkeys(max(float(s), 0.0) for s in places[::-1]))


def _stopped(case: Case, s: float) -> str:
    return "frozen_at_resume" if case.place.since_resume and s == case.resumed_at else "frozen"


def _until(s: float) -> Position:
    return lambda r: np.minimum(r.t, s)


def skipped_updates(case: Case) -> Iterator[Hypothesis]:
    """The scheduler counts attempted updates where the contract counts applied ones, or the reverse."""
    rows = case.rows
    if not np.isfinite(rows.attempt).all() or np.array_equal(rows.attempt, rows.update):
        return
    attempted = bool(np.array_equal(rows.t, rows.attempt))
    skips = int((rows.attempt - rows.update).max())
    follows = "applied" if attempted else "attempted"
    position: Position = (lambda r: r.update) if attempted else (lambda r: r.attempt)
    yield from moved(case, "skipped_updates", {"follows": follows, "skipped": skips}, position)


def staircase(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(⌊t/B⌋), stepped once per B updates; or E(B·⌊t/B⌋), a value held for B updates."""
    for width in _periods(case, steps=True):
        yield from moved(case, "staircase", {"width": tidy(width), "stepped": "once per width"}, _stairs(width, 1.0))
        yield from moved(case, "staircase", {"width": tidy(width), "stepped": "held"}, _stairs(width, width))


def _stairs(width: float, height: float) -> Position:
    return lambda r: height * np.floor(r.t / width)


def extra_per_epoch(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(t + ⌊t/B⌋): stepped per batch and once more per epoch."""
    for width in _periods(case, steps=False):
        yield from moved(case, "extra_per_epoch", {"every": tidy(width)}, _and_one_per(width))


def _and_one_per(width: float) -> Position:
    return lambda r: r.t + np.floor(r.t / width)


def modulo(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(t mod B): the schedule counts within the epoch."""
    last = case.curve.phases[-1]
    end = None if last.length is None else last.start + last.length
    for width in (w for w in _periods(case, steps=False) if w != end):  # that is a matter of what comes past the end
        yield from moved(case, "modulo", {"period": tidy(width)}, _within(width), variants=False)


def _within(width: float) -> Position:
    return lambda r: np.mod(r.t, width)


def _periods(case: Case, *, steps: bool) -> list[float]:
    """Widths worth trying: numbers of the run, and where the curve first leaves its promise or first moves."""
    rows, found = case.rows, dict[float, None]()
    if case.facts.steps_per_epoch:
        found[float(case.facts.steps_per_epoch)] = None
    if steps:
        found |= dict.fromkeys(float(v) for v in case.facts.owners().values())
    known = np.flatnonzero(np.isfinite(rows.sched))
    if steps and len(known) > 1 and (risen := rows.sched[known[-1]] - rows.sched[known[0]]) > 0:
        found[round((rows.t[known[-1]] - rows.t[known[0]]) / risen)] = None
    moves = np.flatnonzero(np.diff(rows.observed) != 0)
    if steps and len(moves):
        low, high = rows.t[moves[0]], rows.t[moves[0] + 1]
        found |= dict.fromkeys(np.arange(low + 1, min(high, low + MAX_PERIODS) + 1).tolist())
        widths = np.diff(rows.t[moves + 1])
        if len(widths):
            found[float(np.median(widths))] = None
    if not steps:
        bad = np.flatnonzero(~rows.match(case.expected))
        if len(bad):
            i = int(bad[0])
            low = rows.t[i - 1] if i else rows.t[i] - 1
            found |= dict.fromkeys(np.arange(low + 1, min(rows.t[i], low + MAX_PERIODS) + 1).tolist())
    return [w for w in found if w > 1.0]


TRANSFORMS: tuple[Transform, ...] = (frozen, rate, offset, skipped_updates, extra_per_epoch, modulo, staircase)
