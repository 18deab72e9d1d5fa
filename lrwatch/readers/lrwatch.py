"""lrwatch's own traces: JSON Lines, one file per worker and segment, under ``RUN_DIR/trace/``.

Reads a file, a run directory, or a directory of such files. A file begins with a start or resume event, from which
its rows inherit rank, world and segment (without one, the file's name tells). ``trace.writer`` has the format.

A row is a JSON object with ``update``. Keys that the trace model does not know are ignored. A value that is absent or
null is missing; ``"nan"``, ``"inf"``, ``"-inf"`` are values. What cannot be read becomes damage, and reading goes on:
``torn`` is a last line without its end, ``undecodable`` is no JSON, ``not_a_row`` is JSON of another kind. A last
line that lacks only the line break is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers import _fast
from lrwatch.readers._objects import Half, Row, batch, by_key, columns_in, columns_of, short
from lrwatch.readers.base import NOTHING_HERE, Options, Reader, TraceSource, blocks, chunk_rows, rank_in, several
from lrwatch.trace.model import Array, Chunk, Damage, Event, EventKind, Item, LrRead, TraceInfo

VERSION: Final = 1
_KINDS: Final = frozenset(get_args(EventKind))
_LR_READ: Final = frozenset(get_args(LrRead))
_FILE = re.compile(r"rank(\d+)-seg(\d+)\.jsonl")
_COUNTS: Final = ("world", "accumulate", "steps_per_epoch")
_INT64: Final = 1 << 63
_SMALL: Final = 1 << 18
"""Bytes that are read sooner than polars is started."""


class File:
    """One file of one worker."""

    rereadable = True

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        named = _FILE.fullmatch(path.name)
        self.rank: int | None = int(named[1]) if named else rank_in(path) or 0
        self.segment = int(named[2]) if named else 0
        header = _first(path, self.name)
        self.rank = _count(header.get("rank"), self.rank)
        run, contract, grad_norm = (_text(header, key) for key in ("run", "contract", "grad_norm"))
        self.info = TraceInfo((self.name,), "lrwatch", run=run, contract=contract, grad_norm=grad_norm)

    def __iter__(self) -> Iterator[Item]:
        reading = Reading(self.name, self.rank or 0, self.segment, self.options.lr_read)
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            yield from reading.items(line, data)


class Reading:
    """The state of reading one file: whose rows these are."""

    def __init__(self, name: str, rank: int, segment: int, lr_read: LrRead | None):
        self.name, self.rank, self.segment = name, rank, segment
        self.told = lr_read
        self.lr_read: LrRead = lr_read or "used"
        self.world: int | None = None
        self.origin_known, self.thinned = True, False
        self.digits: dict[str, int] = {}
        self.quantum: dict[str, float] = {}
        self.next = 0

    def items(self, line: int, data: bytes) -> Iterator[Item]:
        """What whole lines say; ``line`` is the number of the first."""
        at = 0
        while at < len(data):
            hit = data.find(b'"event"', at)
            start = len(data) if hit < 0 else max(data.rfind(b"\n", at, hit) + 1, at)
            if start > at:
                yield from self._rows(data[at:start], line)
                line += data.count(b"\n", at, start)
            at = start
            if hit >= 0:
                at = data.find(b"\n", hit) + 1 or len(data)
                yield from self._slowly(data[start:at], line)
                line += 1

    # -- rows ---------------------------------------------------------------------------------------

    def _rows(self, data: bytes, line: int) -> list[Item]:
        if _fast.USED and len(data) > _SMALL:
            keys, counts = columns_in(data[: data.find(b"\n") + 1])
            quick = _fast.objects(data, keys, counts) if "update" in keys else None
            if quick is not None:
                return [self._chunk(dict(quick.values), {}, np.arange(line, line + quick.rows))]
        read = batch(data)
        if isinstance(read, Half):
            return self._rows(data[: read.at], line) + self._rows(data[read.at :], line + read.lines)
        if read is None or isinstance(made := columns_of(read), str):
            return self._slowly(data, line)
        return [self._chunk(*made, np.arange(line, line + len(made[0]["update"])))]

    def _slowly(self, data: bytes, line: int) -> list[Item]:
        """Line by line: damage is where it is, events are told from rows."""
        result: list[Item] = []
        rows: list[Row] = []
        lines: list[int] = []
        for number, raw in enumerate(data.splitlines(keepends=True) if b"\r" not in data else _lines(data), line):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode())
            except (ValueError, RecursionError) as e:
                result.append(self._unreadable(raw, number, e))
                continue
            if not isinstance(row, dict):
                result.append(self._damage("not_a_row", number, f"not a row: a JSON {_kind(row)}"))
            elif "event" in row:
                result += self._take(rows, lines)
                rows, lines = [], []
                if row["event"] == "precision":
                    self._precise(row)
                else:
                    result.append(self._event(row, number))
            else:
                rows.append(row)
                lines.append(number)
        return result + self._take(rows, lines)

    def _unreadable(self, raw: bytes, line: int, error: Exception) -> Damage:
        if not raw.endswith(b"\n"):
            return self._damage("torn", line, f"torn last line of {len(raw)} bytes: its writer was stopped in it")
        if isinstance(error, UnicodeDecodeError):
            return self._damage("undecodable", line, f"not UTF-8: byte 0x{raw[error.start]:02x} at {error.start}")
        return self._damage("undecodable", line, f"not JSON: {raw[:40].decode(errors='replace').strip()!r}")

    def _damage(self, kind: Any, line: int, message: str) -> Damage:
        return Damage(kind, self.name, line, message, self.rank)

    def _take(self, rows: list[Row], lines: list[int]) -> list[Item]:
        """The rows as one chunk, after the damage among them."""
        if not rows:
            return []
        made = columns_of(by_key(rows))
        if not isinstance(made, str):
            return [self._chunk(*made, np.array(lines))]
        wrong = [columns_of(by_key([row])) for row in rows]
        damage = [
            self._damage("not_a_row", n, why) for n, why in zip(lines, wrong, strict=True) if isinstance(why, str)
        ]
        good = [i for i, why in enumerate(wrong) if not isinstance(why, str)]
        return [*damage, *self._take([rows[i] for i in good], [lines[i] for i in good])]

    def _chunk(self, columns: dict[str, Array], missing: dict[str, Array], lines: Array) -> Chunk:
        skipped = "skipped" in columns and columns["skipped"][-1]
        self.next = int(columns["update"][-1]) + (0 if skipped else 1)
        return Chunk(
            {**columns, "line": lines},
            rank=self.rank,
            world=self.world,
            segment=self.segment,
            missing=missing,
            quantum=self.quantum,
            digits=self.digits,
            lr_read=self.lr_read,
            origin_known=self.origin_known,
            thinned=self.thinned,
            source=self.name,
        )

    # -- events -------------------------------------------------------------------------------------

    def _event(self, row: Row, line: int) -> Item:
        kind = row["event"]
        if kind not in _KINDS if isinstance(kind, str) else True:
            return self._damage("not_a_row", line, f"unknown event {kind!r}")
        if kind in ("start", "resume"):
            self._begin(row, line)
        update = _count(row.get("update"), None)
        if update is None:
            if "update" in row and row["update"] is not None:
                return self._damage("not_a_row", line, f"update is {short(row['update'])}")
            update = self.next
        self.next = update
        fields = {
            k: v for k, v in row.items() if k not in ("event", "lrwatch_trace", "update", "rank", "segment", "ts")
        }
        for name in _COUNTS:
            if name in fields and _count(fields[name], None) is None:
                del fields[name]
        if kind == "validation":
            try:
                fields["metrics"] = {str(k): float(v) for k, v in dict(fields.get("metrics") or {}).items()}
            except (TypeError, ValueError, OverflowError):
                return self._damage("not_a_row", line, f"validation: metrics are {short(fields['metrics'])}")
        ts = row.get("ts")
        ts = float(ts) if isinstance(ts, int | float) and abs(ts) < 1e300 else None
        return Event(kind, update, self.rank, self.segment, ts, fields, self.name, line)

    def _precise(self, row: Row) -> None:
        """How precisely the signals of the rows from here on are known."""
        self.digits = {name: int(value) for name, value in _sizes(row.get("digits"))}
        self.quantum = {name: float(value) for name, value in _sizes(row.get("quantum"))}

    def _begin(self, row: Row, line: int) -> None:
        version = row.get("lrwatch_trace", VERSION)
        if version != VERSION:
            raise TraceError(
                f"is a trace of format {short(version)}, this lrwatch reads format {VERSION}; upgrade lrwatch",
                source=self.name,
                line=line,
            )
        self.rank = _count(row.get("rank"), self.rank) or 0
        self.world = _count(row.get("world"), None)
        segment = self.segment if row["event"] == "start" or line == 1 else self.segment + 1
        self.segment = _count(row.get("segment"), segment) or 0
        self.origin_known = row.get("origin") != "unknown"
        self._precise(row)
        self.thinned = row.get("rows") == "changes"
        if self.told is None:
            said = row.get("lr_read", "used")
            self.lr_read = said if isinstance(said, str) and said in _LR_READ else "unknown"  # type: ignore[assignment]


# -- opening ----------------------------------------------------------------------------------------


def _first(path: Path, name: str) -> Mapping[str, Any]:
    """The file's first line, if it is a start or resume event."""
    try:
        with path.open("rb") as file:
            row = json.loads(file.readline(1 << 20).decode())
    except OSError as e:
        raise TraceError(f"cannot be read: {e.strerror}", source=name) from None
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) and row.get("event") in ("start", "resume") else {}


