"""What an earlier ``tail`` of the same file has recorded is not recorded again.

It was killed, and its successor reads the file from the beginning, because it judges the whole run. The start event of
a segment says of which file its rows are (``log``) and how many rows that file had before them (``log_row``).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import TraceWriter, file_name


def rows_recorded(run_dir: Path, rank: int, segment: int, identity: str | None) -> int:
    """How many rows of the file are in the trace whose newest segment this is; 0 when it is of another file."""
    path = run_dir / "trace" / file_name(rank, segment)
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
            rows = sum(1 for line in file if line.startswith(b'{"update"') and line.endswith(b"\n"))
        return int(header.get("log_row", 0)) + rows if identity and header.get("log") == identity else 0
    except (OSError, ValueError, TypeError, AttributeError):
        return 0


class Recording:
    """Makes the writers of segments; the first ``skip`` rows, and the starts among them, are there already."""

    def __init__(self, run_dir: Path, rank: int, skip: int):
        self._run_dir, self._rank, self._skip = run_dir, rank, skip
        self._start: Event | None = None

    def __call__(self, segment: int) -> Recording:
        self._writer = TraceWriter(self._run_dir, self._rank, segment)
        return self

    def write(self, item: Chunk | Event) -> None:
        """Hand on what is new; a start when the first row after it is."""
        if isinstance(item, Event):
            if item.kind in ("start", "resume"):
                self._start = item
            elif not self._skip:
                self._put(item)
            return
        done = min(self._skip, len(item))
        self._skip -= done
        if done and self._start is not None:
            self._start = _later(self._start, item, done)
        if done < len(item):
            self._put(item.take(slice(done, None)) if done else item)

    def _put(self, item: Chunk | Event) -> None:
        if isinstance(item, Chunk) and "update" in item.missing:  # single rows without a number have no place in it
            item = item.take(item.present("update"))
            item = replace(item, missing={name: rows for name, rows in item.missing.items() if name != "update"})
        if self._start is not None:
            start, self._start = self._start, None
            self._writer.write(start)
        self._writer.write(item)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.abandon()


def _later(start: Event, chunk: Chunk, done: int) -> Event:
    """The start of a segment of which so many rows of a chunk are left out."""
    fields: dict[str, Any] = {**start.fields, "log_row": start.fields.get("log_row", 0) + done}
    update = int(chunk.columns["update"][min(done, len(chunk) - 1)])
    return replace(start, update=update, fields=fields)


