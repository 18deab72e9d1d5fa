"""Traces made by hand, for comparing two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lrwatch.trace.model import Chunk, Event, Item, TraceInfo


class Trace:
    """Items of a trace as a source that can be read again."""

    def __init__(self, *items: Item, name: str = "run", rereadable: bool = True):
        self.items, self.rereadable = items, rereadable
        self.info = TraceInfo((name,), "made", run=name)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def rows(
    updates: Sequence[int], *, rank: int = 0, segment: int = 0, pieces: int = 1 << 30, **columns: Any
) -> list[Item]:
    """Rows of one worker in chunks of at most ``pieces``; ``lr`` is group 0, keywords of ``Chunk`` are passed on."""
    chunk = {k: columns.pop(k) for k in ("quantum", "digits", "missing", "lr_read") if k in columns}
    data = {"lr/0" if k == "lr" else k.replace("__", "/"): np.asarray(v) for k, v in columns.items()}
    counters = ("skipped", "attempt", "sched")
    data = {k: v if k in counters else np.asarray(v, dtype=np.float64) for k, v in data.items()}
    whole = Chunk({"update": np.asarray(updates, dtype=np.int64), **data}, rank=rank, segment=segment, **chunk)
    return [whole.take(slice(i, i + pieces)) for i in range(0, len(whole), pieces)]


def start(kind: Any = "start", update: int = 0, *, rank: int = 0, segment: int = 0, **fields: Any) -> Event:
    return Event(kind, update, rank, segment, fields=fields)
