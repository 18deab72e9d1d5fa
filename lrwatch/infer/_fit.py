"""One column → the schedules that explain it, the plainest first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.infer import _look as look
from lrwatch.infer._rows import Column, thinned
from lrwatch.infer._shapes import LOGARITHMIC, SHAPES, Shape
from lrwatch.infer._solve import Basis, Problem, Solution, shorter
from lrwatch.schedules.base import FloatArray

FEW, MANY = 240, 2000
"""Rows that shapes are tried on, and rows that decide."""
MOST_LEVELS: Final = 40
USUAL: Final = 5.0
NEAR: Final = 0.02
"""Of the range: a shape that stays so far from the values is not worth another try."""
_LINE: Final = Shape("linear", ("length",), after="hold")
LOOSE: Final = 0.05
"""A length that may be off by more than this share of it is not known."""
_TIMES = frozenset({"length", "period", "up", "down", "timescale"})


@dataclass(frozen=True)
class Explanation:
    """A schedule that may have made a column.

    Attributes:
        base: what shares are shares of. phases: as a contract spells them. rank: how many numbers it takes.
        worst: the largest deviation in units of what is allowed, over all rows. end: where the schedule is over, None
            where it has no end. unknown: what the trace does not show. loose: number → how far it may be off.
    """

    base: float
    phases: tuple[dict[str, Any], ...]
    rank: float
    worst: float = math.inf
    end: float | None = None
    unknown: tuple[str, ...] = ()
    loose: tuple[tuple[str, float, float], ...] = ()

    @property
    def fits(self) -> bool:
        return self.worst <= 1.0

    @property
    def family(self) -> str:
        """The families in order, in words."""
        return " then ".join(next(iter(phase)) for phase in self.phases)

    def curve(self, dtype: str = "float64") -> Curve:
        lr = {"base": self.base, "schedule": [dict(p) for p in self.phases], "dtype": dtype}
        return Curve(from_document({"lrwatch": 1, "experiment": "", "lr": lr}))


@dataclass(frozen=True)
class Start:
    """A warm-up that ends at row ``row``, clock position ``s``; ``log`` for a logarithmic one."""

    row: int
    s: float
    log: bool = False


def explain(column: Column) -> list[Explanation]:
    """The schedules that explain every row, the plainest first; else the nearest one alone."""
    y, allowed = column.y, column.allowed
    found: list[Explanation] = []
    nearest: list[Explanation] = []
    if look.flat(y, allowed) == len(y) - 1:
        return [_constant(column)]
    for make in (_straight_all, _stairs, _lines, _usual, _holding, _unusual):
        best = min((e.rank for e in found if e.fits), default=math.inf)
        for candidate in make(column, best):
            (found if candidate.fits else nearest).append(candidate)
        if any(e.unknown for e in found):  # a line: nothing else is needed, nothing else can be told
            break
    found.sort(key=lambda e: (e.rank, len(str(e.phases)) + len(str(e.base))))  # of equals the one in rounder numbers
    if found:
        found = [e for e in found if e.rank <= found[0].rank + 1.0]
        return _distinct(found, column)
    level = _checked(Explanation(float(np.median(y)), ({"constant": {}},), 1.0), column)
    return sorted([level, *nearest], key=lambda e: e.worst)[:1]


def _checked(e: Explanation, column: Column, *unknown: str) -> Explanation:
    """With its deviation over all rows, drawn from the contract that would be written."""
    try:
        curve = e.curve(column.dtype)
    except ContractError:  # numbers that no contract may have
        return replace(e, worst=math.inf)
    with np.errstate(all="ignore"):
        off = np.abs(curve.at(column.t) - column.y) / column.allowed
    worst = float(np.max(np.where(np.isfinite(off), off, np.inf)))
    return replace(e, worst=worst, unknown=(*e.unknown, *unknown))


def _distinct(found: list[Explanation], column: Column) -> list[Explanation]:
    """Without those that are another one in other words: the same curve until it is over, beyond the last row too."""
    kept: list[Explanation] = []
    span = column.t[-1] + 1.0
    limit = 4.0 * float(column.allowed.max())
    for e in found:
        for other in kept:
            over = other.end if other.end is not None and other.end >= span - 1.0 else 2.0 * span
            t = np.unique(np.rint(np.linspace(0.0, min(over, 2.0 * span), 1500)))
            if np.abs(e.curve().at(t) - other.curve().at(t)).max() <= limit:
                break
        else:
            kept.append(e)
    return kept


# -- what needs no search ------------------------------------------------------------------------------


def _constant(column: Column) -> Explanation:
    mid = float(np.median(column.y))
    value = next((v for v in shorter(mid) if np.all(np.abs(column.y - v) <= column.allowed)), mid)
    said = "the learning rate never changed: every schedule that has yet to move looks like this"
    return _checked(Explanation(value, ({"constant": {}},), 1.0), column, said)


def _straight_all(column: Column, best: float) -> Iterator[Explanation]:
    """One straight line from the first row to the last."""
    t, y, allowed = column.t, column.y, column.allowed
    if look.straight(t, y, allowed) < len(t) - 1:
        return
    end = float(t[-1]) + 1.0
    problem = Problem(y, allowed)

    def basis(x: FloatArray) -> FloatArray:
        return np.stack([1.0 - t / end, t / end], axis=1)

    found = problem.plainest(basis, problem.at(basis, np.empty(0)))
    start, stop = float(found.c[0]), float(found.c[1])
    if stop > start:
        said = "only a rising straight line was seen: a warm-up whose end, and the peak, the trace does not show"
        yield _checked(Explanation(stop, ({"linear": {"from": _whole(start), "for": _whole(end)}},), 2.0), column, said)
    elif abs(stop) <= 2.0 * float(allowed[-1]):
        yield _checked(Explanation(start, ({"linear": {"to": 0, "for": _whole(end)}},), 2.0, end=end), column)
    else:
        said = "only a falling straight line was seen: where it ends, the trace does not show"
        yield _checked(Explanation(start, ({"linear": {"to": stop, "for": _whole(end)}},), 2.0), column, said)


def _stairs(column: Column, best: float) -> Iterator[Explanation]:
    """Levels: equal drops at equal distances, equal drops, or a table of them; also after a warm-up."""
    for start in (None, *_starts(column)):
        rows = slice(0 if start is None else start.row, None)
        t, y, allowed = column.t[rows], column.y[rows], column.allowed[rows]
        steps = look.levels(y, allowed) if len(t) > 2 else None
        if steps is None or len(steps) > MOST_LEVELS:
            continue
        s = 0.0 if start is None else start.s
        at = t[steps] - s
        gaps = np.diff(at)
        if len(gaps) == 0 or np.all(gaps == gaps[0]):
            every = float(gaps[0]) if len(gaps) else float(at[0])
            offset = every - float(at[0])
            if 0.0 <= offset < every and (len(gaps) or offset == 0.0):
                shape = Shape("step", ("gamma",), (), {"every": every}, scaled=True)
                yield from _fitted(column, shape, start, s, offset, [np.array([_ratio(y, steps)])])
        if len(steps) <= 12:
            shape = Shape("multi_step", ("gamma",), (), {"milestones": tuple(at.tolist())}, scaled=True)
            yield from _fitted(column, shape, start, s, 0.0, [np.array([_ratio(y, steps)])])
        if start is None:
            yield _table(column, steps)


def _ratio(y: FloatArray, steps: Any) -> float:
    below, above = float(y[steps[0]]), float(y[steps[0] - 1])
    return below / above if above > 0 and below > 0 else 0.1


def _table(column: Column, steps: Any) -> Explanation:
    rows = [0, *steps.tolist()]
    values = []
    for a, b in zip(rows, [*rows[1:], len(column.y)], strict=True):
        mid = float(np.median(column.y[a:b]))
        ok = (v for v in shorter(mid) if np.all(np.abs(column.y[a:b] - v) <= column.allowed[a:b]))
        values.append(next(ok, mid))
    at = [0, *(_whole(float(column.t[i])) for i in steps)]
    listed = {"table": {"values": values, "at": at}}
    return _checked(Explanation(max(values), (listed,), 2.0 * len(values) - 1.0), column)


# -- searched ----------------------------------------------------------------------------------------


def _starts(column: Column) -> Iterator[Start]:
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


def _lines(column: Column, best: float) -> Iterator[Explanation]:
    """A straight decay, after a warm-up or at once, and a constant after a warm-up."""
    for start in (None, *_starts(column)):
        rows = slice(0 if start is None else start.row, None)
        t, y, allowed = column.t[rows], column.y[rows], column.allowed[rows]
        s = 0.0 if start is None else start.s
        if look.flat(y, allowed) == len(y) - 1:
            if start is not None:
                said = "after the warm-up the learning rate never changed: what may follow the trace does not show"
                for e in _fitted(column, Shape("constant", (), ("at",)), start, s, 0.0, [np.empty(0)]):
                    yield replace(e, unknown=(said,))
            continue
        rest = look.tail(y, allowed)
        last = len(t) - 1 if rest is None else rest
        if y[-1] < y[0] and look.straight(t, y, allowed) >= last - 1 - (rest is not None):
            yield from _fitted(column, _LINE, start, s, 0.0, None)


def _usual(column: Column, best: float) -> Iterator[Explanation]:
    """What most runs follow: families of three numbers, with or without a warm-up."""
    return _families(column, best, 0.0, USUAL)


def _unusual(column: Column, best: float) -> Iterator[Explanation]:
    """All the others."""
    return _families(column, best, USUAL, math.inf)


def _families(column: Column, best: float, above: float, most: float) -> Iterator[Explanation]:
    """Every family with a shape of its own: from the start, after a warm-up, or hidden by one until its end.

    The plainest first, of ranks above one and up to another; none that takes more numbers than one that fits.
    """
    starts = (None, *_starts(column))
    trials = []
    for shape in SHAPES:
        for i, start in enumerate(starts):
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
        for e in _fitted(column, shape, start, origin, 0.0, None):
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


def _holding(column: Column, best: float) -> Iterator[Explanation]:
    """A level stretch, then a decay: warmup-stable-decay and its relatives."""
    if best < math.inf:
        return
    decays = [s for s in SHAPES if s.after == "hold" and s.family in ("cosine", "k_decay", "polynomial")]
    decays = [_LINE, *decays]
    solved: dict[tuple[int, int], _Solved | None] = {}

    def at(shape: Shape, start: Start | None, begin: int) -> list[Explanation]:
        key = (id(shape), begin)  # what comes after the level stretch does not know how the run began
        origin = float(column.t[begin])
        if key not in solved:
            solved[key] = _solved(column, shape, begin, origin, None)
        found = solved[key]
        return [] if found is None else list(_told(column, found, start, origin, 0.0, begin))

    for start in (None, *_starts(column)):
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


def _fitted(
    column: Column,
    shape: Shape,
    start: Start | None,
    origin: float,
    offset: float,
    guesses: list[FloatArray] | None,
) -> Iterator[Explanation]:
    """The shape on the rows from ``start`` on, its time counted from ``origin`` less ``offset``."""
    row = 0 if start is None else start.row
    solved = _solved(column, shape, row, origin - offset, guesses)
    if solved is not None:
        yield from _told(column, solved, start, origin, offset, None)


@dataclass(frozen=True)
class _Solved:
    """A shape with its numbers; ``open_end`` where its length and the value that it leads to are not told apart."""

    shape: Shape
    solution: Solution
    freedom: tuple[FloatArray, FloatArray]
    open_end: bool


def _solved(column: Column, shape: Shape, row: int, origin: float, guesses: list[FloatArray] | None) -> _Solved | None:
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
    return _Solved(shape, solution, problem.freedom(basis, solution), open_end)


def _told(
    column: Column, solved: _Solved, start: Start | None, origin: float, offset: float, hold: int | None
) -> Iterator[Explanation]:
    said: tuple[str, ...] = ()
    if solved.open_end and solved.solution.c[-1] > 0.0:
        said = ("where the decay ends, the trace does not show: the promise ends with the last row",)
    shape, solution, freedom = solved.shape, solved.solution, solved.freedom
    for e in _written(column, shape, start, solution, origin, offset, hold, freedom):
        yield _checked(replace(e, end=None) if said else e, column, *said)


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


# -- as a contract spells it ---------------------------------------------------------------------------


def _written(
    column: Column,
    shape: Shape,
    start: Start | None,
    found: Solution,
    origin: float,
    offset: float,
    hold: int | None,
    freedom: tuple[FloatArray, FloatArray],
) -> Iterator[Explanation]:
    values = dict(zip(shape.whole, found.c.tolist(), strict=True))
    base = values.pop("base", None) or max(values.get("from", 0.0), values.get("at", 0.0), 0.0)
    if base <= 0.0 or any(value < -float(column.allowed.max()) for value in values.values()):
        return
    values = {name: max(value, 0.0) for name, value in values.items() if name != "at"}
    given = {k: v for k, v in shape.given.items() if k != "length"}
    params = {k: v for k, v in given.items() if _default(shape.family, k) != v}
    params = {k: [_whole(m) for m in v] if isinstance(v, tuple) else _whole(v) for k, v in params.items()}
    numbers = dict(zip(shape.unknown, found.x.tolist(), strict=True))
    length = numbers.get("length", shape.given.get("length"))
    begins = float(column.t[hold]) if hold is not None else 0.0 if start is None else start.s
    params |= {k: _whole(v) for k, v in numbers.items() if k != "length"}
    if not (values.get("from") == base and _default(shape.family, "from") == "100%"):
        params |= {k: v for k, v in values.items() if k == "from"}
    params |= {k: _whole(v) for k, v in values.items() if k == "to" and _default(shape.family, "to") != v}
    hidden = begins - origin + offset
    if hidden:
        params["offset"] = _whole(hidden)
    end = None
    if length is not None:
        end = begins - hidden + length
        params |= {"over": _whole(length)} if hidden else {"for": _whole(length)}
        if shape.after not in ("hold", "continue"):
            params["after"] = shape.after
    main: tuple[dict[str, Any], ...] = ({shape.family: params},)
    if hold is not None and begins > (0.0 if start is None else start.s):
        first = 0.0 if start is None else start.s
        main = ({"constant": {"for": _whole(begins - first)}}, *main)
    loose = list(zip(shape.unknown, found.x.tolist(), freedom[0].tolist(), strict=True))
    loose += zip(shape.whole, found.c.tolist(), freedom[1].tolist(), strict=True)
    said = [_unseen(name, v, off) for name, v, off in loose if name in _TIMES and off > LOOSE * v and off > 0.5]
    explained = Explanation(
        base, main, shape.rank + (hold is not None), end=end, unknown=tuple(said), loose=tuple(loose)
    )
    if start is None:
        yield explained
        return
    at = float(explained.curve().at(np.array([0.0]))[0])
    for warm in _warmups(column, start, base, at):
        ends = next(iter(warm.values())).get("to", base)
        rank = explained.rank + 2.0 + 0.5 * (hidden > 0) + (ends not in (base, at))  # to elsewhere: one number more
        yield replace(explained, phases=(warm, *main), rank=rank)
        return


def _unseen(name: str, value: float, off: float) -> str:
    word = {"length": "the length of the decay"}.get(name, f"the {name}")
    if off >= value:
        return f"{word} cannot be told from these rows"
    return f"{word} is only known to lie between {value - off:,.6g} and {value + off:,.6g}"


def _warmups(column: Column, start: Start, base: float, reached: float) -> Iterator[dict[str, Any]]:
    """The warm-up that leads to ``base`` or to what the next phase begins with: t/W, (t+1)/W, (t+1)/(W+1), …"""
    s = start.s
    t, y, allowed = (a[: start.row] for a in (column.t, column.y, column.allowed))
    problem = Problem(y, allowed)
    if start.log:
        shape = replace(LOGARITHMIC)
        for length in (s + 1.0, s):
            solution = problem.at(lambda x: shape.columns(t, x), np.array([length]), {1: base})
            lows = (0.0, *shorter(solution.c[0]))
            low = next((v for v in lows if _straight_log(problem, shape, t, length, v, base)), None)
            if low is not None:
                extra = {} if length == s else {"over": _whole(length)}
                yield {"logarithmic": {**({"from": low} if low else {}), "for": _whole(s), **extra}}
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
                    more |= {"over": _whole(over)} if over != s else {}
                    yield {"linear": {"from": _whole(low), **ends, "for": _whole(s), **more}}
    columns = np.stack([np.ones_like(t), t], axis=1)
    c, _ = problem.linear(columns)
    if len(t) > 2:  # a line to somewhere else
        yield {"linear": {"from": max(float(c[0]), 0.0), "to": float(c[0] + c[1] * s), "for": _whole(s)}}


def _straight_log(problem: Problem, shape: Shape, t: FloatArray, length: float, low: float, base: float) -> bool:
    columns = shape.columns(t, np.array([length]))
    return bool(np.all(np.abs(columns @ np.array([low, base]) - problem.y) <= problem.allowed))


def _default(family: str, name: str) -> Any:
    from lrwatch.schedules import families

    return next((p.default for p in families()[family].params if p.name == name), None)


def _whole(value: Any) -> Any:
    """Whole numbers as such."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
