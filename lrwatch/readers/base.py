"""What a reader is: a format's name, how likely a file is of it, and how it is opened.

A reader is a module in this folder, named as its format, that defines ``READER``. What it yields are the chunks,
events and damage of ``trace.model``; it never guesses what the file does not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers._streams import Stream, opened
from lrwatch.trace import merge
from lrwatch.trace.model import Item, LrRead, Source, TraceInfo

CHUNK_ROWS: Final = 1 << 16
ROW_BYTES: Final = 160
"""Of a usual row, so that a block is read that has about the rows of a chunk."""
MAX_BLOCK: Final = 1 << 22
MAX_LINE: Final = 1 << 24
_PIECE: Final = 1 << 17
HEAD: Final = 1 << 16
"""Bytes of a file that a reader may look at to recognise it."""
FURTHER: Final = 1 << 23
"""The same, when nobody recognised it."""

NOTHING_HERE: Final = (
    "no trace in this directory; give a run directory that has trace/rank00000-seg0000.jsonl, or name the files"
)

_RANK = re.compile(r"(?<![a-z])rank[-_.]?0*(\d+)", re.I)


class Meter:
    """How much of the files was read, for a progress line."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.places: dict[str, int] = {}

    def at(self, path: Path, place: int) -> None:
        """So many bytes of a file were read."""
        name = str(path)
        if name not in self.sizes:
            try:
                self.sizes[name] = path.stat().st_size
            except OSError:
                return
        self.places[name] = place

    def share(self, whole: int) -> float | None:
        """The read share of ``whole`` bytes, 0 to 1; None when that is unknown."""
        return min(sum(self.places.values()) / whole, 1.0) if whole and self.places else None


METER: Final[ContextVar[Meter | None]] = ContextVar("meter", default=None)
"""Where the blocks that are read are noted, for whoever shows it."""


@dataclass(frozen=True)
class Options:
    """What the user said about a trace.

    Attributes:
        columns: our name → the file's name (``--map lr=learning_rate``); ``#row`` is the number of the row.
        lr_read: when the LR of a row was read, where the format does not say. first_step: the number that the file
            gives to the first update of the run.
        every: updates from one row to the next, where rows are counted because they have no number of their own.
        steps_per_epoch: updates of an epoch, where rows say only how many epochs were done.
        run: which run, where a store has several.
        chunk_rows: rows of a chunk at most. label: name of the source in messages, instead of its path.
    """

    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    lr_read: LrRead | None = None
    first_step: int | None = None
    every: int | None = None
    steps_per_epoch: int | None = None
    run: str | None = None
    chunk_rows: int = CHUNK_ROWS
    label: str = ""

    def name(self, path: Path) -> str:
        """What messages call the file."""
        return self.label or str(path)


@dataclass(frozen=True)
class Convention:
    """How a format's trainer or logger writes rows; what the user said (``Options``) comes first.

    Attributes:
        lr_read: when it reads the LR of a row. first_step: the number it gives to the first update.
        axis: what a row is of: an update, or an epoch, whose last update it then is.
        merge: rows next to each other with the same step are parts of one row, as far as their columns differ.
        digits: significant digits that a rate can have, whatever is written: 17 where it is always whole, 9 where it
            went through a float32; None: its text tells. known: sentences for the report: what follows from the format.
    """

    lr_read: LrRead = "unknown"
    first_step: int = 0
    axis: Literal["update", "epoch"] = "update"
    merge: bool = False
    digits: int | None = None
    known: tuple[str, ...] = ()

    def read(self, options: Options) -> LrRead:
        """When the LR was read."""
        return options.lr_read or self.lr_read

    def first(self, options: Options) -> int:
        """The number of the first update."""
        return self.first_step if options.first_step is None else options.first_step


class Lines(Protocol):
    """The state of reading one text that comes line by line: a file, or a log that is still being written."""

    def items(self, line: int, data: bytes) -> Iterable[Item]:
        """What whole lines say; ``line`` is the number of the first. A last line without its end is torn."""

    def end(self) -> Iterable[Item]:
        """No more lines will come: what was kept back."""


class TraceSource(Source, Protocol):
    """A source that may know whose rows it has: ``rank`` is None when it has rows of several workers."""

    @property
    def rank(self) -> int | None: ...


@dataclass(frozen=True)
class Reader:
    """A format.

    Attributes:
        name: as in ``--from``; equals the module's name.
        detect: (path, first bytes, empty for a directory) → 0: it is not, 1: it certainly is.
        open: (path, options) → the source; raises TraceError where nothing in it can be read.
        lines: (name, first line or lines, options) → how to read a text of this format line by line; None: it is none.
        url: (address, options) → the source, for the addresses whose schemes are in ``schemes``.
    """

    name: str
    detect: Callable[[Path, bytes], float]
    open: Callable[[Path, Options], TraceSource]
    lines: Callable[[str, bytes, Options], Lines] | None = None
    url: Callable[[str, Options], TraceSource] | None = None
    schemes: tuple[str, ...] = ()


