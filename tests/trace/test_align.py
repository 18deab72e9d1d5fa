"""Workers side by side: every pair of rows that belongs together meets once, no other pair ever does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.trace.align import SLACK, Aligned, Aligner
from lrwatch.trace.model import Chunk


def chunk(rank: int, updates: Sequence[int], value: float = 0.0, segment: int = 0, **more: Sequence[float]) -> Chunk:
    """Rows whose LR tells where they come from: ``value`` + the update."""
    steps = np.array(updates, dtype=np.int64)
    columns = {"update": steps, "lr/0": steps + value, "ts": steps * 1.0, **{k: np.array(v) for k, v in more.items()}}
    return Chunk(columns, rank=rank, segment=segment)


def run(chunks: Iterable[Chunk], max_rows: int = 1 << 20) -> list[Aligned]:
    aligner = Aligner(max_rows)
    return [rows for c in chunks for rows in aligner.push(c)] + aligner.flush()


def met(released: Iterable[Aligned]) -> list[tuple[int, list[float | None]]]:
    """(update, LR per rank, None where it is absent), in the order of release."""
    return [
        (int(u), [float(v) if p else None for v, p in zip(rows.columns["lr/0"][:, i], rows.present[:, i], strict=True)])
        for rows in released
        for i, u in enumerate(rows.updates)
    ]


def test_an_update_is_released_when_everyone_has_moved_past_it() -> None:
    aligner = Aligner()
    assert aligner.push(chunk(0, range(4))) == []
    assert aligner.push(chunk(1, range(3))) == []  # nobody came twice yet: there may be more workers
    assert met(aligner.push(chunk(0, range(4, 8)))) == [(0, [0.0, 0.0]), (1, [1.0, 1.0])]
    assert aligner.push(chunk(1, range(3, 5))) == []  # one look per round of all workers
    assert met(aligner.push(chunk(1, range(5, 7)))) == [(i, [float(i)] * 2) for i in range(2, 6)]
    assert met(aligner.flush()) == [(6, [6.0, 6.0]), (7, [7.0, None])]
    assert aligner.flush() == [] and aligner.late == 0


def test_columns_and_their_precision() -> None:
    a = chunk(3, [0, 1], loss=[1.0, 2.0])
    b = chunk(1, [1, 2], loss=[4.0, 5.0], **{"weight_decay/0": [0.1, 0.1]})
    a = Chunk(a.columns, rank=3, quantum={"lr/0": 1e-6}, missing={"loss": np.array([True, False])})
    b = Chunk(b.columns, rank=1, digits={"lr/0": 4, "weight_decay/0": 8})
    (rows,) = run([a, b])
    assert rows.ranks == (1, 3) and rows.updates.tolist() == [0, 1, 2]
    assert rows.present.tolist() == [[False, True, True], [True, True, False]]
    assert set(rows.columns) == {"lr/0", "loss", "weight_decay/0"}
    np.testing.assert_array_equal(rows.columns["loss"], [[np.nan, 4.0, 5.0], [np.nan, 2.0, np.nan]])
    np.testing.assert_array_equal(rows.columns["weight_decay/0"], [[np.nan, 0.1, 0.1], [np.nan] * 3])
    # 2.0 with 4 digits is written to 0.001; a float32 near 0.1 to 0.1 · 2^-23.
    assert rows.quantum == {"lr/0": 0.001, "loss": 0.0, "weight_decay/0": pytest.approx(1.1920928955e-8)}


def test_the_last_attempt_of_an_update_counts() -> None:
    rows = run([chunk(0, [0, 1, 1, 1, 2], loss=[0, 1, 2, 3, 4]), chunk(1, [0, 1, 2], loss=[0, 1, 2])])
    assert rows[0].updates.tolist() == [0, 1, 2]
    assert rows[0].columns["loss"].tolist() == [[0.0, 3.0, 4.0], [0.0, 1.0, 2.0]]


def test_one_worker_alone_is_compared_with_nobody() -> None:
    assert run(chunk(0, range(i, i + 10)) for i in range(0, 100, 10)) == []


OLD, NEW = 0.0, 1000.0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_after_a_rollback_only_the_new_rows_meet(order: tuple[int, int]) -> None:
    chunks = [chunk(r, range(10), OLD) for r in order] + [chunk(r, range(10, 16), OLD) for r in order]
    chunks += [chunk(r, range(12, 20), NEW, segment=1) for r in order]
    assert met(run(chunks)) == [(i, [float(i)] * 2) for i in range(16)] + [(i, [NEW + i] * 2) for i in range(12, 20)]


def test_rows_that_one_worker_lost_do_not_make_old_meet_new() -> None:
    """Worker 1 was killed before it could write 13 … 15, both go on from a checkpoint at 14."""
    chunks = [chunk(0, range(8)), chunk(1, range(8)), chunk(0, range(8, 16)), chunk(1, range(8, 13))]
    chunks += [chunk(1, range(14, 20), NEW, segment=1), chunk(0, range(14, 20), NEW, segment=1)]
    expected: list[tuple[int, list[float | None]]] = [(i, [float(i)] * 2) for i in range(13)]
    expected += [(i, [float(i), None]) for i in range(13, 16)] + [(i, [NEW + i] * 2) for i in range(14, 20)]
    assert met(run(chunks)) == expected


def test_a_restart_that_lost_nothing() -> None:
    chunks = [chunk(r, range(i, i + 10), segment=i // 10) for i in (0, 10) for r in (0, 1)]
    assert met(run(chunks)) == [(i, [float(i)] * 2) for i in range(20)]


def test_a_rewind_without_a_new_segment() -> None:
    chunks = [chunk(r, [0, 1, 2, 3, 1, 2, 3, 4, 2, 3], v) for r, v in ((0, 0.0), (1, 0.0))]
    visits = [0, 1, 2, 3, 1, 2, 3, 4, 2, 3]
    assert met(run(chunks)) == [(i, [float(i)] * 2) for i in visits]


def test_one_worker_rolled_back_alone_meets_the_others_again() -> None:
    n = 3 * SLACK
    chunks = [chunk(r, range(i, i + 256)) for i in range(0, n, 256) for r in (0, 1)]
    back = [chunk(1, range(n // 2 + i, n // 2 + i + 256), NEW, segment=1) for i in range(0, 2 * n, 256)]
    on = [chunk(0, range(n + i, n + i + 256)) for i in range(0, 2 * n, 256)]
    rows = met(run([*chunks, *(c for pair in zip(on, back, strict=True) for c in pair)]))
    assert [r for r in rows if r[0] < n // 2] == [(i, [float(i)] * 2) for i in range(n // 2)]
    both = [u for u, (a, b) in rows if a is not None and b is not None]
    # Nothing that worker 0 did before it was seen to go on; everything after that.
    assert sorted(both) == both and set(both) >= {*range(n), *range(n + SLACK + 512, n // 2 + 2 * n)}
    assert all(b == u or u >= n for u, (a, b) in rows if a is not None and b is not None)
    assert sum(b is not None for _, (_, b) in rows) == n + 2 * n


def test_a_worker_that_died_does_not_stop_the_others_for_ever() -> None:
    aligner = Aligner(max_rows=100)
    seen: list[Aligned] = []
    for i in range(0, 1000, 10):
        for rank in (0, 1, 2):
            if rank != 2 or i < 50:
                seen += aligner.push(chunk(rank, range(i, i + 10)))
        waiting = sum(len(p.updates) for lane in aligner._lanes.values() for q in lane.waiting.values() for p in q)
        assert waiting == aligner._rows <= 1536 + 10  # 512 per worker at least
    seen += aligner.flush()
    assert met(seen) == [(i, [float(i), float(i), float(i) if i < 50 else None]) for i in range(1000)]


def test_rows_that_come_too_late_are_counted_not_compared() -> None:
    aligner = Aligner(max_rows=1000)
    released: list[Aligned] = []
    for i in range(0, 4000, 100):
        released += aligner.push(chunk(0, range(i, i + 100)))
        if i < 1000:
            released += aligner.push(chunk(1, range(i, i + 100)))
    gone = len(met(released))
    assert 1000 < gone < 4000
    released += aligner.push(chunk(1, range(1000, 4000))) + aligner.flush()
    assert aligner.late == gone - 1000
    assert met(released) == [(i, [float(i), None if 1000 <= i < gone else float(i)]) for i in range(4000)]


def test_a_worker_that_joins_later_is_absent_before() -> None:
    chunks = [chunk(0, range(10)), chunk(1, range(10)), chunk(0, range(10, 20)), chunk(1, range(10, 20))]
    chunks += [chunk(2, range(20, 30), segment=3), chunk(0, range(20, 30)), chunk(1, range(20, 30))]
    rows = met(run(chunks))
    assert [(u, v[:2]) for u, v in rows] == [(i, [float(i)] * 2) for i in range(30)]
    assert [u for u, v in rows if len(v) == 3 and v[2] is not None] == list(range(20, 30))


def test_a_thousand_workers() -> None:
    aligner = Aligner()
    released = [
        rows for i in range(0, 60, 20) for rank in range(1000) for rows in aligner.push(chunk(rank, range(i, i + 20)))
    ]
    released += aligner.flush()
    assert sum(len(rows.updates) for rows in released) == 60
    assert all(rows.present.all() and rows.present.shape[0] == 1000 for rows in released)
    assert len(released) <= 4


@given(st.data())
def test_any_interleaving_of_any_chunks_releases_the_same(data: st.DataObject) -> None:
    """Three workers, rolled back together at times of their own choice; whatever arrives when, the same rows meet."""
    visits = data.draw(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 15)), min_size=1, max_size=4))
    visits = [visits[0], *((s, n) for (s, n), (a, b) in zip(visits[1:], visits, strict=False) if s < a + b - 1)]
    streams: dict[int, list[Chunk]] = {}
    for rank in range(3):
        chunks = []
        for number, (start, n) in enumerate(visits):
            kept = n - data.draw(st.integers(0, min(2, n - 1)))  # the last rows may be lost
            at = start
            while at < start + kept:
                size = data.draw(st.integers(1, 8))
                steps = range(at, min(at + size, start + kept))
                chunks.append(chunk(rank, steps, 1000.0 * number, segment=number))
                at += size
        streams[rank] = chunks
    expected = {}
    for rank, chunks in streams.items():
        for c in chunks:
            for u in c.columns["update"].tolist():
                expected.setdefault((c.segment, u), {})[rank] = 1000.0 * c.segment + u
    aligner, released = Aligner(), []
    released += [r for rank in range(3) for r in aligner.push(streams[rank].pop(0))]
    while any(streams.values()):
        rank = data.draw(st.sampled_from([rank for rank, chunks in streams.items() if chunks]))
        released += aligner.push(streams[rank].pop(0))
    released += aligner.flush()
    got = {}
    for update, values in met(released):
        lr = next(v for v in values if v is not None)
        key = (int(lr) // 1000, update)
        assert key not in got
        got[key] = {rank: v for rank, v in enumerate(values) if v is not None}
    assert got == expected and aligner.late == 0
