"""Two bugs at once: O(t) = A(B(t)), for every two transforms that make sense together. Tried when no single one fits.

    a number   c·h(t), or another floor, on top of any hypothesis h: solved for, row by row
    steps      h(τ(t)), the scheduler stepped wrongly on top of h: all combinations are tried
    a plan     a wrong horizon, warm-up or shape beside one of those: one search each, the promising ones only
    warm-up    what precedes the largest value shows the warm-up, whatever else is wrong; then the rest is searched

A bounded number of curves is evaluated, whatever the length of the run, so the answer does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Facts, Hypothesis, Rows
from lrwatch.diagnosis.knobs import Knob, Line, horizons, knobs, lines, numbers
from lrwatch.diagnosis.search import minimise, simple_fraction, slopes
from lrwatch.diagnosis.transforms.base import at_position, differs, following, tidy, worst_row
from lrwatch.diagnosis.transforms.planning import split, unwarmed, warmed, warmup
from lrwatch.schedules.base import FloatArray

NAME = "two_causes"
FEW = 48
"""Rows that combinations are first tried on; what fits them is tested on all."""
VIEWS = 40
"""Ways to step wrongly that are combined with others."""
NEAR, CLOSER = 32, 8
"""Combinations of steps and a plan that are looked at again, and that are searched closely, of those that come near."""
TAIL, STOPS = 4, 16
"""Rows of one value at the end that show a stop, and places tried for it where rows are missing."""

_ALONE = ("quantised", "factor", "affine", "group_swapped", "rank_", "companion_broken", "single_sample", "floor")
"""Names of hypotheses that say nothing new on top of others, or that a line stands for."""


@dataclass(frozen=True)
class View:
    """A way to step wrongly: the hypothesis, and where its scheduler stands at the few rows, float64[FEW]."""

    of: Hypothesis
    position: Callable[[Rows], FloatArray]


def pairs(case: Case, tried: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Every two causes that reproduce all rows together, the likeliest first; ``tried`` are the single ones."""
    few = case.rows.thin(FEW)
    usable = [*_stopped(case), *(h for h in tried if not h.name.startswith(_ALONE))]
    views = _views(sorted(usable, key=lambda h: _unlikely(h, case.facts)), few)
    found = [
        *_numbers(case, few, usable, views),
        *_steps(case, few, usable, views),
        *_plans(case, views),
        *_after_the_warmup(case),
    ]
    return [h for h in found if h.agrees_with_counters(case.rows) and h.fits(case.rows)]


def both(first: Hypothesis, second: Hypothesis, predict: Callable[[Rows], FloatArray], **kw: Any) -> Hypothesis:
    """Two hypotheses as one."""
    params = {"first": first.name, "second": second.name}
    params |= {f"first.{k}": v for k, v in first.params.items()} | {f"second.{k}": v for k, v in second.params.items()}
    return Hypothesis(NAME, params, predict, parts=(first, second), **kw)


def _stopped(case: Case) -> Iterator[Hypothesis]:
    """Schedulers that were not stepped any more from where the last rows keep one value."""
    seen = case.rows.observed
    moving = np.flatnonzero(np.abs(seen - seen[-1]) > case.rows.allowed(seen))
    i = int(moving[-1]) + 1 if len(moving) else 0
    if 0 < i <= len(seen) - TAIL:
        places = np.linspace(case.rows.t[i - 1] + 1.0, case.rows.t[i], STOPS).round()
        for s in np.unique(places).tolist()[::-1]:

            def position(rows: Rows, s: float = s) -> FloatArray:
                return np.minimum(rows.t, s)

            yield Hypothesis("frozen", {"at": tidy(s)}, at_position(case.curve, position), position)


def _unlikely(h: Hypothesis, facts: Facts) -> int:
    """0 where a number of the run speaks for it, 1 for whole numbers, 2 otherwise."""
    k = h.params.get("k", h.params.get("width", h.params.get("every", 1)))
    same = any(k in (v, 1.0 / v) for v in facts.owners().values())
    return 0 if same else 1 if float(k).is_integer() else 2


def _views(usable: Sequence[Hypothesis], few: Rows) -> list[View]:
    """The ways to step wrongly, each once, those with a reason in the run's numbers before those without."""
    found: dict[tuple[float, ...], View] = {}
    for h in usable:
        if h.position is not None and "after" not in h.params and h.name not in ("horizon", "warmup_length"):
            found.setdefault(tuple(h.position(few).tolist()), View(h, h.position))
    by_name: dict[str, list[View]] = {}
    for view in found.values():
        by_name.setdefault(view.of.name, []).append(view)
    mixed: list[View] = []
    i = 0
    while len(mixed) < min(VIEWS, len(found)):  # of every kind the first, then of every kind the second
        mixed += [views[i] for views in by_name.values() if i < len(views)]
        i += 1
    return mixed[:VIEWS]


def _moved(rows: Rows, t: FloatArray) -> Rows:
    return replace(rows, t=t)


