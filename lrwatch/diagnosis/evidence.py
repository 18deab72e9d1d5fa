"""A bounded memory of a curve: enough rows to fit any transform, whatever the length of the run.

Of every segment these rows stay: the first ``HEAD``; the first one that deviates, and the one before it; both rows of
the first ``KNOTS`` changes of value (where a staircase steps is what tells one staircase from another); and the newest.
All rows also fall into at most ``BUCKETS`` buckets of equal width, of which the first row and the one with the largest
deviation stay; when the buckets are full, two neighbours become one. So a single wrong row in a hundred million
survives, and the shape of the curve does too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrwatch.schedules.base import FloatArray

HEAD = 64
BUCKETS = 512
KNOTS = 128
FIELDS = ("t", "update", "observed", "allowed", "deviation", "sched", "attempt")
"""Columns of a kept row; ``deviation`` is |O - E| / allowed, ``sched`` and ``attempt`` are NaN when not recorded."""


@dataclass
class Sketch:
    """Rows kept of one column of one worker in one segment."""

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

    def add(self, rows: FloatArray) -> None:
        """Take in rows, float64[n, len(FIELDS)], in recorded order."""
        if not len(rows):
            return
        if self.heads < HEAD:
            part = rows[: HEAD - self.heads]
            self.head.append(part)
            self.heads += len(part)
        self._mark(rows if self.last is None else np.concatenate([self.last[None], rows]))
        index = np.arange(self.seen, self.seen + len(rows)) // self.width
        self.seen += len(rows)
        self.last = rows[-1]
        while self.seen > BUCKETS * self.width:
            self.width *= 2
            self._halve()
            index //= 2
        starts = np.flatnonzero(np.r_[True, np.diff(index) > 0])
        deviation = np.nan_to_num(rows[:, FIELDS.index("deviation")], nan=np.inf)
        worst = np.maximum.reduceat(deviation, starts)
        ends = np.r_[starts[1:], len(rows)]
        for a, b, top in zip(starts, ends, worst, strict=True):
            key = int(index[a])
            self.first.setdefault(key, rows[a])
            row = rows[a + int(np.argmax(deviation[a:b] == top))]
            self._keep_worst(key, row)

    def _mark(self, rows: FloatArray) -> None:
        """Keep the first row that deviates and the changes of value, each with the row before it."""
        deviates = rows[:, FIELDS.index("deviation")] > 1.0
        if self.edge is None and deviates.any():
            i = int(np.argmax(deviates))
            self.edge = rows[max(i - 1, 0) : i + 1]
        if self.changes < KNOTS:
            observed = rows[:, FIELDS.index("observed")]
            at = np.flatnonzero(observed[1:] != observed[:-1])[: KNOTS - self.changes]
            self.changes += len(at)
            if len(at):
                self.knots.append(rows[np.unique(np.concatenate([at, at + 1]))])

    def _keep_worst(self, key: int, row: FloatArray) -> None:
        i = FIELDS.index("deviation")
        if key not in self.worst or row[i] > self.worst[key][i]:
            self.worst[key] = row

    def _halve(self) -> None:
        first, worst = self.first, self.worst
        self.first, self.worst = {}, {}
        for key in sorted(first):
            self.first.setdefault(key // 2, first[key])
            self._keep_worst(key // 2, worst[key])

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
