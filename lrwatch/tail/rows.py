"""Items of a log → items of a trace: whose rows, when they came, where a new start begins, how precisely written.

A log says nothing of starts. When its step goes back, the trainer has begun again, mostly from a checkpoint: a new
segment, whose numbers are the log's own. After a few rows only a step back is none: two writers, or lines out of order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from lrwatch.tail.sources import Piece
from lrwatch.trace.model import SIGNALS, Array, Chunk, Event, Item
from lrwatch.trace.writer import EXACT

ROWS: Final = 8
"""Rows that a start must have had, for a step back to be the next one."""
SEGMENTS: Final = 200
"""Starts that one text may have; with more it is several texts in one."""
UNSETTLED: Final = (64, 20.0)
"""Rows and seconds for which the first rows of a text wait until their digits show how they are rounded."""


class Placing:
    """Puts the rows of one worker on a trace.

    Args:
        rank: whose they are; ``named``: the rank that the reader gives them. segment: the first one.
        about: what every start event says. numbered: whether rows are worth nothing without their update, because
            the contract counts updates; else a row is placed by its epoch, tokens, …. identity: of the text, where it
            can be read again.
    """

    def __init__(
        self,
        *,
        rank: int,
        named: int,
        segment: int,
        about: Mapping[str, Any],
        numbered: bool = True,
        identity: Callable[[], str | None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.rank, self.segment = rank, segment
        self._named, self._about, self._identity, self._monotonic = named, about, identity, monotonic
        self._numbered = numbered
        self._begun = False
        self._last, self._rows, self._read = -1, 0, 0
        self._early: list[Event] = []
        self._held: list[Item] = []
        self._first = segment
        self._since = 0.0
        self._settled = False
        self.foreign = 0
        """Rows of other workers, which are not followed."""
        self.strides: tuple[int, int] | None = None
        """The last two updates."""

    def take(self, items: Iterable[Item], piece: Piece) -> list[Item]:
        """The items of what arrived with a piece, in order; those of the first rows come later."""
        for item in items:
            if isinstance(item, Chunk):
                self._chunk(_stamped(item, piece))
            elif item.rank == self._named:
                self._keep(_timed(replace(item, rank=self.rank), piece))
        return self.release()

    def fresh(self) -> list[Item]:
        """Another text begins, whose digits are yet to be seen."""
        items = self.release(last=True)
        self._settled, self._read = False, 0
        return items

    def release(self, last: bool = False) -> list[Item]:
        """What need not wait (any longer)."""
        if not self._settled and self._held:
            rows = sum(len(item) for item in self._held if isinstance(item, Chunk))
            waited = rows >= UNSETTLED[0] or self._monotonic() - self._since >= UNSETTLED[1]
            if not (last or waited or _known(self._newest())):
                return []
        held, self._held = self._held, []
        if not held:
            return []
        if self._settled:
            return list(self._segments(held))
        newest = self._newest_of(held)
        self._settled = newest is not None
        return list(self._segments([_as_precise(item, newest) for item in held]))

    # -- the rows that wait ---------------------------------------------------------------------------

    def _chunk(self, chunk: Chunk) -> None:
        if chunk.rank != self._named:
            self.foreign += len(chunk)
        elif len(chunk):
            self._keep(self._counted(replace(chunk, rank=self.rank)))

    def _counted(self, chunk: Chunk) -> Chunk:
        """Rows that have no number at all are counted, and it is said when they must not be judged by that."""
        unknown = chunk.missing.get("update")
        if unknown is None or not unknown.all():
            return chunk
        missing = {name: rows for name, rows in chunk.missing.items() if name != "update"}
        return replace(chunk, missing=missing, origin_known=not self._numbered)

    def _keep(self, item: Item) -> None:
        if not self._held:
            self._since = self._monotonic()
        self._held.append(item)

    def _newest(self) -> Chunk | None:
        return self._newest_of(self._held)

    @staticmethod
    def _newest_of(items: Iterable[Item]) -> Chunk | None:
        chunks = [item for item in items if isinstance(item, Chunk) and _rates(item)]
        return chunks[-1] if chunks else None

    # -- starts ---------------------------------------------------------------------------------------

    def _segments(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Chunk):
                for part in self._parts(item):
                    if not self._begun or self._restarts(part):
                        yield self._start(part)
                        yield from (replace(event, segment=self.segment) for event in self._early)
                        self._early = []
                    self._rows += len(part)
                    self._read += len(part)
                    yield self._seen(replace(part, segment=self.segment))
            elif isinstance(item, Event):
                if self._begun:
                    yield replace(item, segment=self.segment)
                else:  # a validation before the first update
                    self._early.append(item)
            else:
                yield item

    def _parts(self, chunk: Chunk) -> list[Chunk]:
        """Cut where the step goes back."""
        steps = chunk.columns["update"]
        edges = [0, *(np.flatnonzero(np.diff(steps) < 0) + 1).tolist(), len(steps)]
        if len(edges) == 2 or chunk.has("rank"):
            return [chunk]
        return [chunk.take(slice(a, b)) for a, b in zip(edges, edges[1:], strict=False)]

    def _restarts(self, chunk: Chunk) -> bool:
        again = int(chunk.columns["update"][0]) < self._last and self._rows >= ROWS
        return again and self.segment - self._first < SEGMENTS

    def _start(self, chunk: Chunk) -> Event:
        if self._begun:
            self.segment += 1
        self._begun, self._rows = True, 0
        groups = list(chunk.signals("lr"))
        fields = {
            **self._about,
            "log": self._identity(),
            "log_row": self._read or None,
            "origin": "log" if chunk.origin_known else "unknown",
            "lr_read": chunk.lr_read,
            "groups": groups,
            "digits": {c: d for c, d in chunk.digits.items() if d < EXACT},
            "quantum": {c: q for c, q in chunk.quantum.items() if q},
        }
        fields = {k: v for k, v in fields.items() if v not in (None, {}, [])}
        first = int(chunk.columns["update"][0])
        ts = float(chunk.columns["ts"][0]) if chunk.has("ts") and chunk.present("ts")[0] else None
        kind: Any = "resume" if self.segment else "start"
        return Event(kind, first, self.rank, self.segment, ts, MappingProxyType(fields), chunk.source)

    def _seen(self, chunk: Chunk) -> Chunk:
        steps = chunk.columns["update"]
        before = int(steps[-2]) if len(steps) > 1 else self._last
        self._last = int(steps[-1])
        self.strides = before, self._last
        return chunk


def _stamped(chunk: Chunk, piece: Piece) -> Chunk:
    """With the time at which each row was there, as far as somebody saw it; a time that the log has is better."""
    if chunk.has("ts") or piece.ts is None:
        return chunk
    n = len(chunk)
    ts, missing = np.full(n, piece.ts), dict(chunk.missing)
    if not piece.live:  # written before anybody looked: only the file's own time is known, of its last row
        ts[:-1] = np.nan
        if n > 1:
            missing["ts"] = np.arange(n) < n - 1
    return replace(chunk, columns={**chunk.columns, "ts": ts}, missing=missing)


def _timed(item: Item, piece: Piece) -> Item:
    return replace(item, ts=piece.ts) if isinstance(item, Event) and item.ts is None and piece.live else item


def _rates(chunk: Chunk) -> dict[str, Array]:
    return {c: v for c, v in chunk.columns.items() if c.partition("/")[0] in SIGNALS}


def _known(chunk: Chunk | None) -> bool:
    """Whether it is known how precisely the rates are written."""
    if chunk is None:
        return False
    return all(
        chunk.quantum.get(c, 0.0) > 0 or chunk.digits.get(c, EXACT) >= EXACT for c in _rates(chunk)
    )


def _as_precise(item: Item, newest: Chunk | None) -> Item:
    """Rows with what later ones have shown of how they are written."""
    if not isinstance(item, Chunk) or newest is None:
        return item
    return replace(item, digits={**item.digits, **newest.digits}, quantum={**item.quantum, **newest.quantum})
