"""Searching one parameter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrwatch.diagnosis.search import best_integer, minimise, simple_fraction

GRID = np.geomspace(1 / 128, 128, 257).tolist()


@pytest.mark.parametrize("at", [1 / 128, 0.01, 0.25, 1.0, math.pi, 77.7, 128.0])
@pytest.mark.parametrize("loss", [lambda d: d * d, abs, lambda d: abs(d) ** 0.5], ids=["square", "abs", "root"])
def test_minimum_of_a_valley(at: float, loss: object) -> None:
    found = minimise(lambda x: loss(x - at), GRID)  # type: ignore[operator]
    assert found == pytest.approx(at, rel=1e-7 if loss is abs else 1e-6)


def test_minimum_of_the_deepest_of_many_valleys() -> None:
    found = minimise(lambda x: (x - 3) ** 2 * (1 - 0.5 * (abs(x - 40) < 1)) - 2000 * (abs(x - 40) < 1), GRID)
    assert abs(found - 40) <= 1.0


def test_a_grid_of_one_point() -> None:
    assert minimise(lambda x: (x - 5) ** 2, [2.0]) == 2.0


@settings(max_examples=60)
@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_best_integer_of_a_valley(at: int, below: int, above: int) -> None:
    assert best_integer(lambda d: (d - at) ** 2, at - below, at + above) == at


def test_best_integer_at_the_ends() -> None:
    assert best_integer(lambda d: d, -5000, 5000) == -5000
    assert best_integer(lambda d: -d, -5000, 5000) == 5000
    assert best_integer(lambda d: d, 7, 7) == 7


@pytest.mark.parametrize(
    ("x", "simple"),
    [
        (4.0, 4.0), (4.0000001, 4.0), (0.25, 0.25), (1 / 3 + 1e-9, 1 / 3), (-1.5, -1.5), (63 / 64, 63 / 64),
        (1e-9, 1e-9), (0.0, 0.0), (math.pi, math.pi), (math.inf, math.inf), (1000 / 3, 1000 / 3),
    ],
)  # fmt: skip
def test_simple_fraction(x: float, simple: float) -> None:
    assert simple_fraction(x) == pytest.approx(simple, rel=1e-15)


def test_simple_fraction_within_what_is_asked() -> None:
    assert simple_fraction(math.pi, rtol=1e-2) == 19 / 6
    assert simple_fraction(math.pi, limit=7, rtol=1e-3) == 22 / 7
    assert math.isnan(simple_fraction(math.nan))