def _files(directory: Path) -> list[Path]:
    """The trace files of a run directory, or of a directory of such files, by rank and segment."""
    found = [path for place in (directory / "trace", directory) if place.is_dir() for path in place.glob("*.jsonl")]
    named = [(int(m[1]), int(m[2]), path) for path in found if (m := _FILE.fullmatch(path.name))]
    return [path for _, _, path in sorted(named)]


def _open(path: Path, options: Options) -> TraceSource:
    if not path.is_dir():
        return File(path, options)
    files = _files(path)
    if not files:
        raise TraceError(NOTHING_HERE, source=options.name(path))
    ranks = len({path.name.partition("-")[0] for path in files})
    each = Options(options.columns, options.lr_read, options.first_step, chunk_rows(options, ranks))
    return several([File(path, each) for path in files])


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 1.0 if _files(path) else 0.0
    line = head.partition(b"\n")[0]
    if b'"lrwatch_trace"' in line:
        return 1.0
    if re.match(rb'\{\s*"(?:event|update)":', line):
        return 0.9
    return 0.6 if _FILE.fullmatch(path.name) else 0.0


READER = Reader("lrwatch", _detect, _open)


# -- small words ------------------------------------------------------------------------------------


def _lines(data: bytes) -> list[bytes]:
    """Lines by line feed alone; ``splitlines`` would also break at a carriage return."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _count(value: Any, default: int | None) -> int | None:
    """A whole number that fits, else the default."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INT64
    return value if whole else default


def _sizes(value: Any) -> list[tuple[str, float]]:
    """How precisely columns were stored, as a converted trace says it."""
    if not isinstance(value, dict):
        return []
    return [(str(k), v) for k, v in value.items() if isinstance(v, int | float) and 0 <= v < 1e300]


def _text(header: Mapping[str, Any], key: str) -> str | None:
    value = header.get(key)
    return value if isinstance(value, str) else None


def _kind(value: Any) -> str:
    return {list: "list", str: "string", type(None): "null", bool: "boolean"}.get(type(value), "number")
