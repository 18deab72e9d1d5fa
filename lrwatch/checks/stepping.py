"""The scheduler was not stepped once per unit of the contract's clock.

What it checks
    Where the trace records the scheduler's own position (``sched``: torch's ``scheduler.last_epoch``), it must equal
    the row's position on the contract's clock. No curve is fitted: the counters are compared as they are, so the
    fault shows even on a constant schedule, where the learning rate cannot reveal it. Where a trace does not say when
    it was read or whether steps count from 0 or 1, a constant offset of one is no fault.

Why it matters
    Stepping once per worker, per micro-batch, twice, or never is the most common schedule bug. On a constant
    stretch it is invisible until the stretch ends.

Example
    stepping: at step 10 the scheduler stood at 40 where the contract's clock says 10.

Fix
    Call ``scheduler.step()`` once after each ``optimizer.step()``, on every worker, and let only one place own it.

Source
    accelerate #2926 and Lightning #9771, among others; see the catalogue in the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lrwatch.checks.base import Batch, Check, Context, Span, best, conventions, located, rows_that
from lrwatch.findings import Finding


@dataclass
class Track:
    """Positions in one segment under one reading convention: the last row, and the wrong ones."""

    last: int = -1
    bad: Span | None = None
    seen: int = 0
    due: int = 0
    place: tuple[str, int | None] = ("", None)


class Stepping(Check):
    slug = "stepping"
    code = "LR102"
    title = "scheduler stepped the wrong number of times"
    needs_contract = True

    def __init__(self, context: Context):
        super().__init__(context)
        self.tracks: dict[tuple[int, int], Track] = {}
        """(segment, convention) → what was seen."""
        self.rows = 0
        self.gaps: dict[str, None] = {}

    @classmethod
    def cannot(cls, context: Context) -> str:
        if why := super().cannot(context):
            return why
        assert context.contract is not None
        if context.contract.clock.axis not in ("update", "attempt", "epoch"):
            return f"a scheduler does not count {context.contract.clock.axis}s"
        return ""

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        if "sched" not in chunk.columns or any(c.stateful for c in batch.curves.values()):
            return
        if batch.t is None or not chunk.origin_known:
            self.gaps["the position on the contract's clock is not known"] = None
            return
        rows = chunk.present("sched")
        if "skipped" in chunk.columns:
            rows &= chunk.columns["skipped"] == 0
        if not rows.any():
            return
        some: Any = slice(None) if rows.all() else rows
        seen, due, steps = chunk.columns["sched"][some], batch.t[some], chunk.columns["update"][some]
        self.rows += len(steps)
        for shift in conventions(self.context.contract, chunk):
            track = self.tracks.setdefault((chunk.segment, shift), Track())
            track.last = int(steps[-1])
            off = seen != (due + shift if shift else due)
            if not off.any():
                continue
            wrong = np.flatnonzero(off)
            size = np.abs(seen[wrong] - due[wrong] - shift)
            if track.bad is not None:
                track.bad.extend(steps[wrong], size)
            else:
                track.bad = Span.of(steps[wrong], size)
                track.place = located(chunk, np.flatnonzero(rows)[wrong[0]])
                track.seen, track.due = int(seen[wrong[0]]), int(due[wrong[0]] + shift)

    def findings(self) -> list[Finding]:
        wrong: dict[int, int] = {}
        for (_, shift), track in self.tracks.items():
            wrong[shift] = wrong.get(shift, 0) + (track.bad.count if track.bad else 0)
        newest = max((segment for segment, _ in self.tracks), default=0)
        return [
            self.finding(
                f"at step {track.bad.first} the scheduler stood at {track.seen} where the contract's clock "
                f"says {track.due}; {rows_that(track.bad.count, 'differs', 'differ')}, by up to {track.bad.worst:.0f}",
                signal="lr",
                first_step=track.bad.first,
                last_step=track.bad.last,
                state="active" if track.bad.last == track.last and segment == newest else "resolved",
                details={
                    "column": "sched",
                    "segment": segment,
                    "file": track.place[0],
                    "line": track.place[1],
                },
            )
            for (segment, shift), track in self.tracks.items()
            if track.bad is not None and shift == best(wrong)[0]
        ]

    def not_checked(self) -> str:
        if self.gaps:
            return "; ".join(self.gaps)
        return "" if self.rows else "the trace does not record the scheduler's position (`sched`)"


CHECK = Stepping
