"""What a check is, and what it is given.

A check sees a trace once, chunk by chunk, keeps a bounded state and can say at any time what it has found:

    check = Drift(context)          # one instance per rank for scope "rank", else one per run
    check.update(batch)             # rows, with what the contract expects of them
    check.follow(part)              # loss and gradient norm of the run, for checks that judge their course
    check.event(event)              # what happened between rows
    check.findings()                # now, in mid-run
    check.finish()                  # no more rows will come

The class docstring of a check's module is its page: what it checks, why it matters, an example, the fix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks._series import Part as Part
from lrwatch.checks._state import pack, unpack
from lrwatch.contract.model import Contract
from lrwatch.curve import Curve
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import Precision
from lrwatch.trace.align import Aligned as Aligned  # what `Check.aligned` is given
from lrwatch.trace.model import Chunk, Damage, Event

HUGE = 1e100
"""Larger values count as this, so that no difference of two overflows."""

Scope = Literal["rank", "aligned", "run"]
"""``rank``: one instance per worker, sees only its rows · ``aligned``: sees the rows of all workers side by
side, update by update · ``run``: sees everything of every worker in reading order."""


@dataclass(frozen=True)
class Context:
    """What a check knows before the first row.

    ``live`` is True inside a running trainer: the end of the rows so far is then not the end of the run.
    """

    contract: Contract | None = None
    rank: int | None = None
    live: bool = False


@dataclass(frozen=True)
class Batch:
    """A chunk together with what the contract expects of its rows.

    Attributes:
        t: positions on the contract's clock whose value the rows show, float64[n] (one later than the row's own where
            it was read after the scheduler's step); None where they cannot be known (``why_no_t``).
        expected: column name (``lr/0``) → float64[n].
        precision: column name → how exactly its values were computed and stored.
        allowed: column name → how far its values may be from ``expected``, float64[n].
        curves: column name → the curve, for looking elsewhere on it.
    """

    chunk: Chunk
    t: FloatArray | None = None
    why_no_t: str = ""
    expected: Mapping[str, FloatArray] = field(default_factory=lambda: MappingProxyType({}))
    precision: Mapping[str, Precision] = field(default_factory=lambda: MappingProxyType({}))
    allowed: Mapping[str, FloatArray] = field(default_factory=lambda: MappingProxyType({}))
    curves: Mapping[str, Curve] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def steps(self) -> FloatArray:
        """The rows' updates, float64[n]."""
        return self.chunk.columns["update"].astype(np.float64)

    @cached_property
    def lr(self) -> FloatArray:
        """The used learning rate of the first group, float64[n], NaN where there is none."""
        for name, values in self.chunk.columns.items():
            if name.startswith("lr/"):
                if name in self.chunk.missing:
                    return np.where(self.chunk.missing[name], np.nan, values)
                return np.asarray(values, dtype=np.float64)
        return np.full(len(self.chunk), np.nan)

    @cached_property
    def rates(self) -> Rates:
        """Of ``lr``."""
        low, high = float(self.lr.min(initial=np.inf)), float(self.lr.max(initial=-np.inf))
        if math.isfinite(low) and math.isfinite(high):
            return Rates(True, low, high, float(self.lr[-1]))
        seen = self.lr[np.isfinite(self.lr)]
        return Rates(False, float(seen.min()), float(seen.max()), float(seen[-1])) if len(seen) else NO_RATES

    @cached_property
    def shares(self) -> FloatArray:
        """How much of the planned run was over at each row, float64[n], NaN where nobody knows."""
        horizon = next((c.horizon for c in self.curves.values()), None)
        if self.t is None or not horizon or not self.chunk.origin_known:
            return np.full(len(self.chunk), np.nan)
        return self.t / horizon

    @cached_property
    def _finite(self) -> dict[str, Finite]:
        return {}

    def finite(self, column: str) -> Finite:
        """The finite values of a column."""
        if column not in self._finite:
            self._finite[column] = Finite.of(self.chunk, column)
        return self._finite[column]


@dataclass(frozen=True)
class Rates:
    """All rows have a learning rate; its least, highest and newest value, of those that are finite."""

    all: bool
    low: float
    high: float
    newest: float


NO_RATES = Rates(False, np.inf, -np.inf, np.nan)


@dataclass(frozen=True)
class Finite:
    """A column, float64[n], none beyond ``HUGE``; where it has a finite value, bool[n]; whether it has everywhere."""

    values: FloatArray
    there: NDArray[np.bool_]
    all: bool

    @classmethod
    def of(cls, chunk: Chunk, column: str) -> Finite:
        values, missing = chunk.columns[column], chunk.missing.get(column)
        if missing is None and len(values):
            low, high = values.min(), values.max()
            if low >= -HUGE and high <= HUGE:  # NaN is neither
                return cls(values, np.ones(len(values), dtype=bool), True)
        there = np.isfinite(values)
        if missing is not None:
            there &= ~missing
        if np.abs(values).max(where=there, initial=0.0) > HUGE:
            values = np.clip(values, -HUGE, HUGE)
        return cls(values, there, bool(there.all()))


