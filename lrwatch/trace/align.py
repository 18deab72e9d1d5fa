"""The rows of several workers side by side, update by update.

    aligner = Aligner()
    for chunk in chunks:                  # of all workers, in any interleaving, roughly in step
        for rows in aligner.push(chunk): ...
    for rows in aligner.flush(): ...

An update is released when every worker known so far has moved past it. Workers are known by their rows, so
nothing is released before some worker comes for the second time: by then a reader that lets the lowest go first
has shown all of them.

Revisited updates: a run that was rolled back does the same updates again, and the second time must never be
compared with the first. A worker begins a new *visit* when its update number goes back and with every new segment,
also where that seems to go on seamlessly: its last rows before may be lost. Rows are compared within one visit only:
a worker in a later visit waits until the others have begun it too. Those that are seen ``SLACK`` updates beyond the
place where it left were not restarted with it; they are then taken into the new visit as they are.

Several rows of a worker for the same update are attempts of it; the last one counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lrwatch.trace.model import SIGNALS, Chunk

Floats = NDArray[np.float64]

SLACK = 1 << 12
"""Updates that a worker may have recorded beyond another one before both were rolled back (rows of a second or so)."""
MAX_ROWS = 1 << 20
"""Rows that wait for lagging workers; beyond, half of them are released with those workers absent."""
MAX_ROWS_PER_RANK = 512
"""The same per worker, where there are very many."""


@dataclass(frozen=True)
class Aligned:
    """The same updates of several workers.

    Attributes:
        updates: int64[n], increasing. ranks: r of them, increasing.
        columns: ``loss``, ``grad_norm`` and every signal: name → float64[r, n]; NaN where ``present`` is False or
            the row has no value.
        present: bool[r, n], whether the worker has a row for the update.
        quantum: column name → largest rounding unit of the stored values, 0 where they are exact.
    """

    updates: NDArray[np.int64]
    ranks: tuple[int, ...]
    columns: Mapping[str, Floats]
    present: NDArray[np.bool_]
    quantum: Mapping[str, float]


@dataclass(frozen=True)
class Piece:
    """Rows of one worker in one visit; ``updates`` never decrease."""

    updates: NDArray[np.int64]
    columns: Mapping[str, Floats]
    quantum: Mapping[str, float]

    def take(self, rows: slice) -> Piece:
        return Piece(self.updates[rows], {k: v[rows] for k, v in self.columns.items()}, self.quantum)


@dataclass
class Lane:
    """One worker: where it is, and its rows that wait, by visit."""

    visit: int = 0
    last: int = -1
    segment: int = 0
    waiting: dict[int, deque[Piece]] = field(default_factory=dict)


class Aligner:
    """Puts chunks of several workers side by side; memory is bounded by ``max_rows`` waiting rows.

    ``late`` counts the rows that came after their update had been released without them.
    """

    def __init__(self, max_rows: int = MAX_ROWS):
        self.max_rows = max_rows
        self.late = 0
        self._lanes: dict[int, Lane] = {}
        self._visit = 0
        self._released = -1
        self._left_at = -1
        self._rows = 0
        self._pushed: set[int] = set()
        self._due = 0
        self._started = False

    def push(self, chunk: Chunk) -> list[Aligned]:
        """Take in rows of one worker; what can be compared now, mostly nothing."""
        if not len(chunk):
            return []
        self._started = self._started or chunk.rank in self._pushed
        self._pushed.add(chunk.rank)
        lane = self._lanes.setdefault(chunk.rank, Lane(visit=self._visit, segment=chunk.segment))
        updates = chunk.columns["update"]
        back = np.flatnonzero(updates[1:] < updates[:-1]) + 1
        begins = [0] if updates[0] < lane.last or chunk.segment != lane.segment else []
        lane.segment = chunk.segment
        whole = _piece(chunk)
        start = 0
        for stop in [*begins, *back.tolist(), len(updates)]:
            if stop > start:
                self._keep(lane, whole.take(slice(start, stop)))
                lane.last = int(updates[stop - 1])
            if stop < len(updates):
                self._leave(lane)
            start = stop
        self._due += 1
        crowded = self._rows > self._limit
        if self._due < len(self._lanes) and not crowded:  # looking at all workers costs; do it once per round
            return []
        self._due = 0
        return self._release(crowded)

    def flush(self) -> list[Aligned]:
        """No more rows will come: everything that still waits."""
        result = []
        while self._rows:
            result += self._emit(None)
            self._close()
        return result

    @property
    def _limit(self) -> int:
        return max(self.max_rows, MAX_ROWS_PER_RANK * len(self._lanes))

    # -- visits -------------------------------------------------------------------------------------

    def _leave(self, lane: Lane) -> None:
        """The worker was restarted or rolled back: its next rows belong to the visit after the one it was in."""
        if lane.visit == self._visit:
            self._left_at = max(self._left_at, lane.last)
        lane.visit += 1

    def _close(self) -> None:
        """Nobody is expected in this visit any more: the next one begins, for everyone."""
        self._visit += 1
        self._released, self._left_at = -1, -1
        for lane in self._lanes.values():
            if lane.visit < self._visit:  # not rolled back with the others
                if waiting := lane.waiting.pop(lane.visit, None):
                    lane.waiting[self._visit] = waiting
                lane.visit = self._visit
            elif lane.visit > self._visit:
                self._left_at = max(self._left_at, *(int(p.updates[-1]) for p in lane.waiting.get(self._visit, ())), -1)

    def _keep(self, lane: Lane, piece: Piece) -> None:
        if lane.visit == self._visit:
            late = int(np.searchsorted(piece.updates, self._released, side="right"))
            self.late += late
            piece = piece.take(slice(late, None))
        if len(piece.updates):
            lane.waiting.setdefault(lane.visit, deque()).append(piece)
            self._rows += len(piece.updates)

    # -- releasing ----------------------------------------------------------------------------------

    def _release(self, crowded: bool) -> list[Aligned]:
        result: list[Aligned] = []
        while self._rows and (self._started or crowded):
            here = [lane for lane in self._lanes.values() if lane.visit == self._visit]
            if not here:
                result += self._emit(None)
                self._close()
                continue
            lowest = min(lane.last for lane in here)
            if len(self._lanes) > 1:
                result += self._emit(lowest)
            left = len(here) < len(self._lanes)
            if left and lowest > self._left_at + SLACK:
                self._close()
            elif self._rows <= self._limit // 2 or not crowded:
                break
            elif left:
                result += self._emit(None)
                self._close()
            else:
                result += self._emit(self._middle())
        return result

    def _middle(self) -> int:
        """An update below which about half of the waiting rows lie."""
        waiting = [p.updates for lane in self._lanes.values() for p in lane.waiting.get(self._visit, ())]
        if len(self._lanes) == 1:  # in order as they are
            piece = waiting[len(waiting) // 2]
            return int(piece[len(piece) // 2]) + 1
        return int(np.median(np.concatenate(waiting))) + 1

    def _emit(self, below: int | None) -> list[Aligned]:
        """The rows of this visit with update < ``below``, None for all; a single worker's are dropped."""
        taken: dict[int, Piece] = {}
        several = len(self._lanes) > 1
        for rank, lane in self._lanes.items():
            if pieces := self._take(lane, below):
                self._released = max(self._released, int(pieces[-1].updates[-1]))
                if several:
                    taken[rank] = _attempts(_joined(pieces))
        return [_side_by_side(taken, tuple(sorted(self._lanes)))] if taken else []

    def _take(self, lane: Lane, below: int | None) -> list[Piece]:
        waiting = lane.waiting.get(self._visit)
        result: list[Piece] = []
        while waiting and (below is None or waiting[0].updates[0] < below):
            piece = waiting.popleft()
            if below is not None and piece.updates[-1] >= below:
                cut = int(np.searchsorted(piece.updates, below))
                waiting.appendleft(piece.take(slice(cut, None)))
                piece = piece.take(slice(cut))
            self._rows -= len(piece.updates)
            result.append(piece)
        if not waiting:
            lane.waiting.pop(self._visit, None)
        return result