def _repeated(rows: Rows, times: int) -> Rows:
    return Rows(*(np.tile(getattr(rows, name), times) for name in rows.__dataclass_fields__))


def _numbers(case: Case, few: Rows, usable: Sequence[Hypothesis], views: Sequence[View]) -> Iterator[Hypothesis]:
    """c·h(t), and a floor or a base with its floor kept under wrong steps."""
    factor, *others = lines(case)
    zero = np.zeros(len(few))
    allowed = few.allowed(few.observed)
    for h in usable:
        if slopes(few.observed, zero, h.predict(few), allowed):
            yield from _on_line(case, h, factor, partial(_alone, h))
    for line in others:
        for view in views:
            if slopes(few.observed, *line.values(case.curve, view.position(few)), allowed):
                yield from _on_line(case, view.of, line, partial(_seen, line, case.curve, view))


Values = Callable[[Rows], tuple[FloatArray, FloatArray]]
"""Rows → A and B of O = A + x·B."""


def _alone(h: Hypothesis, rows: Rows) -> tuple[FloatArray, FloatArray]:
    return np.zeros(len(rows)), h.predict(rows)


def _seen(line: Line, curve: Curve, view: View, rows: Rows) -> tuple[FloatArray, FloatArray]:
    return line.values(curve, view.position(rows))


def _along(line: Line, curve: Curve, rows: Rows) -> tuple[FloatArray, FloatArray]:
    return line.values(curve, rows.t)


def _on_line(case: Case, h: Hypothesis, line: Line, values: Values) -> Iterator[Hypothesis]:
    rows = case.rows
    for x in slopes(rows.observed, *values(rows), rows.allowed(rows.observed)):

        def predict(r: Rows, x: float = x) -> FloatArray:
            a, b = values(r)
            return a + x * b

        number = Hypothesis(line.name, line.params(x), predict)
        if not _says_something(number):
            continue
        if np.array_equal(h.predict(rows), case.expected):  # the other one changes nothing on these rows
            yield number
        else:
            yield both(number, h, predict, position=h.position)


def _says_something(number: Hypothesis) -> bool:
    p = number.params
    if number.name == "floor":
        return differs(float(p["floor"]), float(p["promised"]))
    return bool(abs(float(p["c"]) - 1.0) > 1e-6 and float(p["c"]) != 0.0)


def _steps(case: Case, few: Rows, usable: Sequence[Hypothesis], views: Sequence[View]) -> Iterator[Hypothesis]:
    """h(τ(t)): two ways to step wrongly, or one and another plan."""
    if not views:
        return
    where = np.concatenate([view.position(few) for view in views])
    many = _moved(_repeated(few, len(views)), where)
    for h in usable:
        fits = many.match(h.predict(many)).reshape(len(views), len(few)).all(axis=1)
        for view in (views[i] for i in np.flatnonzero(fits).tolist()):
            if view.of.name != h.name:
                yield _stepped(view, h)


def _stepped(view: View, h: Hypothesis) -> Hypothesis:
    def predict(rows: Rows) -> FloatArray:
        return h.predict(_moved(rows, view.position(rows)))

    def position(rows: Rows) -> FloatArray:
        inner = _moved(rows, view.position(rows))
        return inner.t if h.position is None else h.position(inner)

    return both(view.of, h, predict, position=position)


def _plans(case: Case, views: Sequence[View]) -> Iterator[Hypothesis]:
    """A wrong number of the plan, under wrong steps or beside a number that is solved for."""
    few = case.rows.thin(FEW)
    where = np.concatenate([few.t, *(view.position(few) for view in views)])
    near: list[tuple[float, Knob, int, View]] = []
    for knob in knobs(case):
        values = np.array([knob.curve(x).at(where).reshape(-1, len(few)) for x in knob.grid])  # [grid, view, row]
        off = np.mean(np.abs(values - few.observed), axis=2)
        for i, view in enumerate(views):
            best = int(np.argmin(off[:, i + 1]))
            near.append((float(off[best, i + 1]), knob, best, view))
        for line in lines(case):
            if knob.name != line.name:
                yield from _solved(case, knob, line)
    near = sorted(near, key=_first)[:NEAR]
    again = [(*_minimum(few, knob, best, view, 12), knob, view) for _, knob, best, view in near]
    for _, x, knob, view in sorted(again, key=_first)[:CLOSER]:
        yield from _closer(case, knob, x, view)


def _first(of: tuple[Any, ...]) -> float:
    return float(of[0])


def _minimum(rows: Rows, knob: Knob, best: int, view: View, rounds: int) -> tuple[float, float]:
    """The smallest mean deviation around a point of the knob's grid, and where it is."""
    where = view.position(rows)

    def of(x: float) -> float:
        return float(np.mean(np.abs(knob.curve(x).at(where) - rows.observed)))

    x = minimise(of, _around(knob, best), rounds=rounds)
    return of(x), x


