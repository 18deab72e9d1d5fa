"""The rows of two runs, update by update: where each column parts, in one pass over both and bounded memory.

Values are equal when they differ by no more than was lost in storing them, plus what verify allows to signals:

    |a - b| ≤ rtol·|a| + (quantum_a + quantum_b)/2 + half a unit of the last digit of each + atol·peak (signals)

A NaN is equal to a NaN. A row that only one run has is counted, not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lrwatch.contract.model import Tolerance
from lrwatch.diff.survey import VALUES, Counted, Stored, Survey, comparable
from lrwatch.errors import TraceError
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import rounding
from lrwatch.trace.model import Chunk, Item, Source
from lrwatch.trace.sampler import Sampler

Side = Literal["a", "b"]
SIDES: Final[tuple[Side, Side]] = ("a", "b")
MOST_WAITING: Final = 1 << 22
"""Rows of one run that wait for the other; more only where the two list their workers in another order."""
_TOLERANCE: Final = Tolerance()


@dataclass
class Track:
    """One column, compared.

    Attributes:
        rows: compared. differing: how many of them differ. first: worker → first step at which it differs.
        step, a, b: where and what the first differing values were, on the worker that differs first.
        last: last differing step. worst, worst_step: the largest difference, in the column's unit; infinite where a
            number differs from what is none.
        curve: b - a, thinned, of the lowest worker.
    """

    rows: int = 0
    differing: int = 0
    first: dict[int, int] = field(default_factory=dict)
    step: int = -1
    a: float = 0.0
    b: float = 0.0
    last: int = -1
    worst: float = 0.0
    worst_step: int = -1
    curve: Sampler = field(default_factory=Sampler)

    def take(self, rank: int, steps: NDArray[np.int64], a: FloatArray, b: FloatArray, allowed: FloatArray) -> None:
        """Compare rows of one worker, increasing in their steps."""
        self.rows += len(steps)
        with np.errstate(invalid="ignore"):
            size = np.abs(a - b)
            wrong = ~(size <= allowed) & ~(a == b) & ~(np.isnan(a) & np.isnan(b))
        at = np.flatnonzero(wrong)
        if not len(at):
            return
        self.differing += len(at)
        i = int(at[0])
        if rank not in self.first:
            self.first[rank] = int(steps[i])
            if self.step < 0 or steps[i] < self.step:
                self.step, self.a, self.b = int(steps[i]), float(a[i]), float(b[i])
        self.last = max(self.last, int(steps[at[-1]]))
        sizes = np.where(np.isnan(size[at]), np.inf, size[at])
        top = int(np.argmax(sizes))
        if sizes[top] > self.worst:
            self.worst, self.worst_step = float(sizes[top]), int(steps[at[top]])


@dataclass
class Waiting:
    """Rows of one worker of one run that the other has not come to yet."""

    keys: NDArray[np.int64]
    columns: dict[str, FloatArray]
    present: dict[str, NDArray[np.bool_]]

    def cut(self, at: int) -> tuple[Waiting, Waiting]:
        """The first ``at`` rows, and the rest."""
        return self.take(slice(at)), self.take(slice(at, None))

    def take(self, rows: slice | NDArray[np.intp]) -> Waiting:
        columns = {k: v[rows] for k, v in self.columns.items()}
        return Waiting(self.keys[rows], columns, {k: v[rows] for k, v in self.present.items()})

    def joined(self, other: Waiting) -> Waiting:
        """Both, one after the other; of a step that both have, the other's row stays."""
        if not len(self.keys):
            return other
        names = dict.fromkeys((*self.columns, *other.columns))
        mine, theirs = (self._filled(names), other._filled(names))
        keys = np.concatenate([mine.keys, theirs.keys])
        whole = Waiting(
            keys,
            {n: np.concatenate([mine.columns[n], theirs.columns[n]]) for n in names},
            {n: np.concatenate([mine.present[n], theirs.present[n]]) for n in names},
        )
        last = np.append(np.diff(keys) != 0, True)
        return whole if last.all() else whole.take(np.flatnonzero(last))

    def _filled(self, names: Collection[str]) -> Waiting:
        n, missing = len(self.keys), [name for name in names if name not in self.columns]
        columns = self.columns | {name: np.full(n, np.nan) for name in missing}
        return Waiting(self.keys, columns, self.present | {name: np.zeros(n, dtype=bool) for name in missing})


@dataclass
class Paired:
    """What the comparison of all rows gave: column → track, and how many steps of its workers only one run has."""

    tracks: dict[str, Track] = field(default_factory=dict)
    shared: int = 0
    alone: dict[Side, int] = field(default_factory=lambda: {"a": 0, "b": 0})


