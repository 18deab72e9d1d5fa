"""A noisy series in bounded memory, for the checks that judge loss and gradient norm.

    follow = Follow("loss")                   # one worker stands for the run
    levels = Levels()
    for rows in follow.rows(batch):            # and follow.rest() at the end
        for cells, turn in levels.feed(rows):  # `cells`: what is new, finely; `turn`: time to judge the whole
            ...

A *cell* is the median of 8 consecutive rows: one wild row does not move it. As a run grows longer, neighbouring cells
are averaged two by two, so that at most 256 describe all of it. Rows are handed on 32 at a time. When and what a
check judges thus depends on the number of rows alone, never on how they were cut into chunks: live and offline agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks.base import Batch
from lrwatch.schedules.base import FloatArray

CELL = 8
"""Rows of a finest cell: the median of 8 survives 3 outliers."""
MOST = 256
"""Cells that describe a run; then neighbours are averaged."""
TURN = 4
"""Cells from one judgement of the whole to the next: 32 rows at first, at most 1/32 of a long run."""
TOGETHER = CELL * TURN
"""Rows that are handed on together: a trainer that records a few rows at a time must not pay for each."""
SLOWLY = 8 * TOGETHER
"""The same for checks of what takes thousands of rows to happen."""
HUGE = 1e100
"""Larger values count as this, so that no difference of two overflows."""
ROLLED_BACK = 0.9
"""A resume below this share of the last update is a rollback: the model is an older one, and so are its losses."""
JUMP = 1.5
"""The learning rate of a warm restart is at least this multiple of the row before …"""
FALLEN = 0.7
"""… which was at most this share of the peak so far (a warm-up climbs, too, but never below its own peak) …"""
HIGH = 0.1
"""… and at least this share of it itself: a crawl near zero is no restart."""

T = TypeVar("T")

# the rows of an array of cells
FIRST, LAST, SHARE, LEVEL, SPREAD, LR = range(6)
FIELDS = 6


_shared: list[list[Any]] = []
"""What every function below ``same`` remembers."""


def same(function: Callable[..., T]) -> Callable[..., T]:
    """Remembers what a function of arrays returned for those of the newest batch, told apart by identity.

    A dozen checks hold the same rows back and ask the same of them; nobody writes to what is returned.
    """
    memory: list[tuple[tuple[Any, ...], T]] = []
    _shared.append(memory)

    @wraps(function)
    def remembering(*args: Any) -> T:
        for known, result in tuple(memory):
            if len(known) == len(args) and all(map(_is, known, args)):
                return result
        result = function(*args)
        memory[:] = [(args, result), *memory[: _REMEMBERED - 1]]  # it holds the arrays, so that none takes their place
        return result

    return remembering


_REMEMBERED = 8


def _is(a: Any, b: Any) -> bool:
    """The same arrays, or equal plain values."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_is, a, b))
    return a is b or (isinstance(a, int | float) and isinstance(b, int | float) and a == b)


@dataclass(frozen=True)
class Rows:
    """Rows of one segment that have a finite value.

    Attributes:
        table: float64[4, n]: update, value, learning rate of the first group (NaN where it was not recorded), share of
            the planned run that was over (NaN where nobody knows).
    """

    table: FloatArray
    segment: int = 0

    def __len__(self) -> int:
        return int(self.table.shape[1])

    @property
    def steps(self) -> FloatArray:
        return np.asarray(self.table[0])

    @property
    def values(self) -> FloatArray:
        return np.asarray(self.table[1])

    @property
    def lr(self) -> FloatArray:
        return np.asarray(self.table[2])

    @property
    def share(self) -> FloatArray:
        return np.asarray(self.table[3])

    def take(self, rows: Any) -> Rows:
        if isinstance(rows, slice) and rows.indices(len(self)) == (0, len(self), 1):
            return self
        return Rows(self.table[:, rows], self.segment)

    def logs(self) -> Rows:
        """With the logarithm of the values instead; those not above 0 are left out."""
        return Rows(_logs(self.table), self.segment)


@same
def _logs(table: FloatArray) -> FloatArray:
    """float64[4, n] rows, with the logarithm of the values where they are above 0."""
    keep = table[1] > 0.0
    logs = table.copy() if keep.all() else table[:, keep]
    np.log(logs[1], out=logs[1])
    return logs


def newest(function: Callable[..., T]) -> Callable[..., T]:
    """Remembers what a function of a batch returned for the newest one: a dozen checks ask the same of each."""
    memory: list[tuple[Any, dict[Any, T]]] = [(None, {})]

    @wraps(function)
    def remembering(batch: Batch, *args: str) -> T:
        known, results = memory[0]
        if known is not batch:
            for remembered in _shared:  # of the batch before: megabytes that nobody will ask for
                remembered.clear()
            results = {}
            memory[0] = (batch, results)  # one assignment: sessions in other threads see the old pair or the new one
        if args not in results:
            results[args] = function(batch, *args)
        return results[args]

    return remembering


