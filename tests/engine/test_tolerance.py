"""How far a stored value may lie from the true one."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch import tolerance
from lrwatch.contract.model import Tolerance
from lrwatch.tolerance import precision, rounding


def test_doctests() -> None:
    assert doctest.testmod(tolerance).failed == 0


def half_a_unit(size: float, digits: int) -> float:
    return float(rounding(np.array([size]), np.array([float(digits)]))[0])


@pytest.mark.parametrize(
    ("size", "digits", "half"),
    [(1.0, 1, 0.5), (9.99, 1, 0.5), (10.0, 1, 5.0), (1.0, 4, 5e-4), (9.9999, 4, 5e-4), (0.001, 4, 5e-7),
     (0.00099, 4, 5e-8), (3e-4, 6, 5e-10), (1e-300, 2, 5e-302), (0.0, 3, 0.0), (1.0, 16, 0.0), (1.0, 17, 0.0)],
)  # fmt: skip
def test_half_a_unit_of_the_last_digit(size: float, digits: int, half: float) -> None:
    assert half_a_unit(size, digits) == pytest.approx(half, rel=1e-12)


@pytest.mark.parametrize("power", range(-30, 31))
def test_powers_of_ten_begin_a_decade(power: int) -> None:
    assert half_a_unit(float(f"1e{power}"), 3) == pytest.approx(float(f"5e{power - 3}"), rel=1e-12)


VALUES = st.floats(1e-12, 1e6)


@given(VALUES, st.integers(1, 7))
def test_rounded_to_digits(value: float, digits: int) -> None:
    """Half a unit is enough, and a twentieth of it would not be."""
    error = abs(float(f"{value:.{digits - 1}e}") - value)
    assert error <= half_a_unit(value, digits) * (1 + 1e-9) + 1e-15 * value


@given(VALUES)
@pytest.mark.parametrize("text", [lambda v: f"{v:.9g}", str], ids=["%.9g", "repr"])
def test_a_float32_as_it_is_printed(text: object, value: float) -> None:
    """Rounded to float32, and the decimal text of that once more; with few digits it is exact or nearly so."""
    stored = float(text(np.float32(value)))  # type: ignore[operator]
    assert abs(stored - value) <= half_a_unit(value, 9)
    assert half_a_unit(value, 9) <= 2.5e-7 * value


def test_everything_together() -> None:
    kept = precision(2.0, Tolerance(1e-3, 1e-4), slack=np.array([0.0, 1e-2]), quantum=1e-3, digits=17)
    # rtol·|E| + slack·|E| + quantum/2 + atol·peak
    assert kept.allowed(np.array([1.0, -1.0])).tolist() == pytest.approx([1e-3 + 5e-4 + 2e-4, 1.1e-2 + 5e-4 + 2e-4])
    four = precision(2.0, Tolerance(0.0, 0.0), slack=np.zeros(3), quantum=0.0, digits=4)
    assert four.allowed(np.array([1.0, 0.5, 0.0])).tolist() == pytest.approx([5e-4, 5e-5, 0.0])
