"""A bounded memory of a curve: enough rows to fit any transform, whatever the length of the run.

Of every segment these rows stay: the first ``HEAD``; the first one that deviates, and the one before it; both rows of
the first ``KNOTS`` changes of value (where a staircase steps is what tells one staircase from another); and the newest.
All rows also fall into at most ``BUCKETS`` buckets of equal width, of which the first row and the one with the largest
deviation stay; when the buckets are full, two neighbours become one. So a single wrong row in a hundred million
survives, and the shape of the curve does too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lrwatch.schedules.base import FloatArray

HEAD = 64
BUCKETS = 512
BUCKETS_OF_MANY = 128
"""The same of a worker that is one of very many."""
KNOTS = 128
FIELDS = ("t", "update", "observed", "absolute", "relative", "digits", "deviation", "sched", "attempt")
"""Columns of a kept row. ``absolute``, ``relative`` and ``digits`` are its ``tolerance.Precision``; ``deviation`` is
|O - E| over what that allows; ``sched`` and ``attempt`` are NaN when not recorded."""

_DEVIATION = FIELDS.index("deviation")


@dataclass(frozen=True)
class Columns:
    """Rows as columns: every name of ``FIELDS`` → float64[n], or one number for all rows."""

    values: Mapping[str, FloatArray]

    def __len__(self) -> int:
        return len(self.values["t"])

    def pick(self, at: NDArray[np.intp]) -> FloatArray:
        """The rows at these places, float64[k, len(FIELDS)]; the only point where rows are copied out."""
        rows = np.empty((len(at), len(FIELDS)))
        for i, name in enumerate(FIELDS):
            value = self.values[name]
            rows[:, i] = value[at] if np.ndim(value) else value
        return rows

    def where(self, keep: NDArray[np.bool_]) -> Columns:
        """Only the rows that ``keep``, bool[n], says."""
        return Columns({k: v[keep] if np.ndim(v) else v for k, v in self.values.items()})


@dataclass
class Sketch:
    """Rows kept of one column of one worker in one segment."""

    buckets: int = BUCKETS
    head: list[FloatArray] = field(default_factory=list)
    heads: int = 0
    width: int = 1
    first: dict[int, FloatArray] = field(default_factory=dict)
    worst: dict[int, FloatArray] = field(default_factory=dict)
    edge: FloatArray | None = None
    knots: list[FloatArray] = field(default_factory=list)
    changes: int = 0
    seen: int = 0
    last: FloatArray | None = None

    def add(self, rows: Columns) -> None:
        """Take in rows in recorded order."""
        n = len(rows)
        if not n:
            return
        if self.heads < HEAD:
            part = rows.pick(np.arange(min(n, HEAD - self.heads)))
            self.head.append(part)
            self.heads += len(part)
        self._mark(rows)
        self.seen += n
        while self.seen > self.buckets * self.width:
            self.width *= 2
            self._halve()
        begin = self.seen - n
        first_key = begin // self.width
        starts = np.maximum(np.arange(first_key, (self.seen - 1) // self.width + 1) * self.width - begin, 0)
        deviation = np.nan_to_num(rows.values["deviation"], nan=-1.0, posinf=np.inf)  # NaN is another check's
        top = np.maximum.reduceat(deviation, starts)
        at = [
            a + int(np.argmax(deviation[a:b])) if t > 0 else a
            for a, b, t in zip(starts.tolist(), [*starts[1:].tolist(), n], top, strict=True)
        ]
        apart = [a for a, start in zip(at, starts.tolist(), strict=True) if a != start]
        firsts, worsts = rows.pick(starts), iter(rows.pick(np.array(apart, dtype=np.intp)))
        for key, first, a, start in zip(range(first_key, first_key + len(starts)), firsts, at, starts, strict=True):
            self.first.setdefault(key, first)
            self._keep_worst(key, first if a == start else next(worsts))  # mostly one row, kept once
        self.last = rows.pick(np.array([n - 1]))[0]

    def _mark(self, rows: Columns) -> None:
        """Keep the first row that deviates and the changes of value, each with the row before it."""
        if self.edge is None:
            deviates = rows.values["deviation"] > 1.0
            if deviates.any():
                i = int(np.argmax(deviates))
                before = [] if i or self.last is None else [self.last[None]]
                self.edge = np.concatenate([*before, rows.pick(np.arange(max(i - 1, 0), i + 1))])
        if self.changes < KNOTS:
            observed = rows.values["observed"]
            if self.last is not None and observed[0] != self.last[FIELDS.index("observed")]:
                self.knots.append(self.last[None])
                self.knots.append(rows.pick(np.array([0])))
                self.changes += 1
            at = np.flatnonzero(observed[1:] != observed[:-1])[: KNOTS - self.changes]
            self.changes += len(at)
            self.knots.append(rows.pick(np.unique(np.concatenate([at, at + 1]))))

    def _keep_worst(self, key: int, row: FloatArray) -> None:
        known = self.worst.get(key)
        if known is None or row[_DEVIATION] > known[_DEVIATION] or math.isnan(known[_DEVIATION]):
            self.worst[key] = row

    def _halve(self) -> None:
        first, worst = self.first, self.worst
        self.first, self.worst = {}, {}
        for key in sorted(first):
            row = first[key].copy()  # a view would keep all the rows alive that it was picked with
            self.first.setdefault(key // 2, row)
            self._keep_worst(key // 2, row if worst[key] is first[key] else worst[key].copy())

    def rows(self) -> FloatArray:
        """The kept rows, float64[m, len(FIELDS)], in recorded order of updates, without repeats; m < 1,400."""
        kept = [*self.head, *self.knots, *(r[None] for r in (*self.first.values(), *self.worst.values()))]
        if self.edge is not None:
            kept.append(self.edge)
        if self.last is not None:
            kept.append(self.last[None])
        if not kept:
            return np.empty((0, len(FIELDS)))
        rows = np.concatenate(kept)
        order = np.lexsort((rows[:, 0], rows[:, 1]))
        rows = rows[order]
        same = np.zeros(len(rows), dtype=bool)
        same[1:] = np.all((rows[1:] == rows[:-1]) | (np.isnan(rows[1:]) & np.isnan(rows[:-1])), axis=1)
        return rows[~same]
