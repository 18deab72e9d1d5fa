"""The scheduler was not stepped once per unit of the contract's clock.

What it checks
    Where the trace records the scheduler's own position (``sched``: torch's ``scheduler.last_epoch``), it must equal
    the row's position on the contract's clock. No curve is fitted: the counters are compared as they are, so the
    fault shows even on a constant schedule, where the learning rate cannot reveal it.

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

import numpy as np

from lrwatch.checks.base import Batch, Check, Context, Span
from lrwatch.findings import Finding


class Stepping(Check):
    slug = "stepping"
    code = "LR102"
    title = "scheduler stepped the wrong number of times"
    needs_contract = True

    def __init__(self, context: Context):
        super().__init__(context)
        self.spans: dict[int, Span] = {}
        self.firsts: dict[int, tuple[int, int]] = {}
        self.ends: dict[int, int] = {}
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
        seen, due = chunk.columns["sched"][rows].astype(np.float64), batch.t[rows]
        steps = chunk.columns["update"][rows]
        self.rows += len(steps)
        self.ends[chunk.segment] = int(steps[-1])
        wrong = np.flatnonzero(seen != due)
        if not len(wrong):
            return
        size = np.abs(seen - due)[wrong]
        if chunk.segment in self.spans:
            self.spans[chunk.segment].extend(steps[wrong], size)
        else:
            self.spans[chunk.segment] = Span.of(steps[wrong], size)
            self.firsts[chunk.segment] = (int(seen[wrong[0]]), int(due[wrong[0]]))

    def findings(self) -> list[Finding]:
        return [
            self.finding(
                f"at step {span.first} the scheduler stood at {self.firsts[segment][0]} where the contract's clock "
                f"says {self.firsts[segment][1]}; {span.count} rows differ, by up to {span.worst:.0f}",
                signal="lr",
                first_step=span.first,
                last_step=span.last,
                state="active" if span.last == self.ends[segment] else "resolved",
                details={"column": "sched", "segment": segment},
            )
            for segment, span in self.spans.items()
        ]

    def not_checked(self) -> str:
        if self.gaps:
            return "; ".join(self.gaps)
        return "" if self.rows else "the trace does not record the scheduler's position (`sched`)"


CHECK = Stepping
