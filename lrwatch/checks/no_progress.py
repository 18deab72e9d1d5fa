"""The loss has not moved since the start although the learning rate is not zero.

What it checks
    Levels of the training loss over the whole run, once 500 rows and a fifth of the schedule are over (2,000 rows where
    no horizon is known). The loss counts as flat when the second half is certainly (4 standard errors) within 1 % of
    the first fifth, and the very first rows were no higher either; then until it is not. A loss that fell and then
    stays where it is, as in fine-tuning, has made progress and is not reported; nor is one too noisy to tell. Excepted:
    traces that begin in mid-run, stretches at less than a third of the peak learning rate, and contracts whose goal is
    reached.

Why it matters
    A model that has learned nothing in a fifth of its run will learn nothing in the rest: labels shuffled, parameters
    not given to the optimizer, a learning rate that is far too small or has killed the units at once.

Example
    no-progress: the loss is 2.303 at step 4000 as it was at the start, with learning rates up to 0.0003.

Fix
    Overfit a single batch first. Check that the optimizer holds the model's parameters, that the labels belong to the
    inputs, and try ten times the learning rate and a tenth of it.

Source
    Karpathy, A Recipe for Training Neural Networks, 2019.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks._levels import CELL, FIRST, LAST, LEVEL, LR, SHARE, Step
from lrwatch.checks._statistics import middle
from lrwatch.checks.base import Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

ROWS = 500
"""Rows after which a first judgement is made …"""
ROWS_UNPLANNED = 2000
"""… where nobody knows how long the run will be."""
SHARE_OVER = 0.2
"""Of the schedule."""
FLAT = 0.01
"""Share of the loss within which it must have stayed."""
ERRORS = 4.0
"""Standard errors: the means are of 8 and of 4 stretches, so that slow wandering is in them."""
FIRST_ROWS = 3.0
"""Spreads of a row by which the first rows may be above the rest: a quick fall is progress, too."""
BEGIN = 0.02
"""A trace that begins after this share of its last update (and after step 100) begins in mid-run."""
RATE = 1 / 3
"""Of the peak: at less than it not much is expected to happen."""


class NoProgress(Check):
    slug = "no-progress"
    code = "LR311"
    title = "loss has not moved since the start"
    scope = "run"
    follows = ("loss",)
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.head = np.empty(0)
        self.first = self.last = -1
        self.level = self.rate = np.nan
        self.flat = False
        self.judged = False

    def follow(self, part: Part) -> None:
        self.rank = part.rank
        if len(self.head) < 3:
            self.head = np.concatenate([self.head, part.rows.values[: 3 - len(self.head)]])
        for step in part.steps:
            if step.turn:
                self._judge(step)

    def _judge(self, step: Step) -> None:
        cells = step.cells
        n, share = cells.shape[1], float(cells[SHARE, -1])
        rows = n * step.size * CELL
        if rows < ROWS or (rows < ROWS_UNPLANNED if share != share else share < SHARE_OVER):
            return
        if cells[FIRST, 0] > max(BEGIN * cells[LAST, -1], 100.0):
            return
        lr = cells[LR]
        if not lr.max() > 0 or middle((lr >= RATE * lr.max()).astype(np.float64)) < 1.0:
            return
        self.judged = True
        self.flat = self._is_flat(cells[LEVEL], step.spread, step.start or 0.0)
        if self.flat:
            if self.first < 0:
                self.first = int(cells[FIRST, 0])
            self.last = int(cells[LAST, -1])
            self.level, self.rate = float(cells[LEVEL, n // 2 :].mean()), float(lr.max())

    def _is_flat(self, levels: FloatArray, spread: float, start: float) -> bool:
        n = len(levels)
        early, early_error = _mean(levels[: n // 5], 4)
        late, late_error = _mean(levels[n // 2 :], 8)
        error = 0.0 if self.flat else ERRORS * float(np.hypot(early_error, late_error))  # no coming and going
        if abs(early - late) + error > FLAT * abs(late):
            return False
        return max(start, middle(self.head)) - late <= max(FLAT * abs(late), FIRST_ROWS * spread)

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        return [
            self.finding(
                f"the loss is {self.level:.4g} at step {self.last} as it was at the start, with learning rates "
                f"up to {self.rate:.3g}",
                signal="loss",
                rank=self.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.flat else "resolved",
                fix="overfit a single batch first; check parameters, labels and the size of the learning rate",
            )
        ]

    def not_checked(self) -> str:
        if self.rank is None:
            return "the trace has no loss"
        return "" if self.judged else "too little of the run, or no learning rate, to tell whether the loss moves"


def _mean(levels: FloatArray, stretches: int) -> tuple[float, float]:
    """Mean and its standard error from the means of so many stretches."""
    means = np.array([part.mean() for part in np.array_split(levels, stretches)])
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(stretches))


CHECK = NoProgress
