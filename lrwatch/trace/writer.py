"""Writes a trace: one append-only JSON Lines file per worker and segment, ``RUN_DIR/trace/rank00003-seg0001.jsonl``.

    {"event":"start","lrwatch_trace":1,"run":"…","rank":3,"world":4,"segment":0,"update":0,…}
    {"update":0,"attempt":0,"micro":0,"lr":0.0003,"loss":2.1,"ts":1785578400.25}
    {"event":"checkpoint","update":100,"scheduler_state":true,"ts":…}
    {"event":"precision","update":120,"digits":{"lr/0":5},"quantum":{"lr/0":1e-09}}

The first line is the start or resume event, whose rank, world and segment hold for the rows after it. A row leaves
out what has no value, and ``skipped`` where it is 0; ``lr`` alone is the group ``0``; values that are not finite are
the strings ``"nan"``, ``"inf"``, ``"-inf"``. How precisely signals are known, where they were read from a text that
does not have all digits, stands in the first line, and again where later rows have shown more of it.

Lines are collected as bytes and handed to the kernel whole, in one ``os.write`` on a descriptor opened with O_APPEND:
what was flushed survives SIGKILL, and there is no text buffer that a forked child could write a second time.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from lrwatch.trace.model import SIGNALS, Array, Chunk, Event

VERSION: Final = 1
_FILE = re.compile(r"rank(\d+)-seg(\d+)\.jsonl")
EXACT: Final = 16
"""Digits from which on nothing is lost."""
_TAIL: Final = 1 << 16
_BLOCK: Final = 64


def file_name(rank: int, segment: int) -> str:
    """``rank00003-seg0001.jsonl``."""
    return f"rank{rank:05d}-seg{segment:04d}.jsonl"


class TraceWriter:
    """Writes the rows of one worker; every start or resume event begins a file of its own.

    A file is made when something is flushed for the first time, never over another one: if the segment's file
    exists, the next free number is taken; ``segment`` and ``path`` say which. The first item should be the start or
    resume event; without it a plain one is written.

    A flush that fails raises OSError and forgets its rows, so that memory stays bounded: the caller counts them. The
    header is kept until it could be written. What a full disk cut off in mid-line is ended by a line break before the
    next line.
    """

    def __init__(self, run_dir: Path | str, rank: int, segment: int = 0):
        self.directory, self.rank, self.segment = Path(run_dir) / "trace", rank, segment
        self.path: Path | None = None
        self._file = -1
        self._header: Event | None = None
        self._pending: list[Chunk | Event] = []
        self._torn = False
        self._precision: tuple[Mapping[str, int], Mapping[str, float]] = {}, {}
        self._process = os.getpid()

    def write(self, item: Chunk | Event) -> None:
        """Take a chunk or an event; it reaches the file with the next ``flush``."""
        self._pending.append(item)

    def flush(self) -> None:
        """Hand everything taken so far to the kernel. Raises OSError; its rows are then lost, except in part."""
        items, self._pending = self._pending, []
        if os.getpid() != self._process:  # a forked child has nothing of its own to write
            return
        lines: list[bytes] = []
        for item in items:
            if isinstance(item, Event) and _begins(item):
                self._append(lines)
                self._end()
                self._header, lines = item, []
                self._precision = item.fields.get("digits") or {}, item.fields.get("quantum") or {}
                continue
            if self._header is None and self._file < 0:
                self._header = _plain_header(item)
            if isinstance(item, Chunk):
                lines += [self._sharper(item), encode_rows(item)]
            else:
                lines.append(encode_event(item))
        self._append(lines)

    def _sharper(self, chunk: Chunk) -> bytes:
        """A line about the precision of a chunk's signals, where it is another one than before."""
        known = (
            {name: digits for name, digits in chunk.digits.items() if digits < EXACT},
            {name: quantum for name, quantum in chunk.quantum.items() if quantum},
        )
        if known == self._precision or not len(chunk):
            return b""
        self._precision = known
        line = {"event": "precision", "update": int(chunk.columns["update"][0])}
        line |= {"digits": known[0], "quantum": known[1]}
        return (json.dumps(line, separators=(",", ":")) + "\n").encode("ascii")

    def close(self) -> None:
        """Flush and let go of the file. Raises OSError like ``flush``; safe to call again."""
        try:
            self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file without writing to it, as a forked child should."""
        self._pending, self._header = [], None
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _end(self) -> None:
        """The next line belongs to a new file."""
        if self._file >= 0:
            os.close(self._file)
            self._file, self._torn, self.segment = -1, False, self.segment + 1

    def _append(self, lines: list[bytes]) -> None:
        if self._file < 0 and self._header is not None:
            self._file, self.path = self._create()
        header = encode_event(self._header, self.segment) if self._header else b""
        data = b"".join([b"\n" if self._torn else b"", header, *lines])
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, memoryview(data)[done:])
        finally:
            if done:
                self._torn = data[done - 1] != ord("\n")
            if done >= len(header):
                self._header = None

    def _create(self) -> tuple[int, Path]:
        self.directory.mkdir(parents=True, exist_ok=True)
        while True:
            path = self.directory / file_name(self.rank, self.segment)
            try:
                return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), path
            except FileExistsError:
                self.segment += 1


def _begins(event: Event) -> bool:
    return event.kind in ("start", "resume")


def _plain_header(item: Chunk | Event) -> Event:
    """The plainest first line that fits before an item."""
    if isinstance(item, Event):
        return Event("resume" if item.segment else "start", item.update, item.rank, item.segment)
    fields: dict[str, Any] = {"world": item.world, "lr_read": item.lr_read}
    if not item.origin_known:
        fields["origin"] = "unknown"
    update = int(item.columns["update"][0]) if len(item) else 0
    return Event("resume" if item.segment else "start", update, item.rank, item.segment, None, fields)


# -- lines ------------------------------------------------------------------------------------------


def encode_event(event: Event, segment: int | None = None) -> bytes:
    """One line. ``segment`` replaces the event's own in the header."""
    line: dict[str, Any] = {"event": event.kind}
    if event.kind in ("start", "resume"):
        line["lrwatch_trace"] = VERSION
        line |= {k: v for k, v in event.fields.items() if v is not None}
        line |= {"rank": event.rank, "segment": event.segment if segment is None else segment, "update": event.update}
    else:
        line["update"] = event.update
        line |= event.fields
    if event.ts is not None:
        line["ts"] = event.ts
    return (json.dumps(_plain(line), separators=(",", ":")) + "\n").encode("ascii")


