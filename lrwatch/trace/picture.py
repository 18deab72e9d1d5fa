"""A bounded picture of a run for its report: loss, gradient norm and validations by worker, and what happened when.

picture = Picture()
for item in source: picture.take(item)
picture.samples([0])             # loss, grad_norm and validation/val_loss of worker 0
picture.marks()                  # resumes, checkpoints, validations, the end, …
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lrwatch.trace.model import Chunk, Event, Item
from lrwatch.trace.sampler import Floats, Sampler

COLUMNS: Final = ("loss", "grad_norm")
MAX_WORKERS: Final = 64
"""Workers whose columns are kept; a report shows a few of them."""
MAX_METRICS: Final = 16
MAX_MARKS: Final = 256
"""Events kept of a kind."""
ROUTINE: Final = frozenset({"checkpoint", "validation"})
"""Kinds that a run has many of, at even distances: they are thinned out. Of the others the first ones are kept."""


@dataclass(frozen=True)
class Mark:
    """An event and how many workers recorded it."""

    event: Event
    workers: int = 1


@dataclass
class Kind:
    """The events kept of one kind; of a routine kind every ``stride``-th one of the first worker that recorded any."""

    marks: dict[tuple[int, int], Mark] = field(default_factory=dict)
    rank: int = 0
    stride: int = 1
    seen: int = 0


class Picture:
    """What is kept of one run; memory is bounded, whatever the length and the number of workers."""

    def __init__(self) -> None:
        self._columns: dict[tuple[int, str], Sampler] = {}
        self._workers: set[int] = set()
        self._kinds: dict[str, Kind] = {}

    def take(self, item: Item) -> None:
        """Take in one item of the trace, in recorded order."""
        if isinstance(item, Chunk):
            self._chunk(item)
        elif isinstance(item, Event):
            self._event(item)

    def _chunk(self, chunk: Chunk) -> None:
        if chunk.rank not in self._workers:
            if len(self._workers) >= MAX_WORKERS:
                return
            self._workers.add(chunk.rank)
        for name in COLUMNS:
            if name in chunk.columns:
                updates, values = chunk.columns["update"], chunk.columns[name]
                if name in chunk.missing:
                    updates, values = updates[~chunk.missing[name]], values[~chunk.missing[name]]
                self._columns.setdefault((chunk.rank, name), Sampler()).add(updates, values)

    def _event(self, event: Event) -> None:
        kind = self._kinds.setdefault(event.kind, Kind(rank=event.rank))
        if event.kind in ROUTINE:
            if event.rank == kind.rank:
                self._routine(event, kind)
            return
        key = (event.segment, event.update)
        if key in kind.marks:
            kind.marks[key] = Mark(kind.marks[key].event, kind.marks[key].workers + 1)
        elif len(kind.marks) < MAX_MARKS:
            kind.marks[key] = Mark(event)

    def _routine(self, event: Event, kind: Kind) -> None:
        if kind.seen % kind.stride == 0:
            kind.marks[event.segment, event.update] = Mark(event)
        kind.seen += 1
        if len(kind.marks) > MAX_MARKS:
            kind.marks = dict(list(kind.marks.items())[::2])
            kind.stride *= 2
        if event.kind == "validation":
            for name, value in (event.fields.get("metrics") or {}).items():
                key = (event.rank, f"validation/{name}")
                if key in self._columns or sum(n.startswith("validation/") for _, n in self._columns) < MAX_METRICS:
                    self._columns.setdefault(key, Sampler()).add(np.array([event.update]), np.array([float(value)]))

    def samples(self, ranks: Collection[int]) -> Iterator[tuple[str, int, Floats, Floats]]:
        """Name, rank, updates and values, float64[m] each, of these workers' columns and of all validations."""
        for (rank, name), sampler in self._columns.items():
            if rank in ranks or name.startswith("validation/"):
                yield name, rank, *sampler.rows()

    def marks(self) -> tuple[Mark, ...]:
        """The events kept, by segment and update."""
        found = [mark for kind in self._kinds.values() for mark in kind.marks.values()]
        return tuple(sorted(found, key=lambda m: (m.event.segment, m.event.update)))
