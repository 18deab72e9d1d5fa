"""What is kept of a run for drawing it: bounded, and nothing rare is lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.picture import Picture


def chunk(rank: int, first: int, **columns: list[float]) -> Chunk:
    n = len(next(iter(columns.values())))
    return Chunk({"update": np.arange(first, first + n), **{k: np.array(v) for k, v in columns.items()}}, rank=rank)


def event(kind: Any, update: int, rank: int = 0, segment: int = 0, **fields: Any) -> Event:
    return Event(kind, update, rank, segment, fields=fields)


def test_columns_of_the_workers_asked_for_and_validations_of_whoever_recorded_them() -> None:
    picture = Picture()
    for rank in (0, 1):
        picture.take(chunk(rank, 0, loss=[3.0 + rank, 2.0], grad_norm=[1.0, 1.5]))
    picture.take(event("validation", 2, rank=1, metrics={"val_loss": 1.9}))
    samples = {(name, rank): (u.tolist(), v.tolist()) for name, rank, u, v in picture.samples([0])}
    assert samples == {
        ("loss", 0): ([0, 1], [3.0, 2.0]),
        ("grad_norm", 0): ([0, 1], [1.0, 1.5]),
        ("validation/val_loss", 1): ([2], [1.9]),
    }


def test_rows_without_a_value_are_not_drawn() -> None:
    rows = Chunk(
        {"update": np.arange(3), "loss": np.array([2.0, 0.0, 1.0])}, missing={"loss": np.array([False, True, False])}
    )
    picture = Picture()
    picture.take(rows)
    [(_, _, updates, values)] = picture.samples([0])
    assert (updates.tolist(), values.tolist()) == ([0, 2], [2.0, 1.0])


def test_the_same_event_of_many_workers_is_one_mark() -> None:
    picture = Picture()
    for rank in range(4):
        picture.take(event("start", 0, rank))
        picture.take(event("resume", 60, rank, segment=1))
    assert [(m.event.kind, m.event.update, m.workers) for m in picture.marks()] == [("start", 0, 4), ("resume", 60, 4)]


def test_many_checkpoints_are_thinned_and_a_rare_event_among_them_is_not() -> None:
    picture = Picture()
    for update in range(10_000):
        picture.take(event("checkpoint", update))
        picture.take(event("checkpoint", update, rank=1))
        if update == 7_777:
            picture.take(event("oom", update))
    kinds = [m.event.kind for m in picture.marks()]
    assert 128 <= kinds.count("checkpoint") <= 256
    assert [m.event.update for m in picture.marks() if m.event.kind == "oom"] == [7_777]


def test_memory_is_bounded_by_workers_and_metrics() -> None:
    picture = Picture()
    for rank in range(300):
        picture.take(chunk(rank, 0, loss=[1.0]))
        picture.take(event("validation", 0, metrics={f"m{rank}-{i}": 0.0 for i in range(30)}))
    names = [(name, rank) for name, rank, _, _ in picture.samples(range(300))]
    assert len([n for n in names if n[0] == "loss"]) == 64
    assert len([n for n in names if n[0] != "loss"]) == 16