class Several:
    """Sources of one run as one: parts of one worker follow each other, workers advance together."""

    def __init__(self, sources: Sequence[TraceSource], info: TraceInfo):
        self.sources, self.info = tuple(sources), info
        self.rereadable = all(source.rereadable for source in sources)
        ranks = {source.rank for source in sources}
        self.rank = ranks.pop() if len(ranks) == 1 else None

    def __iter__(self) -> Iterator[Item]:
        workers: dict[object, list[TraceSource]] = {}
        for i, source in enumerate(self.sources):
            workers.setdefault(("mixed", i) if source.rank is None else source.rank, []).append(source)
        if len(workers) == 1:
            return merge.chain(self.sources)
        return merge.merge([merge.chain(parts) for parts in workers.values()])


def several(sources: Sequence[TraceSource]) -> TraceSource:
    """One source of all; what each assumed is assumed by the whole."""
    if len(sources) == 1:
        return sources[0]
    infos = [source.info for source in sources]
    return Several(
        sources,
        TraceInfo(
            paths=tuple(path for info in infos for path in info.paths),
            format=", ".join(dict.fromkeys(info.format for info in infos)),
            assumed=tuple(dict.fromkeys(sentence for info in infos for sentence in info.assumed)),
            run=next((info.run for info in infos if info.run), None),
            contract=next((info.contract for info in infos if info.contract), None),
            grad_norm=next((info.grad_norm for info in infos if info.grad_norm), None),
        ),
    )


def chunk_rows(options: Options, sources: int) -> int:
    """Rows of a chunk when so many sources are read at once: together not more than a few hundred thousand."""
    return max(min(options.chunk_rows, (1 << 18) // max(sources, 1)), min(options.chunk_rows, 256))


def rank_in(path: Path) -> int | None:
    """The rank that a file's name gives (``rank3.csv``, ``rank00003-seg0001.jsonl``), else None."""
    found = _RANK.search(path.name)
    return int(found[1]) if found else None


class Block(NamedTuple):
    """Whole lines of a file; only the very last line of the file may lack its end."""

    line: int
    data: bytes


def blocks(path: Path, rows: int, *, name: str = "") -> Iterator[Block]:
    """A file in blocks of whole lines, at most ``rows`` of them, with the number of the first (from 1).

    A plain file is opened for each read only: thousands of them can be read side by side, and one that grows while it
    is read is read to its present end. One compressed with gzip or zstd stays open. Raises TraceError: not readable,
    or a line longer than 16 MiB.
    """
    line, rest = 1, b""
    size = min(max(rows * ROW_BYTES, 1 << 12), MAX_BLOCK)
    stream: Stream = opened(path, name or str(path))
    meter = METER.get()
    while True:
        data = stream.read(size)
        if meter is not None:
            meter.at(path, stream.place)
        cut = data.rfind(b"\n") + 1
        if cut == len(data) and not rest:
            whole = data
        else:
            whole, rest = (rest + data[:cut], data[cut:]) if cut else (b"", rest + data)
        if not data:
            if rest:
                yield Block(line, rest)
            return
        if len(rest) > MAX_LINE:
            raise TraceError(
                "a line is longer than 16 MiB; this is no table or log of a run", source=name or str(path), line=line
            )
        del data
        before = line
        for part, n in _cut(whole, rows):
            yield Block(line, part)
            line += n
        if line > before:  # so many bytes that their lines are a little less than the rows of a chunk
            size = min(max(rows * len(whole) * 15 // (16 * (line - before)), 1 << 12), MAX_BLOCK)


def newlines(data: bytes) -> int:
    """How many line feeds."""
    return count(data, b"\n")


def count(data: bytes, mark: bytes) -> int:
    """How often a byte is in the data; where it is dense, twenty times as fast as ``bytes.count``."""
    view = np.frombuffer(data, np.uint8)
    found = np.empty(min(len(view), _PIECE), dtype=bool)  # small enough to stay in the cache
    pieces = (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))
    return sum(int(np.count_nonzero(np.equal(piece, mark[0], out=found[: len(piece)]))) for piece in pieces)


def _cut(data: bytes, rows: int) -> Iterator[tuple[bytes, int]]:
    """Whole lines in pieces of at most ``rows`` lines, with their number; mostly in one."""
    n = newlines(data)
    if n <= rows:
        if data:
            yield data, n
        return
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    edges = [0, *(ends[rows - 1 : -1 : rows] + 1).tolist(), len(data)]
    for start, stop in pairwise(edges):
        part = data[start:stop]
        yield part, newlines(part)
