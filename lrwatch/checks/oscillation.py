"""The loss goes up and down with the warm restarts and gains nothing: they come too often.

What it checks
    For each of the last 8 cycles of about the same length (8 rows or more): how far the loss of the first half is above
    that of the last quarter, and where the cycle ends. Restarts are too frequent when these swings are all of one
    kind, on average more than a fifth of all progress so far and more than the noise of a row, while the cycles' ends
    got no better from the first four to the last four. It is over when they certainly did (3 standard errors), or the
    swings are half of that. Validations, two or more in each cycle, are judged the same way; what was gained before
    the first of them counts as progress, by the share of the training loss's own that was over by then. A healthy
    restart costs some loss, too, but its cycle ends lower than the one before.

Why it matters
    Every restart throws away what the last cycle gained: the run pays for the same progress again and again.

Example
    oscillation: since step 4800 every restart (each 600 steps) threw the loss back by 0.71, and nothing was gained.

Fix
    Lengthen the cycles (``period``), let them grow (``multiply: 2``), or lower the peaks (``decay``).

Source
    Failure mode "oscillating metrics: restarts too frequent; increase cycle length"; Loshchilov and Hutter, 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrwatch.checks._levels import CELL, LEVEL, NO_ROWS, Levels, Rows
from lrwatch.checks._statistics import middle
from lrwatch.checks._validations import VALUE, Validations
from lrwatch.checks.base import Batch, Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.model import Event

CYCLES = 8
"""Cycles that are looked at together: fewer also agree by chance."""
ALIKE = 1.5
"""Longest over shortest of them: where cycles grow, each is given more time than the one before."""
SHORTEST = 8
"""Rows of a cycle; in fewer, half of it and a quarter of it cannot be told apart."""
WHOLE = 64
"""Rows of a cycle up to which its rows themselves are used; of longer ones, levels."""
SWING = 0.2
"""Share of the progress that a restart costs; the ordinary bump is a tenth or less."""
ONE_KIND = 2.5
"""Mean of the swings over their standard deviation: with 8 of noise alone, 1 in 10⁴ reaches it."""
GAINED = 0.1
"""Share of a swing by which the later ends must be lower to count as gain."""
ERRORS = 3.0
"""Standard errors by which they must be lower still for an oscillation to be over: noise does not end it …"""
OVER = 0.5
"""… nor do swings that fall short, before they are half of what opened it."""

# rows of ``Cycles.known``
BEGIN, LENGTH, UP, END = range(4)


@dataclass
class Cycles:
    """The last cycles of one series.

    Attributes:
        known: float64[4, n ≤ 8]: first step, length in steps, swing, end. start: where the series began; before: share
            of the run's progress that was over by then. noise: of single values. best: the lowest end.
        first, last: steps of the finding; first < 0 without one.
        active: the newest cycle belongs to it. swing, length: of the newest finding, means.
    """

    known: FloatArray = field(default_factory=lambda: np.empty((4, 0)))
    start: float = np.nan
    before: float = 0.0
    noise: float = 0.0
    best: float = np.inf
    first: int = -1
    last: int = -1
    active: bool = False
    swing: float = 0.0
    length: float = 0.0

    def add(self, begin: int, end: int, values: FloatArray) -> None:
        """A cycle is over: its values, float64[n ≥ 2], in order."""
        high, low = values[: max(len(values) // 2, 1)].mean(), values[-max(len(values) // 4, 1) :].mean()
        newest = [[begin], [end - begin], [high - low], [low]]
        self.known = np.concatenate([self.known, newest], axis=1)[:, -CYCLES:]
        self.best = min(self.best, float(low))
        self.active = self.known.shape[1] == CYCLES and self._wasted()
        if self.active:
            self.first = int(self.known[BEGIN, 0]) if self.first < 0 else self.first
            self.last = end - 1
            self.swing, self.length = float(self.known[UP].mean()), float(self.known[LENGTH].mean())

    def progress(self) -> float:
        """Since the run began, infinite where all of it was made before the series began."""
        left = 1.0 - self.before
        return (self.start - self.best) / left if left > 0 else np.inf

    def _wasted(self) -> bool:
        swings, ends, lengths = self.known[UP], self.known[END], self.known[LENGTH]
        if lengths.max() > ALIKE * lengths.min() or (swings.min() <= 0 and not self.active):
            return False
        swing, least = float(swings.mean()), OVER if self.active else 1.0
        if swing < least * ONE_KIND * swings.std(ddof=1) or swing < least * max(SWING * self.progress(), self.noise):
            return False
        early, late = ends[: CYCLES // 2], ends[CYCLES // 2 :]
        error = float(np.hypot(early.std(ddof=1), late.std(ddof=1))) / np.sqrt(CYCLES // 2) if self.active else 0.0
        return bool(early.mean() - late.mean() < GAINED * swing + ERRORS * error)


class Oscillation(Check):
    slug = "oscillation"
    code = "LR309"
    title = "restarts too frequent: loss swings and gains nothing"
    scope = "run"
    follows = ("loss",)
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.cycles = Cycles()
        self.begin = -1
        self.rows = NO_ROWS
        """The rows of the cycle that lasts, up to a few more than ``WHOLE``; of a longer one, ``levels`` has all."""
        self.levels: Levels | None = None
        self.validations = Validations()
        self.validated = Cycles()
        self.values: list[float] = []
        self.newest = np.empty(0)
        """The last losses; ``then``: their level at the first validation."""
        self.then = np.nan

    def update(self, batch: Batch) -> None:
        self.validations.row(batch)

    def follow(self, part: Part) -> None:
        self.rank, rows, starts = part.rank, part.rows, part.restarts
        if self.cycles.start != self.cycles.start:
            self.cycles.start = float(rows.values[0])
        self.newest = np.concatenate([self.newest, rows.values[-CELL:]])[-CELL:]
        for i, (begin, end) in enumerate(zip([0, *starts], [*starts, len(rows)], strict=True)):
            if i:
                self._restart(int(rows.steps[begin]))
            if self.begin >= 0 and end > begin:  # the first cycle begins with the first restart
                self._collect(rows.take(slice(begin, end)))

    def _collect(self, part: Rows) -> None:
        if self.levels is None:
            self.rows = part.after(self.rows)
            if len(self.rows) <= WHOLE:
                return
            self.levels, part = Levels(), self.rows
            self.rows = self.rows.take(slice(0, WHOLE))
        self.levels.feed(part)

    def _restart(self, step: int) -> None:
        values = self.rows.values if self.levels is None else self.levels.cells[LEVEL]
        if self.begin >= 0 and len(values) >= SHORTEST:
            self.cycles.noise = middle(np.abs(np.diff(self.rows.values))) / 0.954
            self.cycles.add(self.begin, step, values)
        if self.begin >= 0 and len(self.values) >= 2:
            self.validated.before = self._before()
            self.validated.add(self.begin, step, np.array(self.values))
        self.begin, self.rows, self.levels, self.values = step, NO_ROWS, None, []

    def _before(self) -> float:
        """The share of the training loss's progress that was over at the first validation, 0 where it made none."""
        gained = self.cycles.start - self.cycles.best
        if not gained > self.cycles.noise or self.then != self.then:
            return 0.0
        return min(max((self.cycles.start - self.then) / gained, 0.0), 1.0)

    def event(self, event: Event) -> None:
        value = self.validations.take(event, self.context.contract)
        if value is not None and self.validations.count == 1:
            self.then = middle(self.newest) if len(self.newest) else np.nan
        if value is not None and self.begin >= 0:
            self.values = [*self.values, value]
            if len(self.values) > WHOLE:
                self.values = self.values[::2]
        if self.validations.first is not None:
            self.validated.start = float(self.validations.first[VALUE])

    def findings(self) -> list[Finding]:
        result: list[Finding] = []
        for cycles, what in ((self.cycles, "loss"), (self.validated, self.validations.metric)):
            if cycles.first >= 0 and not result:  # one symptom, one finding
                result.append(
                    self.finding(
                        f"since step {cycles.first} every restart (each {cycles.length:.0f} steps) threw {what} back "
                        f"by {cycles.swing:.3g}, and nothing was gained",
                        signal=what,
                        rank=self.rank,
                        first_step=cycles.first,
                        last_step=cycles.last,
                        state="active" if cycles.active else "resolved",
                        fix="lengthen the cycles, let them grow, or lower the peaks",
                    )
                )
        return result

    def not_checked(self) -> str:
        if self.rank is None:
            return "the trace has no loss"
        most = max(self.cycles.known.shape[1], self.validated.known.shape[1])
        return "" if most >= CYCLES else f"fewer than {CYCLES} whole cycles between warm restarts"


CHECK = Oscillation
