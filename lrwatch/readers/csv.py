"""Tables as loggers write them: a header line, then one row per line, separated by comma, tab or semicolon.

Columns are recognised by the names in ``trace.names``; ``--map`` overrules them. An empty cell (also none, null, na)
is a missing value; nan, inf and the like are values. A ``rank`` column gives each worker its own chunks, else the
file's name may tell (``rank3.csv``). How precisely signals were written is read off their text (``trace.precision``).

Where the file does not say something, it is not guessed: when the rate was read is unknown without ``--lr-read``, and
a table without a step or a rate column is refused.

Damage: ``not_a_row`` is a line with another number of cells, or no number where one must be; ``undecodable`` one that
is no UTF-8 or has NUL bytes; ``duplicate_header`` and ``columns_changed`` are headers in mid-file, of which the second
sets new columns; ``torn`` is a last line without a line break: its last cell may have been cut and is not used. A
quoted cell with a line break in it is not supported.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers._tables import ROW_INDEX, Table, first_line, is_number, listed, separated, table
from lrwatch.readers.base import Options, Reader, TraceSource, blocks, rank_in
from lrwatch.trace.model import COUNTERS, SIGNALS, Array, Chunk, Damage, DamageKind, Item, TraceInfo
from lrwatch.trace.names import resolve
from lrwatch.trace.precision import Precision

EMPTY: Final = frozenset({"", "none", "null", "na", "n/a"})
_SOFT: Final = frozenset({*COUNTERS, "ts", "world"}) - {"update"}
"""Columns in which a cell that is no number is a missing value, not damage."""
_WHOLE: Final = frozenset({*COUNTERS, "rank", "world"})


class File:
    """One table."""

    rereadable = True

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        self.table = table(*separated(first_line(path, self.name)), options, self.name)
        self.named = rank_in(Path(self.name))
        self.rank: int | None = None if "rank" in self.table.layout.columns else self.named or 0
        self.info = TraceInfo((self.name,), "csv", tuple(self._assumed()))

    def _assumed(self) -> Iterator[str]:
        layout, header = self.table.layout, self.table.header
        step = layout.columns["update"]
        if self.options.first_step is None and step != ROW_INDEX:
            yield (
                f"column {header[step]!r} of {self.name} counts updates from 0 "
                f"(--first-step 1 if the first update is number 1)"
            )
        for name in layout.unused:
            yield f"column {name!r} of {self.name} is not used: another one means the same (--map chooses)"

    def __iter__(self) -> Iterator[Item]:
        reading = Reading(self.name, self.table, self.options, self.rank or 0)
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            yield from reading.items(line, data)
        if not reading.seen:
            raise TraceError("has a header and no rows; nothing was recorded", source=self.name)


class Reading:
    """The state of reading one table."""

    def __init__(self, name: str, table: Table, options: Options, rank: int):
        self.name, self.options, self.rank = name, options, rank
        self.delimiter = table.delimiter
        self.table: Table | None = table
        self.seen = False
        self._rows: dict[int, int] = {}
        self._precision: dict[str, Precision] = {}

    def items(self, line: int, data: bytes) -> list[Item]:
        """What whole lines say; ``line`` is the number of the first."""
        if line == 1:
            line, data = 2, data.partition(b"\n")[2]
        self.seen |= bool(data.strip())
        cells = self._columns(data)
        if cells is not None:
            chunks, wrong = self._chunks(cells, np.arange(line, line + data.count(b"\n")))
            if not wrong:
                return list(chunks)
        return self._slowly(data, line)

    def _columns(self, data: bytes) -> dict[str, list[str]] | None:
        """The cells of every used column, when all lines are plain and have as many cells as the header."""
        if self.table is None or b'"' in data or b"\0" in data:
            return None
        k, mark = len(self.table.header), self.delimiter.encode()
        marks = data.translate(None, bytes(c for c in range(256) if c not in (mark[0], ord("\n"))))
        if not marks or marks != (mark * (k - 1) + b"\n") * (len(marks) // k) or data[-1:] != b"\n":
            return None
        if k == 1 and b"\n\n" in b"\n" + data:  # a blank line is no row
            return None
        try:
            cells = data.decode().replace("\r\n", "\n").replace("\n", self.delimiter).split(self.delimiter)
        except UnicodeDecodeError:
            return None
        return {column: cells[i:-1:k] for column, i in self.table.layout.columns.items() if i != ROW_INDEX}

    # -- line by line -------------------------------------------------------------------------------

    def _slowly(self, data: bytes, line: int) -> list[Item]:
        """Damage is where it is; headers in mid-file change what the rows after them mean."""
        result: list[Item] = []
        rows: list[list[str]] = []
        lines: list[int] = []
        parts = data.split(b"\n")
        cut = line + len(parts) - 1  # the number of a last line without its end
        for number, raw in enumerate(parts, line):
            if not raw.strip():
                continue
            cells = self._cells(raw)
            if number == cut:
                result.append(self._damage("torn", number, "torn last line; its last cell is not used"))
                if not isinstance(cells, list) or not self._shorten(cells):
                    continue
            elif not isinstance(cells, list):
                result.append(self._damage(cells[0], number, cells[1]))
                continue
            if self._is_header(cells):
                result += self._take(rows, lines)
                rows, lines = [], []
                result.append(self._new_header(cells, number))
            elif self.table is not None and len(cells) != len(self.table.header):
                has = f"{len(cells)} cells where the header has {len(self.table.header)}"
                result.append(self._damage("not_a_row", number, has))
            elif self.table is not None:
                rows.append(cells)
                lines.append(number)
        return result + self._take(rows, lines)

    def _cells(self, raw: bytes) -> list[str] | tuple[DamageKind, str]:
        """The cells of a line, or why it has none."""
        if b"\0" in raw:
            return "undecodable", "NUL bytes"
        try:
            text = raw.decode().removesuffix("\r")
        except UnicodeDecodeError as e:
            return "undecodable", f"not UTF-8: byte 0x{raw[e.start]:02x} at {e.start}"
        if '"' not in text:
            return text.split(self.delimiter)
        try:
            return next(csv.reader([text], delimiter=self.delimiter, strict=True))
        except (csv.Error, StopIteration) as e:
            return "not_a_row", f"quotes do not match: {e}"

    def _shorten(self, cells: list[str]) -> bool:
        """Blank the last cell of a torn line; False when no row is left then."""
        if self.table is None or len(cells) != len(self.table.header):
            return False
        cells[-1] = ""
        return self.table.layout.columns["update"] != len(cells) - 1

    def _is_header(self, cells: list[str]) -> bool:
        if self.table is not None and [c.strip() for c in cells] == [c.strip() for c in self.table.header]:
            return True
        names = not any(is_number(cell) or cell.strip().lower() in EMPTY for cell in cells)
        return names and len(cells) > 1 and bool(resolve(cells).columns)

    def _new_header(self, cells: list[str], line: int) -> Damage:
        if self.table is not None and [c.strip() for c in cells] == [c.strip() for c in self.table.header]:
            return self._damage("duplicate_header", line, "the header again")
        try:
            self.table = table(cells, self.delimiter, self.options, self.name)
        except TraceError as e:
            self.table = None
            return self._damage("columns_changed", line, f"rows after this header are not read: {e.problem}")
        return self._damage("columns_changed", line, f"the columns are now {listed(cells)}")

    def _damage(self, kind: DamageKind, line: int, message: str) -> Damage:
        return Damage(kind, self.name, line, message, self.rank)

    def _take(self, rows: list[list[str]], lines: list[int]) -> list[Item]:
        """The rows as chunks, after the damage among them."""
        if not rows or self.table is None:
            return []
        where = {column: i for column, i in self.table.layout.columns.items() if i != ROW_INDEX}
        chunks, wrong = self._chunks({c: [row[i] for row in rows] for c, i in where.items()}, np.array(lines))
        if wrong:
            damage = [self._damage("not_a_row", lines[i], why) for i, why in sorted(wrong.items())]
            good = [i for i in range(len(rows)) if i not in wrong]
            return [*damage, *self._take([rows[i] for i in good], [lines[i] for i in good])]
        return list(chunks)

    # -- from cells to chunks -----------------------------------------------------------------------

    def _chunks(self, cells: dict[str, list[str]], lines: Array) -> tuple[list[Chunk], dict[int, str]]:
        """The rows as one chunk per worker, or what is wrong with some of them."""
        assert self.table is not None
        columns: dict[str, Array] = {}
        missing: dict[str, Array] = {}
        wrong: dict[int, str] = {}
        for column, texts in cells.items():
            values, absent, bad = _numbers(texts)
            if column in _WHOLE:
                fits = np.isfinite(values) & (np.abs(values) < 2.0**53)
                fits &= np.floor(values, where=fits, out=np.zeros_like(values)) == values
                bad |= ~fits & ~absent
                values = np.where(fits, values, 0.0).astype(np.int64)
            if column == "update":
                values = values - (self.options.first_step or 0)
                bad |= absent | (values < 0)
            elif column == "rank":
                bad |= absent | (values < 0)
            elif column in _SOFT:
                bad, absent = np.zeros_like(bad), absent | bad
            for i in np.flatnonzero(bad):
                name = self.table.header[self.table.layout.columns[column]]
                wrong.setdefault(int(i), f"{name} is {texts[i][:40]!r}")
            columns[column] = values
            if absent.any() and column != "skipped":
                missing[column] = absent
        return ([] if wrong else self._split(columns, missing, cells, lines)), wrong

    def _split(
        self, columns: dict[str, Array], missing: dict[str, Array], cells: dict[str, list[str]], lines: Array
    ) -> list[Chunk]:
        signals = [column for column in columns if column.partition("/")[0] in SIGNALS]
        for column in signals:
            self._precision.setdefault(column, Precision()).take(cells[column])
        unknown = missing.pop("world", np.full(len(lines), "world" not in columns))
        world = columns.pop("world", np.zeros(len(lines)))[~unknown]
        ranks = columns.pop("rank", None)
        whole = Chunk(
            {"update": lines, **columns, "line": lines},
            rank=self.rank,
            world=int(world[-1]) if len(world) else None,
            missing=missing,
            quantum={c: self._precision[c].quantum for c in signals},
            digits={c: self._precision[c].digits for c in signals},
            lr_read=self.options.lr_read or "unknown",
            source=self.name,
        )
        if ranks is None:
            return [self._finished(whole)]
        order = np.argsort(ranks, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(ranks[order])) + 1)
        return [self._finished(replace(whole.take(rows), rank=int(ranks[rows[0]]))) for rows in parts]

    def _finished(self, chunk: Chunk) -> Chunk:
        """Without columns that have no value here, and with rows numbered where that was asked for."""
        columns = {c: v for c, v in chunk.columns.items() if c not in chunk.missing or not chunk.missing[c].all()}
        missing = {c: v for c, v in chunk.missing.items() if c in columns and v.any()}
        if self.table is not None and self.table.layout.columns["update"] == ROW_INDEX:
            n, first = len(columns["line"]), self._rows.get(chunk.rank, 0)
            columns["update"] = np.arange(first, first + n)
            self._rows[chunk.rank] = first + n
        return replace(chunk, columns=columns, missing=missing)


def _numbers(texts: Sequence[str]) -> tuple[Array, Array, Array]:
    """float64[n], where there is no value, and where the text is no number."""
    absent, bad = np.zeros(len(texts), dtype=bool), np.zeros(len(texts), dtype=bool)
    try:
        return np.array(list(map(float, texts)), dtype=np.float64), absent, bad
    except ValueError:
        values = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if not text or text.strip().lower() in EMPTY:
            absent[i] = True
        elif is_number(text):
            values[i] = float(text)
        else:
            bad[i] = True
    return values, absent, bad


def _open(path: Path, options: Options) -> TraceSource:
    if path.is_dir():
        raise TraceError("is a directory; name the tables in it", source=options.name(path))
    return File(path, options)


def _detect(path: Path, head: bytes) -> float:
    line = head.partition(b"\n")[0]
    by_name = 0.5 if path.suffix.lower() in (".csv", ".tsv") and head else 0.0
    if b"\0" in line or not line.strip() or line.lstrip()[:1] in (b"{", b"["):
        return by_name if line[:2] in (b"\xff\xfe", b"\xfe\xff") else 0.0
    cells, _ = separated(line.decode("utf-8", "replace").removeprefix("\ufeff").removeprefix("#").strip())
    columns = resolve(cells).columns
    sure = ("update" in columns) + any(c.startswith("lr/") for c in columns)
    return max(by_name, (0.0, 0.7, 0.9)[sure] if len(cells) > 1 else 0.0)


READER = Reader("csv", _detect, _open)
