"""Too many updates are skipped by the loss scaler.

What it checks
    Attempts that were not applied (``skipped``) among the last 256: a tenth of them or more is too many, 64 in a row
    are an error, for nothing is learned any more. Excepted: the first 64 attempts of a segment, in which a loss scaler
    finds its scale by trying; afterwards it skips about one in 2,000.

Why it matters
    Skipped updates cost time and teach nothing; a scheduler that counts attempts runs ahead of the training. A scale
    that keeps falling means that gradients are really infinite.

Example
    skipped-updates: 31 of 256 updates were skipped at step 5210 (12%).

Fix
    Train in bfloat16, or find what overflows in fp16: look at the gradient norm and the loss scale before the first
    skipped update. A scale that falls below 1 is a real infinity, not a matter of range.

Source
    Micikevicius et al., Mixed Precision Training, 2018; torch.amp.GradScaler: growth_interval 2000.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks._statistics import runs
from lrwatch.checks.base import Batch, Check, Context
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

WINDOW = 256
"""Attempts that a rate is taken over."""
MOST = 26
"""Skipped ones among them: a tenth; even a growth interval of 50 makes only 5."""
OVER = 0.5
"""It is over when less than half as many are skipped: a rate around a tenth does not come and go."""
EARLY = 64
"""Attempts of a segment in which the scale is still being found."""
STANDSTILL = 64
"""In a row: a scale of 2¹⁶ is below 2⁻⁴⁸ by then."""


class SkippedUpdates(Check):
    slug = "skipped-updates"
    code = "LR314"
    title = "too many updates skipped by the loss scaler"
    scope = "run"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.segment = -1
        self.attempts = 0
        self.tail = np.zeros(0)
        """The last ``WINDOW`` - 1 attempts of this segment, 1 where skipped; the first 64 do not count."""
        self.row = 0
        self.first = self.last = self.end = -1
        self.worst, self.worst_at = 0, -1
        self.longest = 0

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        if "skipped" not in chunk.columns or self.rank not in (None, chunk.rank):
            return
        self.rank = chunk.rank
        if chunk.segment != self.segment:
            self.segment, self.attempts, self.tail, self.row = chunk.segment, 0, np.zeros(0), 0
        skipped = (chunk.columns["skipped"] == 1).astype(np.float64)
        early = max(EARLY - self.attempts, 0)
        skipped[:early] = 0.0
        self.attempts += len(skipped)
        self.end = int(chunk.columns["update"][-1])
        if not skipped.any() and not self.tail.any():
            self.tail = np.concatenate([self.tail, skipped])[-(WINDOW - 1) :]
            self.row = 0
            return
        self._take(skipped, chunk.columns["update"])

    def _take(self, skipped: FloatArray, updates: FloatArray) -> None:
        known = len(self.tail)
        total = np.cumsum(np.concatenate([[0.0], self.tail, skipped]))
        end = known + 1 + np.arange(len(skipped))
        many = total[end] - total[np.maximum(end - WINDOW, 0)]
        row = runs(skipped == 1, self.row)
        self.tail, self.row = np.concatenate([self.tail, skipped])[-(WINDOW - 1) :], int(row[-1])
        self.longest = max(self.longest, int(row.max()))
        odd = np.flatnonzero((many >= MOST) & (skipped == 1))
        if not len(odd):
            return
        if self.first < 0:
            self.first = int(updates[odd[0]])
        self.last = int(updates[odd[-1]])
        most = int(odd[np.argmax(many[odd])])
        if many[most] > self.worst:
            self.worst, self.worst_at = int(many[most]), int(updates[most])

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        stands = self.row >= STANDSTILL
        still = f"; none of the last {self.row} attempts was applied" if stands else ""
        return [
            self.finding(
                f"{self.worst} of {WINDOW} updates were skipped at step {self.worst_at} "
                f"({self.worst / WINDOW:.0%}){still}",
                severity=Severity.error if stands else Severity.warning,
                signal="grad_norm",
                rank=self.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if float(self.tail.sum()) >= OVER * MOST or stands else "resolved",
                fix="train in bfloat16, or find what overflows: look at the gradient norm before the first one",
            )
        ]

    def not_checked(self) -> str:
        if self.rank is None:
            return "the trace does not record skipped updates (no loss scaler)"
        return "" if self.attempts > EARLY else f"fewer than {EARLY} attempts: a loss scaler still finds its scale"


CHECK = SkippedUpdates
