"""A trace as lrwatch records it: a run directory with a file per worker and segment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrwatch.trace.model import Chunk, Damage, Event, Item
from lrwatch.trace.writer import TraceWriter

if TYPE_CHECKING:
    from lrwatch.convert import Done


@dataclass
class Known:
    """What all rows of a worker's segment have in common, which the file's first line then says."""

    update: int = 0
    fields: dict[str, Any] = field(default_factory=dict)

    def learn(self, chunk: Chunk) -> None:
        """Take in a chunk; what was read last is known best."""
        if not self.fields:
            self.update = int(chunk.columns["update"][0])
        digits = {name: digits for name, digits in chunk.digits.items() if digits < 16}
        quantum = {name: quantum for name, quantum in chunk.quantum.items() if quantum}
        self.fields |= {
            "lr_read": None if chunk.lr_read == "used" else chunk.lr_read,
            "digits": digits or None,
            "quantum": quantum or None,
        }
        if chunk.world is not None:
            self.fields["world"] = chunk.world
        if chunk.thinned:
            self.fields["rows"] = "changes"
        if not chunk.origin_known:
            self.fields["origin"] = "unknown"


def write(source: Iterable[Item], path: Path, done: Done) -> None:
    """The run directory; the source is read twice."""
    known: dict[tuple[int, int], Known] = {}
    for item in source:
        if isinstance(item, Chunk) and len(item):
            known.setdefault((item.rank, item.segment), Known()).learn(item)
    writers: dict[tuple[int, int], TraceWriter] = {}
    try:
        for item in source:
            if isinstance(item, Damage):
                done.lost(item)
                continue
            key = item.rank, item.segment
            begins = isinstance(item, Event) and item.kind in ("start", "resume")
            if key not in writers:
                writers[key] = TraceWriter(path, *key)
                if not begins:
                    writers[key].write(_header(key, known.get(key, Known())))
            if isinstance(item, Event):
                done.events += 1
                if begins:
                    item = replace(item, fields=_told(item.fields, known.get(key, Known()).fields))
            else:
                done.rows += len(item)
            writers[key].write(item)
            writers[key].flush()
    finally:
        for writer in writers.values():
            writer.close()


def _header(key: tuple[int, int], known: Known) -> Event:
    rank, segment = key
    return Event("resume" if segment else "start", known.update, rank, segment, None, known.fields)


def _told(fields: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a start, and what the rows know that it does not say."""
    return {**fields, **{k: v for k, v in known.items() if v is not None and k not in fields}}
