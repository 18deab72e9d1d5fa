"""The learning rates of a trace, one value per update and group, and how exactly each is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lrwatch.contract.model import Tolerance
from lrwatch.curve import EPS, ROUNDINGS
from lrwatch.errors import TraceError
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import EXACT_DIGITS, precision
from lrwatch.trace.model import Chunk, Event, Source

FEWEST = 3
"""Values without which nothing is looked for."""
MOST: Final = 200_000
"""Rows of a group that are looked at; of longer runs every 2nd, 4th, … update, and where the values bend or jump."""
KINK: Final = 1e-4
"""Of the largest value: a bend this sharp is a place to be kept."""


@dataclass(frozen=True)
class Column:
    """The learning rate of one group.

    Attributes:
        name: the group's, as contracts look it up. t: updates, increasing, float64[n]; y: values used, float64[n].
        allowed: how far each may be off, as ``verify`` allows, float64[n]. dtype: float32 where no value needs more.
        digits: significant digits stored.
    """

    name: str
    t: FloatArray
    y: FloatArray
    allowed: FloatArray
    dtype: str
    digits: int


@dataclass(frozen=True)
class Recorded:
    """What was read: the columns of the lowest rank, and what belongs to them."""

    columns: tuple[Column, ...]
    rank: int
    rows: int
    experiment: str
    metrics: tuple[str, ...] = ()
    steps_per_epoch: int | None = None
    assumed: tuple[str, ...] = ()


@dataclass
class _Parts:
    t: list[NDArray[np.float64]] = field(default_factory=list)
    y: list[NDArray[np.float64]] = field(default_factory=list)
    quantum: float = 0.0
    digits: int = EXACT_DIGITS
    held: int = 0
    stride: int = 1

    def add(self, t: FloatArray, y: FloatArray) -> None:
        """Rows of increasing or repeated updates; memory stays below twice ``MOST`` rows and one chunk."""
        rows = _worth_keeping(t, y, self.stride)
        self.t.append(t[rows])
        self.y.append(y[rows])
        self.held += int(np.count_nonzero(rows))
        while self.held > 2 * MOST and self.stride < 2**40:
            t, y = np.concatenate(self.t), np.concatenate(self.y)
            self.stride *= 2
            rows = _worth_keeping(t, y, self.stride)
            self.t, self.y, self.held = [t[rows]], [y[rows]], int(np.count_nonzero(rows))


def _worth_keeping(t: FloatArray, y: FloatArray, stride: int) -> NDArray[np.bool_]:
    """Every ``stride``-th update, the first and last row, and those around a bend or a jump; unless most are bends."""
    if stride == 1 or not len(t):
        return np.ones(len(t), dtype=bool)
    keep: NDArray[np.bool_] = np.fmod(t, stride) == 0.0
    gaps = np.maximum(np.diff(t), 1.0)
    slopes = np.diff(y) / gaps
    sharp = np.flatnonzero(np.abs(np.diff(slopes)) > KINK * float(np.abs(y).max(initial=0.0)))
    if len(sharp) <= len(t) // (4 * stride):
        keep[np.clip(sharp[:, None] + np.arange(-1, 4), 0, len(t) - 1)] = True
    keep[[0, -1]] = True
    return keep


def read(source: Source) -> Recorded:
    """The learning rates of the lowest rank. Of updates that were done again after a rollback the last time counts.

    Raises TraceError: no learning rate in it, or fewer than three updates.
    """
    parts: dict[int, dict[str, _Parts]] = {}
    ranks: set[int] = set()
    experiment = ""
    metrics: dict[str, None] = {}
    assumed: dict[str, None] = {}
    for item in source:
        if isinstance(item, Chunk):
            ranks.add(item.rank)
            _take(item, parts.setdefault(item.rank, {}), assumed)
            for rank in sorted(rank for rank, columns in parts.items() if any(c.t for c in columns.values()))[1:]:
                del parts[rank]  # the lowest that has a learning rate stands for all
        elif isinstance(item, Event):
            experiment = experiment or str(item.fields.get("experiment") or "")
            if item.kind == "validation":
                metrics |= dict.fromkeys(item.fields.get("metrics") or {})
    name = ", ".join(source.info.paths)
    kept = {rank: columns for rank, columns in parts.items() if any(c.t for c in columns.values())}
    if not kept:
        raise TraceError("has no learning rate in it; name its column with --map lr=COLUMN", source=name)
    rank = min(kept)
    rows = max(sum(map(len, c.t)) for c in kept[rank].values())
    if rows < FEWEST:
        raise TraceError(f"has {rows} updates with a learning rate; no schedule shows in so few", source=name)
    found = tuple(_column(group, column) for group, column in kept[rank].items() if sum(map(len, column.t)) >= FEWEST)
    if len(ranks) > 1:
        assumed[f"rank {rank} stands for all {len(ranks)} workers; whether they agree, verify says"] = None
    stride = max(column.stride for column in kept[rank].values())
    if stride > 1:
        assumed[f"of so long a run every {stride}th update was looked at, and every bend; verify looks at all"] = None
    return Recorded(found, rank, rows, experiment, tuple(metrics), assumed=tuple(assumed))


def _take(chunk: Chunk, columns: dict[str, _Parts], assumed: dict[str, None]) -> None:
    used = np.ones(len(chunk), dtype=bool)
    if "skipped" in chunk.columns:
        used = chunk.columns["skipped"] == 0
    if not chunk.origin_known:
        assumed[f"segment {chunk.segment} was left out: nobody knows at which update it started"] = None
        return
    if chunk.lr_read == "unknown":
        assumed["the learning rate was taken as read before scheduler.step(); --lr-read says otherwise"] = None
    for group, values in chunk.signals("lr").items():
        keep = used & chunk.present(f"lr/{group}") & np.isfinite(values)
        column = columns.setdefault(group, _Parts())
        t = chunk.columns["update"][keep].astype(np.float64) + (chunk.lr_read == "after")
        column.add(t, values[keep].astype(np.float64))
        column.quantum = max(column.quantum, float(chunk.quantum.get(f"lr/{group}", 0.0)))
        column.digits = min(column.digits, int(chunk.digits.get(f"lr/{group}", EXACT_DIGITS)))


def _column(group: str, parts: _Parts) -> Column:
    t, y = np.concatenate(parts.t), np.concatenate(parts.y)
    order = np.argsort(t, kind="stable")
    t, y = t[order], y[order]
    last = np.append(np.diff(t) > 0, True)
    t, y = t[last], y[last]
    dtype = "float32" if parts.digits >= EXACT_DIGITS - 1 and _narrow(y) else "float64"
    unit = EPS["float32"] if dtype == "float32" else 0.0
    slack, peak = np.full(y.shape, unit), float(np.abs(y).max())
    blur = ROUNDINGS * unit * (np.abs(y) + peak)
    kept = precision(peak, Tolerance(), slack=slack, blur=blur, quantum=parts.quantum, digits=parts.digits)
    floor = np.finfo(np.float64).tiny
    return Column(group, t, y, np.maximum(kept.allowed(y), floor), dtype, parts.digits)


def _narrow(y: FloatArray) -> bool:
    """Whether every value is a float32 and most could not be, had they been computed in float64."""
    same = y.astype(np.float32).astype(np.float64) == y
    odd = np.array([len(repr(v)) > 12 for v in np.unique(y)[:64].tolist()])
    return bool(same.all() and odd.any())


def thinned(column: Column, most: int, keep: Iterable[float] = ()) -> NDArray[np.intp]:
    """Rows to fit: all, or about ``most`` of them, those near the places in ``keep`` among them."""
    n = len(column.t)
    if n <= most:
        return np.arange(n)
    near = [np.searchsorted(column.t, place) + k for place in keep for k in (-2, -1, 0, 1, 2)]
    spread = np.rint(np.linspace(0, n - 1, most)).astype(np.intp)
    return np.unique(np.concatenate([spread, np.clip(np.array(near, dtype=np.intp), 0, n - 1)]))
