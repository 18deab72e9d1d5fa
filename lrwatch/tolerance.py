"""How far an observed value may lie from the expected one and still be equal.

    |O - E| ≤ rtol·|E| + slack·|E| + blur + quantum/2 + half a unit of the last stored digit + atol·peak

What was lost in storing comes from how the trace was written, never from the residuals; ``slack`` and ``blur`` are what
the trainer's own arithmetic may lose (``Curve.slack``, ``Curve.blur``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lrwatch.contract.model import Tolerance
from lrwatch.curve import EPS
from lrwatch.schedules.base import FloatArray

EXACT_DIGITS = 17
"""Significant decimal digits that carry every float64."""


@dataclass(frozen=True)
class Precision:
    """How exactly values were computed and stored.

    Attributes:
        relative: rtol and slack, float64[n]. absolute: quantum/2, blur and atol·peak, in
        the signal's unit. digits: significant decimal digits stored.
    """

    relative: FloatArray
    absolute: FloatArray
    digits: FloatArray

    def allowed(self, expected: FloatArray) -> FloatArray:
        """Largest deviation from ``expected`` that counts as equal, float64[n], in the signal's unit."""
        size = np.abs(expected)
        allowed = self.relative * size
        allowed += self.absolute
        if self.rounded:
            allowed += rounding(size, self.digits)
        return allowed

    @cached_property
    def rounded(self) -> bool:
        """Whether any value lost digits when it was stored."""
        return bool(np.min(self.digits, initial=EXACT_DIGITS) < EXACT_DIGITS - 1)


def precision(
    peak: float,
    tolerance: Tolerance,
    *,
    slack: FloatArray,
    quantum: float,
    digits: int,
    blur: FloatArray | float = 0.0,
) -> Precision:
    """The precision of n rows: the contract's tolerance, the curve's slack[n] and blur[n], how the reader found them
    stored."""
    absolute = np.full(slack.shape, tolerance.atol * peak + quantum / 2.0) + blur
    return Precision(tolerance.rtol + slack, absolute, np.full(slack.shape, float(digits)))


def rounding(size: FloatArray, digits: FloatArray) -> FloatArray:
    """What rounding to ``digits`` significant decimal digits may change in values of this ``size``; float64[n] each.

    Half a unit in the last digit. 8 and 9 digits are how a float32 is printed; then the value itself was most likely
    computed in float32 too, from a rounded base and a rounded factor, so four roundings of that type count.

    >>> rounding(np.array([0.0312]), np.array([3.0])).round(8).tolist()
    [5e-05]
    """
    with np.errstate(divide="ignore"):
        decade = np.floor(np.log10(size, where=size > 0, out=np.full_like(size, -np.inf)))
    decimal = np.where(size > 0, 0.5 * 10.0 ** (decade + 1 - digits), 0.0)
    binary = 4.0 * EPS["float32"] * size
    return np.where(digits >= EXACT_DIGITS - 1, 0.0, np.where((digits == 8) | (digits == 9), binary, decimal))