@newest
def learning_rate(batch: Batch) -> FloatArray:
    """The used learning rate of the first group, float64[n], NaN where there is none."""
    chunk = batch.chunk
    for name, values in chunk.columns.items():
        if name.startswith("lr/"):
            if name in chunk.missing:
                return np.where(chunk.missing[name], np.nan, values)
            return np.asarray(values, dtype=np.float64)
    return np.full(len(chunk), np.nan)


@newest
def shares(batch: Batch) -> FloatArray:
    """How much of the planned run was over at each row, float64[n], NaN where nobody knows."""
    horizon = next((c.horizon for c in batch.curves.values()), None)
    if batch.t is None or not horizon or not batch.chunk.origin_known:
        return np.full(len(batch.chunk), np.nan)
    return batch.t / horizon


@newest
def finite(batch: Batch, column: str) -> tuple[FloatArray, NDArray[np.bool_]]:
    """A column and where it has a finite value, float64[n] and bool[n]; none is beyond ``HUGE``."""
    values = batch.chunk.columns[column]
    there = np.isfinite(values)
    if column in batch.chunk.missing:
        there &= ~batch.chunk.missing[column]
    if np.abs(values).max(where=there, initial=0.0) > HUGE:
        values = np.clip(values, -HUGE, HUGE)
    return values, there


@newest
def rows_of(batch: Batch, column: str, beside: str) -> Rows | None:
    """The rows with a finite value of a column; those of ``beside``, if any, stand in for the learning rate."""
    values, keep = finite(batch, column)
    if not keep.any():
        return None
    other = learning_rate(batch)
    if beside:
        other = np.full(len(values), np.nan)
        if beside in batch.chunk.columns:
            other = np.where(finite(batch, beside)[1], finite(batch, beside)[0], np.nan)
    steps = batch.chunk.columns["update"].astype(np.float64)
    table = np.empty((4, len(values)))
    table[0], table[1], table[2], table[3] = steps, values, other, shares(batch)
    rows = Rows(table, batch.chunk.segment)
    return rows if keep.all() else rows.take(keep)


@same
def _handed_on(tables: tuple[FloatArray, ...], together: int, segment: int) -> tuple[list[Rows], list[FloatArray]]:
    """The rows of these tables that make whole parts of ``together``, and the tables that wait for more."""
    count = sum(table.shape[1] for table in tables)
    if count < together:
        return [], list(tables)
    table = np.concatenate(tables, axis=1) if len(tables) > 1 else tables[0]
    whole = count // together * together
    return [Rows(table[:, :whole], segment)], [table[:, whole:]] if whole < count else []


@dataclass
class Follow:
    """The worker that stands for the run: the first that recorded ``column``.

    Data-parallel workers hold the same weights, so one tells what the others would; whoever differs from them is
    named by the checks that look at all workers side by side.

    Attributes:
        beside: a column whose values travel in the place of the learning rate. together: rows handed on at a time.
    """

    column: str
    beside: str = ""
    together: int = TOGETHER
    rank: int | None = None
    segment: int = -1
    waiting: list[FloatArray] = field(default_factory=list)

    def rows(self, batch: Batch) -> list[Rows]:
        """Rows to look at, by the 32 or more; less at the end of a segment. Mostly none or one."""
        chunk = batch.chunk
        if self.column not in chunk.columns or (self.rank is not None and chunk.rank != self.rank):
            return []
        if (new := rows_of(batch, self.column, self.beside)) is None:
            return []
        self.rank = chunk.rank
        ended = self.rest() if chunk.segment != self.segment else []
        self.segment = chunk.segment
        rows, self.waiting = _handed_on((*self.waiting, new.table), self.together, self.segment)
        return [*ended, *rows]

    def rest(self) -> list[Rows]:
        """The rows that are still held back."""
        waiting, self.waiting = self.waiting, []
        return [Rows(np.concatenate(waiting, axis=1), self.segment)] if waiting else []


def _no_cells() -> FloatArray:
    return np.empty((FIELDS, 0))