def _closer(case: Case, knob: Knob, near: float, view: View) -> Iterator[Hypothesis]:
    best = int(np.argmin(np.abs(np.array(knob.grid) - near)))
    _, found = _minimum(case.rows.thin(2 * FEW), knob, best, view, 50)
    for x in _settle(case, knob, found, lambda c: c.at(view.position(case.rows))):
        curve = knob.curve(x)
        plan = Hypothesis(knob.name, knob.params(x), following(curve))
        yield both(view.of, plan, at_position(curve, view.position), position=view.position)


def _around(knob: Knob, best: int) -> list[float]:
    return list(knob.grid[max(best - 1, 0) : best + 2])


def _settle(case: Case, knob: Knob, x: float, predict: Callable[[Curve], FloatArray]) -> list[float]:
    """The whole number and the simple fraction near ``x``, itself, and the one with the smallest worst row."""
    found = [float(round(x)), simple_fraction(x, limit=100, rtol=1e-4), x]

    def worst(y: float) -> float:
        return worst_row(case.rows, predict(knob.curve(y)))

    if case.rows.resolution() > 1e-7 and worst(x) < 100.0:
        near = case.rows.resolution() * 100.0
        found.append(minimise(worst, (x * np.linspace(1.0 - near, 1.0 + near, 9)).tolist(), rounds=25))
    return [y for y in dict.fromkeys(found) if y > 0 and differs(y, knob.promised)]


def _solved(case: Case, knob: Knob, line: Line) -> Iterator[Hypothesis]:
    """A number of the plan by search, and beside it one that every row can be solved for."""
    few, thin = case.rows.thin(FEW), case.rows.thin(2 * FEW)

    def off(x: float, rows: Rows) -> float:
        a, b = line.values(knob.curve(x), rows.t)
        size = float(np.dot(b, b))
        c = float(np.dot(b, rows.observed - a)) / size if size else 0.0
        return float(np.mean(np.abs(a + c * b - rows.observed)))

    best = int(np.argmin([off(x, few) for x in knob.grid]))
    found = minimise(lambda x: off(x, thin), _around(knob, best), rounds=50)
    if off(found, thin) > 1e-2 * float(np.mean(np.abs(thin.observed))):
        return

    def predicted(curve: Curve) -> FloatArray:
        a, b = line.values(curve, case.rows.t)
        size = float(np.dot(b, b))
        return a + (float(np.dot(b, case.rows.observed - a)) / size if size else 0.0) * b

    for x in _settle(case, knob, found, predicted):
        curve = knob.curve(x)
        plan = Hypothesis(knob.name, knob.params(x), following(curve))
        yield from _on_line(case, plan, line, partial(_along, line, curve))


def _after_the_warmup(case: Case) -> Iterator[Hypothesis]:
    """Another warm-up, or none, and another plan after it."""
    parted = replace(case, curve=split(case.curve))
    width = warmup(parted)
    if width is None:
        return
    for first, changed in _warmups(parted, width):
        rest = replace(case, curve=changed)
        for knob in (*horizons(rest), *numbers(rest)):
            yield from _searched(rest, first, knob)
        for line in (line for line in lines(rest) if line.name == "floor"):
            yield from _on_line(rest, first, line, partial(_along, line, changed))


def _warmups(case: Case, width: float) -> Iterator[tuple[Hypothesis, Curve]]:
    """Warm-ups that the rows up to the largest value allow, each with its curve."""
    rows, top = case.rows, int(np.argmax(case.rows.observed))
    for word, curve in unwarmed(case.curve, width).items():
        if rows.t[top] < width:
            yield Hypothesis("warmup_missing", {"instead": word}, following(curve)), curve
    if top < 3:
        return
    rising = Rows(*(getattr(rows, name)[: top + 1] for name in rows.__dataclass_fields__)).thin(FEW)

    def warm(new: float) -> Curve:
        return case.curve.with_phases(warmed(new, "end"))

    def off(new: float) -> float:
        return float(np.mean(np.abs(warm(new).at(rising.t) - rising.observed)))

    last = float(rows.t[top])
    found = minimise(off, np.geomspace(max(last / 4.0, 0.5), 4.0 * last, 33).tolist(), rounds=50)
    for new in dict.fromkeys((float(round(found)), found)):
        if new > 0 and differs(new, width):
            curve = warm(new)
            yield Hypothesis("warmup_length", {"warmup": tidy(new), "planned": width}, following(curve)), curve


def _searched(case: Case, first: Hypothesis, knob: Knob) -> Iterator[Hypothesis]:
    """The number of a plan beside something that its curve has already."""
    few, thin = case.rows.thin(FEW), case.rows.thin(2 * FEW)

    def off(x: float, rows: Rows) -> float:
        return float(np.mean(np.abs(knob.curve(x).at(rows.t) - rows.observed)))

    best = int(np.argmin([off(x, few) for x in knob.grid]))
    found = minimise(lambda x: off(x, thin), _around(knob, best), rounds=50)
    for x in _settle(case, knob, found, lambda c: c.at(case.rows.t)):
        curve = knob.curve(x)
        yield both(first, Hypothesis(knob.name, knob.params(x), following(curve)), following(curve))
