"""The bounded picture of a column: extremes and numbers that are none survive, however long the run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.trace.sampler import Sampler


def fed(values: list[float], pieces: int, capacity: int) -> Sampler:
    sampler = Sampler(capacity)
    for start in range(0, len(values), pieces):
        part = values[start : start + pieces]
        sampler.add(np.arange(start, start + len(part)), np.array(part))
    return sampler


def test_a_short_run_is_kept_whole() -> None:
    updates, values = fed([3.0, 1.0, 2.0], pieces=1, capacity=8).rows()
    assert updates.tolist() == [0, 1, 2]
    assert values.tolist() == [3.0, 1.0, 2.0]


def test_no_row_at_all() -> None:
    updates, values = Sampler().rows()
    assert (len(updates), len(values)) == (0, 0)


def test_one_row_in_a_million_survives() -> None:
    values = np.ones(1_000_000)
    values[123_456], values[654_321], values[777_777] = 9.0, -9.0, np.nan
    sampler = Sampler(64)
    for start in range(0, len(values), 65_536):
        part = values[start : start + 65_536]
        sampler.add(np.arange(start, start + len(part)), part)
    updates, kept = sampler.rows()
    found = dict(zip(updates.astype(int).tolist(), kept.tolist(), strict=True))
    assert len(found) <= 3 * 64 + 2
    assert (found[123_456], found[654_321]) == (9.0, -9.0)
    assert math.isnan(found[777_777])
    assert (min(found), max(found)) == (0, 999_999)


def test_steps_done_again_stay_in_recorded_order() -> None:
    sampler = Sampler(8)
    sampler.add(np.array([0, 1, 2]), np.array([1.0, 2.0, 3.0]))
    sampler.add(np.array([1, 2]), np.array([5.0, 6.0]))
    assert sampler.rows()[0].tolist() == [0, 1, 2, 1, 2]


@given(
    values=st.lists(st.one_of(st.integers(-9, 9).map(float), st.just(math.nan), st.just(math.inf)), max_size=200),
    pieces=st.integers(1, 70),
    capacity=st.sampled_from([2, 8]),
)
def test_of_every_bucket_the_lowest_the_highest_and_the_first_that_is_no_number(
    values: list[float], pieces: int, capacity: int
) -> None:
    sampler = fed(values, pieces, capacity)
    updates, kept = sampler.rows()
    expected = {0, len(values) - 1} if values else set()
    for start in range(0, len(values), sampler.width):
        bucket = range(start, min(start + sampler.width, len(values)))
        finite = [i for i in bucket if math.isfinite(values[i])]
        expected |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)} if finite else set()
        expected |= set([i for i in bucket if i not in finite][:1])
    assert updates.tolist() == sorted(expected)
    assert len(updates) <= 3 * capacity + 2
    assert kept.tolist() == pytest.approx([values[i] for i in sorted(expected)], nan_ok=True, rel=0)