@dataclass
class Levels:
    """The levels of a series over the whole run.

    Attributes:
        cells: float64[6, n], n ≤ 256: first and last update, share of the planned run, level, spread of single rows
            around it (a robust standard deviation), mean learning rate.
        size: finest cells in one of ``cells``.
        start: the higher of the first two finest cells' levels; None before. last: the newest update.
        pending: rows that make no whole cell yet. open, filled: sums over that many finest cells of a cell that is not
            whole yet. since: finest cells since the last judgement.
    """

    cells: FloatArray = field(default_factory=_no_cells)
    size: int = 1
    start: float | None = None
    last: float = -1.0
    segment: int = 0
    pending: FloatArray = field(default_factory=lambda: np.empty((4, 0)))
    open: FloatArray = field(default_factory=lambda: np.zeros(FIELDS))
    filled: int = 0
    since: int = 0

    def feed(self, rows: Rows) -> Iterator[tuple[FloatArray, bool]]:
        """Take in rows; yields new finest cells, float64[6, m], and whether the whole should be judged now."""
        if rows.segment != self.segment and rows.steps[0] < ROLLED_BACK * self.last:
            vars(self).update(vars(Levels()))
        self.segment = rows.segment
        self.last = float(rows.steps[-1])
        waiting = np.concatenate([self.pending, rows.table], axis=1) if self.pending.shape[1] else rows.table
        whole = waiting.shape[1] // CELL * CELL
        self.pending = waiting[:, whole:]
        if whole:
            yield from self._take(cells_of(waiting[:, :whole] if whole < waiting.shape[1] else waiting))

    def flush(self) -> Iterator[tuple[FloatArray, bool]]:
        """No more rows will come: the rest as cells of fewer rows."""
        fresh = _no_cells()
        if self.pending.shape[1] >= CELL // 2:
            steps, values, lr, share = self.pending
            spread = np.subtract(*np.quantile(values, (0.84, 0.16))) / 2
            fresh = np.array([[steps[0]], [steps[-1]], [share[0]], [np.median(values)], [spread], [lr.mean()]])
            self.pending = self.pending[:, :0]
            self._append(fresh)
        if self.filled:
            self._close()
        if self.cells.shape[1]:
            yield fresh, True

    def _take(self, finest: FloatArray) -> Iterator[tuple[FloatArray, bool]]:
        while finest.shape[1]:
            room = TURN * self.size - self.since
            fresh, finest = finest[:, :room], finest[:, room:]
            self._append(fresh)
            self.since += fresh.shape[1]
            turn = self.since == TURN * self.size
            if turn:
                self.since = 0
            yield fresh, turn
            if turn and self.cells.shape[1] >= MOST:
                pairs = self.cells.reshape(FIELDS, -1, 2)
                self.cells = _joined(pairs)
                self.size *= 2

    def _append(self, fresh: FloatArray) -> None:
        if self.start is None and self.cells.shape[1] + fresh.shape[1] >= 2:
            both = np.concatenate([self.cells[LEVEL], fresh[LEVEL]])
            self.start = float(both[:2].max())
        if self.size == 1:
            self.cells = np.concatenate([self.cells, fresh], axis=1)
            return
        while fresh.shape[1]:
            room = self.size - self.filled
            if not self.filled and fresh.shape[1] >= self.size:
                whole = fresh.shape[1] // self.size * self.size
                cells = _joined(fresh[:, :whole].reshape(FIELDS, -1, self.size))
                self.cells = np.concatenate([self.cells, cells], axis=1)
                fresh = fresh[:, whole:]
                continue
            part, fresh = fresh[:, :room], fresh[:, room:]
            if not self.filled:
                self.open = np.zeros(FIELDS)
                self.open[FIRST], self.open[SHARE] = part[FIRST, 0], part[SHARE, 0]
            self.open[LAST] = part[LAST, -1]
            self.open[LEVEL:] += part[LEVEL:].sum(axis=1)
            self.filled += part.shape[1]
            if self.filled == self.size:
                self._close()

    def _close(self) -> None:
        self.open[LEVEL:] /= self.filled
        self.cells = np.concatenate([self.cells, self.open[:, None]], axis=1)
        self.filled = 0


_WIDTH_6_OF_8 = 1.705
"""Mean distance of the 7th from the 2nd of 8 sorted standard normals: an outlier on either side does not change it."""


@same
def ranked(rows: FloatArray) -> FloatArray:
    """The values of float64[4, 8m] rows by the 8, ascending: float64[8, m]."""
    return np.sort(rows[1].reshape(-1, CELL), axis=1).T


@same
def cells_of(rows: FloatArray) -> FloatArray:
    """float64[4, 8m] rows → float64[6, m] cells."""
    steps, _, lr, share = rows.reshape(4, -1, CELL)
    order = ranked(rows)
    cells = np.empty((FIELDS, len(steps)))
    cells[FIRST], cells[LAST], cells[SHARE] = steps[:, 0], steps[:, -1], share[:, 0]
    cells[LEVEL] = (order[3] + order[4]) / 2
    cells[SPREAD] = (order[6] - order[1]) / _WIDTH_6_OF_8
    cells[LR] = np.add.reduce(lr, axis=1) / CELL
    return cells


def _joined(cells: FloatArray) -> FloatArray:
    """float64[6, m, k] → float64[6, m]."""
    result: FloatArray = np.add.reduce(cells, axis=2) / cells.shape[2]
    result[FIRST], result[LAST], result[SHARE] = cells[FIRST, :, 0], cells[LAST, :, -1], cells[SHARE, :, 0]
    return result


