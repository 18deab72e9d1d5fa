"""A bounded picture of a column for plotting: of every stretch of rows the lowest and the highest value.

A run of any length becomes at most ``3 · capacity + 2`` rows, in recorded order. Rows fall into buckets of equal
width; of each the row with the lowest and the one with the highest value stay, and its first row that is no number.
When the buckets are full, two neighbours become one. So a spike of a single row, and a NaN, survive; only what lies
between two extremes is thinned out.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CAPACITY: Final = 512
_BATCH: Final = 2048
"""Rows taken in at once; smaller pieces wait for each other, for a call costs as much as a thousand rows."""
_ABSENT: Final = -1.0
"""The row number of a bucket that has no such row."""
_SIGN: Final = np.array([1.0, -1.0, 0.0])
"""Lowest, highest, first that is no number: of two rows the one with the lower sign · value stays, else the first."""


class Sampler:
    """The rows kept of one column of one worker.

    Args:
        capacity: buckets, an even number; at most three rows of each are kept.

    Example:
        >>> s = Sampler(capacity=2)
        >>> s.add(np.arange(8), np.array([5.0, 9.0, 7.0, 1.0, 4.0, 3.0, 2.0, 6.0]))
        >>> [x.tolist() for x in s.rows()]
        [[0.0, 1.0, 3.0, 6.0, 7.0], [5.0, 9.0, 1.0, 2.0, 6.0]]
    """

    def __init__(self, capacity: int = CAPACITY):
        self.capacity, self.width, self.seen = capacity, 1, 0
        # [bucket, lowest | highest | first that is no number, row number | update | value]
        self._kept = np.full((capacity, 3, 3), _ABSENT)
        self._ends = np.full((2, 3), _ABSENT)  # the first row of all, and the newest
        self._waiting: list[tuple[NDArray[np.int64], Floats]] = []
        self._waits = 0

    def add(self, updates: NDArray[np.int64], values: Floats) -> None:
        """Take in rows in recorded order: int64[n] updates, float64[n] values."""
        self._waiting.append((updates, values))
        self._waits += len(values)
        if self._waits >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._waits:
            return
        updates, values = self._waiting[0]
        if self._waiting[1:]:
            updates, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        begin, n, self._waits = self.seen, self._waits, 0
        self.seen += n
        while self.seen > self.capacity * self.width:
            self._halve()
        if begin == 0:
            self._ends[0] = (0.0, updates[0], values[0])
        self._ends[1] = (self.seen - 1, updates[-1], values[-1])
        at = 0
        while at < n:  # a bucket begun before, then whole ones, then one that goes on
            key, into = divmod(begin + at, self.width)
            whole = 0 if into else (n - at) // self.width
            size = whole * self.width if whole else min(self.width - into, n - at)
            part = slice(at, at + size)
            self._take(key, begin + at, updates[part], values[part].reshape(max(whole, 1), -1))
            at += size

    def _take(self, key: int, row: int, updates: NDArray[np.int64], values: Floats) -> None:
        """Rows of consecutive buckets from ``key`` on, float64[buckets, rows of each]; ``row`` numbers the first."""
        finite = np.isfinite(values)
        if finite.all():
            at = np.stack([values.argmin(axis=1), values.argmax(axis=1)], axis=1)
            there = np.array([True, True, False])
        else:
            low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
            at = np.stack([low.argmin(axis=1), high.argmax(axis=1), finite.argmin(axis=1)], axis=1)
            some = finite.any(axis=1)
            there = np.stack([some, some, ~finite.all(axis=1)], axis=1)
        found = np.full((len(values), 3, 3), _ABSENT)
        flat = at + np.arange(len(values))[:, None] * values.shape[1]
        kinds = slice(0, at.shape[1])
        found[:, kinds, 0], found[:, kinds, 1], found[:, kinds, 2] = row + flat, updates[flat], values.reshape(-1)[flat]
        found[~np.broadcast_to(there, found.shape[:2])] = _ABSENT
        keys = slice(key, key + len(values))
        self._kept[keys] = _better(self._kept[keys], found)

    def _halve(self) -> None:
        self.width *= 2
        pairs = self._kept.reshape(self.capacity // 2, 2, 3, 3)
        self._kept = np.full_like(self._kept, _ABSENT)
        self._kept[: self.capacity // 2] = _better(pairs[:, 0], pairs[:, 1])

    def rows(self) -> tuple[Floats, Floats]:
        """Updates and values of the kept rows, float64[m] each, in recorded order, the first and the last included."""
        self._flush()
        rows = np.concatenate([self._kept.reshape(-1, 3), self._ends])
        rows = rows[rows[:, 0] != _ABSENT]
        _, order = np.unique(rows[:, 0], return_index=True)
        return rows[order, 1], rows[order, 2]


def _better(first: Floats, second: Floats) -> Floats:
    """Of two kept rows of each bucket and kind, float64[buckets, 3, 3] each, the one that stays."""
    absent, there = first[..., 0] == _ABSENT, second[..., 0] != _ABSENT
    with np.errstate(invalid="ignore"):
        lower = _SIGN * second[..., 2] < _SIGN * first[..., 2]
    return np.where((there & (absent | lower))[..., None], second, first)
