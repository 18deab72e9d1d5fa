"""What is seen of a curve at once: straight beginnings, stairs, a tail at rest, jumps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrwatch.infer._shapes import Features
from lrwatch.schedules.base import FloatArray

JUMP = 20.0
"""A jump is so many times what is allowed, and so many times the move before it."""


def straight(t: FloatArray, y: FloatArray, allowed: FloatArray) -> int:
    """The last row that one straight line from the first row on can still reach."""
    span = t[1:] - t[0]
    room = allowed[1:] + allowed[0]
    low = np.maximum.accumulate((y[1:] - room - y[0]) / span)
    high = np.minimum.accumulate((y[1:] + room - y[0]) / span)
    broken = np.flatnonzero(low > high)
    return int(broken[0]) if len(broken) else len(t) - 1


def flat(y: FloatArray, allowed: FloatArray) -> int:
    """The last row that still has the first one's value."""
    moved = np.flatnonzero(np.abs(y - y[0]) > allowed + allowed[0])
    return int(moved[0]) - 1 if len(moved) else len(y) - 1


def tail(y: FloatArray, allowed: FloatArray) -> int | None:
    """The row from which on every value is the last one; None unless at least three are."""
    moved = np.flatnonzero(np.abs(y - y[-1]) > allowed + allowed[-1])
    first = int(moved[-1]) + 1 if len(moved) else 0
    return first if len(y) - first >= 3 else None


def levels(y: FloatArray, allowed: FloatArray) -> NDArray[np.intp] | None:
    """The rows at which a staircase steps; None for what is none."""
    moves = np.abs(np.diff(y))
    steps = np.flatnonzero(moves > allowed[1:] + allowed[:-1]) + 1
    if not len(steps) or len(steps) > len(y) / 2 or np.min(moves[steps - 1] / allowed[steps]) < JUMP:
        return None
    return steps


def features(u: FloatArray, y: FloatArray, allowed: FloatArray) -> Features:
    """Where to begin searching, in local time."""
    rest = tail(y, allowed)
    moves = np.diff(y)
    sharp = np.flatnonzero((moves > JUMP * (allowed[1:] + allowed[:-1])) & (moves > 0.02 * np.ptp(y))) + 1
    sharp = np.array([i for i in sharp if i == 1 or moves[i - 2] <= 0.25 * moves[i - 1]], dtype=np.intp)
    first = int(np.argmax(y))
    low = first + int(np.argmin(y[first:]))
    if first == 0:  # a curve that comes down and may climb back: its first low
        rising = np.flatnonzero(moves > allowed[1:] + allowed[:-1])
        low = int(rising[0]) if len(rising) else len(y) - 1
    rises = np.flatnonzero(moves < -(allowed[1:] + allowed[:-1]))
    top = int(rises[0]) if first and len(rises) else first
    if first:
        after = np.flatnonzero(moves[top:] > (allowed[1:] + allowed[:-1])[top:])
        low = top + int(after[0]) if len(after) else len(y) - 1
    with np.errstate(all="ignore"):
        k = len(y) - 1
        gamma = float((y[k] / y[0]) ** (1.0 / max(u[k] - u[0], 1.0)))
        ratio = (y[0] / y[k]) ** 2
        timescale = float((u[k] - ratio * u[0]) / (ratio - 1.0))
    return Features(
        end=float(u[-1]),
        tail=None if rest is None or rest == 0 else float(u[rest]),
        jumps=tuple(u[sharp].tolist()),
        heights=(float(y[0]), *y[sharp].tolist()),
        top=float(u[top]),
        low=float(u[low]),
        gamma=gamma if np.isfinite(gamma) and gamma > 0 else 0.999,
        timescale=timescale if np.isfinite(timescale) and timescale > 0 else float(u[-1]),
    )
