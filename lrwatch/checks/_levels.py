"""A noisy series in bounded memory: the levels of all of it, and of its newest rows.

A *cell* is the median of 8 consecutive rows: one wild row does not move it. As a run grows longer, neighbouring cells
are averaged two by two, so that at most 256 describe all of it. When the whole is to be judged depends on the number
of rows alone, never on how they were cut into chunks: live and offline agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks._statistics import middle, spread_of, wander
from lrwatch.schedules.base import FloatArray

CELL = 8
"""Rows of a finest cell: the median of 8 survives 3 outliers."""
MOST = 256
"""Cells that describe a run; then neighbours are averaged."""
TURN = 4
"""Cells from one judgement of the whole to the next: 32 rows at first, at most 1/32 of a long run."""
ROLLED_BACK = 0.9
"""A resume below this share of the last update is a rollback: the model is an older one, and so are its losses."""

# the rows of an array of cells
FIRST, LAST, SHARE, LEVEL, SPREAD, BESIDE = range(6)
FIELDS = 6
LR = BESIDE
"""What travels beside a loss is the learning rate."""


@dataclass(frozen=True)
class Rows:
    """Rows of one segment that have a finite value, float64[n] each.

    Attributes:
        steps: updates. values. lr: learning rate of the first group, NaN where it was not recorded. share: of the
            planned run that was over, NaN where nobody knows. beside: what is averaged along with the values.
    """

    steps: FloatArray
    values: FloatArray
    lr: FloatArray
    share: FloatArray
    beside: FloatArray
    segment: int = field(default=0, kw_only=True)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def columns(self) -> tuple[FloatArray, ...]:
        return self.steps, self.values, self.lr, self.share, self.beside

    def take(self, rows: slice | NDArray[np.bool_]) -> Rows:
        return Rows(*(column[rows] for column in self.columns), segment=self.segment)

    def copy(self) -> Rows:
        """Without the arrays that they may be a small part of."""
        return Rows(*(column.copy() for column in self.columns), segment=self.segment)

    def after(self, *earlier: Rows) -> Rows:
        """These rows with others before them, all of this segment from then on."""
        some = [e for e in (*earlier, self) if len(e)]
        if not some[1:]:
            return replace(some[0], segment=self.segment) if some else self
        return Rows(*map(np.concatenate, zip(*(e.columns for e in some), strict=True)), segment=self.segment)


NO_ROWS = Rows(*(np.empty(0) for _ in range(5)))


@dataclass(frozen=True)
class Step:
    """Finest cells that were taken in together, and the whole after them.

    Attributes:
        fresh: float64[6, m]. turn: it is time to judge the whole. cells: float64[6, n]; size: finest cells in each.
        start: the higher of the first two finest cells' levels, None before.
    """

    fresh: FloatArray
    turn: bool
    cells: FloatArray
    size: int
    start: float | None

    @cached_property
    def spread(self) -> float:
        """Of single rows, over the whole."""
        return middle(self.cells[SPREAD])

    @cached_property
    def _strays(self) -> dict[int, float]:
        return {}

    def strays(self, tail: int) -> float:
        """How far the levels wander, up to the last ``tail``."""
        if tail not in self._strays:
            self._strays[tail] = wander(self.cells[LEVEL, :-tail])
        return self._strays[tail]


def _no_cells() -> FloatArray:
    return np.empty((FIELDS, 0))


@dataclass(frozen=True)
class Blocks:
    """Whole finest cells with the rows they are made of.

    Attributes:
        cells: float64[6, m]. steps, values: float64[m, 8]. order: the values, ascending, float64[8, m].
    """

    cells: FloatArray
    steps: FloatArray
    values: FloatArray
    order: FloatArray

    def __len__(self) -> int:
        return len(self.steps)


@dataclass
class Levels:
    """The levels of a series over the whole run.

    Attributes:
        log: of the logarithm of values that are all above 0.
        cells: float64[6, n], n ≤ 256: first and last update, share of the planned run, level, spread of single rows
            around it (a robust standard deviation), mean of what travels beside.
        size: finest cells in one of ``cells``.
        start: the higher of the first two finest cells' levels; None before. last: the newest update.
        pending: rows that make no whole cell yet. open, filled: sums over that many finest cells of a cell that is not
            whole yet. since: finest cells since the last judgement.
    """

    log: bool = False
    cells: FloatArray = field(default_factory=_no_cells)
    size: int = 1
    start: float | None = None
    last: float = -1.0
    segment: int = 0
    pending: Rows = NO_ROWS
    open: FloatArray = field(default_factory=lambda: np.zeros(FIELDS))
    filled: int = 0
    since: int = 0

    def copy(self) -> Levels:
        """One that goes its own way from here on."""
        return replace(self, open=self.open.copy())

    def rolled_back(self, rows: Rows) -> bool:
        """Whether these rows begin anew, from an older model."""
        return rows.segment != self.segment and bool(rows.steps[0] < ROLLED_BACK * self.last)

    def feed(self, rows: Rows) -> tuple[Blocks, list[Step]]:
        """Take in rows, at least one; the finest cells that became whole, and the same step by step."""
        if self.rolled_back(rows):
            vars(self).update(vars(Levels(self.log)))
        self.segment = rows.segment
        self.last = float(rows.steps[-1])
        waiting = rows.after(self.pending) if len(self.pending) else rows
        whole = len(waiting) // CELL * CELL
        if whole == len(waiting):
            self.pending = NO_ROWS
        else:
            self.pending = waiting.take(slice(whole, None)).copy()
            waiting = waiting.take(slice(0, whole))
        blocks = blocks_of(waiting, self.log)
        return blocks, self._take(blocks.cells)

    def flushed(self) -> Step | None:
        """Were no more rows to come: the rest as cells of fewer rows."""
        last = self.copy()
        if len(self.pending) >= CELL // 2:
            steps, values, _, share, beside = self.pending.columns
            values = np.log(values) if self.log else values
            cell = [[steps[0]], [steps[-1]], [share[0]], [np.median(values)], [spread_of(values)], [beside.mean()]]
            last._append(np.array(cell))
        if last.filled:
            last._close()
        return last._step(_no_cells(), True) if last.cells.shape[1] else None

    def _step(self, fresh: FloatArray, turn: bool) -> Step:
        return Step(fresh, turn, self.cells, self.size, self.start)

    def _take(self, finest: FloatArray) -> list[Step]:
        steps = []
        while finest.shape[1]:
            room = TURN * self.size - self.since
            fresh, finest = finest[:, :room], finest[:, room:]
            self._append(fresh)
            self.since += fresh.shape[1]
            turn = self.since == TURN * self.size
            if turn:
                self.since = 0
            steps.append(self._step(fresh, turn))
            if turn and self.cells.shape[1] >= MOST:
                self.cells = _joined(self.cells.reshape(FIELDS, -1, 2))
                self.size *= 2
        return steps

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


def blocks_of(rows: Rows, log: bool = False) -> Blocks:
    """8m rows → m finest cells."""
    values = rows.values.reshape(-1, CELL)
    order = np.sort(values, axis=1).T
    low, left, right, high = (np.log(order[k]) if log else order[k] for k in (1, 3, 4, 6))
    cells = np.empty((FIELDS, len(values)))
    cells[FIRST], cells[LAST], cells[SHARE] = rows.steps[::CELL], rows.steps[CELL - 1 :: CELL], rows.share[::CELL]
    cells[LEVEL] = (left + right) / 2
    cells[SPREAD] = (high - low) / _WIDTH_6_OF_8
    pairs = rows.beside[::2] + rows.beside[1::2]
    fours = pairs[::2] + pairs[1::2]
    cells[BESIDE] = (fours[::2] + fours[1::2]) / CELL
    return Blocks(cells, rows.steps.reshape(-1, CELL), values, order)


def levels_of(values: FloatArray) -> FloatArray:
    """Medians of 8, float64[n / 8]."""
    order = np.sort(values.reshape(-1, CELL), axis=1)
    return np.asarray((order[:, CELL // 2] + order[:, CELL // 2 - 1]) / 2)


def _joined(cells: FloatArray) -> FloatArray:
    """float64[6, m, k] → float64[6, m]."""
    result: FloatArray = np.add.reduce(cells, axis=2) / cells.shape[2]
    result[FIRST], result[LAST], result[SHARE] = cells[FIRST, :, 0], cells[LAST, :, -1], cells[SHARE, :, 0]
    return result
