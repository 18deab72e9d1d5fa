"""A trace of any format → another form of it: ``lrwatch trace convert`` and ``lrwatch trace openmetrics``.

Parquet, Arrow IPC and CSV take everything that a trace has: rows of all workers in their order, events, what is missing
and what is NaN, and how precisely values were stored. Reading them again gives the same chunks and events, but for the
cuts between chunks and for line numbers. A run directory is lrwatch's own form, a file per worker and segment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lrwatch.errors import LrwatchError, OutputExists
from lrwatch.readers._exchange import Rows, encode
from lrwatch.trace.model import Damage, Item, Source

SUFFIXES: Final[Mapping[str, str]] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    "": "run",
}
"""Suffix of the output → its format; without a suffix it is a run directory."""
FORMATS: Final = ("parquet", "arrow", "csv", "run")


@dataclass
class Done:
    """What was written: rows and events, and the first places that could not be read."""

    rows: int = 0
    events: int = 0
    damaged: int = 0
    damage: list[Damage] = field(default_factory=list)

    def lost(self, damage: Damage) -> None:
        """Take notice of a place that is not in the output."""
        self.damaged += 1
        if len(self.damage) < 5:
            self.damage.append(damage)


def format_of(path: Path) -> str:
    """The format that a file's name asks for. Raises LrwatchError: none."""
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(suffix for suffix in SUFFIXES if suffix)
        raise LrwatchError(f"{path}: no format is named like this; use {known}, or a directory without a suffix")
    return SUFFIXES[path.suffix.lower()]


def convert(source: Source, path: Path, format: str, force: bool = False) -> Done:
    """Write a trace to a new file, or a run directory.

    Raises:
        OutputExists: there is something, and ``force`` was not given. TraceError: the source cannot be read.
        MissingExtra: the format needs a package.
    """
    if os.path.lexists(path) and (not force or path.is_dir()):
        raise OutputExists(path, "name another place" if path.is_dir() else "pass --force to overwrite it")
    if not path.parent.is_dir():
        raise LrwatchError(f"{path}: there is no directory {path.parent}; make it first")
    done = Done()
    if format == "run":
        from lrwatch.convert.run import write

        write(source, path, done)
        return done
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _table(format)(_counted(source, done), _columns(source), part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return done


Write = Callable[[Iterable[Rows], Sequence[str], Path], None]
"""(rows, trace columns, path): writes a table."""


def _table(format: str) -> Write:
    if format == "csv":
        from lrwatch.convert.csv import write

        return write
    from lrwatch.convert import arrow

    return arrow.write_parquet if format == "parquet" else arrow.write_arrow


def _counted(source: Iterable[Item], done: Done) -> Iterator[Rows]:
    for rows in encode(source):
        if isinstance(rows, Damage):
            done.lost(rows)
            continue
        if not rows.event:
            done.rows += rows.n
        elif rows.event != "about":
            done.events += 1
        yield rows


def _columns(source: Iterable[Item]) -> list[str]:
    """All columns of a trace, ``update`` first: a table needs to know them before its first row."""
    names: dict[str, None] = {"update": None}
    for rows in encode(source):
        if isinstance(rows, Rows):
            names.update(dict.fromkeys(rows.columns))
    return list(names)
