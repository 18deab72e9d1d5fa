"""CSV that ``lrwatch trace convert`` wrote: everything that the trace said, see ``_exchange``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers._exchange import LEADING, Decoder, is_whole
from lrwatch.readers._rows import numbers, whole
from lrwatch.readers._tables import first_line
from lrwatch.readers.base import Options, Reader, TraceSource, blocks
from lrwatch.trace.model import Array, Damage, Item, TraceInfo

_HEADER: Final = ",".join(LEADING) + ",update"


class File:
    """One such table."""

    rereadable = True
    rank: int | None = None

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        header = first_line(path, self.name).decode("utf-8", "replace").strip("\r\n")
        if not header.startswith(_HEADER):
            raise TraceError("was not written by lrwatch trace convert", source=self.name, line=1)
        self.columns = next(csv.reader([header]))[len(LEADING) :]
        self.info = TraceInfo((self.name,), "trace_csv")

    def __iter__(self) -> Iterator[Item]:
        decoder, seen = Decoder(self.name), 0
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            for item in self._items(decoder, line, data):
                seen += 1
                yield item
        if not seen:
            raise TraceError("has a header and no rows; nothing was recorded", source=self.name)

    def _items(self, decoder: Decoder, line: int, data: bytes) -> Iterator[Item]:
        if line == 1:
            line, data = 2, data.partition(b"\n")[2]
        text = data.decode("utf-8", "replace").replace("\0", "\ufffd")
        if text and not text.endswith("\n"):
            text, _, rest = text.rpartition("\n")
            number = line + text.count("\n") + bool(text)
            yield Damage("torn", self.name, number, f"torn last line of {len(rest)} characters; it is not used")
        parts = text.split("\n")
        if parts and not parts[-1]:
            parts.pop()
        rows: list[list[str]] = []
        lines: list[int] = []
        for number, part in enumerate(parts, line):
            try:
                cells = next(csv.reader([part], strict=True)) if '"' in part else part.split(",")
            except (csv.Error, StopIteration):
                cells = []
            if len(cells) == len(LEADING) + len(self.columns):
                rows.append(cells)
                lines.append(number)
            elif part.strip():
                has = f"{len(cells)} cells where the header has {len(LEADING) + len(self.columns)}"
                yield Damage("not_a_row", self.name, number, has)
        yield from self._decoded(decoder, rows, lines)

    def _decoded(self, decoder: Decoder, rows: list[list[str]], lines: list[int]) -> Iterator[Item]:
        if not rows:
            return
        cells = list(zip(*rows, strict=True))
        bad = np.zeros(len(rows), dtype=bool)
        (ranks, no_rank), (segments, no_segment) = (whole(numbers(texts)[0]) for texts in cells[:2])
        bad |= no_rank | no_segment
        columns: dict[str, Array] = {}
        missing: dict[str, Array] = {}
        for name, texts in zip(self.columns, cells[len(LEADING) :], strict=True):
            values, absent, odd = numbers(texts)
            if is_whole(name):
                values, broken = _integers(texts, values)
                odd |= broken & ~absent
            bad |= odd | (absent if name == "update" else False)
            columns[name], missing[name] = values, absent
        if bad.any():
            for i in np.flatnonzero(bad).tolist():
                yield Damage("not_a_row", self.name, lines[i], "a cell is no number")
            good = np.flatnonzero(~bad).tolist()
            yield from self._decoded(decoder, [rows[i] for i in good], [lines[i] for i in good])
            return
        fields = {i: text for i, text in enumerate(cells[3]) if text}
        yield from decoder.items(ranks, segments, cells[2], fields, columns, missing, np.array(lines))


def _integers(texts: tuple[str, ...], values: Array) -> tuple[Array, Array]:
    """int64[n] exactly, also beyond 2^53, and bool[n] where there is none."""
    counts, odd = whole(values)
    for i in np.flatnonzero(odd & np.isfinite(values)).tolist():
        try:
            counts[i] = int(texts[i])
            odd[i] = False
        except (ValueError, OverflowError):
            pass
    return counts, odd


def _open(path: Path, options: Options) -> TraceSource:
    return File(path, options)


READER = Reader("trace_csv", lambda path, head: 1.0 if head.startswith(_HEADER.encode()) else 0.0, _open)
