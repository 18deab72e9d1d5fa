"""The header of a table: what separates its cells, which column is what, and what to say when that is not clear."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lrwatch.errors import TraceError, did_you_mean
from lrwatch.readers._rows import is_number
from lrwatch.readers._streams import unpacked
from lrwatch.readers.base import Options
from lrwatch.trace.model import SIGNALS
from lrwatch.trace.names import ALIASES, Layout, canonical, known, resolve

DELIMITERS: Final = (",", "\t", ";")
ROW: Final = "#row"
"""As a mapped column: the number of the row, counted from 0."""
ROW_INDEX: Final = -1
"""Its place in a layout."""
_COMMENTS: Final = 64
"""Lines before the header, at most."""
_DECIMAL_COMMA = re.compile(rb"\s*-?\d+,\d+(?:[eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class Table:
    """How the lines of a file are to be read. line: the header's; comma: whether numbers have decimal commas."""

    delimiter: str
    header: tuple[str, ...]
    layout: Layout
    line: int = 1
    comma: bool = False


def first_line(path: Path, name: str) -> bytes:
    """The first line, at most a megabyte."""
    return unpacked(path, name, 1 << 20).partition(b"\n")[0]


def header_line(head: bytes) -> tuple[int, bytes]:
    """Number and bytes of the header's line; before it there may be comments and Excel's ``sep=;``."""
    lines = head.split(b"\n", _COMMENTS)
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
        comment = text.startswith("#") and not any(c.startswith("lr/") for c in resolve(separated(text[1:])[0]).columns)
        if number == len(lines) or not (comment or re.fullmatch(r"sep=.", text)):
            return (number, line) if text.lstrip("#") else (1, lines[0])
    return 1, lines[0]


def header_text(line: bytes, name: str, number: int = 1) -> str:
    """The header's line without byte order mark and the # that some tools begin it with."""
    if b"\0" in line:
        raise TraceError("is binary, no table", source=name)
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise TraceError("has a header that is not UTF-8; save it as UTF-8", source=name, line=number) from None
    if not text.strip():
        raise TraceError("begins with an empty line; put the header there, e.g. step,lr", source=name, line=number)
    if "\r" in text:
        raise TraceError(
            "has lines that end in carriage returns alone; convert them: tr '\\r' '\\n' < OLD > NEW", source=name
        )
    return text.removeprefix("#").lstrip(" ")


def decimal_commas(table: Table, rows: bytes) -> bool:
    """Whether these rows of a table with semicolons write rates as ``0,001``."""
    if table.delimiter != ";":
        return False
    lines = [line.split(b";") for line in rows.split(b"\n", 20)[:20]]
    rates = [i for column, i in table.layout.columns.items() if column.startswith("lr/") and i != ROW_INDEX]
    cells = [line[i] for line in lines for i in rates if i < len(line)]
    return any(map(_DECIMAL_COMMA.fullmatch, cells)) and not any(b"." in cell for cell in cells)


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter))
    except csv.Error:
        return text.split(delimiter)


def separated(text: str) -> tuple[list[str], str]:
    """The cells of a header under the delimiter that makes most sense of it."""
    ways = [(_cells(text, delimiter), delimiter) for delimiter in DELIMITERS]
    return max(ways, key=lambda way: (len(resolve(way[0]).columns), len(way[0])))


def table(cells: Sequence[str], delimiter: str, options: Options, name: str, axis: str = "update") -> Table:
    """The layout of a header; ``axis`` epoch: rows need no step where they have an epoch.

    Raises:
        TraceError: there is no column of steps or rates, or ``--map`` names one that is not there.
    """
    if all(is_number(cell) for cell in cells):
        raise TraceError(f"has no header: it begins with {listed(cells)}; put one there, e.g. step,lr", source=name)
    names = [cell.strip() for cell in cells]
    mapping = mapped(names, options, name)
    layout = resolve(names, mapping)
    epochs = "epoch" in layout.columns and (axis == "epoch" or options.steps_per_epoch is not None)
    if not layout.signals("lr"):
        raise TraceError(f"no learning-rate column among {listed(names)}; name it with --map lr=COLUMN", source=name)
    if "update" not in layout.columns and not epochs:
        raise TraceError(
            f"no step column among {listed(names)}; name it with --map step=COLUMN, or say --map step={ROW} if every "
            f"row is one update",
            source=name,
        )
    return Table(delimiter, tuple(names), layout)


def mapped(names: Sequence[str], options: Options, name: str, lenient: bool = False) -> dict[str, int]:
    """Trace column → place among these names, as ``--map`` says; ``lenient``: others may still come.

    Raises:
        TraceError: it names a column that no trace has, or one that is not there.
    """
    mapping: dict[str, int] = {}
    for ours, theirs in options.columns.items():
        column, said = canonical(ours), f"--map {ours}={theirs}"
        if not known(column):
            raise TraceError(
                f"{said}: no column of a trace{did_you_mean(ours, ['step', *ALIASES, *SIGNALS])}", source=name
            )
        if theirs == ROW and column == "update":
            mapping[column] = ROW_INDEX
        elif theirs in names:
            mapping[column] = names.index(theirs)
        elif not lenient:
            raise TraceError(f"{said}: it has no such column{did_you_mean(theirs, names)}", source=name)
    return mapping


def listed(cells: Sequence[str]) -> str:
    shown = ", ".join(cell.strip()[:40] for cell in cells[:12])
    return shown if len(cells) <= 12 else f"{shown} and {len(cells) - 12} more"
