"""The gradient norm fell to nearly nothing although the loss is not solved.

What it checks
    Levels of the gradient norm (medians of 8 rows) against the median level of the run so far: 32 rows in a row below a
    ten-thousandth of it, zero included, while the loss is still above a tenth of where it began. A model that has
    learned its data by heart has no gradient either; that is success, and not reported. Where no loss is recorded, only
    norms of exactly zero count. Excepted: the first 64 rows.

Why it matters
    Without a gradient nothing is learned any more: dead units, a detached graph, a loss scale that underflows, or a
    learning rate that has destroyed the model.

Example
    gradient-vanishing: the gradient norm fell from 0.52 to 3.1e-07 since step 812 while the loss is 2.3.

Fix
    Look at what changed at that step: frozen parameters, a loss that was detached, fp16 underflow (look at the loss
    scale), dead activations after a burst of the learning rate.

Source
    Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991; Pascanu, Mikolov and Bengio, 2013.
"""

from __future__ import annotations

import math

import numpy as np

from lrwatch.checks._levels import BESIDE, FIRST, LAST, LEVEL
from lrwatch.checks._series import TINY
from lrwatch.checks._statistics import middle, runs
from lrwatch.checks.base import Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

TIMES = math.log(1e4)
"""A fall in the logarithm: norms decay by 10 to 100 over a healthy run."""
HELD = 4
"""Levels in a row (32 rows)."""
EARLY = 8
"""Levels (64 rows) without which nothing is usual yet."""
SOLVED = 0.1
"""Share of the first loss at which the data is learned by heart."""


class GradientVanishing(Check):
    slug = "gradient-vanishing"
    code = "LR306"
    title = "gradient norm vanished"
    scope = "run"
    follows = ("grad_norm",)
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.start_loss = self.loss = np.nan
        self.usual = np.nan
        self.below = 0
        self.began = -1
        self.first = self.last = self.end = -1
        self.from_norm = self.to_norm = 0.0

    def follow(self, part: Part) -> None:
        self.rank = part.rank
        for step in part.steps:
            self._take(step.fresh)
            if step.turn and self.below == 0 and step.cells.shape[1] >= EARLY:
                self.usual = middle(step.cells[LEVEL])

    def _take(self, fresh: FloatArray) -> None:
        losses = fresh[BESIDE]
        if self.start_loss != self.start_loss:
            self.start_loss = float(losses[0])
        self.end, self.loss = int(fresh[LAST, -1]), float(losses[-1])
        if self.usual != self.usual:
            return
        if not self.below and float(fresh[LEVEL].min()) >= self.usual - TIMES:
            return
        unsolved = np.abs(losses) > SOLVED * abs(self.start_loss)
        if self.start_loss != self.start_loss:  # without a loss only exact zeros are evidence
            unsolved = fresh[LEVEL] < math.log(TINY) / 2
        long = runs((fresh[LEVEL] < self.usual - TIMES) & unsolved, self.below)
        held = np.flatnonzero(long >= HELD)
        if len(held):
            if self.first < 0:
                start = int(held[0]) + 1 - int(long[held[0]])
                self.first = self.began if start < 0 else int(fresh[FIRST, start])
                self.from_norm, self.to_norm = math.exp(self.usual), math.exp(float(fresh[LEVEL, held[0]]))
            self.last = int(fresh[LAST, held[-1]])
        self.below = int(long[-1])
        if 0 < self.below <= len(long):
            self.began = int(fresh[FIRST, len(long) - self.below])

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        norm = 0.0 if self.to_norm < 1e-200 else self.to_norm
        still = "" if self.start_loss != self.start_loss else f" while the loss is {self.loss:.4g}"
        return [
            self.finding(
                f"the gradient norm fell from {self.from_norm:.3g} to {norm:.3g} since step {self.first}{still}",
                signal="grad_norm",
                rank=self.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.last == self.end else "resolved",
                fix="look at what changed at that step: frozen parameters, a detached loss, fp16 underflow, dead units",
            )
        ]

    def not_checked(self) -> str:
        if self.rank is None:
            return "the trace has no gradient norm"
        return "" if self.usual == self.usual else "fewer than 64 rows with a gradient norm: nothing is usual yet"


CHECK = GradientVanishing