class Pairing:
    """Compares the workers that both runs have, in the columns that both have."""

    def __init__(self, a: Survey, b: Survey, only: Collection[str] = ()):
        self.surveys: dict[Side, Survey] = {"a": a, "b": b}
        self.columns = [n for n in a.columns if n in b.columns and (not only or n.partition("/")[0] in only)]
        self.ranks = tuple(sorted(set(a.ranks) & set(b.ranks)))
        self._count_signals = not any(n in VALUES for n in self.columns)  # every step is counted once
        self.result = Paired({name: Track() for name in self.columns})
        self._waiting: dict[tuple[Side, int, bool], Waiting] = {}
        self._waits = {"a": 0, "b": 0}
        self._ended: set[Side] = set()

    def run(self, a: Source, b: Source) -> Paired:
        """Read both sources once, the one that is behind first.

        Raises:
            TraceError: they list their workers in so different an order that one would have to be held in memory.
        """
        items: dict[Side, Iterator[Item]] = {"a": iter(a), "b": iter(b)}
        counted: dict[Side, Counted] = {side: Counted(self.surveys[side]) for side in SIDES}
        way: dict[Side, tuple[int, int]] = {"a": (-1, 0), "b": (-1, 0)}
        while len(self._ended) < 2:
            side = min((s for s in SIDES if s not in self._ended), key=lambda s: way[s])
            item = next(items[side], None)
            if item is None:
                self._end(side)
            elif isinstance(item, Chunk) and len(item):
                if self.ranks and item.rank == self.ranks[0]:
                    way[side] = (max(way[side][0], int(item.columns["update"][-1])), way[side][1])
                way[side] = (way[side][0], way[side][1] + len(item))
                if item.rank in self.ranks:
                    self._push(side, counted[side].rows(item))
            if self._waits[side] > MOST_WAITING:
                raise TraceError(
                    "lists its workers in another order than the other run; name the files of one worker of each",
                    source=", ".join((a if side == "a" else b).info.paths),
                )
        return self.result

    def _push(self, side: Side, chunk: Chunk) -> None:
        names = [n for n in comparable(chunk.columns) if n in self.result.tracks]
        # A signal read after the scheduler's step is the next update's, a loss is always this one's.
        for signals in (False, True):
            own = [n for n in names if (n not in VALUES) is signals]
            if own and len(chunk):
                keys = chunk.columns["update"] + (1 if signals and self._shifted(side) else 0)
                columns = {n: chunk.columns[n] for n in own}
                rows = Waiting(keys, columns, {n: chunk.present(n) for n in own})
                self._wait(side, chunk.rank, signals, rows)
                self._match(chunk.rank, signals)

    def _shifted(self, side: Side) -> bool:
        """Whether this run's signals are another update's than the other's, in the same row."""
        a, b = self.surveys["a"].after, self.surveys["b"].after
        return a != b and self.surveys[side].after

    def _wait(self, side: Side, rank: int, signals: bool, rows: Waiting) -> None:
        key = (side, rank, signals)
        known = self._waiting.get(key)
        self._waiting[key] = rows if known is None else known.joined(rows)
        self._waits[side] += len(self._waiting[key].keys) - (0 if known is None else len(known.keys))

    def _match(self, rank: int, signals: bool) -> None:
        """Compare what both have come to."""
        a, b = (self._waiting.get((side, rank, signals)) for side in SIDES)
        ends = {s: w.keys[-1] if w is not None and len(w.keys) else -1 for s, w in zip(SIDES, (a, b), strict=True)}
        going = [end for side, end in ends.items() if side not in self._ended]
        done = min(going) if going else max(ends.values())  # a run that has ended keeps nobody waiting
        parts: dict[Side, Waiting | None] = {"a": None, "b": None}
        for side, waiting in zip(SIDES, (a, b), strict=True):
            if waiting is not None:
                # A row at the last step may have another attempt in the next chunk: it waits unless nothing follows.
                cut = int(np.searchsorted(waiting.keys, done, side="left" if going else "right"))
                parts[side], self._waiting[side, rank, signals] = waiting.cut(cut)
                self._waits[side] -= cut
        self._compare(rank, signals, parts["a"], parts["b"])

    def _end(self, side: Side) -> None:
        self._ended.add(side)
        for rank, signals in dict.fromkeys(key[1:] for key in self._waiting):
            self._match(rank, signals)

    def _compare(self, rank: int, signals: bool, a: Waiting | None, b: Waiting | None) -> None:
        sizes = [0 if w is None else len(w.keys) for w in (a, b)]
        if a is None or b is None or not all(sizes):
            common = 0
        else:
            keys, ia, ib = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
            common = len(keys)
            for name, track in self.result.tracks.items():
                if name in a.columns and name in b.columns:
                    both = a.present[name][ia] & b.present[name][ib]
                    left, right = a.columns[name][ia][both], b.columns[name][ib][both]
                    track.take(rank, keys[both], left, right, self._allowed(name, left, right))
                    if rank == self.ranks[0]:
                        with np.errstate(invalid="ignore"):
                            track.curve.add(keys[both], right - left)
        if signals is self._count_signals:
            self.result.shared += common
            self.result.alone["a"] += sizes[0] - common
            self.result.alone["b"] += sizes[1] - common

    def _allowed(self, name: str, a: FloatArray, b: FloatArray) -> FloatArray:
        """How far the values may lie apart and still be equal, float64[n]."""
        stored: list[Stored] = [self.surveys[side].columns[name] for side in SIDES]
        size = np.where(np.isfinite(a), np.abs(a), 0.0)
        allowed = _TOLERANCE.rtol * size + sum(s.quantum for s in stored) / 2.0
        for s in stored:
            allowed = allowed + rounding(size, np.full(size.shape, float(s.digits)))
        if name not in VALUES:
            allowed = allowed + _TOLERANCE.atol * max(s.peak for s in stored)
        return np.asarray(allowed)
