"""Sampled values as the shortest table that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Part, part

LARGEST = 40_000
"""Numbers that a contract of at most 1 MiB has room for."""
_SAME = 1e-12


def tabled(values: Sequence[float], why: str, source: str = "table") -> Part:
    """A part that gives ``values[t]`` at t = 0, 1, … and the last of them for ever, within 1e-12 of each.

    Runs of one value and straight lines are given by their ends.

    Raises ContractError: no values, one that is not finite or is negative, or more of them than a contract holds.

    >>> tabled([0.0, 0.5, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 3.0], "sampled").plain()
    {'table': {'values': [0, 1.5, 1.5, 3], 'at': [0, 3, 7, 8], 'between': 'linear'}}
    """
    y = np.array([float(v) for v in values])
    if not len(y):
        raise ContractError("has no values; sample at least one step", source=source)
    bad = np.flatnonzero(~np.isfinite(y) | (y < 0))
    if len(bad):
        raise ContractError(f"gives {y[bad[0]]:g} at step {bad[0]}, which no learning rate can be", source=source)
    runs = np.flatnonzero(np.diff(y, prepend=np.nan) != 0)
    lines = _knots(y)
    if 2 * len(runs) <= min(2 * len(lines), len(y) + 1):
        shape: dict[str, Any] = {"values": _plain(y[runs])} | ({"at": _plain(runs)} if len(runs) > 1 else {})
    elif 2 * len(lines) < len(y):
        shape = {"values": _plain(y[lines]), "at": _plain(lines), "between": "linear"}
    else:
        shape = {"values": _plain(y)}
    size = sum(len(numbers) for numbers in shape.values() if isinstance(numbers, list))
    if size > LARGEST:
        what = f"needs {size} numbers for {len(y)} steps, and a contract holds {LARGEST}"
        raise ContractError(f"{what}; sample fewer steps, or write the schedule as families", source=source)
    return part("table", why, **shape)


def _plain(numbers: NDArray[np.float64] | NDArray[np.intp]) -> list[float]:
    return [int(n) if float(n).is_integer() else float(n) for n in numbers.tolist()]


def _knots(y: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices between which ``y`` is straight: each line as long as its points allow (a cone of slopes)."""
    knots, start, low, high = [0], 0, -np.inf, np.inf
    for i in range(1, len(y)):
        slope = (y[i] - y[start]) / (i - start)
        if not low <= slope <= high:
            start = i - 1
            knots.append(start)
            low, high, slope = -np.inf, np.inf, y[i] - y[start]
        slack = _SAME * abs(y[i]) / (i - start)
        low, high = max(low, slope - slack), min(high, slope + slack)
    return np.unique(np.array([*knots, len(y) - 1]))