def encode_rows(chunk: Chunk) -> bytes:
    """One line per row; the columns in their order, ``update`` first.

    >>> encode_rows(Chunk({"update": np.array([7]), "lr/0": np.array([3e-4]), "loss": np.array([np.nan])}))
    b'{"update":7,"lr":0.0003,"loss":"nan"}\\n'
    """
    names = ["update", *(name for name in chunk.columns if name not in ("update", "line"))]
    alone = {signal for signal in SIGNALS if list(chunk.signals(signal)) == ["0"]}
    keys = [json.dumps(name.removesuffix("/0") if name.partition("/")[0] in alone else name) for name in names]
    if not chunk.missing and "skipped" not in chunk.columns and all(map(_finite, chunk.columns.values())):
        return _alike(keys, [chunk.columns[name] for name in names])
    parts = []
    for name, key in zip(names, keys, strict=True):
        prefix = ("{" if name == "update" else ",") + key + ":"
        values, absent = _texts(chunk.columns[name]), chunk.missing.get(name)
        if name == "skipped":
            absent = (chunk.columns[name] == 0) | (False if absent is None else absent)
        if absent is None:
            parts.append([prefix + value for value in values])
        else:
            parts.append(["" if no else prefix + value for value, no in zip(values, absent.tolist(), strict=True)])
    return "".join([part for row in zip(*parts, ["}\n"] * len(chunk), strict=True) for part in row]).encode("ascii")


