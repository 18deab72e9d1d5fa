"""The gradient norm rose to many times what is usual for this run.

What it checks
    Levels of the gradient norm (medians of 8 rows) against the median of the 256 rows before: two levels in a row above
    10 times it, and above 6 standard deviations of the run's own noise, are an explosion; so are, for a slow one, two
    above 50 times the lower quartile of the run so far. Single wild rows are none: that is what clipping is for. It is
    an error while it stays above 100 times the usual for 64 rows or more, else a warning. Excepted: the first 64 rows,
    and the 128 rows after a warm restart, which ``explosion-at-restart`` looks at; the baseline begins anew after it.

Why it matters
    An exploding gradient comes before a diverging loss or a NaN, often by hundreds of steps: time to save the run.

Example
    gradient-explosion: the gradient norm rose from 0.41 to 96.2 since step 3104 and stays there.

Fix
    Compare with the learning rate at that step; clip the gradient norm at a few times its usual value, lower the
    learning rate or lengthen the warm-up. If it does not come down, go back to the checkpoint before.

Source
    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013.
"""

from __future__ import annotations

import math

import numpy as np

from lrwatch.checks._levels import FIRST, LAST, LEVEL, NO_ROWS, SPREAD, Levels, Rows, Step
from lrwatch.checks._series import TINY
from lrwatch.checks._statistics import middle, over_windows, rolling, runs
from lrwatch.checks.base import Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

WINDOW = 32
"""Levels that are the baseline: 256 rows follow the slow changes that every gradient norm makes."""
EARLY = 8
"""Levels (64 rows) without which there is no baseline."""
TIMES = math.log(10.0)
"""A rise in the logarithm. A norm that wanders by a factor of 3 is ordinary, by 10 over 16 rows it is not."""
NOISE = 6.0
"""… and so many standard deviations of single rows: norms with heavy tails may wander farther."""
SLOW = math.log(50.0)
"""A rise over the lower quartile of the run: warm-ups and late growth stay below 10."""
HELD = 2
"""Levels in a row."""
LOST = math.log(100.0)
"""Above the usual by so much …"""
LOST_HELD = 8
"""… for so many levels in a row (64 rows), the run is lost if it stays so."""
AFTER_RESTART = 128
"""Rows after a warm restart that are left to ``explosion-at-restart``."""


