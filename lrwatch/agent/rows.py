"""What the ring holds → chunks and events of a trace. Runs in the worker's thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.agent.notes import FIELDS, Columns, Item, Note, Row
from lrwatch.trace.model import Chunk, Event, EventKind, LrRead

_COUNTERS = ("sched", "epoch", "samples", "tokens", "skipped")
_ROOM = 2**62
"""Whole numbers are smaller."""
_NUMBERS = ("ts", "loss", "grad_norm")


class Assembler:
    """Puts rows together.

    Args:
        rank, world: of this worker. segment: of the first row. accumulate: micro-batches per update, where known.
        about: what every start and resume event says about the run besides what the recorder knows.
    """

    def __init__(
        self, *, rank: int, world: int | None, segment: int, accumulate: int | None, about: Mapping[str, Any]
    ):
        self.rank, self.world, self.segment = rank, world, segment
        self._accumulate, self._about = accumulate, about
        self._columns: tuple[str, ...] = ()
        self._chunk = Chunk({}, rank=rank, world=world, segment=segment)
        self._micros = 0
        self._begun = False

    def take(self, items: Iterable[Item]) -> list[Chunk | Event]:
        """Chunks and events, in the order in which they were recorded."""
        result: list[Chunk | Event] = []
        rows: list[Row] = []
        for item in items:
            if isinstance(item, tuple):
                rows.append(item)
                continue
            if rows:
                result.append(self._rows(rows))
                rows = []
            if isinstance(item, Columns):
                self._columns = item.names
            else:
                result.append(self._event(item))
        if rows:
            result.append(self._rows(rows))
        return result

    def _event(self, note: Note) -> Event:
        if note.kind not in ("start", "resume"):
            # a note's kind is a plain str
            return Event(note.kind, note.update, self.rank, self.segment, note.ts, note.fields)  # type: ignore[arg-type]
        if self._begun:
            self.segment += 1
        self._begun = True
        self._micros = note.fields.get("micro") or 0
        read: LrRead = note.fields["lr_read"]
        known = note.fields["origin"] != "unknown"
        self._chunk = replace(self._chunk, segment=self.segment, lr_read=read, origin_known=known)
        fields = {**self._about, "segment": self.segment, **note.fields}
        fields = {k: v for k, v in fields.items() if v is not None}
        kind: EventKind = "resume" if self.segment else "start"
        return Event(kind, note.update, self.rank, self.segment, note.ts, MappingProxyType(fields))

    def _rows(self, rows: Sequence[Row]) -> Chunk:
        by_name = dict(zip(FIELDS, zip(*rows, strict=True), strict=True))
        attempt = np.array(by_name["attempt"], dtype=np.int64)
        columns: dict[str, NDArray[Any]] = {"update": attempt - np.array(by_name["lag"]), "attempt": attempt}
        missing: dict[str, NDArray[Any]] = {}
        for name in _COUNTERS:
            self._add(columns, missing, name, by_name[name], np.int64)
        for name in _NUMBERS:
            self._add(columns, missing, name, by_name[name], np.float64)
        if "skipped" in columns:  # 0 rather than missing: the other rows were not skipped
            missing.pop("skipped", None)
        self._add_micro(columns, missing, by_name["micro"])
        nothing = (None,) * len(self._columns)
        read = (nothing if values is None else values for values in by_name["values"])
        for name, values in zip(self._columns, zip(*read, strict=True), strict=True):
            self._add(columns, missing, name, values, np.float64)
        if self._about.get("grad_norm") == "global" and "grad_sq" in columns and "grad_norm" not in columns:
            columns["grad_norm"] = np.sqrt(columns["grad_sq"])
            if "grad_sq" in missing:
                missing["grad_norm"] = missing["grad_sq"]
        return replace(self._chunk, columns=columns, missing=missing)

    def _add(
        self,
        columns: dict[str, NDArray[Any]],
        missing: dict[str, NDArray[Any]],
        name: str,
        values: Sequence[Any],
        dtype: type[np.int64] | type[np.float64],
    ) -> None:
        """One column; left out where no row has a value, with ``missing`` where only some have none."""
        kinds = set(map(type, values))
        if kinds == {type(None)}:
            return
        if kinds == {float} and dtype is np.float64:  # nearly always
            columns[name] = np.array(values)
            return
        if kinds == {int} and dtype is np.int64 and min(values) > -_ROOM and max(values) < _ROOM:
            columns[name] = np.array(values, dtype=np.int64)
            return
        absent = np.array([not _is_number(v, dtype) for v in values])
        if absent.all():
            return
        blank = 0 if dtype is np.int64 else np.nan
        columns[name] = np.array([blank if a else dtype(v) for v, a in zip(values, absent, strict=True)], dtype)
        if absent.any():
            missing[name] = absent

    def _add_micro(
        self, columns: dict[str, NDArray[Any]], missing: dict[str, NDArray[Any]], counted: Sequence[int | None]
    ) -> None:
        """Backward passes before each row's own: counted where the loop counts them, else from the accumulation."""
        if counted[-1] is not None:
            before = [self._micros, *(c or 0 for c in counted[:-1])]
            self._micros = counted[-1]
            columns["micro"] = np.array(before, dtype=np.int64)
        elif self._accumulate is not None:
            columns["micro"] = columns["attempt"] * self._accumulate


def alike(one: Chunk, other: Chunk) -> bool:
    """Whether two chunks of a worker may be joined."""
    return one.segment == other.segment and one.columns.keys() == other.columns.keys() and _told(one) == _told(other)


def _told(chunk: Chunk) -> tuple[object, ...]:
    return chunk.world, chunk.lr_read, chunk.origin_known


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks that are ``alike``, in one; how precisely values are known is best known by the last."""
    if len(chunks) == 1:
        return chunks[0]
    columns = {name: np.concatenate([c.columns[name] for c in chunks]) for name in chunks[0].columns}
    partly = {name for c in chunks for name in c.missing}
    missing = {name: np.concatenate([~c.present(name) for c in chunks]) for name in sorted(partly)}
    return replace(chunks[-1], columns=columns, missing=missing)


def _is_number(value: Any, dtype: type[np.int64] | type[np.float64]) -> bool:
    """Only what is a number already: converting a tensor here could wait for a device."""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    return dtype is np.float64 or bool(-_ROOM < value < _ROOM)  # an integer column has no room for NaN and infinities
