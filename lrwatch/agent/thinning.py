"""``trace: {ranks: changes}``: of a large job every worker but the first writes only the rows that say something.

Kept are the updates at which workers can be compared (multiples of 64), the first rows of a segment, the last before
every event, skipped ones, those with a value that is not finite or with a sum of squared gradients, and where a
learning rate bends or jumps. What is judged in mid-run is every row all the same; of the trace alone the first wrong
update of such a worker is known to within 64. The start event says ``"rows":"changes"``, so that nobody takes what was
left out for lost.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lrwatch.agent.rows import alike, joined
from lrwatch.metrics import SYNC_EVERY
from lrwatch.trace.model import SIGNALS, Chunk

LARGE: Final = 64
"""Workers above which it is the default."""
FIRST: Final = 3
"""Rows at the beginning of a segment."""
BEND: Final = 1e-3
"""Change of the slope from one row to the next, in relation to the value, that a smooth schedule does not have."""


class Thinner:
    """Chunks of one worker → those of their rows that are written."""

    def __init__(self) -> None:
        self._tail: Chunk | None = None  # the last rows, which the next ones are compared with
        self._written = np.zeros(0, dtype=bool)
        self._seen = 0

    def take(self, chunk: Chunk) -> Chunk:
        """The rows to write now; perhaps none."""
        first = np.arange(self._seen, self._seen + len(chunk)) < FIRST
        self._seen += len(chunk)
        if self._tail is not None and alike(self._tail, chunk):
            whole = joined([self._tail, chunk])
        else:
            whole, self._written = chunk, np.zeros(0, dtype=bool)
        before = len(whole) - len(chunk)
        keep = np.concatenate([self._written, first]) | _telling(whole)
        keep[:before] &= ~self._written
        written = np.concatenate([self._written, np.zeros(len(chunk), dtype=bool)]) | keep
        self._tail, self._written = whole.take(slice(-2, None)), written[-2:]
        return whole.take(keep)

    def rest(self) -> Chunk | None:
        """The last row, unless it was written: something else comes now."""
        tail, done = self._tail, self._written
        self._tail, self._written = None, np.zeros(0, dtype=bool)
        return None if tail is None or done[-1] else tail.take(slice(-1, None))

    def begin(self) -> None:
        """A segment begins."""
        self._seen = 0


def _telling(chunk: Chunk) -> NDArray[np.bool_]:
    """bool[n]: rows that say something by themselves or with the two before them."""
    keep = np.asarray(chunk.columns["update"] % SYNC_EVERY[0] == 0)
    if "skipped" in chunk.columns:
        keep |= chunk.columns["skipped"] == 1
    if "grad_sq" in chunk.columns:  # a worker's part of a sum that is nothing without it
        keep |= chunk.present("grad_sq")
    for name, values in chunk.columns.items():
        if values.dtype.kind != "f":
            continue
        keep |= ~np.isfinite(values) & chunk.present(name)
        if name.partition("/")[0] in SIGNALS and len(values) > 2:
            with np.errstate(invalid="ignore"):
                bends = np.abs(np.diff(values, 2)) > BEND * np.abs(values[2:])
            keep[2:] |= bends
            keep[1:-1] |= bends  # and the row before, without which it would be no bend
    return keep