def middle(values: FloatArray) -> float:
    """The median, by sorting: for short arrays ten times faster than numpy's own."""
    ranked = np.sort(values)
    return float(ranked[len(ranked) // 2] + ranked[(len(ranked) - 1) // 2]) / 2


def wander(levels: FloatArray) -> float:
    """How far levels stray from a straight line through their neighbours, near and far, as a standard deviation.

    The largest over k = 1, 2, 4, … 32 of median |x[i+2k] - 2x[i+k] + x[i]|: a trend does not count, slow wandering
    does. 0 for fewer than 4 levels.
    """
    result, k = 0.0, 1
    while 4 * k <= len(levels) and k <= 32:
        bends = np.abs(levels[2 * k :] - 2.0 * levels[k:-k] + levels[: -2 * k])
        result = max(result, middle(bends))
        k *= 2
    return result / 1.652  # the same of independent standard normals: 0.6745·√6


def rolling(before: FloatArray, values: FloatArray, window: int, least: int) -> FloatArray:
    """Median of the up to ``window`` values that stand before each of ``values``, NaN before there are ``least``.

    ``before``: the newest values that came earlier. float64[n].
    """
    both, known = np.concatenate([before, values]), len(before)
    result = np.full(len(values), np.nan)
    growing = min(max(window - known, 0), len(values))
    for i in range(max(least - known, 0), growing):
        result[i] = middle(both[: known + i])
    if growing < len(values):
        past = both[known + growing - window : -1]
        low, high = (window - 1) // 2, window // 2
        if _steady(past):  # as most learning rates are: every window is in order
            end = len(past) - window + 1
            result[growing:] = (past[low : low + end] + past[high : high + end]) / 2
        else:
            order = np.sort(_windows(past, window), axis=1)
            result[growing:] = (order[:, low] + order[:, high]) / 2
    return result


def _steady(values: FloatArray) -> bool:
    """Whether they never rise or never fall; what is not a number does both."""
    return bool((values[1:] <= values[:-1]).all() or (values[1:] >= values[:-1]).all())


def rolling_mean(before: FloatArray, values: FloatArray, window: int) -> FloatArray:
    """Mean of the up to ``window`` values that stand before each of ``values``, NaN before the first. float64[n]."""
    known = len(before)
    total = np.cumsum(np.concatenate([[0.0], before, values]))
    end = known + np.arange(len(values))
    begin = np.maximum(end - window, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray((total[end] - total[begin]) / (end - begin))


def _windows(values: FloatArray, window: int) -> FloatArray:
    """Every stretch of ``window`` values, float64[n - window + 1, window]."""
    n = len(values) - window + 1
    if n > 64:
        return np.lib.stride_tricks.sliding_window_view(values, window)
    return np.asarray(values[np.arange(n)[:, None] + np.arange(window)])  # for few windows the faster way


def runs(mask: NDArray[np.bool_], before: int) -> NDArray[np.int64]:
    """How many True in a row end at each place, int64[n]; ``before`` of them came before the first."""
    if not mask.any():
        return np.zeros(len(mask), dtype=np.int64)
    place = np.arange(len(mask))
    last_false = np.maximum.accumulate(np.where(mask, -1, place))
    return np.where(last_false < 0, place + 1 + before, place - last_false) * mask


@dataclass
class Restarts:
    """Finds warm restarts: rows whose learning rate jumped up from below. The first rows of a segment never count."""

    previous: float = np.nan
    peak: float = 0.0
    segment: int = -1

    def feed(self, rows: Rows) -> NDArray[np.int64]:
        """Indices of the rows at which a cycle begins anew."""
        if rows.segment != self.segment:
            self.segment, self.previous = rows.segment, np.nan
        at, highest = _risen(rows.table, self.previous, self.peak)
        self.previous, self.peak = float(rows.lr[-1]), float(np.fmax(self.peak, highest))
        return at


@same
def _risen(table: FloatArray, previous: float, peak: float) -> tuple[NDArray[np.int64], float]:
    """Indices of the restarts in float64[4, n] rows, given the learning rate before them and the peak so far; and the
    highest rate of these rows."""
    lr = table[2]
    highest = float(np.fmax.reduce(lr))
    if not (lr[1:] > JUMP * lr[:-1]).any() and not lr[0] > JUMP * previous:
        return np.empty(0, dtype=np.int64), highest
    before = np.concatenate([[previous], lr[:-1]])
    peaks = np.fmax.accumulate(np.concatenate([[peak], lr]))[:-1]
    up = (lr > JUMP * before) & (before <= FALLEN * peaks) & (lr >= HIGH * peaks)
    return np.flatnonzero(up), highest
