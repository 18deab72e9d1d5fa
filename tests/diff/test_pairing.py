"""Two traces, row by row: where they part, what counts as equal, and which rows count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.diff.pairing import Paired, Pairing
from lrwatch.diff.survey import Noted
from lrwatch.errors import TraceError
from lrwatch.trace.model import Item
from tests.diff.rows import Trace, rows, start


def pairing(a: Trace, b: Trace, *only: str) -> Pairing:
    noted = [Noted(a), Noted(b)]
    for source in noted:
        for _ in source:
            pass
    return Pairing(noted[0].survey, noted[1].survey, only)


def paired(a: list[Item], b: list[Item], *only: str) -> Paired:
    left, right = Trace(*a), Trace(*b)
    return pairing(left, right, *only).run(left, right)


def test_the_first_step_where_a_column_parts_and_how_far() -> None:
    a = rows(range(5), lr=[1.0, 2.0, 3.0, 4.0, 5.0], loss=[9.0] * 5)
    b = rows(range(5), lr=[1.0, 2.0, 3.5, 4.0, 3.0], loss=[9.0] * 5)
    result = paired(a, b)
    lr, loss = result.tracks["lr/0"], result.tracks["loss"]
    assert (lr.step, lr.a, lr.b, lr.last, lr.rows, lr.differing) == (2, 3.0, 3.5, 4, 5, 2)
    assert (lr.worst, lr.worst_step, lr.first) == (2.0, 4, {0: 2})
    assert (loss.rows, loss.differing, loss.step) == (5, 0, -1)
    steps, off = lr.curve.rows()
    assert (steps.tolist(), off.tolist()) == ([0, 1, 2, 3, 4], [0, 0, 0.5, 0, -2])
    assert (result.shared, result.alone) == (5, {"a": 0, "b": 0})


@pytest.mark.parametrize(
    ("a", "b", "stored", "differs"),
    [
        (1.0, 1.0 + 1e-12, {}, False),  # a float64's last digits
        (1.0, 1.0 + 1e-8, {}, True),
        (0.123, 0.1234, {"digits": {"loss": 3}}, False),  # the third digit's half unit is 5e-4
        (0.123, 0.1241, {"digits": {"loss": 3}}, True),
        (0.0003, 0.000345, {"quantum": {"loss": 1e-4}}, False),  # four decimals
        (0.0003, 0.00036, {"quantum": {"loss": 1e-4}}, True),
        (math.nan, math.nan, {}, False),
        (math.nan, 1.0, {}, True),
        (math.inf, math.inf, {}, False),
        (math.inf, -math.inf, {}, True),
    ],
)
def test_equal_within_what_was_lost_in_storing(a: float, b: float, stored: dict[str, object], differs: bool) -> None:
    result = paired(rows([0, 1], loss=[0.0, a], **stored), rows([0, 1], loss=[0.0, b]))
    assert result.tracks["loss"].differing == int(differs)
    if differs and not (math.isfinite(a) and math.isfinite(b)):
        assert result.tracks["loss"].worst == math.inf


def test_near_zero_a_signal_is_equal_within_its_peaks_roundoff_and_a_loss_is_not() -> None:
    a = rows([0, 1], lr=[1.0, 0.0], loss=[1.0, 0.0])
    b = rows([0, 1], lr=[1.0, 1e-17], loss=[1.0, 1e-17])
    result = paired(a, b)
    assert (result.tracks["lr/0"].differing, result.tracks["loss"].differing) == (0, 1)


def test_rows_that_one_run_did_not_log_are_counted_and_not_compared() -> None:
    a = rows(range(0, 30, 10), loss=[1.0, 2.0, 3.0])
    b = rows(range(35), loss=[1.0] + [7.0] * 9 + [2.0] + [7.0] * 9 + [3.5] + [7.0] * 14)
    result = paired(a, b)
    assert (result.tracks["loss"].rows, result.tracks["loss"].step, result.tracks["loss"].last) == (3, 20, 20)
    assert (result.shared, result.alone) == (3, {"a": 0, "b": 32})


def test_a_value_that_a_row_lacks_is_not_compared() -> None:
    a = rows(range(3), loss=[1.0, 0.0, 3.0], missing={"loss": np.array([False, True, False])})
    result = paired(a, rows(range(3), loss=[1.0, 2.0, 3.0]))
    assert (result.tracks["loss"].rows, result.tracks["loss"].differing) == (2, 0)


def test_of_a_step_done_again_after_a_rollback_the_last_time_counts() -> None:
    again = [
        start(),
        *rows(range(10), lr=np.arange(10.0)),
        start("resume", 6, segment=1),
        *rows(range(6, 12), segment=1, lr=[6.5, 7.0, 8.0, 9.0, 10.0, 11.0]),
    ]
    result = paired(again, rows(range(12), lr=np.arange(12.0)))
    assert (result.tracks["lr/0"].rows, result.tracks["lr/0"].differing, result.tracks["lr/0"].step) == (12, 1, 6)


def test_going_back_twice_and_without_an_event() -> None:
    updates = [0, 1, 2, 3, 4, 2, 3, 1, 2, 3, 4, 5]
    values = [0, 1, -1, -1, -1, -1, -1, 1, 2, 3, 4, 5]
    result = paired(rows(updates, lr=values), rows(range(6), lr=np.arange(6.0)))
    assert (result.tracks["lr/0"].rows, result.tracks["lr/0"].differing) == (6, 0)


def test_skipped_attempts_do_not_count_and_of_several_attempts_the_last() -> None:
    a = rows([0, 1, 1, 2], lr=[0.0, 7.0, 1.0, 2.0], skipped=[0, 1, 0, 0])
    b = rows([0, 1, 1, 2], lr=[0.0, 9.0, 1.0, 2.0])
    assert paired(a, b).tracks["lr/0"].differing == 0


def test_a_rate_read_after_the_schedulers_step_is_the_next_updates() -> None:
    used = rows(range(6), lr=np.arange(6.0), loss=np.arange(6.0))
    after = rows(range(5), lr=np.arange(1.0, 6.0), loss=np.arange(5.0), lr_read="after")
    result = paired(used, after)
    assert {name: (t.rows, t.differing) for name, t in result.tracks.items()} == {"lr/0": (5, 0), "loss": (5, 0)}
    both = paired(after, after)
    assert both.tracks["lr/0"].rows == 5


def test_workers_and_columns_that_both_have() -> None:
    a = [*rows(range(3), rank=0, lr=[1.0] * 3, loss=[1.0] * 3), *rows(range(3), rank=1, lr=[1.0] * 3)]
    b = [*rows(range(3), rank=1, lr=[1.0, 1.0, 2.0], lr__head=[1.0] * 3), *rows(range(3), rank=5, lr=[9.0] * 3)]
    result = paired(a, b)
    assert list(result.tracks) == ["lr/0"]
    assert result.tracks["lr/0"].first == {1: 2}


def test_only_some_columns() -> None:
    a = rows(range(2), lr=[1.0, 1.0], lr__head=[1.0, 1.0], loss=[1.0, 1.0])
    b = rows(range(2), lr=[1.0, 1.0], lr__head=[1.0, 2.0], loss=[5.0, 5.0])
    assert list(paired(a, b, "lr").tracks) == ["lr/0", "lr/head"]


@given(
    a=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=60),
    b=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=60),
    pieces=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_how_the_rows_arrive_changes_nothing(
    a: list[tuple[int, int]], b: list[tuple[int, int]], pieces: tuple[int, int]
) -> None:
    a, b = [(0, 0), *a], [(0, 0), *b]  # with a first row each

    def compared(left: int, right: int) -> tuple[object, ...]:
        made = [
            rows([u for u, _ in run], pieces=size, lr=[float(v) for _, v in run], loss=[float(v) for _, v in run])
            for run, size in ((a, left), (b, right))
        ]
        t = paired(*made).tracks["lr/0"]
        return t.rows, t.differing, t.step, t.a, t.b, t.last, t.worst, t.worst_step

    last_a, last_b = dict(a), dict(b)
    # What was done at a step for the last time, unless an earlier step was done again after it.
    counts_a = {u for i, (u, _) in enumerate(a) if all(v >= u for v, _ in a[i:])}
    counts_b = {u for i, (u, _) in enumerate(b) if all(v >= u for v, _ in b[i:])}
    both = sorted(counts_a & counts_b)
    wrong = [u for u in both if last_a[u] != last_b[u]]
    whole = compared(1000, 1000)
    assert whole[:3] == (len(both), len(wrong), wrong[0] if wrong else -1)
    assert compared(*pieces) == whole


def test_memory_does_not_grow_with_the_run() -> None:
    class Long(Trace):
        def __init__(self, every: int):
            super().__init__()
            self.every = every

        def __iter__(self):  # type: ignore[no-untyped-def]
            for first in range(0, 2_000_000, 50_000):
                updates = np.arange(first, first + 50_000, self.every)
                yield from rows(updates, loss=updates)

    a, b = Long(1), Long(10)
    compared = pairing(a, b)
    most = 0
    wait = compared._wait

    def watched(*arguments: object) -> None:
        nonlocal most
        wait(*arguments)  # type: ignore[arg-type]
        most = max(most, *compared._waits.values())

    compared._wait = watched  # type: ignore[method-assign, assignment]
    result = compared.run(a, b)
    assert (result.tracks["loss"].rows, result.alone) == (200_000, {"a": 1_800_000, "b": 0})
    assert most <= 100_000


def test_workers_in_another_order_are_refused_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrwatch.diff.pairing.MOST_WAITING", 100)
    ranks = [rows(range(200), rank=rank, loss=[1.0] * 200, pieces=20) for rank in range(3)]
    a, b = Trace(*ranks[0], *ranks[1], *ranks[2], name="a.csv"), Trace(*ranks[2], *ranks[1], *ranks[0], name="b.csv")
    with pytest.raises(TraceError) as caught:
        pairing(a, b).run(a, b)
    assert str(caught.value).endswith(
        ".csv: lists its workers in another order than the other run; name the files of one worker of each"
    )