class Check:
    """Base of all checks: the class attributes are its catalogue entry.

    Attributes:
        slug: its name everywhere; equals the module's name with dashes.
        code: stable identifier, unique; severity: of its findings, unless one says otherwise.
        title: half a line for tables.
        follows: columns whose course it judges: ``loss``, ``grad_norm`` (scope ``run``).
    """

    slug: ClassVar[str]
    code: ClassVar[str]
    title: ClassVar[str]
    scope: ClassVar[Scope] = "rank"
    severity: ClassVar[Severity] = Severity.error
    needs_contract: ClassVar[bool] = False
    follows: ClassVar[tuple[str, ...]] = ()

    def __init__(self, context: Context):
        self.context = context

    @classmethod
    def cannot(cls, context: Context) -> str:
        """Why this check cannot run at all here; empty when it can."""
        if cls.needs_contract and context.contract is None:
            return "no contract was given"
        return ""

    def update(self, batch: Batch) -> None:
        """Take in rows of one worker (scopes ``rank`` and ``run``)."""

    def follow(self, part: Part) -> None:
        """Take in the newest rows of a column that it follows."""

    def aligned(self, rows: Aligned) -> None:
        """Take in rows of all workers side by side (scope ``aligned``)."""

    def event(self, event: Event) -> None:
        """Take in what happened between rows."""

    def damage(self, damage: Damage) -> None:
        """Take in a place that could not be read (scope ``run``)."""

    def findings(self) -> list[Finding]:
        """What has been found so far."""
        return []

    def finish(self) -> None:
        """No more rows will come."""

    def not_checked(self) -> str:
        """After the rows: why nothing could be checked after all; empty when something was."""
        return ""

    def ran(self) -> bool:
        """Whether anything could be checked."""
        return not self.not_checked()

    def state(self) -> dict[str, Any]:
        """The check's bounded state as plain data that JSON can hold, for carrying it over a restart."""
        return {k: pack(v) for k, v in vars(self).items() if k != "context"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that ``state()`` gave. Raises LrwatchError: it is none."""
        vars(self).update({k: unpack(v) for k, v in state.items()})

    def finding(self, message: str, **fields: Any) -> Finding:
        """A finding of this check; ``rank`` defaults to the worker this instance watches."""
        fields.setdefault("rank", self.context.rank)
        fields.setdefault("severity", self.severity)
        return Finding(code=self.code, slug=self.slug, message=message, **fields)


def conventions(contract: Contract | None, chunk: Chunk) -> Sequence[int]:
    """Offsets on the clock that this trace's way of logging leaves possible (see ``Chunk.lr_read``)."""
    if chunk.lr_read != "unknown" or contract is None or contract.clock.axis not in ("update", "attempt"):
        return (0,)
    return (0, contract.clock.ticks, -contract.clock.ticks)


def best(wrong: Mapping[int, int]) -> tuple[int, ...]:
    """Conventions by the number of rows that are wrong under them, fewest first; 0 where it is as good as any."""
    return tuple(sorted(wrong, key=lambda shift: (wrong[shift], abs(shift), shift)))


def split(column: str) -> tuple[str, str | None, str | None]:
    """``lr/adam/head`` → (``lr``, ``adam``, ``head``); ``lr/head`` → (``lr``, None, ``head``); ``loss`` → …, None."""
    signal, _, rest = column.partition("/")
    optimizer, _, group = rest.rpartition("/")
    return signal, optimizer or None, group or None


def located(chunk: Chunk, row: int | np.integer[Any]) -> tuple[str, int | None]:
    """File and line of a row; no line where the source has none."""
    lines = chunk.columns.get("line")
    return chunk.source, None if lines is None or not chunk.present("line")[row] else int(lines[row])


def rows_that(count: int, one: str, many: str) -> str:
    """``1 row differs``, ``12 rows differ``."""
    return f"1 row {one}" if count == 1 else f"{count} rows {many}"


@dataclass
class Span:
    """First and last row of a repeated symptom, and how often it was seen."""

    first: int
    last: int
    count: int = 1
    worst: float = 0.0
    worst_at: int = 0

    def extend(self, steps: NDArray[Any], size: FloatArray | None = None) -> None:
        """Take in more affected steps (increasing in reading order) and how badly each was off."""
        self.last = int(steps[-1])
        self.count += len(steps)
        if size is not None and len(size):
            i = int(np.argmax(size))
            if size[i] > self.worst:
                self.worst, self.worst_at = float(size[i]), int(steps[i])

    @classmethod
    def of(cls, steps: NDArray[Any], size: FloatArray | None = None) -> Span:
        span = cls(int(steps[0]), int(steps[0]), count=0)
        span.extend(steps, size)
        return span
