"""Gradient norms of sharded models: what every worker recorded of its shard (``grad_sq``) → the norm of the whole.

    source = together(source)         # the same items; rows of the lowest rank have ``grad_norm`` where it is known

‖g‖ = √(Σ over workers of ``grad_sq``), only for updates of which every worker of the world has a row; a partial sum
would look like a norm that has fallen. What could not be combined is said in ``info.assumed``. The source is read
once more, for the sums: 12 bytes for each update from the first to the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lrwatch.trace.model import Chunk, Event, Item, Source, TraceInfo

COLUMN: Final = "grad_sq"
LONGEST: Final = 1 << 24
"""Updates of one segment."""


@dataclass
class Sums:
    """Sums over the workers in one segment.

    Attributes:
        first: the update of the first place. total: float64[n]. workers: int32[n], how many are in it.
        ranks: who recorded any.
    """

    first: int = 0
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    workers: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    ranks: set[int] = field(default_factory=set)

    def add(self, rank: int, updates: NDArray[np.int64], squares: NDArray[np.float64]) -> bool:
        """Take in one worker's; False where the updates are too far apart."""
        low, high = int(updates.min()), int(updates.max())
        if not self.ranks:
            self.first = low
        self.ranks.add(rank)
        before, behind = max(self.first - low, 0), max(high + 1 - self.first - len(self.total), 0)
        if before + len(self.total) + behind > LONGEST:
            return False
        behind = max(behind, len(self.total) // 2) if behind else 0  # room for more, so that growing is rare
        self.total = np.pad(self.total, (before, behind))
        self.workers = np.pad(self.workers, (before, behind))
        self.first -= before
        np.add.at(self.total, updates - self.first, squares)
        np.add.at(self.workers, updates - self.first, 1)
        return True

    def norms(self, updates: NDArray[np.int64], world: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The norms at these updates, float64[n], and where they are known."""
        place = updates - self.first
        inside = (place >= 0) & (place < len(self.total))
        place = np.where(inside, place, 0)
        known = inside & (self.workers[place] == world) & (len(self.ranks) == world)
        return np.sqrt(np.where(known, self.total[place], 0.0)), known


class Together:
    """A source whose gradient norms are combined."""

    def __init__(self, source: Source):
        self._source, self.rereadable = source, source.rereadable
        self._segments: dict[int, Sums] = {}
        self._world: int | None = None
        self._lowest: int | None = None
        why = self._sum() if source.rereadable else "this source cannot be read twice"
        whole = [sums for sums in self._segments.values() if not self._lacks(sums)]
        known = sum(int((sums.workers == self._world).sum()) for sums in whole)
        if not why and not known:
            why = f"no update has one row of each of the {self._world} workers"
        done = f"combined from the shards of {self._world} workers, at {known} updates"
        said = f"gradient norms are {f'not combined: {why}' if why else done}"
        self.info: TraceInfo = replace(source.info, assumed=(*source.info.assumed, said))
        self._usable = not why

    def __iter__(self) -> Iterator[Item]:
        if not self._usable:
            return iter(self._source)
        return map(self._with_norm, self._source)

    def _sum(self) -> str:
        """Read all rows; why nothing can be combined, empty where something can."""
        local: dict[int, bool] = {}
        worlds: set[int | None] = set()
        for item in self._source:
            if isinstance(item, Event) and item.kind in ("start", "resume"):
                local[item.rank] = item.fields.get("grad_norm") == "local"
            if not isinstance(item, Chunk) or not item.has(COLUMN):
                continue
            if not local.get(item.rank):
                return f"rank {item.rank} does not say that it recorded a shard"
            worlds.add(item.world)
            if not self._add(item):
                return f"the updates of segment {item.segment} are too far apart"
        if len(worlds) != 1 or None in worlds:
            return "the workers do not agree on how many they are" if worlds else "no worker recorded any"
        self._world = worlds.pop()
        lacking = [self._lacks(sums) for sums in self._segments.values()]
        return lacking[0] if all(lacking) else ""

    def _add(self, chunk: Chunk) -> bool:
        rows = _used(chunk)
        if not rows.any():
            return True
        self._lowest = chunk.rank if self._lowest is None else min(self._lowest, chunk.rank)
        sums = self._segments.setdefault(chunk.segment, Sums())
        return sums.add(chunk.rank, chunk.columns["update"][rows], chunk.columns[COLUMN][rows])

    def _lacks(self, sums: Sums) -> str:
        """Who is not there, empty where all are."""
        missing = sorted(set(range(self._world or 0)) - sums.ranks)
        who = ", ".join(map(str, missing[:8])) + (" …" if len(missing) > 8 else "")
        return f"of {self._world} workers rank {who} recorded none" if missing else ""

    def _with_norm(self, item: Item) -> Item:
        if not isinstance(item, Chunk) or item.rank != self._lowest or not item.has(COLUMN) or item.has("grad_norm"):
            return item
        sums = self._segments.get(item.segment)
        if sums is None or not len(item):
            return item
        norms, known = sums.norms(item.columns["update"], self._world or 0)
        known &= _used(item)
        if not known.any():
            return item
        columns, missing = {**item.columns, "grad_norm": norms}, {**item.missing, "grad_norm": ~known}
        return replace(item, columns=columns, missing=missing)


def together(source: Source) -> Source:
    """The source, with combined gradient norms where its workers say that they recorded shards."""
    return Together(source) if source.info.grad_norm == "local" else source


def _used(chunk: Chunk) -> NDArray[np.bool_]:
    """bool[n]: rows of applied updates with a sum: an attempt that was skipped has the number of the next one."""
    rows = chunk.present(COLUMN)
    return rows & (chunk.columns["skipped"] == 0) if "skipped" in chunk.columns else rows
