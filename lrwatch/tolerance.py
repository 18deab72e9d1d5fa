"""How far an observed value may lie from the expected one and still be equal.

    |O - E| ≤ rtol·|E| + slack·|E| + quantum/2 + half a unit of the last stored digit + atol·peak

What was lost in storing comes from how the trace was written, never from the residuals; ``slack`` is what the
trainer's own arithmetic may lose (``Curve.slack``).
"""

from __future__ import annotations

import numpy as np

from lrwatch.contract.model import Tolerance
from lrwatch.curve import EPS
from lrwatch.schedules.base import FloatArray

EXACT_DIGITS = 17
"""Significant decimal digits that carry every float64."""


def allowed(
    expected: FloatArray, peak: float, tolerance: Tolerance, *, slack: FloatArray, quantum: float, digits: int
) -> FloatArray:
    """Largest deviation that counts as equal, float64[n], in the signal's unit."""
    size = np.abs(expected)
    return (tolerance.rtol + slack) * size + tolerance.atol * peak + quantum / 2.0 + rounding(size, digits)


def rounding(size: FloatArray, digits: int) -> FloatArray:
    """Half a unit in the last of ``digits`` significant decimal digits of values of this ``size``, float64[n].

    8 and 9 digits are how a float32 is printed, so its own unit roundoff counts.

    >>> rounding(np.array([0.0312]), 3).round(8).tolist()
    [5e-05]
    """
    if digits >= EXACT_DIGITS - 1:
        return np.zeros_like(size)
    if digits in (8, 9):
        return EPS["float32"] * size
    with np.errstate(divide="ignore"):
        decade = np.floor(np.log10(size, where=size > 0, out=np.full_like(size, -np.inf)))
    return np.where(size > 0, 0.5 * 10.0 ** (decade + 1 - digits), 0.0)
