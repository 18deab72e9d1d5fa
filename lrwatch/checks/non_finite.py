"""A loss, gradient norm or learning rate is NaN or infinite.

What it checks
    Every recorded value of ``loss``, ``grad_norm`` and the contract's signals. An infinite gradient norm on a row
    whose update was skipped is legal: that is how loss scaling finds its scale.

Why it matters
    After one applied update with a NaN gradient the weights are NaN for good; every later GPU-hour is lost.

Example
    non-finite: loss was nan at step 120; 80 of 200 rows.

Fix
    Go back to the last checkpoint before the first bad step, look at the batch of that step and at the gradient norm
    before it, then lower the learning rate, clip, or skip the batch.

Source
    PyTorch Automatic Mixed Precision documentation, on skipped steps.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks.base import Batch, Check, Context, Span, split
from lrwatch.findings import Finding
from lrwatch.trace.model import SIGNALS


class NonFinite(Check):
    slug = "non-finite"
    code = "LR301"
    title = "NaN or infinite loss, gradient norm or learning rate"

    def __init__(self, context: Context):
        super().__init__(context)
        self.spans: dict[str, Span] = {}
        self.firsts: dict[str, float] = {}
        self.rows: dict[str, int] = {}
        self.ends: dict[str, int] = {}

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        steps = chunk.columns["update"]
        for name in chunk.columns:
            if name not in ("loss", "grad_norm") and name.partition("/")[0] not in SIGNALS:
                continue
            values = chunk.columns[name]
            if batch.finite(name).all:
                self.rows[name] = self.rows.get(name, 0) + len(steps)
                self.ends[name] = int(steps[-1])
                continue
            present = chunk.present(name)
            if not present.any():
                continue
            self.rows[name] = self.rows.get(name, 0) + int(present.sum())
            self.ends[name] = int(steps[present][-1])
            bad = present & ~np.isfinite(values)
            if name == "grad_norm" and "skipped" in chunk.columns:
                bad &= chunk.columns["skipped"] == 0
            where = np.flatnonzero(bad)
            if not len(where):
                continue
            if name in self.spans:
                self.spans[name].extend(steps[where])
            else:
                self.spans[name] = Span.of(steps[where])
                self.firsts[name] = float(values[where[0]])

    def findings(self) -> list[Finding]:
        result = []
        for name, span in self.spans.items():
            signal, optimizer, group = split(name)
            word = f"{signal} of group {group}" if group else signal.replace("_", " ")
            result.append(
                self.finding(
                    f"{word} was {self.firsts[name]} at step {span.first}; {span.count} of {self.rows[name]} rows",
                    signal=signal,
                    optimizer=optimizer,
                    group=group,
                    first_step=span.first,
                    last_step=span.last,
                    state="active" if span.last == self.ends[name] else "resolved",
                    fix="go back to the last checkpoint before that step; look at its batch and its gradient norm",
                )
            )
        return result

    def not_checked(self) -> str:
        return "" if self.rows else "the trace has neither loss, gradient norm nor learning rate"


CHECK = NonFinite
