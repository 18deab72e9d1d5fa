"""Loss and gradient norm as the checks that judge their course see them: followed once per session, not by each check.

    series = Series({"loss"})
    for part in series.feed(batch):       # and series.settle() before a validation, series.finish() at the end
        for check in ...: check.follow(part)

One worker stands for the run: the first that recorded the column. Data-parallel workers hold the same weights, so one
tells what the others would; whoever differs from them is named by the checks that look at all workers side by side.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks._levels import Blocks, Levels, Rows, Step
from lrwatch.schedules.base import FloatArray

if TYPE_CHECKING:
    from lrwatch.checks.base import Batch

TOGETHER = 32
"""Rows that are handed on together: a trainer that records a few rows at a time must not pay for each."""
LONG = 64 * TOGETHER
"""Rows of a batch that are better not copied."""
JUMP = 1.5
"""The learning rate of a warm restart is at least this multiple of the row before …"""
FALLEN = 0.7
"""… which was at most this share of the peak so far (a warm-up climbs, too, but never below its own peak) …"""
HIGH = 0.1
"""… and at least this share of it itself: a crawl near zero is no restart."""
TINY = 1e-300
"""A gradient norm counts as at least this, so that it has a logarithm."""
COLUMNS = ("loss", "grad_norm")


@dataclass(frozen=True)
class Part:
    """Rows of one column that are handed on together.

    Attributes:
        rank: of the worker that stands for the run. rows: the new ones. restarts: which of them begin a cycle of the
            learning rate anew, int64[k]. anew: the model was rolled back before them.
        blocks: the finest cells that they make whole; of a gradient norm, cells of its logarithm. steps: these cells
            and the whole run's after them, step by step.
        lowest: of the values. earlier, levels: those before and after this part; nobody changes them.
    """

    column: str
    rank: int
    rows: Rows
    restarts: NDArray[np.int64]
    anew: bool
    blocks: Blocks
    steps: list[Step]
    lowest: float
    earlier: Levels
    levels: Levels


@dataclass
class Restarts:
    """Finds warm restarts: rows whose learning rate jumped up from below. The first rows of a segment never count."""

    previous: float = np.nan
    peak: float = 0.0
    segment: int = -1

    def feed(self, lr: FloatArray, segment: int) -> NDArray[np.int64]:
        """Indices of the rows, of float64[n ≥ 1], at which a cycle begins anew."""
        if segment != self.segment:
            self.segment, self.previous = segment, np.nan
        previous, peak = self.previous, self.peak
        self.previous, self.peak = float(lr[-1]), float(np.fmax(peak, np.fmax.reduce(lr)))
        if not (lr[1:] > JUMP * lr[:-1]).any() and not lr[0] > JUMP * previous:
            return np.empty(0, dtype=np.int64)
        before = np.concatenate([[previous], lr[:-1]])
        peaks = np.fmax.accumulate(np.concatenate([[peak], lr]))[:-1]
        fallen = (peaks > 0.0) & (before <= FALLEN * peaks)  # a warm-up from zero begins no cycle anew
        return np.flatnonzero((lr > JUMP * before) & fallen & (lr >= HIGH * peaks))


@dataclass
class Stream:
    """One column of the worker that stands for the run.

    Attributes:
        waiting: rows that are not handed on yet.
    """

    column: str
    levels: Levels
    restarts: Restarts = field(default_factory=Restarts)
    rank: int | None = None
    segment: int = -1
    waiting: list[Rows] = field(default_factory=list)

    @classmethod
    def of(cls, column: str) -> Stream:
        return cls(column, Levels(log=column == "grad_norm"))

    def feed(self, batch: Batch) -> list[Part]:
        """By the 32 rows or more, and what is left of the segment before. Mostly none or one."""
        chunk = batch.chunk
        if self.column not in chunk.columns or (self.rank is not None and chunk.rank != self.rank):
            return []
        rows = self._rows(batch)
        if not len(rows):
            return []
        self.rank = chunk.rank
        parts = self.settle() if chunk.segment != self.segment else []
        self.segment = chunk.segment
        if self.waiting and len(rows) > LONG:  # rather a short part of its own than a copy of all
            head = TOGETHER - (len(self.levels.pending) + sum(map(len, self.waiting))) % TOGETHER
            parts += self._take(rows.take(slice(0, head)))
            rows = rows.take(slice(head, None))
        return parts + self._take(rows)

    def _take(self, rows: Rows) -> list[Part]:
        """Take in rows; those that make, with what is pending, multiples of 32."""
        self.waiting.append(rows)
        unfinished = len(self.levels.pending)
        count = sum(map(len, self.waiting))
        whole = (count + unfinished) // TOGETHER * TOGETHER - unfinished
        if whole <= 0:
            return []
        every, self.waiting = rows.after(*self.waiting[:-1]), []
        if whole < count:
            self.waiting, every = [every.take(slice(whole, None)).copy()], every.take(slice(0, whole))
        return [self._part(every)]

    def settle(self) -> list[Part]:
        """The rows that wait."""
        waiting, self.waiting = self.waiting, []
        return [self._part(waiting[-1].after(*waiting[:-1]))] if waiting else []

    def _rows(self, batch: Batch) -> Rows:
        """The rows of a batch with a finite value."""
        values = batch.finite(self.column)
        beside = batch.lr
        if self.column == "grad_norm":
            beside = np.full(len(beside), np.nan)
            if "loss" in batch.chunk.columns:
                loss = batch.finite("loss")
                beside = loss.values if loss.all else np.where(loss.there, loss.values, np.nan)
        rows = Rows(batch.steps, values.values, batch.lr, batch.shares, beside, segment=batch.chunk.segment)
        return rows if values.all else rows.take(values.there)

    def _part(self, rows: Rows) -> Part:
        assert self.rank is not None
        anew, earlier, self.levels = self.levels.rolled_back(rows), self.levels, self.levels.copy()
        restarts = self.restarts.feed(rows.lr, rows.segment)
        lowest, fed = float(rows.values.min()), rows
        if self.levels.log and lowest < TINY:
            fed = replace(rows, values=np.maximum(rows.values, TINY))
        blocks, steps = self.levels.feed(fed)
        return Part(self.column, self.rank, rows, restarts, anew, blocks, steps, lowest, earlier, self.levels)


@dataclass
class Series:
    """The columns that checks follow; the state of all of it is plain data (see ``_state``)."""

    streams: list[Stream]

    @classmethod
    def of(cls, columns: Collection[str]) -> Series:
        return cls([Stream.of(column) for column in COLUMNS if column in columns])

    def feed(self, batch: Batch) -> list[Part]:
        """Take in a batch; what is handed on."""
        return [part for stream in self.streams for part in stream.feed(batch)]

    def settle(self) -> list[Part]:
        """Whatever waits, for who needs to know it now."""
        return [part for stream in self.streams for part in stream.settle()]
