"""Several sources as one: who is behind comes next, and a rollback puts nobody behind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrwatch.trace.merge import chain, merge
from lrwatch.trace.model import Chunk, Event, Item


def source(rank: int, *starts: int, n: int = 10, stride: int = 1) -> list[Item]:
    return [Chunk({"update": np.arange(s, s + n * stride, stride)}, rank=rank) for s in starts]


def order(items: Iterator[Item]) -> list[tuple[int, int]]:
    return [(c.rank, int(c.columns["update"][0])) for c in items if isinstance(c, Chunk)]


def test_the_one_behind_comes_next() -> None:
    sparse = source(1, 0, 100, 200, n=10, stride=10)
    dense = source(0, *range(0, 60, 10))
    assert order(merge([sparse, dense])) == [
        (1, 0), (0, 0), (0, 10), (0, 20), (0, 30), (0, 40), (0, 50), (1, 100), (1, 200)
    ]  # fmt: skip


def test_events_move_nobody() -> None:
    a: list[Item] = [Event("start", 0, 0), *source(0, 0), Event("oom", 10, 0), *source(0, 10)]
    kinds = [(i.rank, i.kind) if isinstance(i, Event) else i.rank for i in merge([a, source(1, 0, 10)])]
    assert kinds == [(0, "start"), 0, 1, (0, "oom"), 0, 1]


def test_after_a_rollback_all_go_on_side_by_side() -> None:
    starts = (*range(0, 100, 10), *range(20, 100, 10))
    found = order(merge([source(rank, *starts) for rank in range(3)]))
    assert found == [(rank, start) for start in starts for rank in range(3)]


def test_one_worker_rolled_back_alone_does_not_stop_the_others() -> None:
    found = order(merge([source(0, 0, 10, 20, 30), source(1, 0, 0, 10, 20, 30)]))
    assert found == [(0, 0), (1, 0), (0, 10), (1, 0), (1, 10), (0, 20), (1, 20), (0, 30), (1, 30)]


def test_a_late_source_comes_when_the_others_are_there() -> None:
    found = order(merge([source(0, 0, 10, 20, 30), source(1, 20, 30)]))
    assert found == [(0, 0), (1, 20), (0, 10), (0, 20), (0, 30), (1, 30)]


def test_a_source_of_many_workers_is_one() -> None:
    mixed = [item for start in (0, 10) for rank in (5, 6) for item in source(rank, start)]
    assert order(merge([mixed, source(0, 0, 10)])) == [(5, 0), (0, 0), (6, 0), (5, 10), (0, 10), (6, 10)]


def test_nothing_and_chains() -> None:
    assert list(merge([])) == [] and list(merge([[], []])) == []
    assert order(chain([source(0, 50), source(0, 0)])) == [(0, 50), (0, 0)]
