"""Where a row stands on the contract's clock, by tables written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.contract import from_document
from lrwatch.contract.clock import positions, samples
from lrwatch.contract.model import Batch
from lrwatch.errors import NotCheckable

ROWS = {"update": [0, 1, 1, 2], "attempt": [0, 1, 2, 3], "skipped": [0, 1, 0, 0], "epoch": [0.0, 0.5, 1.0, 1.99],
        "samples": [0, 7, 14, 21], "tokens": [0, 100, 200, 300], "round": [5, 5, 6, 6]}  # fmt: skip


def at(clock: dict[str, Any], *columns: str, **batch: Any) -> list[float]:
    tree = {"lrwatch": 1, "experiment": "x", "clock": clock, "batch": batch, "lr": {"base": 1, "schedule": "constant"}}
    rows = {name: np.array(ROWS[name]) for name in ("update", *columns)}
    t = positions(from_document(tree), rows)
    assert t.dtype == np.float64
    return t.tolist()


@pytest.mark.parametrize(
    ("clock", "columns", "batch", "expected"),
    [
        ({}, ("attempt", "epoch"), {}, [0, 1, 1, 2]),
        ({"counts": "attempted"}, ("attempt",), {}, [0, 1, 2, 3]),
        ({"axis": "attempt"}, ("attempt",), {}, [0, 1, 2, 3]),
        ({"axis": "epoch"}, ("epoch",), {}, [0, 0, 1, 1]),
        ({"axis": "epoch"}, ("epoch",), {"steps_per_epoch": 1}, [0, 0, 1, 1]),  # what was recorded comes first
        ({"axis": "epoch"}, (), {"steps_per_epoch": 2}, [0, 0, 0, 1]),
        ({"axis": "sample"}, ("samples",), {"global": 8}, [0, 7, 14, 21]),
        ({"axis": "sample"}, (), {"global": 8}, [0, 8, 8, 16]),
        ({"axis": "sample"}, (), {"ramp": [[0, 2], [2, 10]]}, [0, 2, 2, 12]),
        ({"axis": "token"}, ("tokens",), {}, [0, 100, 200, 300]),
        ({"axis": "round"}, ("round",), {}, [5, 5, 6, 6]),
        ({"ticks": 4}, (), {}, [0, 4, 4, 8]),
        ({"axis": "epoch", "ticks": 3}, ("epoch",), {}, [0, 0, 3, 3]),
    ],
)
def test_position(
    clock: dict[str, Any], columns: tuple[str, ...], batch: dict[str, Any], expected: list[float]
) -> None:
    assert at(clock, *columns, **batch) == expected


@pytest.mark.parametrize(
    ("clock", "why"),
    [
        ({"counts": "attempted"}, "the contract counts attempted updates, and the trace has no `attempt` column"),
        ({"axis": "attempt"}, "the contract counts attempted updates, and the trace has no `attempt` column"),
        ({"axis": "epoch"}, "the clock counts epochs: record `epoch` or give batch.steps_per_epoch"),
        ({"axis": "sample"}, "the clock counts samples: record `samples` or give batch.global"),
        ({"axis": "token"}, "the clock counts tokens: record `tokens`"),
        ({"axis": "round"}, "the clock counts rounds: record `round`"),
    ],
)
def test_what_is_missing_is_named(clock: dict[str, Any], why: str) -> None:
    with pytest.raises(NotCheckable) as caught:
        at(clock)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        ([(0, 4)], [0, 4, 8, 12, 16, 20, 24]),
        ([(0, 2), (4, 10)], [0, 2, 4, 14, 24, 34, 44]),  # two updates of 2, then tens
        ([(0, 2), (5, 10)], [0, 2, 4, 6, 16, 26, 36]),  # at 4 samples the second size has not begun yet
        ([(0, 3), (5, 2), (9, 1)], [0, 3, 6, 8, 10, 11, 12]),
        ([(0, 100), (10, 5), (20, 7)], [0, 100, 107, 114, 121, 128, 135]),  # one update jumps over a whole size
    ],
)
def test_ramp(ramp: list[tuple[int, int]], expected: list[float]) -> None:
    batch = Batch(ramp=tuple((float(s), n) for s, n in ramp))
    assert samples(batch, np.arange(7.0)).tolist() == expected


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), max_size=5), st.integers(1, 30))
def test_ramp_is_the_sum_of_the_sizes(points: list[tuple[int, int]], first: int) -> None:
    ramp, start = [(0.0, first)], 0
    for distance, size in points:
        start += distance
        ramp.append((float(start), size))
    consumed, counted = 0, []
    for _ in range(150):
        counted.append(float(consumed))
        consumed += next(size for begin, size in reversed(ramp) if begin <= consumed)
    assert samples(Batch(ramp=tuple(ramp)), np.arange(150.0)).tolist() == counted


def test_ticks_are_clock_units_per_step_of_the_axis() -> None:
    assert at({"ticks": 4}) == [0, 4, 4, 8]
    assert at({"ticks": 4, "counts": "attempted"}, "attempt") == [0, 4, 8, 12]
