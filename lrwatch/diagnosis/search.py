"""Searching one parameter of a transform: a coarse grid, then golden section around its best point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lrwatch.schedules.base import FloatArray

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


def minimise(loss: Callable[[float], float], grid: Sequence[float], *, rounds: int = 80) -> float:
    """The parameter with the smallest loss near the best point of an increasing ``grid``."""
    losses = [loss(x) for x in grid]
    i = int(np.argmin(losses))
    low, high = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fa, fb = loss(a), loss(b)
    for _ in range(rounds):
        if fa <= fb:
            high, b, fb = b, a, fa
            a = high - _GOLDEN * (high - low)
            fa = loss(a)
        else:
            low, a, fa = a, b, fb
            b = low + _GOLDEN * (high - low)
            fb = loss(b)
        if high - low <= 1e-13 * max(abs(low), abs(high)):
            break
    return float((low + high) / 2.0)


def best_integer(loss: Callable[[float], float], low: int, high: int, *, points: int = 257) -> int:
    """The integer with the smallest loss in [low, high], by grids that close in on the best point."""
    while True:
        grid = np.unique(np.linspace(low, high, points).round().astype(int))
        losses = [loss(float(x)) for x in grid]
        i = int(np.argmin(losses))
        if len(grid) == high - low + 1:
            return int(grid[i])
        low, high = int(grid[max(i - 1, 0)]), int(grid[min(i + 1, len(grid) - 1)])


def slopes(observed: FloatArray, fixed: FloatArray, varying: FloatArray, allowed: FloatArray) -> list[float]:
    """The x for which O = fixed + x·varying within what each row allows, float64[n] each: none, or the simplest.

    >>> slopes(np.array([2.0, 4.02]), np.zeros(2), np.array([1.0, 2.0]), np.array([0.05, 0.05]))
    [2.0]
    """
    rows = varying != 0.0
    if not rows.any() or np.any(np.abs(observed - fixed)[~rows] > allowed[~rows]):
        return []
    x, half = (observed - fixed)[rows] / varying[rows], allowed[rows] / np.abs(varying[rows])
    low, high = float(np.max(x - half)), float(np.min(x + half))
    return [simplest(low, high)] if low <= high else []


def simplest(low: float, high: float) -> float:
    """The number in [low, high] that somebody may have written down: p/q with q ≤ 16, 1/q, or the fewest digits.

    >>> simplest(0.33332, 0.33335), simplest(2.82836, 2.82846), simplest(0.015624, 0.015626)
    (0.3333333333333333, 2.8284, 0.015625)
    """
    middle = (low + high) / 2.0
    if not np.isfinite(middle):
        return middle
    for q in range(1, 17):
        near = round(middle * q) / q
        if low <= near <= high:
            return near
    if middle and abs(middle) < 1.0 and low <= 1.0 / round(1.0 / middle) <= high:
        return 1.0 / round(1.0 / middle)
    for digits in range(17):
        near = float(f"{middle:.{digits}e}")
        if low <= near <= high:
            return near
    return middle


def simple_fraction(x: float, *, limit: int = 64, rtol: float = 1e-6) -> float:
    """The simplest p/q within ``rtol`` of ``x``, q ≤ limit; ``x`` itself where there is none."""
    if not np.isfinite(x) or x == 0.0:
        return x
    for q in range(1, limit + 1):
        near = round(x * q) / q
        if near and abs(near - x) <= rtol * abs(x):
            return near
    return x
