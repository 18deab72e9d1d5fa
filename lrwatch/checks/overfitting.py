"""The validation metric gets worse while the training loss still gets better.

What it checks
    The last 4 validations against the best one before them: all are worse by more than 4 standard deviations of the
    metric's own noise and by more than a tenth of its progress since the first, and the training loss (levels, see
    ``divergence``) has meanwhile fallen by a twentieth of its progress and beyond its own noise. After a warm restart
    both get worse together; that is not overfitting. Excepted: the first 7 validations.

Why it matters
    From the best validation on every step makes the model worse at what it is for; the checkpoint to keep is that one.

Example
    overfitting: val_loss is 0.84 at step 6000, best 0.61 at step 2400, while the training loss fell from 0.43 to 0.11.

Fix
    Keep the checkpoint of the best step. Stop early, use more data or augmentation, more weight decay or dropout.

Source
    Prechelt, Early Stopping, but When?, 1998.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks._levels import LAST, LEVEL, SPREAD
from lrwatch.checks._statistics import middle
from lrwatch.checks._validations import UPDATE, VALUE, Validating
from lrwatch.checks.base import Context
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Event

EARLY = 8
"""Validations without which neither noise nor progress of the metric is known."""
WORSE = 4
"""Validations in a row that must all be worse than the best."""
NOISE = 4.0
"""… by so many standard deviations."""
SHARE, TRAINING_SHARE = 0.1, 0.05
"""… and by this share of the progress, while the training loss went the other way by that share of its own."""
OVER = 0.5
"""It is over when a validation is back within half of that: one that wavers does not come and go."""
ERRORS = 2.4
"""Spreads of a row, over the root of the number of levels: four standard errors of the difference of two medians."""
STRETCH = 10
"""A training level is the median of a tenth of the run before the step."""


class Overfitting(Validating):
    slug = "overfitting"
    code = "LR312"
    title = "validation worsens while training improves"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.lately: list[float] = []
        self.first = self.last = -1
        self.active = False
        self.message = ""

    def validated(self, event: Event, value: float) -> None:
        v = self.validations
        if v.best is None or v.first is None:
            return
        best = float(v.best[VALUE])
        self.lately = [] if value <= best else [*self.lately, value][-WORSE:]
        if v.count < EARLY:
            return
        worse = max(NOISE * v.noise(), SHARE * (float(v.first[VALUE]) - best))
        then, now = self._training(float(v.best[UPDATE])), self._training(np.inf)
        if self.active:
            self.active = value > best + OVER * worse
        else:
            self.active = len(self.lately) == WORSE and min(self.lately) >= best + worse and self._improves(then, now)
        if not self.active:
            return
        self.first = int(v.best[UPDATE]) if self.first < 0 else self.first
        self.last = event.update
        self.message = (
            f"{v.metric} is {v.shown(value)} at step {event.update}, best {v.shown(best)} at step "
            f"{v.best[UPDATE]:.0f}, while the training loss fell from {then:.4g} to {now:.4g}"
        )

    def _improves(self, then: float, now: float) -> bool:
        """Whether the training loss fell from ``then`` to ``now``."""
        start, spreads = self.levels.start, self.levels.cells[SPREAD]
        error = max(1.0, ERRORS / np.sqrt(max(len(spreads) // STRETCH, 1))) * middle(spreads)
        return start is not None and then - now > max(TRAINING_SHARE * (start - now), error)

    def _training(self, step: float) -> float:
        """Level of the training loss up to a step, NaN where nobody knows."""
        cells = self.levels.cells
        before = np.flatnonzero(cells[LAST] <= step)
        stretch = max(cells.shape[1] // STRETCH, 1)
        return middle(cells[LEVEL, before[-stretch:]]) if len(before) else np.nan

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        return [
            self.finding(
                self.message,
                signal=self.validations.metric,
                rank=self.validations.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.active else "resolved",
                fix="keep the checkpoint of the best step; stop early, or use more data or regularisation",
            )
        ]

    def not_checked(self) -> str:
        if not self.training:
            return "the trace has no training loss"
        seen = self.validations.count
        return "" if seen >= EARLY else f"fewer than {EARLY} validations were recorded ({seen})"


CHECK = Overfitting
