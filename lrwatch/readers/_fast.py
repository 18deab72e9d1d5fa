"""Blocks of plain lines by polars, where it is installed (``lrwatch[fast]``); the same values, only sooner.

Every function returns None where the lines are not plain; the caller then reads them by itself, and says what is
wrong with them.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lrwatch.readers._rows import WHOLE, Rows, whole
from lrwatch.readers.base import count, newlines
from lrwatch.trace.model import Array
from lrwatch.trace.precision import LONGEST

USED: Final = importlib.util.find_spec("polars") is not None and os.environ.get("LRWATCH_FAST") != "0"
"""Whether polars is there; LRWATCH_FAST=0 does without it."""

_COUNTS: Final = ("update", "rank")
_LIMIT: Final = 1 << 53
_PIECE: Final = 1 << 17
_GAP: Final = 2
"""Blanks between a key and its value."""


@dataclass(frozen=True)
class Read:
    """What a block of plain lines says.

    Attributes:
        rows: how many. values: column → float64[n], int64[n] where it counts. absent: column → bool[n], where some are.
    """

    rows: int
    values: Mapping[str, Array]
    absent: Mapping[str, Array]

    def columns(self, rows: Rows) -> tuple[dict[str, Array], dict[str, Array]] | None:
        """Columns and what is missing as ``Rows.split`` takes them; None when a row is wrong."""
        columns: dict[str, Array] = {}
        missing = dict(self.absent)
        first = rows.convention.first(rows.options)
        for name, values in self.values.items():
            if name in _COUNTS:
                if name in missing or (len(values) and not _count(values, first if name == "update" else 0)):
                    return None
            elif name in WHOLE:
                values, odd = whole(values)
                if odd.any():
                    missing[name] = odd | missing.get(name, False)
            columns[name] = values
        return columns, missing


def _count(values: Array, least: int) -> bool:
    return bool(values.min() >= least and values.max() < _LIMIT)


def table(data: bytes, k: int, mark: bytes, where: Mapping[str, int]) -> Read | None:
    """Lines of k cells, ended by line feeds alone. where: column → number of its cell."""
    import polars as pl

    n = newlines(data)
    if b"\r" in data or count(data, mark) != (k - 1) * n or not _decodes(data):
        return None
    names = {f"column_{i + 1}": c for c, i in where.items()}
    kinds = {f"column_{i + 1}": pl.String for i in range(k)}
    kinds |= {name: pl.Int64 if column in _COUNTS else pl.Float64 for name, column in names.items()}
    try:
        frame = pl.read_csv(
            data, has_header=False, schema=kinds, separator=mark.decode(), quote_char=None, columns=list(names)
        )
    except pl.exceptions.PolarsError:
        return None
    return _read(frame, names) if len(frame) == n else None


def cells(data: bytes, k: int, mark: bytes, i: int) -> Array:
    """S[n], the texts of the i-th cell of lines that ``table`` has read; empty where it is longer than a number."""
    view = np.frombuffer(data + bytes(LONGEST), np.uint8)
    ends = np.flatnonzero((view == mark[0]) | (view == ord("\n")))
    starts = (ends[i - 1 :: k] if i else np.append(-1, ends[k - 1 : -1 : k])) + 1
    lengths = ends[i::k] - starts
    lengths[lengths > LONGEST] = 0
    width = max(int(lengths.max()), 1)
    return _texts([np.where(lengths > at, view[starts + at], 0) for at in range(width)])


def objects(data: bytes, keys: Mapping[str, str], counts: Collection[str] = _COUNTS) -> Read | None:
    """Lines that are JSON objects with the keys of the first one, all of them, with a value each.

    keys: column → its key. counts: columns of whole numbers.
    """
    import polars as pl

    n = newlines(data)
    try:
        first = json.loads(data[: data.find(b"\n") + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(first, dict) or _pairs(data, b'":') != len(first) * n or not _decodes(data):
        return None
    columns = {key: column for column, key in keys.items()}
    kinds: dict[str, Any] = {}
    for key, value in first.items():
        if isinstance(value, str) and key not in columns:
            kinds[key] = pl.String
        elif type(value) in (int, float):
            kinds[key] = pl.Int64 if columns.get(key) in counts else pl.Float64
        else:
            return None
    try:
        frame = pl.read_ndjson(data, schema=kinds)
    except pl.exceptions.PolarsError:
        return None
    if len(frame) != n or any(frame.null_count().row(0)):
        return None
    return _read(frame.select([k for k in first if k in columns]), columns)


def written(data: bytes, key: str, n: int) -> Array | None:
    """S[n], how the numbers of a key are written in n lines that ``objects`` has read; None: that cannot be told."""
    view = np.frombuffer(data + b"\n" * LONGEST, np.uint8)
    at = np.flatnonzero((view[:-1] == ord('"')) & (view[1:] == ord(":")))
    name = json.dumps(key).encode()
    for back, wanted in enumerate(reversed(name)):
        at = at[view[np.maximum(at - back, 0)] == wanted]
    if len(at) != n:
        return None
    at += 2
    for _ in range(_GAP):
        at += view[at] == ord(" ")
    inside = np.ones(n, dtype=bool)
    chars: list[Array] = []
    for i in range(LONGEST):
        char = view[at + i]
        inside &= (char >= ord("+")) & (char != ord(",")) & (char < ord("f"))
        if not i and not inside.all():
            return None
        if not inside.any():
            return _texts(chars)
        chars.append(np.where(inside, char, 0))
    return None


def _texts(chars: Sequence[Array]) -> Array:
    """S[n] of the first characters of all texts, the second ones, and so on; 0 where a text has ended."""
    return np.stack(chars, axis=1).view(f"S{len(chars)}")[:, 0]


def _read(frame: Any, names: Mapping[str, str]) -> Read:
    values: dict[str, Array] = {}
    absent: dict[str, Array] = {}
    for series in frame.get_columns():
        column = names[series.name]
        if series.null_count():
            absent[column] = series.is_null().to_numpy()
            series = series.fill_null(0)
        values[column] = series.to_numpy()
    return Read(len(frame), values, absent)


def _pairs(data: bytes, pair: bytes) -> int:
    """How often two bytes follow each other; where they are dense, four times as fast as ``bytes.count``."""
    view = np.frombuffer(data, np.uint8)
    total = 0
    for start in range(0, len(view), _PIECE):
        piece = view[start : start + _PIECE + 1]
        found = piece[:-1] == pair[0]
        found &= piece[1:] == pair[1]
        total += int(np.count_nonzero(found))
    return total


def _decodes(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
