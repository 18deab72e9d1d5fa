"""Rows that are told one by one → chunks and validations; for logs and objects, whose rows need not be alike.

A row is column → text, as ``trace.model`` names columns; ``validation/<metric>`` is no column but a value of an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers._rows import Rows
from lrwatch.readers.base import Convention, Lines, Options, Reader, blocks, rank_in
from lrwatch.trace.model import SIGNALS, Chunk, Damage, DamageKind, Event, Item, TraceInfo

Row = Mapping[str, str]
Parse = Callable[[str], Row | None]
"""A line → its row; None: it is none. May keep a state from line to line."""
Start = Callable[[Options], Parse]

VALIDATION: Final = "validation/"
_MOST_WORKERS: Final = 4096
_LONG: Final = 10
"""Digits that no rank has."""
_LIKE: Final = 6
"""Characters that a torn row has in common with the one before it."""
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_WORKER = re.compile(r"^\[[A-Za-z_]*(\d{1,6})\]: ?", re.M)
"""What torchrun puts before each line where several workers write to one log: ``[default0]:``, ``[rank3]:``."""


class Records:
    """The state of turning rows of one source into items."""

    def __init__(self, name: str, options: Options, convention: Convention, rank: int):
        self.name, self.rank = name, rank
        self.rows = Rows(name, options, convention, rank)
        self.first = convention.first(options)
        self.next = 0
        self.count, self.rated, self.wrong = 0, False, ""

    def take(self, rows: Sequence[Row], lines: Sequence[int], theirs: Mapping[str, str] | None = None) -> list[Item]:
        """The rows as items, damage among them first. theirs: column → its name in the source, for messages."""
        result: list[Item] = []
        plain: list[Row] = []
        numbers: list[int] = []
        for row, line in zip(rows, lines, strict=True):
            metrics = {c: row[c] for c in row if c.startswith(VALIDATION)}
            if metrics:
                result += self._chunks(plain, numbers, theirs)
                plain, numbers = [], []
                result += self._validation(row, metrics, line)
                row = {c: v for c, v in row.items() if c not in metrics}
                if not any(c == "loss" or c.partition("/")[0] in SIGNALS for c in row):
                    continue
            plain.append(row)
            numbers.append(line)
        return result + self._chunks(plain, numbers, theirs)

    def damage(self, kind: DamageKind, line: int, message: str) -> Damage:
        """What could not be read."""
        return Damage(kind, self.name, line, message, self.rank)

    def end(self) -> list[Item]:
        """No more rows will come."""
        return list(self.rows.end())

    def _chunks(self, rows: list[Row], lines: list[int], theirs: Mapping[str, str] | None) -> list[Item]:
        if not rows:
            return []
        names = dict.fromkeys(c for row in rows for c in row)
        cells = {c: [row.get(c, "") for row in rows] for c in names}
        chunks, wrong = self.rows.take(cells, np.array(lines), theirs or {})
        if wrong:
            damage: list[Item] = [self.damage("not_a_row", lines[i], why) for i, why in sorted(wrong.items())]
            self.wrong = self.wrong or wrong[min(wrong)]
            good = [i for i in range(len(rows)) if i not in wrong]
            return [*damage, *self._chunks([rows[i] for i in good], [lines[i] for i in good], theirs)]
        self.noted(chunks)
        return list(chunks)

    def noted(self, chunks: Iterable[Chunk]) -> None:
        """Take notice of chunks that were made elsewhere."""
        for chunk in chunks:
            self.count += len(chunk)
            self.rated |= any(c.startswith("lr/") for c in chunk.columns)
            if len(chunk):
                self.next = int(chunk.columns["update"][-1]) + 1

    def _validation(self, row: Row, metrics: Row, line: int) -> list[Item]:
        values = {}
        for name, text in metrics.items():
            try:
                values[name.removeprefix(VALIDATION)] = float(text)
            except ValueError:
                return [self.damage("not_a_row", line, f"{name} is {text[:40]!r}")]
        update = self.next
        try:
            update = max(int(float(row["update"])) - self.first + 1, 0)  # those before it are done
        except (KeyError, ValueError, OverflowError):
            pass
        worker = row.get("rank", "")
        rank = int(worker) if worker.isdecimal() and len(worker) < _LONG else self.rank
        return [Event("validation", update, rank, 0, None, {"metrics": values}, self.name, line)]


class Log:
    """The state of reading one log whose lines may be rows, and mostly are something else."""

    def __init__(self, name: str, options: Options, convention: Convention, start: Start, rank: int = 0):
        self.name, self.options, self.start = name, options, start
        self._begins = ""
        self._workers: dict[str, Parse] = {"": start(options)}
        self.records = Records(name, options, convention, rank)

    def items(self, line: int, data: bytes) -> list[Item]:
        """What whole lines say; ``line`` is the number of the first."""
        result: list[Item] = []
        rows: list[Row] = []
        lines: list[int] = []
        parts = data.split(b"\n")
        cut = line + len(parts) - 1
        for number, raw in enumerate(parts, line):
            for part in _ANSI.sub(b"", raw).replace(b"\b", b"").split(b"\r"):  # bars write over themselves
                if not part.strip():
                    continue
                text = part.replace(b"\0", b"").decode("utf-8", "replace")
                row = self._row(text)
                if row is None:
                    if number == cut and self._begins and text.startswith(self._begins):
                        result.append(self.records.damage("torn", number, "torn last line; it is not used"))
                    continue
                if b"\0" in part or "\ufffd" in text:
                    what = "NUL bytes" if b"\0" in part else "bytes that are not UTF-8"
                    result.append(self.records.damage("undecodable", number, f"{what} in a row"))
                elif number == cut:
                    result.append(self.records.damage("torn", number, "torn last line; it is not used"))
                else:
                    self._begins = text[:_LIKE]
                    rows.append(row)
                    lines.append(number)
        if any("rank" in row for row in rows):
            rows = [{"rank": str(self.records.rank), **row} for row in rows]
        return result + self.records.take(rows, lines)

    def _row(self, text: str) -> Row | None:
        """The row of a line; workers that write to one log each have a state of their own."""
        worker = _WORKER.match(text)
        if worker is None or len(self._workers) > _MOST_WORKERS:
            return self._workers[""](text)
        if worker[1] not in self._workers:
            self._workers[worker[1]] = self.start(self.options)
        row = self._workers[worker[1]](text[worker.end() :])
        return row and {**row, "rank": worker[1]}

    def end(self) -> list[Item]:
        """No more lines will come."""
        return self.records.end()


class LogFile:
    """One log. ``start`` makes the function that parses its lines, with a fresh state each time it is read."""

    rereadable = True

    def __init__(self, path: Path, options: Options, format: str, convention: Convention, start: Start, mixed: bool):
        self.path, self.options, self.name = path, options, options.name(path)
        self.convention, self.start = convention, start
        self.rank: int | None = None if mixed else rank_in(Path(self.name)) or 0
        self.info = TraceInfo((self.name,), format, convention.known)

    def __iter__(self) -> Iterator[Item]:
        log = Log(self.name, self.options, self.convention, self.start, self.rank or 0)
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            yield from log.items(line, data)
        yield from log.end()
        refuse_nothing(log.records, self.info.format, "".join(f"; {sentence}" for sentence in self.info.assumed))


def refuse_nothing(records: Records, format: str, known: str = "") -> None:
    """Raises TraceError: no line was a row."""
    if not records.count and records.wrong:
        raise TraceError(f"none of its rows can be used: {records.wrong}{known}", source=records.name)
    if not records.count:
        raise TraceError(
            f"has no row with a step that the reader {format} recognises; nothing to check", source=records.name
        )


def log_reader(
    name: str,
    convention: Convention,
    start: Start,
    detect: Callable[[str], float],
    *,
    conventions: Callable[[str, Options], Convention] | None = None,
) -> Reader:
    """A reader of logs. detect: the first lines as text → how likely they are of this format; conventions: the same →
    what this file's own lines say about the convention."""

    def usual(text: str, options: Options) -> Convention:
        return conventions(text, options) if conventions else convention

    def recognise(path: Path, head: bytes) -> float:
        return detect(plain(head)) if head and b"\0\0\0\0" not in head[:1024] else 0.0

    def open_file(path: Path, options: Options) -> LogFile:
        if path.is_dir():
            raise TraceError("is a directory; name the logs in it", source=options.name(path))
        head = b"".join(data for _, data in zip(range(1), (d for _, d in blocks(path, 4096)), strict=False))
        mixed = _WORKER.search(_uncoloured(head)) is not None
        return LogFile(path, options, name, usual(plain(head), options), start, mixed)

    def lines(of: str, head: bytes, options: Options) -> Lines:
        return Log(of, options, usual(plain(head), options), start, rank_in(Path(of)) or 0)

    return Reader(name, recognise, open_file, lines)


def plain(head: bytes) -> str:
    """The text of a log's first bytes, without colours and workers."""
    return _WORKER.sub("", _uncoloured(head))


def _uncoloured(head: bytes) -> str:
    return _ANSI.sub(b"", head).decode("utf-8", "replace")
