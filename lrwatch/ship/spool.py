"""A run's trace files, read block by block from where the last one ended: the files are the buffer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lrwatch.readers.lrwatch import Reading
from lrwatch.ship.encode import EARLIEST, LATEST
from lrwatch.trace.model import Chunk, Damage, Event
from lrwatch.trace.writer import file_name

ROWS: Final = 500
"""Rows of a block, at most: some thousand samples."""
SIZE: Final = 1 << 18
LONGEST: Final = 1 << 24
"""Bytes of a line; a longer one is passed over."""
SPAN: Final = 1800.0
"""Seconds of a block, at most: a server takes nothing that is an hour older than its newest, so that workers must
advance together."""
_EVENT: Final = 1 << 12
"""Bytes of the line that ends a run, at most."""
_FILE = re.compile(r"rank(\d+)-seg(\d+)\.jsonl")


@dataclass(frozen=True)
class Place:
    """How far a worker's trace was read: the segment, and bytes of its file."""

    segment: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Block:
    """Rows of one worker that follow each other.

    Attributes:
        rank, run: whose. begin, end: where in the trace. times: float64[n], Unix seconds. columns: name → float64[n],
            NaN where a row has no value; ``present`` tells that from a NaN that was recorded.
        untimed: rows that do not say when they were; damaged: places that could not be read.
    """

    rank: int
    run: str | None
    begin: Place
    end: Place
    times: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    present: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    untimed: int = 0
    damaged: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: slice | NDArray[Any]) -> Block:
        """The same with only these rows."""
        return replace(
            self,
            times=self.times[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            present={name: there[rows] for name, there in self.present.items()},
        )


class Worker:
    """The trace of one rank.

    Args:
        place: where to go on.
    """

    def __init__(self, run_dir: Path, rank: int, place: Place):
        self._folder, self.rank, self.place = run_dir / "trace", rank, place
        self._reading: Reading | None = None
        self._header: Place | None = None
        self.run: str | None = None
        self.ended = False
        """Whether the newest thing that was read is the end of the run."""

    def next(self, segments: Sequence[int] = (), until: int | None = None) -> Block | None:
        """The next rows; None when there are none (yet). Raises OSError.

        Args:
            segments: that have a file by now. until: the offset at which a block ended before.
        """
        while True:
            data = self._data(until)
            if data:
                return self._block(data, whole=until is not None)
            newer = [number for number in segments if number > self.place.segment]
            if not newer:
                return None
            self.place = Place(min(newer), 0)

    def _data(self, until: int | None) -> bytes:
        """Whole lines, at most ``ROWS`` of them."""
        path = self._folder / file_name(self.rank, self.place.segment)
        try:
            with path.open("rb") as file:
                if self._reading is None or self._header is None or self._header.segment != self.place.segment:
                    self._begin(path.name, file.readline(SIZE) if self.place.offset else b"")
                    file.seek(max(self.place.offset - _EVENT, 0))
                    before = file.read(min(self.place.offset, _EVENT)).splitlines()
                    self.ended = bool(before) and before[-1].startswith(b'{"event":"end"')
                file.seek(self.place.offset)
                data = file.read(SIZE if until is None else max(until - self.place.offset, 0))
                while until is None and data and b"\n" not in data and len(data) < LONGEST:
                    if not (more := file.read(SIZE)):
                        return b""
                    data += more
        except FileNotFoundError:
            return b""
        if until is not None:
            return data
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))[:ROWS]
        return data[: int(ends[-1]) + 1] if len(ends) else data if len(data) >= LONGEST else b""

    def _begin(self, name: str, header: bytes) -> None:
        """A file is read from somewhere: its first line says whose rows it has."""
        self._reading, self._header = Reading(name, self.rank, self.place.segment, None), self.place
        for item in self._reading.items(1, header) if header else ():
            if isinstance(item, Event):
                self.run = str(item.fields.get("run") or "") or self.run

    def _block(self, data: bytes, whole: bool) -> Block:
        block, lines = self._parsed(data)
        late = np.flatnonzero(block.times > block.times[:1] + SPAN) if len(block) and not whole else np.zeros(0, int)
        if len(late):
            ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
            cut = int(ends[int(lines[late[0]]) - 1]) + 1
            self._reading = None
            self._data(0)
            data = data[:cut]
            block, _ = self._parsed(data)
        end = Place(self.place.segment, self.place.offset + len(data))
        block = replace(block, begin=self.place, end=end)
        self.place = end
        return block

    def _parsed(self, data: bytes) -> tuple[Block, NDArray[np.int64]]:
        """The rows that have a time, and the lines they stand in, counted from 0."""
        assert self._reading is not None
        first = 1 if self.place.offset == 0 else 2
        chunks: list[Chunk] = []
        damaged = 0
        for item in self._reading.items(first, data):
            if isinstance(item, Chunk):
                chunks.append(item)
                self.ended = False
            elif isinstance(item, Damage):
                damaged += 1
            else:
                self.ended = item.kind == "end"
                if item.kind in ("start", "resume"):
                    self.run = str(item.fields.get("run") or "") or self.run
        names = dict.fromkeys(name for chunk in chunks for name in chunk.columns)
        values = {name: _joined(chunks, name, np.nan) for name in names}
        present = {name: np.concatenate([chunk.present(name) for chunk in chunks]) for name in names}
        times = values.pop("ts", np.full(sum(map(len, chunks)), np.nan))
        times = np.minimum(times, LATEST / 1000)
        block = Block(self.rank, self.run, self.place, self.place, times, values, present, damaged=damaged)
        timed = np.isfinite(times) & (times >= EARLIEST / 1000)
        lines = values["line"].astype(np.int64) - first if chunks else np.zeros(0, np.int64)
        if timed.all():
            return block, lines
        return replace(block.take(timed), untimed=int((~timed).sum())), lines[timed]


def _joined(chunks: list[Chunk], name: str, blank: float) -> NDArray[np.float64]:
    return np.concatenate(
        [chunk.columns[name].astype(np.float64) if chunk.has(name) else np.full(len(chunk), blank) for chunk in chunks]
    )


def segments(run_dir: Path) -> dict[int, list[int]]:
    """The workers that have a trace, and which of their segments have a file. Raises OSError."""
    found: dict[int, list[int]] = {}
    folder = run_dir / "trace"
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if named := _FILE.fullmatch(name):
            found.setdefault(int(named[1]), []).append(int(named[2]))
    return found
