"""JSON Lines in the wild: one object per line, columns by the names of their keys (``trace.names``; ``--map``).

Objects inside objects are taken apart: ``{"train": {"lr": 1}}`` has the key ``train/lr``; so are lists, as of
``get_last_lr()``: ``{"lr": [0.1, 0.2]}`` has ``lr/0`` and ``lr/1``. A value that is null, or a
text where a number belongs, is missing; ``NaN``, ``Infinity`` and texts that are numbers are values. A row that has no
step is passed over when it has no learning rate either (it is of something else), and damage when it has one.

When the rate was read is unknown without ``--lr-read``; steps are taken as counted from 0 without ``--first-step``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from lrwatch.errors import TraceError
from lrwatch.readers import _fast
from lrwatch.readers._records import VALIDATION, Records, Row
from lrwatch.readers._tables import ROW_INDEX, mapped
from lrwatch.readers.base import Convention, Options, Reader, TraceSource, blocks, rank_in
from lrwatch.trace.model import Array, Chunk, DamageKind, Item, TraceInfo
from lrwatch.trace.names import Layout, resolve

CONVENTION: Final = Convention()
_KEYS: Final = 4096
"""Different keys of one file that are looked at; a file with more has data in its keys."""
_DEPTH: Final = 8
_GROUPS: Final = 64
"""Elements of a list that are taken apart."""
_VALUE: Final = (
    rb'("(?:[^"\\\n]|\\[^u\n])*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|NaN|-?Infinity|null|true|false)'
)
_VALIDATION = re.compile(r"(?:eval|val|valid|validation)[/_](loss|acc|accuracy|perplexity|ppl|error)")


class File:
    """One file."""

    rereadable = True

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        self.rank: int | None = rank_in(Path(self.name))
        keys: dict[str, None] = {}
        for _, data in blocks(path, 256, name=self.name):
            for line in data.split(b"\n")[:256]:
                keys.update(
                    dict.fromkeys(k for k, v in (_object(line) or {}).items() if not isinstance(v, dict | list))
                )
            break
        self.layout = _layout(list(keys), options, self.name)
        if "rank" not in self.layout.columns and self.rank is None:
            self.rank = 0
        elif "rank" in self.layout.columns:
            self.rank = None
        self.info = TraceInfo((self.name,), "jsonl", tuple(self._assumed(list(keys))))

    def _assumed(self, keys: list[str]) -> Iterator[str]:
        step = self.layout.columns.get("update", ROW_INDEX)
        if self.options.first_step is None and step != ROW_INDEX:
            yield f"{keys[step]!r} of {self.name} counts updates from 0 (--first-step 1 if the first is number 1)"
        for name in self.layout.unused:
            yield f"{name!r} of {self.name} is not used: another key means the same (--map chooses)"

    def __iter__(self) -> Iterator[Item]:
        reading = Reading(self.name, self.options, self.rank or 0)
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            yield from reading.items(line, data)
        yield from reading.end()
        if not reading.keys:
            raise TraceError(
                'has no line that is a row; a row is one object, e.g. {"step": 0, "lr": 0.1}', source=self.name
            )
        if not reading.records.rated:
            raise TraceError(
                f"no row has a learning rate and a step; keys are {_few(reading.keys)} (--map lr=KEY --map step=KEY)",
                source=self.name,
            )


class Reading:
    """The state of reading one file."""

    def __init__(self, name: str, options: Options, rank: int):
        self.name, self.options = name, options
        self.records = Records(name, options, CONVENTION, rank)
        self.rows = self.records.rows
        self.keys: dict[str, None] = {}
        self.columns: dict[str, str] = {}
        self.numbered = False

    def items(self, line: int, data: bytes) -> list[Item]:
        """What whole lines say; ``line`` is the number of the first."""
        if line == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        made = self._quickly(data, line)
        return self._slowly(data, line) if made is None else made

    def end(self) -> list[Item]:
        """No more lines will come."""
        return self.records.end()

    # -- many lines at once -------------------------------------------------------------------------

    def _quickly(self, data: bytes, line: int) -> list[Item] | None:
        """Lines that are alike, all at once; None when they are not."""
        first = _object(data[: data.find(b"\n") + 1])
        if not first or any(isinstance(v, dict | list) for v in first.values()) or b"\0" in data:
            return None
        if any(key not in self.keys for key in first) and self._learn(first):
            return None
        where = {column: key for column, key in self.columns.items() if key in first}
        if self.numbered or "update" not in where or not any(c.startswith("lr/") for c in where):
            return None
        chunks = self._by_polars(data, line, where) if _fast.USED else None
        if chunks is None:
            chunks = self._by_template(data, line, list(first), where)
        if chunks is None:
            return None
        self.records.noted(chunks)
        return list(chunks)

    def _by_polars(self, data: bytes, line: int, where: dict[str, str]) -> list[Chunk] | None:
        read = _fast.objects(data, where)
        if read is None or (made := read.columns(self.rows)) is None:
            return None
        texts: dict[str, Array] = {}
        for column in read.values:
            if not self.rows.exact(column):
                written = _fast.written(data, where[column], read.rows)
                if written is None:
                    return None
                texts[column] = written
        for column, of_column in texts.items():
            self.rows.measure(column, of_column)
        return self.rows.split(*made, np.arange(line, line + read.rows))

    def _by_template(self, data: bytes, line: int, keys: list[str], where: dict[str, str]) -> list[Chunk] | None:
        found = _template(tuple(keys)).findall(data)
        n = data.count(b"\n")
        if len(found) != n or not n or len(keys) < 2:
            return None
        texts = list(zip(*found, strict=True))
        cells: dict[str, list[str]] = {}
        for column, key in where.items():
            joined = b",".join(texts[keys.index(key)])
            if b'"' in joined:
                return None
            cells[column] = joined.decode().split(",")
        chunks, wrong = self.rows.take(cells, np.arange(line, line + n), self.columns)
        return None if wrong else chunks

    # -- line by line -------------------------------------------------------------------------------

    def _slowly(self, data: bytes, line: int) -> list[Item]:
        result: list[Item] = []
        rows: list[Row] = []
        lines: list[int] = []
        parts = data.split(b"\n")
        cut = line + len(parts) - 1
        for number, raw in enumerate(parts, line):
            if not raw.strip():
                continue
            row = self._row(raw, number == cut)
            if isinstance(row, tuple):
                result.append(self.records.damage(row[0], number, row[1]))
                continue
            before = self.columns
            if any(key not in self.keys for key in row) and (changed := self._learn(row)):
                result += self.records.take(rows, lines, before)
                rows, lines = [], []
                result.append(self.records.damage("columns_changed", number, changed))
            known = {c: row[k] for c, k in self.columns.items() if k in row}
            rate = any(c.startswith("lr/") and known[c] for c in known)
            if known.get("update") or (self.numbered and rate):
                rows.append({**known, **_validations(row)})
                lines.append(number)
            elif rate:
                result.append(self.records.damage("not_a_row", number, "a learning rate without a step"))
        return result + self.records.take(rows, lines, self.columns)

    def _row(self, raw: bytes, last: bool) -> dict[str, str] | tuple[DamageKind, str]:
        """The texts of a line by their keys, or why it has none."""
        if b"\0" in raw:
            return "undecodable", "NUL bytes"
        try:
            value = json.loads(raw.decode(), parse_float=str, parse_int=str, parse_constant=str)
        except UnicodeDecodeError as e:
            return "undecodable", f"not UTF-8: byte 0x{raw[e.start]:02x} at {e.start}"
        except (ValueError, RecursionError):
            if last:
                return "torn", f"torn last line of {len(raw)} bytes: its writer was stopped in it"
            return "undecodable", f"not JSON: {raw[:40].decode(errors='replace').strip()!r}"
        if not isinstance(value, dict):
            return "not_a_row", f"a JSON {type(value).__name__}, no object"
        return dict(_flat(value))

    def _learn(self, row: Mapping[str, Any]) -> str:
        """Take in new keys; what changed in what was known before, empty for nothing."""
        if len(self.keys) >= _KEYS:
            return ""
        self.keys.update(dict.fromkeys(row))
        names = list(self.keys)
        layout = _layout(names, self.options, self.name)
        before, self.columns = self.columns, {c: names[i] for c, i in layout.columns.items() if i != ROW_INDEX}
        self.numbered = ROW_INDEX in layout.columns.values()
        return "; ".join(
            f"{c} is now {self.columns[c]!r}, not {k!r}" for c, k in before.items() if self.columns[c] != k
        )


@lru_cache(maxsize=256)
def _template(keys: tuple[str, ...]) -> re.Pattern[bytes]:
    """What a line with just these keys in this order looks like."""
    pairs = [re.escape(json.dumps(key).encode()) + rb": ?" + _VALUE for key in keys]
    return re.compile(rb"^\{" + rb", ?".join(pairs) + rb"\}\n", re.M)


def _validations(row: Mapping[str, str]) -> dict[str, str]:
    """Values of a validation among the keys of a row: ``eval_loss``, ``val/loss``, ``validation_accuracy``."""
    return {VALIDATION + m[1]: row[key] for key in row if row[key] and (m := _VALIDATION.fullmatch(key))}


def _flat(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and depth < _DEPTH:
            yield from _flat(inner, f"{prefix}{key}/", depth + 1)
        elif isinstance(inner, list) and len(inner) <= _GROUPS and depth < _DEPTH:
            yield from _flat(dict(zip(map(str, range(len(inner))), inner, strict=True)), f"{prefix}{key}/", _DEPTH)
        elif isinstance(inner, str):
            yield prefix + key, inner
        elif inner is None:
            yield prefix + key, ""


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return dict(_keys(value)) if isinstance(value, dict) else None


def _keys(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and depth < _DEPTH:
            yield prefix + key, inner  # for those who must know that something is nested
            yield from _keys(inner, f"{prefix}{key}/", depth + 1)
        elif isinstance(inner, list) and len(inner) <= _GROUPS and depth < _DEPTH:
            yield prefix + key, inner
            yield from ((f"{prefix}{key}/{i}", value) for i, value in enumerate(inner))
        else:
            yield prefix + key, inner


def _layout(keys: list[str], options: Options, name: str) -> Layout:
    return resolve(keys, mapped(keys, options, name, lenient=True))


def _few(keys: Mapping[str, None]) -> str:
    shown = ", ".join(key[:40] for key in list(keys)[:12])
    return shown if len(keys) <= 12 else f"{shown} and {len(keys) - 12} more"


def _detect(path: Path, head: bytes) -> float:
    for line in head.split(b"\n")[:20]:
        if not line.strip():
            continue
        keys = _object(line)
        if keys is None:
            return 0.0
        columns = resolve(list(keys)).columns
        if any(c.startswith("lr/") for c in columns):
            return 0.8 if "update" in columns else 0.5
        if not line.strip().endswith(b"}"):
            return 0.0
    return 0.4 if head.lstrip()[:1] == b"{" and b"\n" in head else 0.0


def _open(path: Path, options: Options) -> TraceSource:
    if path.is_dir():
        raise TraceError("is a directory; name the files in it", source=options.name(path))
    return File(path, options)


def _lines(name: str, head: bytes, options: Options) -> Reading:
    return Reading(name, options, rank_in(Path(name)) or 0)


READER = Reader("jsonl", _detect, _open, _lines)
