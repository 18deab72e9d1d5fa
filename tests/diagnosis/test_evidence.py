"""The bounded memory of a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrwatch.diagnosis.evidence import FIELDS, HEAD, Columns, Sketch

MOST = 1400


def columns(n: int, **values: Any) -> Columns:
    """Rows 0 … n-1 that agree and never change, but for ``values``."""
    given = {"t": np.arange(float(n)), "update": np.arange(float(n)), "observed": np.ones(n), "deviation": np.zeros(n)}
    return Columns({name: values.get(name, given.get(name, np.array(np.nan))) for name in FIELDS})


def sketched(rows: Columns, cuts: list[int]) -> Sketch:
    sketch, n = Sketch(), len(rows)
    for a, b in zip([0, *cuts], [*cuts, n], strict=True):
        sketch.add(Columns({k: v[a:b] if np.ndim(v) else v for k, v in rows.values.items()}))
    return sketch


def kept(sketch: Sketch, name: str = "update") -> list[float]:
    return sketch.rows()[:, FIELDS.index(name)].tolist()


@pytest.mark.parametrize("at", [0, 63, 64, 1000, 123_456, 199_998, 199_999])
def test_one_wrong_row_among_200_000(at: int) -> None:
    n = 200_000
    deviation, observed = np.zeros(n), np.ones(n)
    deviation[at], observed[at] = 1e6, 0.5
    sketch = sketched(columns(n, deviation=deviation, observed=observed), list(range(4096, n, 4096)))
    updates = kept(sketch)
    assert at in updates and kept(sketch, "observed")[updates.index(at)] == 0.5
    assert {max(at - 1, 0), min(at + 1, n - 1)} <= set(updates)  # where it begins and where it ends
    assert updates[:HEAD] == list(range(HEAD)) and updates[-1] == n - 1
    assert len(updates) <= MOST


def test_the_worst_of_many_wrong_rows() -> None:
    n = 200_000
    deviation = np.full(n, 2.0)
    deviation[77_777] = 3.0
    assert 77_777 in kept(sketched(columns(n, deviation=deviation), [100_000]))


def test_both_sides_of_every_stair() -> None:
    n, every = 100_000, 1000
    sketch = sketched(columns(n, observed=np.floor(np.arange(n) / every)), list(range(777, n, 777)))
    assert {s + d for s in range(every, n, every) for d in (-1, 0)} <= set(kept(sketch))


def test_the_shape_of_a_curve_stays() -> None:
    n = 1_000_000
    sketch = sketched(columns(n, observed=np.cos(np.arange(n) / n)), list(range(65_536, n, 65_536)))
    gaps = np.diff(kept(sketch))
    assert gaps.max() <= 2048 and len(gaps) < MOST


def test_rows_come_in_order_and_once() -> None:
    n = 5000
    updates = kept(sketched(columns(n, observed=np.sin(np.arange(n)), deviation=np.arange(n) % 17.0), [1, 2, 2, 900]))
    assert updates == sorted(set(updates))


def test_attempts_of_one_update_stay_apart() -> None:
    update, t = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0, 3.0])
    sketch = sketched(columns(4, update=update, t=t), [2])
    assert (kept(sketch), kept(sketch, "t")) == ([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0])


def test_nothing() -> None:
    sketch = sketched(columns(0), [])
    assert (sketch.rows().shape, sketch.seen) == ((0, len(FIELDS)), 0)


def test_no_chunk_is_kept_alive() -> None:
    sketch = Sketch()
    for i in range(40):
        n = 1 << 14
        t = np.arange(float(n)) + i * n
        sketch.add(columns(n, t=t, update=t, observed=np.sin(t), deviation=np.abs(np.cos(t))))
    arrays = [*sketch.head, *sketch.knots, *sketch.first.values(), *sketch.worst.values(), sketch.edge, sketch.last]
    owners = {
        id(a.base if a.base is not None else a): (a.base if a.base is not None else a) for a in arrays if a is not None
    }
    assert sum(owner.nbytes for owner in owners.values()) < 1_000_000


ROWS = st.integers(1, 3000)


@settings(max_examples=60)
@given(ROWS, st.integers(0, 2**32 - 1), st.data())
def test_it_does_not_matter_how_rows_are_cut(n: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    deviation = np.where(rng.random(n) < 0.1, rng.exponential(2.0, n), 0.0)
    observed = np.floor(np.arange(n) / rng.integers(1, 50)) + (rng.random(n) < 0.01)
    rows = columns(n, deviation=deviation, observed=observed)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=40)))
    assert np.array_equal(sketched(rows, cuts).rows(), sketched(rows, []).rows(), equal_nan=True)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_rows_one_by_one(size: int) -> None:
    n = 3000
    rows = columns(n, deviation=np.abs(np.sin(np.arange(n) * 0.37)), observed=np.arange(n) // 100.0)
    cut = sketched(rows, list(range(size, n, size)))
    assert np.array_equal(cut.rows(), sketched(rows, []).rows(), equal_nan=True)


def test_nan_hides_no_wrong_row_beside_it() -> None:
    n = 200_000
    deviation = np.zeros(n)
    deviation[[150_000, 150_001, 150_100]] = np.nan, 5.0, 1.5
    deviation[10] = 2.0  # the first that deviates is kept for itself
    assert 150_001 in kept(sketched(columns(n, deviation=deviation), list(range(1000, n, 1000))))
