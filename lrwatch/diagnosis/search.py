"""Searching one parameter of a transform: a coarse grid, then golden section around its best point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

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


def simple_fraction(x: float, *, limit: int = 64, rtol: float = 1e-6) -> float:
    """The simplest p/q within ``rtol`` of ``x``, q ≤ limit; ``x`` itself where there is none."""
    if not np.isfinite(x) or x == 0.0:
        return x
    for q in range(1, limit + 1):
        near = round(x * q) / q
        if near and abs(near - x) <= rtol * abs(x):
            return near
    return x