def _alike(keys: list[str], columns: list[Array]) -> bytes:
    """Rows that have a finite value for every key: one format string, which takes half the time of joining parts.

    A few rows at a time: while a string is being formatted the training thread cannot run.
    """
    formats, values = [], []
    for key, column in zip(keys, columns, strict=True):
        if key == '"ts"' and column.dtype.kind == "f" and (np.abs(column) < 1e12).all() and (column >= 0).all():
            ticks = np.rint(column * 1e6).astype(np.int64)  # two whole numbers are printed faster than a fraction
            formats.append(key + ":%d.%06d")
            values += [(ticks // 1_000_000).tolist(), (ticks % 1_000_000).tolist()]
        else:
            formats.append(key.replace("%", "%%") + ":%r")
            values.append(column.tolist())
    line = "{" + ",".join(formats) + "}\n"
    rows = list(zip(*values, strict=True))
    blocks = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
    return "".join([line * len(block) % tuple(chain.from_iterable(block)) for block in blocks]).encode("ascii")


def _finite(column: Array) -> bool:
    return column.dtype.kind != "f" or bool(np.isfinite(column).all())


def _texts(column: Array) -> list[str]:
    """The values as JSON."""
    values: list[Any] = column.tolist()
    if _finite(column):
        return list(map(repr, values))
    return [repr(v) if math.isfinite(v) else f'"{v}"' for v in values]


def _plain(value: Any) -> Any:
    """Only what JSON has; anything else as the text that it prints as."""
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return str(value)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old or the new content, never a part, also after a power cut.

    Raises OSError; the old content is then still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# -- where the last process stopped -----------------------------------------------------------------


@dataclass(frozen=True)
class Position:
    """How far an earlier process came.

    Attributes:
        update: the last applied update; -1 when there was none. attempt, micro: of the last row, where recorded.
        segment: the newest one that has a file; the next process begins the one after it.
        known: False when that segment began nobody knows where, so that its updates are counted from a guess, and when
            it was cut off and not all of its rows were written.
    """

    update: int
    segment: int
    attempt: int | None = None
    micro: int | None = None
    known: bool = True


def last_position(run_dir: Path | str, rank: int) -> Position | None:
    """Where the newest trace of a worker ends, None without one. Reads only ends of files. Raises OSError."""
    found = []
    directory = Path(run_dir) / "trace"
    for path in directory.glob(f"rank{rank:05d}-seg*.jsonl") if directory.is_dir() else ():
        if named := _FILE.fullmatch(path.name):
            found.append((int(named[2]), path))
    newest = max(found, default=(0, None))[0]
    for _, path in sorted(found, reverse=True):
        if (update := _last_update(path)) is not None:
            row = next(
                (row for row in _backwards(path) if "event" not in row and _whole(row.get("update")) is not None), {}
            )
            return Position(update, newest, _whole(row.get("attempt")), _whole(row.get("micro")), _known(path))
    return Position(-1, newest) if found else None


def _last_update(path: Path) -> int | None:
    for row in _backwards(path):
        if (update := _whole(row.get("update"))) is not None:
            # An event counts the updates before it, and so does the row of an update that was not applied.
            return update - 1 if "event" in row or row.get("skipped") else update
    return None


def _known(path: Path) -> bool:
    with path.open("rb") as file:
        row = _object(file.readline(_TAIL)) or {}
    ended = row.get("rows") != "changes" or "event" in next(_backwards(path), {})
    return row.get("origin") != "unknown" and ended


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _backwards(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file from its last line to its first, read piece by piece; what is none is passed over."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end:
            start = max(end - _TAIL, 0)
            file.seek(start)
            lines = (file.read(end - start) + rest).split(b"\n")
            rest = lines.pop(0) if start else b""
            for line in reversed(lines):
                if (row := _object(line)) is not None:
                    yield row
            end = start


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