def _piece(chunk: Chunk) -> Piece:
    columns: dict[str, Floats] = {}
    quantum: dict[str, float] = {}
    for name, values in chunk.columns.items():
        if name in ("loss", "grad_norm") or name.partition("/")[0] in SIGNALS:
            values = np.where(chunk.missing[name], np.nan, values) if name in chunk.missing else values
            columns[name] = values
            quantum[name] = max(chunk.quantum.get(name, 0.0), _unit(values, chunk.digits.get(name, 17)))
    return Piece(chunk.columns["update"], columns, quantum)


def _unit(values: Floats, digits: int) -> float:
    """The unit of the last of ``digits`` significant decimal digits of the largest value; 0 when they are exact."""
    if digits >= 16:
        return 0.0
    top = float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))
    if top == 0.0:
        return 0.0
    if digits in (8, 9):  # how a float32 is printed
        return top * 2.0**-23
    return float(10.0 ** (np.floor(np.log10(top)) + 1 - digits))


def _joined(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    updates = np.concatenate([p.updates for p in pieces])
    columns, quantum = {}, {}
    for name in dict.fromkeys(name for p in pieces for name in p.columns):
        parts = [p.columns[name] if name in p.columns else np.full(len(p.updates), np.nan) for p in pieces]
        columns[name] = np.concatenate(parts)
        quantum[name] = max(p.quantum.get(name, 0.0) for p in pieces)
    return Piece(updates, columns, quantum)


def _attempts(piece: Piece) -> Piece:
    """The last row of each update."""
    last = np.append(np.diff(piece.updates) != 0, True)
    if last.all():
        return piece
    return Piece(piece.updates[last], {k: v[last] for k, v in piece.columns.items()}, piece.quantum)


def _side_by_side(pieces: Mapping[int, Piece], ranks: tuple[int, ...]) -> Aligned:
    first = next(iter(pieces.values())).updates
    equal = all(len(p.updates) == len(first) and np.array_equal(p.updates, first) for p in pieces.values())
    updates = first if equal else np.unique(np.concatenate([p.updates for p in pieces.values()]))
    names = dict.fromkeys(name for p in pieces.values() for name in p.columns)
    columns = {name: np.full((len(ranks), len(updates)), np.nan) for name in names}
    present = np.zeros((len(ranks), len(updates)), dtype=bool)
    quantum = dict.fromkeys(names, 0.0)
    for i, rank in enumerate(ranks):
        if rank not in pieces:
            continue
        piece = pieces[rank]
        where = slice(None) if equal else np.searchsorted(updates, piece.updates)
        present[i, where] = True
        for name, values in piece.columns.items():
            columns[name][i, where] = values
            quantum[name] = max(quantum[name], piece.quantum[name])
    return Aligned(updates, ranks, columns, present, quantum)
