"""Times that a shared server can take: never in the future, and strictly ascending within a worker.

One sample from the future moves the newest time of a Prometheus 2 server, which from then on refuses what is stamped
with the present, of everybody; an older sample than a series' last one is refused with all that came with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Placed(NamedTuple):
    """Milliseconds for each row, how many were moved by more than one, and the largest."""

    times: NDArray[np.int64]
    moved: int
    last: int


def place(times: NDArray[np.int64], after: int, now: int) -> Placed:
    """int64[n] milliseconds: as near to the recorded ones as may be.

    Rows that are not after the one before are put a millisecond behind it; rows from the future are put on ``now``.
    Several of them end up to n milliseconds behind ``now``: whoever sends them waits for so long.

    >>> place(np.array([10, 20, 20, 15, 90]), after=12, now=50)
    Placed(times=array([13, 20, 21, 22, 50]), moved=3, last=50)
    """
    order = np.arange(len(times))
    wanted = np.minimum(times, now) - order
    placed = np.maximum(np.maximum.accumulate(wanted), after + 1) + order
    return Placed(placed, int((np.abs(placed - times) > 1).sum()), int(placed[-1]) if len(placed) else after)
