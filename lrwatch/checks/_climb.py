"""Finds where a loss climbed above what had been reached and stayed there; shared by the divergence checks.

The loss is compared with the best level of rows whose learning rate was about as high or higher: after a warm restart
it is naturally above the best of the run, and below what the same learning rate gave earlier. What counts as a rise is
measured in the run's own noise (of single rows, and of slow wandering) and in the progress it had made, never as a
ratio of two losses, which means nothing near zero or below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from lrwatch.checks._levels import FIRST, LAST, LEVEL, LR, SHARE, Levels, Step
from lrwatch.checks._statistics import runs
from lrwatch.checks.base import Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

NOISE = 6.0
"""A rise is at least so many standard deviations of single rows and of wandering levels. A level is a median of 8 rows
or more and must hold for 64 rows, so 6 is beyond any stationary noise; 3 already fired in 1 of 300 simulated runs."""
SETBACK = 0.1
"""… and at least this share of the progress from the start to the best level."""
LOST = 0.5
"""A rise of this share of the progress, or back to the start, is a lost run."""
LOST_NOISE = 10.0
"""… if it also is so many standard deviations."""
SUSTAINED = 8
"""Cells (64 rows or more) that must all be above."""
SUSTAINED_SHARE = 0.05
"""… and this share of the run so far: what is short against the run is a spike."""
HISTORY = 4
"""Cells that must stand before them: the first 32 rows have nothing to be compared with."""
GONE = 0.7
"""A rise of this share of all progress is one at any learning rate: a warm restart costs a third at most."""
GONE_SPREADS, GONE_NOISE = 2.0, 4.0
"""… if it also is so many spreads of single rows, 5 of a level, and so many standard deviations of wandering levels."""
USUAL = 0.2
"""… and that is new: where the loss had come down and stood as high again for this share of the run before, it made no
lasting progress but wandered, and the way back from its lowest place must be beyond all wandering, ``NOISE``."""
TIMES = 4.0
"""A loss that is never below zero has left for good when it is so many times the highest of its first 3 rows. That is
a ratio, and the only one: a run that explodes in its first steps has no calm rows to take the noise from."""
LASTING = 0.25
"""A rise that lasts for this share of the run is lost, too, however slow it was."""
SAME_RATE = 0.7
"""Rows count as comparable when their learning rate was at least this share of the current one."""
LATE = 0.75
"""Share of the schedule after which a rise is a late one."""
ABRUPT = 16
"""Finest cells (128 rows) in a row after which a lost run is reported without waiting for more of a long one."""


@dataclass
class Rise:
    """Where the loss climbed.

    Attributes:
        first, last: steps; share: of the schedule at ``first``. best: what had been reached; level: the highest since.
        over: the level at which it is over; limit: that above which the run is lost.
        active: it lasts; lost: too far or too long; reported: by this check.
    """

    first: int
    last: int
    share: float
    best: float
    level: float
    over: float
    limit: float
    active: bool = True
    lost: bool = False
    reported: bool = True


@dataclass
class Climb:
    """Fed with a loss; ``found`` is what to report: the first rise, extended by later ones.

    Attributes:
        late: report rises that begin in the last quarter of the schedule; False: all others.
        placed: whether the position on the schedule is known.
        head: the first 3 values; positive: whether none was below zero.
        open: the rise that lasts.
        best, over, limit: of the last judgement, at learning rates up to ``limit_lr``; beyond them ``limit_restarted``.
        above, above_since: finest cells in a row above the limit, and where they began (step, share).
    """

    late: bool
    levels: Levels | None = None
    placed: bool = False
    head: FloatArray = field(default_factory=lambda: np.empty(0))
    positive: bool = True
    open: Rise | None = None
    found: Rise | None = None
    best: float = np.nan
    over: float = np.nan
    limit: float = np.inf
    limit_restarted: float = np.inf
    limit_lr: float = np.inf
    above: int = 0
    above_since: tuple[int, float] = (-1, np.nan)

    def feed(self, part: Part) -> None:
        """Take in rows."""
        rows = part.rows
        self.placed = self.placed or bool(np.isfinite(rows.share[-1]))
        if len(self.head) < 3:
            self.head = np.concatenate([self.head, rows.values[:3]])[:3]
        self.positive = self.positive and part.lowest >= 0.0
        self.levels = part.levels
        for step in part.steps:
            if self.open is None and step.size > 1:
                self._abrupt(step.fresh)
            if step.turn:
                self._judge(step)

    def finish(self) -> None:
        """No more rows will come."""
        if self.levels is not None and (step := self.levels.flushed()) is not None:
            self._judge(step)

    def _judge(self, step: Step) -> None:
        cells, start = step.cells, step.start
        n = cells.shape[1]
        tail = max(SUSTAINED, math.ceil(n * SUSTAINED_SHARE))
        if n < tail + HISTORY or start is None:
            return
        if self.open is not None:
            self._follow(self.open, cells, tail)
            return
        levels, spread, strays = cells[LEVEL], step.spread, step.strays(tail)
        noise = max(spread, strays)
        lr = float(cells[LR, -tail:].max())
        self.best = best = self._reached(levels[:-tail], cells[LR, :-tail], lr, start)
        progress = max(start - best, 0.0)
        rise = max(NOISE * noise, SETBACK * progress)
        lowest = _third_lowest(levels[:-tail])
        gone = GONE * (start - lowest)
        usual = _again(levels[:-tail], lowest + gone) > USUAL
        gone = gone if gone > max(GONE_SPREADS * spread, (NOISE if usual else GONE_NOISE) * strays) else np.inf
        if best + rise > lowest + gone:
            self.best, best, rise, progress = lowest, lowest, gone, start - lowest
        head = float(self.head.max())
        if self.positive and best + rise > TIMES * head > 0:
            self.best, best, rise = head, head, (TIMES - 1.0) * head
        self.over = best + rise / 2
        whole = progress if progress > NOISE * noise else abs(start)
        self.limit = best + max(LOST_NOISE * noise, LOST * whole)
        self.limit_restarted = max(lowest + gone if gone < np.inf else start, self.limit)
        self.limit_lr = lr / SAME_RATE if lr == lr else np.inf
        if levels[-tail:].min() > best + rise:
            below = np.flatnonzero(levels <= self.over)
            since = min(int(below[-1]) + 1 if len(below) else 0, n - tail)
            self._follow(self._open(_place(cells, since)), cells, tail)

    def _reached(self, levels: FloatArray, lrs: FloatArray, lr: float, start: float) -> float:
        """The third lowest comparable level, at most the start: nothing is as high at any learning rate."""
        comparable = levels if lr != lr else levels[~(lrs < SAME_RATE * lr)]
        if len(comparable) < 3:
            return start
        return min(_third_lowest(comparable), start)

    def _abrupt(self, fresh: FloatArray) -> None:
        """A lost run within a cell of a long one: compared with the limit of the last judgement."""
        if not self.above and float(fresh[LEVEL].max()) <= min(self.limit, self.limit_restarted):
            return
        limit = np.where(fresh[LR] > self.limit_lr, self.limit_restarted, self.limit)
        long = runs(fresh[LEVEL] > limit, self.above)
        where = np.flatnonzero(long >= ABRUPT)
        if len(where):
            began = int(where[0]) + 1 - int(long[where[0]])
            rise = self._open(self.above_since if began < 0 else _place(fresh, began))
            rise.last, rise.lost = int(fresh[LAST, where[0]]), True
            rise.level = float(fresh[LEVEL, max(began, 0) : where[0] + 1].max())
            self._report(rise)
            self.above = 0
            return
        self.above = int(long[-1])
        if 0 < self.above <= len(long):
            self.above_since = _place(fresh, len(long) - self.above)

    def _open(self, begin: tuple[int, float]) -> Rise:
        first, share = begin
        self.open = rise = Rise(first, first, share, self.best, self.best, self.over, self.limit)
        rise.reported = (share >= LATE) == self.late  # else it is the other check's
        if rise.reported and self.found is not None:  # the same symptom again: one finding
            rise.first, rise.share, rise.best = self.found.first, self.found.share, self.found.best
        return rise

    def _follow(self, rise: Rise, cells: FloatArray, tail: int) -> None:
        """Whether an open rise lasts, and is too much."""
        levels = cells[LEVEL]
        if levels[-HISTORY:].max() <= rise.over:
            rise.active = rise.lost = False
            self.open = None
        else:
            since = int(np.searchsorted(cells[FIRST], rise.first))
            n = cells.shape[1]
            rise.last, rise.level = int(cells[LAST, -1]), max(rise.level, float(levels[since:].max(initial=rise.best)))
            rise.lost = rise.lost or levels[-tail:].min() > rise.limit or n - since > LASTING * n
        self._report(rise)

    def _report(self, rise: Rise) -> None:
        if rise.reported:
            self.found = replace(rise)


def _third_lowest(levels: FloatArray) -> float:
    """A level that was reached three times: the very lowest may be chance."""
    return float(np.partition(levels, 2)[2])


def _again(levels: FloatArray, high: float) -> float:
    """Share of the levels that stand above ``high`` although one before them did not."""
    above = levels > high
    return float(np.mean(above & ~np.logical_and.accumulate(above)))


def _place(cells: FloatArray, i: int) -> tuple[int, float]:
    """Where a cell begins: update and share of the schedule."""
    return int(cells[FIRST, i]), float(cells[SHARE, i])


class LossClimb(Check):
    """What the checks of a climbing loss have in common.

    Attributes:
        late: which rises are its own, see ``Climb``. fix: what to do about them.
    """

    scope = "run"
    follows = ("loss",)
    late: ClassVar[bool]
    fix: ClassVar[str]

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.climb = Climb(self.late)

    def follow(self, part: Part) -> None:
        self.rank = part.rank
        self.climb.feed(part)

    def finish(self) -> None:
        self.climb.finish()

    def where(self, rise: Rise) -> str:
        """Where on the schedule it began, in words."""
        return ""

    def findings(self) -> list[Finding]:
        rise = self.climb.found
        if rise is None:
            return []
        stays = "and stays there" if rise.active else "and came back"
        return [
            self.finding(
                f"the loss climbed from {rise.best:.4g} to {rise.level:.4g} since step {rise.first}{self.where(rise)} "
                f"{stays}",
                severity=Severity.error if rise.lost else Severity.warning,
                signal="loss",
                rank=self.rank,
                first_step=rise.first,
                last_step=rise.last,
                state="active" if rise.active else "resolved",
                fix=self.fix,
            )
        ]

    def not_checked(self) -> str:
        return "" if self.rank is not None else "the trace has no loss"