class GradientExplosion(Check):
    slug = "gradient-explosion"
    code = "LR305"
    title = "gradient norm exploded"
    scope = "run"
    follows = ("grad_norm",)
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.own: Levels | None = None
        """Of the rows that count, from the first on that do not: after a restart, and norms of zero."""
        self.since_restart = AFTER_RESTART
        self.recent = np.empty((2, 0))
        """Levels and spreads of the last finest cells outside of explosions, at most ``WINDOW``."""
        self.inherited = False
        """Since a restart no level was ordinary: what is odd belongs to the restart."""
        self.slow = np.inf
        """Level above which the whole run so far says explosion."""
        self.above = 0
        self.began = -1
        self.open: tuple[float, float] | None = None
        """Of the explosion that lasts: the usual level, and the one below which it is over."""
        self.far = 0
        self.lost = False
        self.first = self.last = -1
        self.count = 0
        self.usual = self.highest = -np.inf

    def follow(self, part: Part) -> None:
        self.rank = part.rank
        if self.own is None and part.lowest >= TINY and not len(part.restarts):
            self._judge(part.steps)
            return
        if self.own is None:
            self.own = part.earlier.copy()
        rows, starts = part.rows, part.restarts
        for begin, end in zip([0, *starts], [*starts, len(rows)], strict=True):
            if begin in starts:
                self.since_restart, self.inherited = 0, True
                self.recent = self.recent[:, :0]  # norms at the end of a cycle say nothing about the next one
                self.own.pending = NO_ROWS
            settled = begin + AFTER_RESTART - self.since_restart
            self.since_restart = min(self.since_restart + end - begin, AFTER_RESTART)
            if settled < end:
                self._feed(self.own, rows.take(slice(max(settled, begin), end)))

    def _feed(self, own: Levels, rows: Rows) -> None:
        positive = rows if rows.values.min() >= TINY else rows.take(rows.values >= TINY)
        if len(positive):
            self._judge(own.feed(positive)[1])

    def _judge(self, steps: list[Step]) -> None:
        for step in steps:
            self._take(step.fresh)
            if step.turn and step.cells.shape[1] >= EARLY:
                past = np.sort(step.cells[LEVEL])
                self.slow = float(past[len(past) // 4]) + max(SLOW, NOISE * step.spread)

    def _take(self, fresh: FloatArray) -> None:
        """Judge new finest cells."""
        if self._ordinary(fresh):
            self.recent = np.concatenate([self.recent, fresh[LEVEL : SPREAD + 1]], axis=1)[:, -WINDOW:]
            return
        i = 0
        if self.inherited:
            ordinary = np.flatnonzero(fresh[LEVEL] <= self.slow)
            self.inherited = not len(ordinary)
            i = int(ordinary[0]) if len(ordinary) else fresh.shape[1]
        while i < fresh.shape[1]:
            if self.open is not None:
                i = self._until_over(fresh, i)
                continue
            levels, spreads = fresh[LEVEL, i:], fresh[SPREAD, i:]
            noise = np.maximum(TIMES, NOISE * rolling(self.recent[1], spreads, WINDOW, EARLY))
            limit = np.fmin(rolling(self.recent[0], levels, WINDOW, EARLY) + noise, self.slow)
            long = runs(levels > limit, self.above)
            held = np.flatnonzero(long >= HELD)
            stop = int(held[0]) if len(held) else len(long) - 1
            self.above = int(long[stop])
            if 0 < self.above <= stop + 1:
                self.began = int(fresh[FIRST, i + stop + 1 - self.above])
            new = np.stack([levels, spreads])[:, : stop + 1]
            self.recent = np.concatenate([self.recent, new], axis=1)[:, -WINDOW:]
            i += stop + 1
            if len(held):
                self._begin(fresh[:, i - 1], float(limit[stop]))

    def _ordinary(self, fresh: FloatArray) -> bool:
        """Whether none of these cells can be above a limit, seen without the medians: no median is below the least."""
        if self.inherited or self.open is not None or self.above or self.recent.shape[1] < WINDOW:
            return False
        levels = fresh[LEVEL]
        least = over_windows(np.minimum, np.concatenate([self.recent[0], levels[:-1]]), WINDOW)
        return bool((levels <= np.minimum(least + TIMES, self.slow)).all())

    def _begin(self, cell: FloatArray, limit: float) -> None:
        self.recent = self.recent[:, :-HELD] if self.recent.shape[1] > HELD else self.recent
        usual = middle(self.recent[0])
        self.open = (usual, min((usual + float(cell[LEVEL])) / 2, limit))  # half-way may still be an explosion
        self.above = self.far = 0
        self.count += 1
        if self.first < 0:
            self.first, self.usual = self.began, usual
        self.last = int(cell[LAST])
        self.highest = max(self.highest, float(cell[LEVEL]))

    def _until_over(self, fresh: FloatArray, i: int) -> int:
        """Follow an open explosion from cell i on; returns the next cell to judge, or the end."""
        assert self.open is not None
        usual, bar = self.open
        levels = fresh[LEVEL, i:]
        over = np.flatnonzero(levels <= bar)
        stop = int(over[0]) if len(over) else len(levels)
        if stop:
            self.last = int(fresh[LAST, i + stop - 1])
            self.highest = max(self.highest, float(levels[:stop].max()))
            far = runs(levels[:stop] > usual + LOST, self.far)
            self.far = int(far[-1])
            self.lost = self.lost or bool(far.max() >= LOST_HELD)
        if len(over):
            self.open, self.lost = None, False
        return i + stop

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        stays = "and stays there" if self.open is not None else "and came back"
        many = "" if self.count == 1 else f"; {self.count} times in all"
        return [
            self.finding(
                f"the gradient norm rose from {math.exp(self.usual):.3g} to {math.exp(self.highest):.3g} since step "
                f"{self.first} {stays}{many}",
                severity=Severity.error if self.lost else Severity.warning,
                signal="grad_norm",
                rank=self.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.open is not None else "resolved",
                fix="clip at a few times the usual norm, lower the learning rate, or go back to the checkpoint before",
            )
        ]

    def not_checked(self) -> str:
        if self.rank is None:
            return "the trace has no gradient norm"
        if self.recent.shape[1] >= EARLY:
            return ""
        if self.inherited or self.since_restart < AFTER_RESTART:
            return "warm restarts too close to each other or too late for a baseline of 64 rows beyond their first 128"
        return "fewer than 64 rows with a gradient norm: no baseline"


CHECK = GradientExplosion
