"""Rows that are JSON objects → columns, many at a time.

Three ways, each exact, from the fastest: lines that are alike but for their numbers are taken apart by one regular
expression; lines that are flat objects are read as one JSON array; any other line is read by itself (by the caller).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from lrwatch.trace.model import COUNTERS, SIGNALS, VALUES, Array
from lrwatch.trace.names import canonical

Row = dict[str, Any]
ByKey = Mapping[str, list[Any]]

_KEY = re.compile(rb'[{,]("(?:[^"\\]|\\.)*"):')
_VALUE: Final = rb'([-+.0-9eE]+|"nan"|"-?inf")'
_FLAT = re.compile(rb"(?:\{[^{}\[\]\n]*\}\n)*+")
"""Lines that are one object each, without anything nested: they can be read as one JSON array, for no string may
contain a line break and no bracket is open at one."""
_SMALL: Final = 1024
_INT64: Final = 1 << 63


class Half(NamedTuple):
    """Where to cut lines of which nearly all are alike: ``at`` bytes, after ``lines`` lines."""

    at: int
    lines: int


def batch(data: bytes) -> ByKey | Half | None:
    """The values of each key of whole lines; None when they have to be read one by one."""
    n = data.count(b"\n")
    keys, pattern = _template(tuple(_KEY.findall(data[: data.find(b"\n") + 1])))
    rows = pattern.findall(data) if keys else []
    if rows and len(rows) == n:
        values = zip(*rows, strict=True) if len(keys) > 1 else [rows]
        try:  # json, not float(): what counts as a number must not depend on the way that was taken
            return {key: json.loads(b"[" + b",".join(v) + b"]") for key, v in zip(keys, values, strict=True)}
        except ValueError:
            return None
    if n > _SMALL and len(rows) > 0.9 * n:
        at = data.find(b"\n", len(data) // 2) + 1
        if 0 < at < len(data):
            return Half(at, data.count(b"\n", 0, at))
    if not n or not _FLAT.fullmatch(data):
        return None
    try:
        return by_key(json.loads(b"[" + data[:-1].replace(b"\n", b",\n") + b"]"))
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _template(keys: tuple[bytes, ...]) -> tuple[tuple[str, ...], re.Pattern[bytes]]:
    """The keys, and what a line with just these keys and numbers looks like; no keys when that cannot be said."""
    pattern = re.compile(rb"^\{" + b",".join(re.escape(key) + b":" + _VALUE for key in keys) + rb"\}\n", re.M)
    try:
        names = tuple(json.loads(key) for key in keys)
    except ValueError:
        names = ()
    return (names if len(set(names)) == len(names) else ()), pattern


def by_key(rows: Sequence[Row]) -> ByKey:
    """The values of each key, None where a row does not have it."""
    keys = list(rows[0])
    if sum(map(len, rows)) == len(rows) * len(keys):
        try:
            return {key: [row[key] for row in rows] for key in keys}
        except KeyError:
            pass
    return {key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)}


def columns_of(values: ByKey) -> tuple[dict[str, Array], dict[str, Array]] | str:
    """Columns and their missing values, or what is wrong with one of the rows."""
    columns: dict[str, Array] = {}
    missing: dict[str, Array] = {}
    for key, of_key in values.items():
        if (known := _column(key)) is None:
            continue
        name, counts = known
        made = _whole(of_key) if counts else _real(of_key)
        if made is None:
            return f"{key} is {short(of_key[0])}"
        array, absent = made
        if name in columns:  # lr and, after another group was added, lr/0
            array, absent = _either(columns[name], missing.pop(name, None), array, absent)
        columns[name] = array
        if absent is not None and name != "skipped":  # written only where it is 1
            missing[name] = absent
    for name in [n for n, absent in missing.items() if absent.all()]:
        del columns[name], missing[name]
    if "update" not in columns or "update" in missing:
        return "no update"
    return columns, missing


def columns_in(line: bytes) -> tuple[dict[str, str], list[str]]:
    """Column → its key in a line, and those that count; none where two keys mean the same."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}, []
    known = [(made, key) for key in row if (made := _column(key))] if isinstance(row, dict) else []
    keys = {name: key for (name, _), key in known}
    return (keys if len(keys) == len(known) else {}), [name for (name, counts), _ in known if counts]


def _column(key: str) -> tuple[str, bool] | None:
    """The column of a key and whether it counts; None for keys that the trace model does not know."""
    if key in COUNTERS and key != "line":
        return key, True
    if key in VALUES:
        return key, False
    signal, slash, group = key.partition("/")
    return (canonical(key), False) if signal in SIGNALS and bool(slash) == bool(group) else None


Made = tuple[Array, Array | None]


def _whole(values: list[Any]) -> Made | None:
    """int64[n] and where there is none; None when a value is no whole number."""
    try:
        array = np.array(values)
    except ValueError:
        return None
    if array.ndim == 1 and array.dtype.kind in "ib":
        return array.astype(np.int64, copy=False), None
    absent = np.array([v is None for v in values])
    for i, value in enumerate(values):
        fits = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not absent[i] and not (fits and -_INT64 <= value < _INT64):
            return None
    return np.array([0 if v is None else int(v) for v in values], dtype=np.int64), absent if absent.any() else None


def _real(values: list[Any]) -> Made | None:
    """float64[n] and where there is none; None when a value is no number."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if array.ndim != 1:
        return None
    if not np.isnan(array).any():
        return array, None
    absent = np.array([v is None for v in values])
    return array, absent if absent.any() else None


def _either(first: Array, no_first: Array | None, second: Array, no_second: Array | None) -> Made:
    """The first value of each row, else the second."""
    if no_first is None:
        return first, None
    return np.where(no_first, second, first), None if no_second is None else no_first & no_second


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
