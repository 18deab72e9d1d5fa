"""What a diagnosis starts from, and what it proposes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.curve import Curve
from lrwatch.diagnosis.evidence import FIELDS
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import Precision


@dataclass(frozen=True)
class Facts:
    """Numbers of the run that can own a factor; None where nobody recorded them."""

    world: int | None = None
    accumulate: int | None = None
    steps_per_epoch: int | None = None
    scheduler: str | None = None
    recursive: bool | None = None

    def owners(self) -> dict[str, int]:
        """What a whole factor may be equal to, by name."""
        known = {
            "world size": self.world,
            "accumulation": self.accumulate,
            "batches per epoch": self.steps_per_epoch,
        }
        return {name: value for name, value in known.items() if value and value > 1}


@dataclass(frozen=True)
class Rows:
    """Rows of one segment of one worker, each field float64[n].

    ``t`` is the position whose value the row shows; ``sched`` and ``attempt`` are NaN where they were not recorded.
    """

    t: FloatArray
    update: FloatArray
    observed: FloatArray
    absolute: FloatArray
    relative: FloatArray
    digits: FloatArray
    sched: FloatArray
    attempt: FloatArray

    @classmethod
    def of(cls, kept: FloatArray) -> Rows:
        return cls(*(kept[:, FIELDS.index(f.name)] for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.t)

    def allowed(self, expected: FloatArray) -> FloatArray:
        """How far the rows may be from these values and still be equal to them, float64[n]."""
        return Precision(self.relative, self.absolute, self.digits).allowed(expected)

    def match(self, expected: FloatArray) -> NDArray[np.bool_]:
        """bool[n]: the observed value is equal to the expected one within its precision."""
        return np.asarray(np.abs(self.observed - expected) <= self.allowed(expected))

    def resolution(self) -> float:
        """Relative uncertainty of a typical row."""
        size = np.abs(self.observed)
        rows = size > 0.05 * np.max(size, initial=0.0)
        return float(np.median(self.allowed(self.observed)[rows] / size[rows])) if rows.any() else 0.0

    def shifted(self, by: int) -> Rows:
        """The rows with positions moved by a reading convention (see ``Chunk.lr_read``)."""
        return replace(self, t=self.t + by) if by else self

    def thin(self, n: int) -> Rows:
        """At most ``n`` of the rows, evenly spread, for searching."""
        if len(self) <= n:
            return self
        pick = np.unique(np.linspace(0, len(self) - 1, n).astype(int))
        return Rows(*(getattr(self, f.name)[pick] for f in fields(self)))


@dataclass(frozen=True)
class Place:
    """Where a deviation shows and where it does not, which decides between a bug of the run, a worker and a group.

    Attributes:
        rank_alone: most other workers keep the promise; apart: at least one does.
        group_alone: another group of the same worker keeps it; drifting: groups that differ, on this worker.
        stale: the worker recorded another contract than the others.
        companion: it is not the learning rate, and the worker's learning rates keep the promise.
        since_resume: the rows before the resume keep the promise, so the resume is what went wrong.
    """

    rank_alone: bool = False
    apart: bool = False
    companion: bool = False
    group_alone: bool = False
    stale: bool = False
    drifting: frozenset[str] = frozenset()
    since_resume: bool = False


@dataclass(frozen=True)
class Case:
    """One curve of one worker in one segment that differs from its promise.

    Attributes:
        rows: kept rows of the segment, the agreeing ones too.
        first_bad: clock position of the first that differs.
        resumed_at: clock position at which the segment began, None for the first segment.
        siblings: the curves of the worker's other groups, by name.
    """

    curve: Curve
    rows: Rows
    first_bad: float
    facts: Facts = Facts()
    resumed_at: float | None = None
    siblings: Mapping[str, Curve] = field(default_factory=lambda: MappingProxyType({}))
    place: Place = Place()

    @property
    def expected(self) -> FloatArray:
        return self.curve.at(self.rows.t)

    @property
    def deviation(self) -> float:
        """Sum of |O - E| over the rows."""
        return float(np.sum(np.abs(self.rows.observed - self.expected)))


@dataclass(frozen=True)
class Hypothesis:
    """A transform of the expected curve with its parameters.

    Attributes:
        name: the cause it would establish. params: fitted numbers, shown to the user.
        predict: rows → value, float64[n]. position: rows → where the scheduler would stand, float64[n]; None when the
            transform says nothing about stepping: then it would stand at t.
        parts: the two bugs that it is made of, where it is two.
    """

    name: str
    params: Mapping[str, Any]
    predict: Callable[[Rows], FloatArray]
    position: Callable[[Rows], FloatArray] | None = None
    notes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    parts: tuple[Hypothesis, ...] = ()

    def fits(self, rows: Rows) -> bool:
        """Whether every row is reproduced within its tolerance."""
        return bool(np.all(rows.match(self.predict(rows))))

    def agrees_with_counters(self, rows: Rows) -> bool:
        """Whether the recorded positions of the scheduler, if there are any, are what it says."""
        known = np.isfinite(rows.sched)
        if not known.any():
            return True
        where = self.position(rows) if self.position is not None else rows.t
        return bool(np.all(np.abs(where[known] - rows.sched[known]) < 0.5))

    def residual(self, rows: Rows) -> float:
        """Sum of |O - predicted| over the rows."""
        return float(np.sum(np.abs(rows.observed - self.predict(rows))))
