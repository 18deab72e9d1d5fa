"""Rows, events and damage: what every reader yields and what the agent records.

A trace is a stream of three things, in recorded order:

* ``Chunk``   rows of one rank and one segment, as columns;
* ``Event``   what happened between rows: a resume, a checkpoint, a validation, the end;
* ``Damage``  what could not be read, and where.

Columns
    Counters are int64[n]: ``update`` (applied updates before this row's, 0-based), ``attempt``,
    ``micro``, ``sched`` (``scheduler.last_epoch`` when the row was opened), ``epoch``, ``samples``,
    ``tokens``, ``round``, ``line`` (in the source file), ``skipped`` (0 or 1: the update was attempted
    and not applied). Values are float64[n]: ``loss``, ``grad_norm``, ``grad_sq`` (the sum of
    squares of the gradients that this worker holds), ``ts`` (Unix seconds) and the signals, named
    ``lr/<group>`` or ``lr/<optimizer>/<group>`` (also ``weight_decay/…``, ``momentum/…``).
    A column that was not recorded is absent. A value missing in single rows is marked in ``missing``:
    NaN in a value column means that NaN was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

COUNTERS = ("update", "attempt", "micro", "sched", "epoch", "samples", "tokens", "round", "line", "skipped")
SIGNALS = ("lr", "weight_decay", "momentum")
VALUES = ("loss", "grad_norm", "grad_sq", "ts")

LrRead = Literal["used", "after", "unknown"]
"""When the LR of a row was read: ``used`` by this update (before ``scheduler.step``) · ``after``
``scheduler.step`` (then it is the next update's) · ``unknown``: the trace does not say."""

EventKind = Literal[
    "start", "resume", "checkpoint", "validation", "restart", "oom", "intervention", "skip", "stale", "end"
]

Array = NDArray[Any]
_NOTHING: Mapping[str, Array] = MappingProxyType({})


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one rank in one segment.

    Attributes:
        columns: name → array[n], see the module's docstring; ``update`` is always there.
        rank: the worker's rank; world: number of workers, if recorded.
        segment: 0 for the first start, +1 at every resume or restart.
        missing: name → bool[n], True where the row has no value.
        quantum: name → float: half of it bounds the rounding of the stored absolute values; 0 when exact.
        digits: name → number of significant decimal digits stored (17: all of float64).
        lr_read: when the LR of these rows was read.
        origin_known: False when nobody knows at which update the segment started.
        thinned: True when rows were left out on purpose, see ``agent.thinning``.
    """

    columns: Mapping[str, Array]
    rank: int = 0
    world: int | None = None
    segment: int = 0
    missing: Mapping[str, Array] = field(default_factory=lambda: _NOTHING)
    quantum: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    digits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    lr_read: LrRead = "used"
    origin_known: bool = True
    thinned: bool = False
    source: str = ""

    def __len__(self) -> int:
        return len(self.columns["update"])

    def has(self, name: str) -> bool:
        return name in self.columns

    def present(self, name: str) -> NDArray[np.bool_]:
        """bool[n], True where the row has a value for ``name``."""
        if name not in self.columns:
            return np.zeros(len(self), dtype=bool)
        if name not in self.missing:
            return np.ones(len(self), dtype=bool)
        return ~self.missing[name]

    def signals(self, signal: str) -> dict[str, Array]:
        """``{group: float64[n]}`` of the columns of one signal, e.g. ``signals("lr")``."""
        prefix = signal + "/"
        return {name[len(prefix) :]: a for name, a in self.columns.items() if name.startswith(prefix)}

    def take(self, rows: slice | NDArray[Any]) -> Chunk:
        """The same chunk with only these rows."""
        return replace(
            self,
            columns={k: v[rows] for k, v in self.columns.items()},
            missing={k: v[rows] for k, v in self.missing.items()},
        )


@dataclass(frozen=True)
class Event:
    """Something that happened between two rows of a rank.

    Attributes:
        kind: what; update: the rank's next update when it happened; ts: Unix seconds, if known.
        fields: what belongs to the kind:
            start/resume: ``run``, ``contract`` (identity), ``origin``, ``groups``, ``scheduler`` (class name),
            ``recursive`` (bool), ``world``, ``accumulate`` · checkpoint: ``scheduler_state`` (bool), ``path`` ·
            validation: metric name → value · end: ``outcome`` · intervention: ``set``/``multiply``.
    """

    kind: EventKind
    update: int
    rank: int = 0
    segment: int = 0
    ts: float | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""
    line: int | None = None


DamageKind = Literal["torn", "undecodable", "not_a_row", "duplicate_header", "columns_changed"]


@dataclass(frozen=True)
class Damage:
    """A place of a file that could not be read as a row; reading went on after it."""

    kind: DamageKind
    source: str
    line: int
    message: str
    rank: int = 0


Item = Chunk | Event | Damage


class Source(Protocol):
    """Something that yields the items of a trace; iterating again reads again, where ``rereadable``."""

    rereadable: bool

    @property
    def info(self) -> TraceInfo: ...

    def __iter__(self) -> Iterator[Item]: ...


@dataclass(frozen=True)
class TraceInfo:
    """What a reader knows before the first row.

    Attributes:
        paths: the files read; format: the reader's name.
        assumed: sentences about conventions that the format does not state, for the report.
        run: the run id, if recorded; contract: the identity that the trainer recorded, if any.
        grad_norm: ``local`` where workers recorded ``grad_sq`` of their shards, ``global`` where of all gradients.
    """

    paths: tuple[str, ...]
    format: str
    assumed: tuple[str, ...] = ()
    run: str | None = None
    contract: str | None = None
    grad_norm: str | None = None
