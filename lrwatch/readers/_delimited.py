"""Tables as loggers write them: a header line, then one row per line, separated by comma, tab or semicolon.

Columns are recognised by the names in ``trace.names``; ``--map`` overrules them. An empty cell (also none, null, na)
is a missing value; nan, inf and the like are values. A ``rank`` column gives each worker its own chunks, else the
file's name may tell (``rank3.csv``). How precisely signals were written is read off their text (``trace.precision``).

Damage: ``not_a_row`` is a line with another number of cells, or no number where one must be; ``undecodable`` one that
is no UTF-8 or has NUL bytes; ``duplicate_header`` and ``columns_changed`` are headers in mid-file, of which the second
sets new columns; ``torn`` is a last line without a line break: its last cell may have been cut and is not used. A
quoted cell with a line break in it is not supported.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers import _fast
from lrwatch.readers._rows import EMPTY, Rows, is_number
from lrwatch.readers._streams import unpacked
from lrwatch.readers._tables import (
    ROW_INDEX,
    Table,
    decimal_commas,
    header_line,
    header_text,
    listed,
    separated,
    table,
)
from lrwatch.readers.base import Convention, Options, blocks, rank_in
from lrwatch.trace.model import Array, Chunk, Damage, DamageKind, Item, TraceInfo
from lrwatch.trace.names import resolve


class File:
    """One table."""

    rereadable = True

    def __init__(self, path: Path, options: Options, format: str, convention: Convention):
        self.path, self.options, self.name, self.convention = path, options, options.name(path), convention
        self.table = _table(self.name, unpacked(path, self.name, 1 << 20), options, convention)
        named = rank_in(Path(self.name))
        self.rank: int | None = None if "rank" in self.table.layout.columns else named or 0
        self.info = TraceInfo((self.name,), format, tuple(self._assumed()))

    def _assumed(self) -> Iterator[str]:
        layout, header = self.table.layout, self.table.header
        step, told = layout.columns.get("update"), self.options.first_step is not None
        yield from self.convention.known
        if step is None:
            per = self.options.steps_per_epoch
            yield f"rows of {self.name} are of whole epochs" + (
                f" of {per} updates" if per else " (--steps-per-epoch N places them on updates)"
            )
        elif step != ROW_INDEX and not told and not self.convention.known:
            yield (
                f"column {header[step]!r} of {self.name} counts updates from {self.convention.first_step} "
                f"(--first-step 1 if the first update is number 1)"
            )
        if self.table.comma:
            yield f"numbers of {self.name} have decimal commas"
        for name in layout.unused:
            yield f"column {name!r} of {self.name} is not used: another one means the same (--map chooses)"

    def __iter__(self) -> Iterator[Item]:
        reading = Reading(self.name, self.table, self.options, self.convention, self.rank or 0)
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            yield from reading.items(line, data)
        yield from reading.end()
        if not reading.seen:
            raise TraceError("has a header and no rows; nothing was recorded", source=self.name)


def lines(name: str, head: bytes, options: Options, convention: Convention) -> Reading:
    """How to read a table line by line, its header given. Raises TraceError: the header is none."""
    return Reading(name, _table(name, head, options, convention), options, convention, rank_in(Path(name)) or 0)


def _table(name: str, head: bytes, options: Options, convention: Convention) -> Table:
    """The layout of a table that begins like this."""
    number, line = header_line(head)
    found = table(*separated(header_text(line, name, number)), options, name, convention.axis)
    rows = head.split(b"\n", number)[number:]
    return replace(found, line=number, comma=decimal_commas(found, rows[0] if rows else b""))


class Reading:
    """The state of reading one table."""

    def __init__(self, name: str, table: Table, options: Options, convention: Convention, rank: int):
        self.name, self.options, self.rank = name, options, rank
        self.delimiter, self.convention = table.delimiter, convention
        self.table: Table | None = table
        self.header, self.comma = table.line, table.comma
        self.rows = self._rows(table)
        self.seen = False

    def _rows(self, table: Table) -> Rows:
        epochs = "update" not in table.layout.columns
        return Rows(self.name, self.options, replace(self.convention, axis="epoch" if epochs else "update"), self.rank)

    def items(self, line: int, data: bytes) -> list[Item]:
        """What whole lines say; ``line`` is the number of the first."""
        while line <= self.header:
            line, data = line + 1, data.partition(b"\n")[2]
            if not data:
                return []
        if self.comma:
            data = data.replace(b",", b".")
        self.seen = self.seen or bool(data.strip())
        made = self._quickly(data, line)
        return self._slowly(data, line) if made is None else made

    def end(self) -> list[Item]:
        """No more lines will come."""
        return list(self.rows.end())

    def _quickly(self, data: bytes, line: int) -> list[Item] | None:
        """All lines at once, when they are plain and as many cells as the header has; else None."""
        if self.table is None or b'"' in data or b"\0" in data or data[-1:] != b"\n":
            return None
        where, k, mark = self._where(self.table), len(self.table.header), self.delimiter.encode()
        if _fast.USED and k > 1:
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n")
            read = _fast.table(data, k, mark, where)
            if read is not None and (made := read.columns(self.rows)) is not None:
                for column in made[0]:
                    if not self.rows.exact(column):
                        self.rows.measure(column, _fast.cells(data, k, mark, where[column]))
                return list(self.rows.split(*made, np.arange(line, line + read.rows)))
        cells = _columns(data, k, mark, where)
        if cells is None:
            return None
        chunks, wrong = self._take(cells, np.arange(line, line + data.count(b"\n")))
        return None if wrong else list(chunks)

    @staticmethod
    def _where(table: Table) -> dict[str, int]:
        return {column: i for column, i in table.layout.columns.items() if i != ROW_INDEX}

    def _take(self, cells: dict[str, list[str]], lines: Array) -> tuple[list[Chunk], dict[int, str]]:
        assert self.table is not None
        return self.rows.take(cells, lines, {c: self.table.header[i] for c, i in self._where(self.table).items()})

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
                result += self._taken(rows, lines)
                rows, lines = [], []
                result += self._new_header(cells, number)
            elif self.table is not None and len(cells) != len(self.table.header):
                has = f"{len(cells)} cells where the header has {len(self.table.header)}"
                result.append(self._damage("not_a_row", number, has))
            elif self.table is not None:
                rows.append(cells)
                lines.append(number)
        return result + self._taken(rows, lines)

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
        columns = self.table.layout.columns
        return columns.get("update", columns.get("epoch")) != len(cells) - 1

    def _is_header(self, cells: list[str]) -> bool:
        if self.table is not None and [c.strip() for c in cells] == [c.strip() for c in self.table.header]:
            return True
        names = not any(is_number(cell) or cell.strip().lower() in EMPTY for cell in cells)
        return names and len(cells) > 1 and bool(resolve(cells).columns)

    def _new_header(self, cells: list[str], line: int) -> list[Item]:
        if self.table is not None and [c.strip() for c in cells] == [c.strip() for c in self.table.header]:
            return [self._damage("duplicate_header", line, "the header again")]
        before = list(self.rows.end())
        try:
            self.table = table(cells, self.delimiter, self.options, self.name, self.convention.axis)
        except TraceError as e:
            self.table = None
            why = f"rows after this header are not read: {e.problem}"
            return [*before, self._damage("columns_changed", line, why)]
        if ("update" in self.table.layout.columns) != (self.rows.convention.axis == "update"):
            self.rows = self._rows(self.table)
        return [*before, self._damage("columns_changed", line, f"the columns are now {listed(cells)}")]

    def _damage(self, kind: DamageKind, line: int, message: str) -> Damage:
        return Damage(kind, self.name, line, message, self.rank)

    def _taken(self, rows: list[list[str]], lines: list[int]) -> list[Item]:
        """The rows as chunks, after the damage among them."""
        if not rows or self.table is None:
            return []
        cells = {c: [row[i] for row in rows] for c, i in self._where(self.table).items()}
        chunks, wrong = self._take(cells, np.array(lines))
        if wrong:
            damage = [self._damage("not_a_row", lines[i], why) for i, why in sorted(wrong.items())]
            good = [i for i in range(len(rows)) if i not in wrong]
            return [*damage, *self._taken([rows[i] for i in good], [lines[i] for i in good])]
        return list(chunks)


def _columns(data: bytes, k: int, mark: bytes, where: dict[str, int]) -> dict[str, list[str]] | None:
    """The texts of every used column of plain lines, when all have k cells; else None."""
    marks = data.translate(None, bytes(c for c in range(256) if c not in (mark[0], ord("\n"))))
    if not marks or marks != (mark * (k - 1) + b"\n") * (len(marks) // k):
        return None
    if k == 1 and b"\n\n" in b"\n" + data:  # a blank line is no row
        return None
    try:
        text, delimiter = data.decode(), mark.decode()
    except UnicodeDecodeError:
        return None
    cells = text.replace("\r\n", "\n").replace("\n", delimiter).split(delimiter)
    return {column: cells[i:-1:k] for column, i in where.items()}
