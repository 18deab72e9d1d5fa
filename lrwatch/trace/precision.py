"""How precisely a column of numbers was written, from its text alone.

A trace says less than the trainer knew: ``%.6f`` keeps six decimals, ``%.4g`` four digits, and the rest is lost. What
was lost decides how far a value may lie from the expected one, so it is read off the written digits, never off
the residuals.

=====================================  =======================  ===========================================
the texts                              were written by          so that
=====================================  =======================  ===========================================
any with ≥ 16 significant digits       ``repr``, ``%.17g``      all of float64 is there: digits 17
all with D decimals, zeros kept        ``%.Df``                 |error| ≤ 10^-D / 2: quantum 10^-D
at most d digits                       ``%.dg``, ``%.{d-1}e``   |error| ≤ half a unit of the d-th digit: digits d
… and a last place P                   ``round(x, P)``          as well quantum 10^-P
8 or 9 digits                          ``repr`` of a float32    digits 8 or 9, whose own roundoff then counts
=====================================  =======================  ===========================================

Short texts prove nothing by themselves: ``0.0003`` written by ``repr`` has one digit and is exact. That digits were
dropped is taken as shown only by a kept zero at the end (``0.000300``, ``3.00e-04``) or by ``ENOUGH`` different
values, none of them longer. Before that, ``LEAST`` digits are assumed: what ``%g`` keeps, the shortest format in common
use that drops zeros. The answer is over everything read so far and may sharpen while a file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lrwatch.trace.model import Array

EXACT: Final = 17
ENOUGH: Final = 16
"""Different values that show how many digits a format keeps: each hides a dropped digit with probability 1/10."""
LEAST: Final = 6
LONGEST: Final = 64
"""Characters of a text that is looked at."""


@dataclass
class Precision:
    """What the texts of one column have shown so far."""

    most_digits: int = 0
    last_place: int = 0
    decimals: set[int] = field(default_factory=set)
    exponents: bool = False
    kept_zero: bool = False
    distinct: set[bytes] = field(default_factory=set)

    @property
    def exact(self) -> bool:
        """Whether nothing can be lost any more, whatever follows."""
        return self.most_digits >= EXACT - 1

    @property
    def _shown(self) -> bool:
        return self.kept_zero or len(self.distinct) >= ENOUGH

    @property
    def _fixed(self) -> bool:
        return self._shown and not self.exponents and len(self.decimals) == 1 and max(self.decimals) > 0

    @property
    def quantum(self) -> float:
        """Twice the largest absolute error of a stored value that its digits do not tell; 0 for none."""
        if self.exact or not self._shown:
            return 0.0
        return float(10.0**-self.last_place)

    @property
    def digits(self) -> int:
        """Significant decimal digits that were kept; 17 for all."""
        if self.exact or self._fixed:
            return EXACT
        return self.most_digits if self._shown else max(self.most_digits, LEAST)

    @property
    def sentence(self) -> str:
        """How it was written, for a report."""
        if self.exact:
            return "every digit"
        if self._fixed:
            return f"{max(self.decimals)} decimals"
        if self._shown:
            return f"{self.most_digits} significant digits"
        return f"at least {self.digits} significant digits (too few different values to tell)"

    def take(self, texts: Sequence[str] | Array) -> None:
        """Take in more values of the column, as they are written (also as an array of bytes); texts that are no finite
        numbers are passed over."""
        if self.exact or not len(texts):
            return
        written = texts if isinstance(texts, np.ndarray) else _ascii(texts)
        if len(self.distinct) < ENOUGH:
            for text in written[:4096].tolist():
                if text not in self.distinct and len(self.distinct) < ENOUGH:
                    self.distinct.add(text)
        if len(written):
            self._measure(written)

    def _measure(self, texts: Array) -> None:
        """Walk over all texts at once, character by character."""
        width, n = texts.dtype.itemsize, len(texts)
        no = np.zeros(n, dtype=bool)
        started, point, power, minus, odd, last_is_zero = (no.copy() for _ in range(6))
        digits, decimals, exponent = (np.zeros(n, dtype=np.int32) for _ in range(3))
        for c in np.ascontiguousarray(texts.view(np.uint8).reshape(n, width).T):
            digit = (c - ord("0")) < 10
            lower = c | 32
            power |= lower == ord("e")
            odd |= (lower >= ord("a")) & (lower != ord("e"))
            if power.any():
                minus |= power & (c == ord("-"))
                exponent[digit & power] = (exponent * 10 + (c - ord("0")))[digit & power]
                digit &= ~power
            started |= digit & (c != ord("0"))
            digits += digit & started
            decimals += digit & point
            last_is_zero = np.where(digit, c == ord("0"), last_is_zero)
            point |= c == ord(".")
        number = ~odd & ((digits > 0) | (decimals > 1))  # 0 and 0.0 are written the same way by everyone
        if not number.any():
            return
        self.most_digits = max(self.most_digits, int(digits[number].max()))
        self.exponents |= bool((power & number).any())
        if len(self.decimals) < 2:
            self.decimals |= set(np.unique(decimals[number])[:2].tolist())
        place = decimals - np.where(minus, -exponent, exponent)
        self.last_place = max(self.last_place, int(place[number].max()))
        kept = last_is_zero & ((decimals > 1) | (power & (decimals > 0)))
        self.kept_zero |= bool((kept & number).any())


def _ascii(texts: Sequence[str]) -> Array:
    """S[n] of the texts that are short enough to be a number."""
    if max(map(len, texts)) > LONGEST:
        texts = [text for text in texts if len(text) <= LONGEST]
    try:
        return np.array(texts, dtype=np.bytes_)
    except UnicodeEncodeError:
        return np.array([text.encode("ascii", "replace") for text in texts])
