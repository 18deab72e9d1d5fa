"""The learning rate differs from what the contract promises.

What it checks
    For every recorded row, group and signal of the contract: |O - E| within the tolerance, where O is the value
    that the update used and E the contract's value at the row's position on the contract's clock. Rows whose
    update was skipped by a loss scaler are excepted: no update used their value. Where a trace does not say when
    the value was read or whether steps count from 0 or 1, the conventions that remain possible are all tried, and
    the one that fits is reported as an assumption.

Why it matters
    A schedule that runs too fast, too slow, from the wrong place or to the wrong floor rarely crashes: the run
    finishes with a worse model, and the loss curve alone does not say why.

Example
    drift: group 0 used 2.4e-04 at step 31 where the contract says 1.5e-04.

Fix
    The cause names the bug where it can be told. Without one, compare the two curves in the report from the first
    bad step on.

Source
    Catalogue of real schedule bugs in the documentation; tolerance: torch's own recursive schedulers stay within
    2e-12 of the closed form over a million steps in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks.base import Batch, Check, Context, Span, best, conventions, located, split
from lrwatch.curve import Curve
from lrwatch.findings import Finding
from lrwatch.schedules.base import FloatArray


@dataclass
class Track:
    """Deviations of one column in one segment under one reading convention."""

    bad: Span | None = None
    rows: int = 0
    last_step: int = -1
    first_observed: float = 0.0
    first_expected: float = 0.0
    place: tuple[str, int | None] = ("", None)
    """File and line of the first wrong row, where the source has lines."""

    def take(
        self,
        steps: NDArray[Any],
        observed: FloatArray,
        expected: FloatArray,
        away: FloatArray,
        wrong: NDArray[np.bool_],
    ) -> bool:
        """Take in rows: their updates, values, expectations, the distance of these, and bool[n] which are out of
        tolerance. True: the first wrong one of all is among them."""
        self.rows += len(steps)
        self.last_step = int(steps[-1])
        if not wrong.any():
            return False
        where = np.flatnonzero(wrong)
        size = away[where]
        if self.bad is None:
            self.bad = Span.of(steps[where], size)
            self.first_observed, self.first_expected = float(observed[where[0]]), float(expected[where[0]])
            return True
        self.bad.extend(steps[where], size)
        return False


@dataclass
class Column:
    """One column of one worker: a track per segment and convention."""

    peak: float
    tracks: dict[tuple[int, int], Track] = field(default_factory=dict)

    def shifts(self) -> tuple[int, ...]:
        """The conventions tried, the one with the fewest deviations first, 0 if it is as good as any."""
        totals: dict[int, int] = {}
        for (_, shift), track in self.tracks.items():
            totals[shift] = totals.get(shift, 0) + (track.bad.count if track.bad else 0)
        return best(totals)

    def shift(self) -> int:
        """The convention that fits best."""
        return self.shifts()[0]


def _moved(curve: Curve, t: FloatArray, expected: FloatArray, shift: int) -> FloatArray:
    """The curve at ``t + shift``, float64[n]; where rows are that far apart, a neighbour's value at ``t``."""
    if not (t[1:] - t[:-1] == abs(shift)).all():
        return curve.at(t + shift)
    if shift > 0:
        return np.concatenate([expected[1:], curve.at(t[-1:] + shift)])
    return np.concatenate([curve.at(t[:1] + shift), expected[:-1]])


class Drift(Check):
    slug = "drift"
    code = "LR101"
    title = "learning rate differs from the contract"
    needs_contract = True

    def __init__(self, context: Context):
        super().__init__(context)
        self.columns: dict[str, Column] = {}
        self.gaps: dict[str, None] = {}

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        if not chunk.origin_known:
            self.gaps[f"segment {chunk.segment}: nobody knows at which update it started; pass start_step"] = None
            return
        if batch.t is None:
            self.gaps[batch.why_no_t] = None
            return
        for name, expected in batch.expected.items():
            if name not in chunk.columns:
                continue
            used = batch.finite(name).there
            if "skipped" in chunk.columns:
                used = used & (chunk.columns["skipped"] == 0)
            if not used.any():
                continue
            rows: Any = slice(None) if used.all() else used
            if name not in self.columns:
                self.columns[name] = Column(batch.curves[name].peak())
            column = self.columns[name]
            for shift in conventions(self.context.contract, chunk):
                value = expected if shift == 0 else _moved(batch.curves[name], batch.t, expected, shift)
                allowed = batch.allowed[name] if shift == 0 else batch.precision[name].allowed(value)
                self._compare(column, batch, name, value, allowed, shift, rows)

    def _compare(
        self,
        column: Column,
        batch: Batch,
        name: str,
        expected: FloatArray,
        allowed: FloatArray,
        shift: int,
        rows: Any,
    ) -> None:
        chunk = batch.chunk
        observed = chunk.columns[name][rows]
        away = observed - expected[rows]
        wrong = np.abs(away, out=away) > allowed[rows]
        track = column.tracks.setdefault((chunk.segment, shift), Track())
        if track.take(chunk.columns["update"][rows], observed, expected[rows], away, wrong):
            track.place = located(chunk, np.arange(len(chunk))[rows][np.argmax(wrong)])

    def findings(self) -> list[Finding]:
        return [
            self._finding(name, segment, track, column)
            for name, column in self.columns.items()
            for (segment, shift), track in column.tracks.items()
            if track.bad is not None and shift == column.shift()
        ]

    def _finding(self, name: str, segment: int, track: Track, column: Column) -> Finding:
        bad = track.bad
        assert bad is not None
        signal, optimizer, group = split(name)
        last = max(s for s, _ in column.tracks)
        size = f"{bad.worst / column.peak:.2%} of the peak" if column.peak else f"{bad.worst:.6g}"
        called = f"{optimizer}/{group}" if optimizer else group
        return self.finding(
            f"group {called} used {track.first_observed:.6g} at step {bad.first} where the contract says "
            f"{track.first_expected:.6g}; {bad.count} of {track.rows} rows differ, by up to {size}",
            signal=signal,
            optimizer=optimizer,
            group=group,
            first_step=bad.first,
            last_step=bad.last,
            state="active" if bad.last == track.last_step and segment == last else "resolved",
            details={
                "column": name,
                "segment": segment,
                "rows": track.rows,
                "bad_rows": bad.count,
                "worst": bad.worst,
                "worst_step": bad.worst_at,
                "shifts": column.shifts(),
                "file": track.place[0],
                "line": track.place[1],
            },
        )

    def assumed(self) -> list[str]:
        """What had to be assumed about the trace's conventions for it to agree with the contract."""
        shifts = {np.sign(c.shift()) for c in self.columns.values() if len({s for _, s in c.tracks}) > 1}
        words = {
            1: "the learning rate was taken as read after scheduler.step() (or steps as counted from one less)",
            -1: "steps were taken as counted from 1",
            0: "the learning rate was taken as read before scheduler.step(), steps as counted from 0",
        }
        if not shifts:
            return []
        return [words[s] for s in sorted(shifts)] + [
            "an offset of one step cannot be told from these conventions: state them with --lr-read and --first-step"
        ]

    def ran(self) -> bool:
        return bool(self.columns)

    def not_checked(self) -> str:
        if self.gaps:
            return "; ".join(self.gaps)
        return "" if self.columns else "the trace has no column of a signal that the contract promises"


CHECK = Drift
