"""The gradient norm or the loss exploded when the learning rate was raised again.

What it checks
    A warm restart is a row whose learning rate jumped up from below. The levels (medians of 8 rows) of the 64 rows
    after it are compared with the 32 rows before: the gradient norm has exploded above 10 times its level and 3 times
    any level that it ever had; the loss above its level at the very start of the run, all progress thrown away. The
    bump that a restart naturally makes stays below both. It is an error if it is not half-way back after 320 rows, or
    when the next restart comes. Excepted: restarts less than 32 rows after the one before, see ``oscillation``.

Why it matters
    A restart to the full learning rate is meant to leave a minimum, not to destroy the model.

Example
    explosion-at-restart: at the restart of step 6000 the gradient norm rose from 0.38 to 51.2 and did not come back.

Fix
    Let each restart peak lower (``decay``), put a short warm-up before it, clip the gradient, and make sure that the
    optimizer's state (momentum, Adam's second moment) survives the restart.

Source
    Failure mode "resource spikes: gradient explosions, LR jumps at restart; smooth the restart amplitude";
    Loshchilov and Hutter, SGDR, 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from lrwatch.checks._levels import CELL, LEVEL, Rows, levels_of
from lrwatch.checks._series import TINY
from lrwatch.checks._statistics import middle, spread_of
from lrwatch.checks.base import Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

BEFORE = 32
"""Rows that say how it was before the restart."""
WATCHED = 8
"""Levels after a restart (64 rows) in which an explosion counts as its consequence."""
FOLLOWED = 40
"""Levels (320 rows) in which it must be half-way back."""
TIMES = math.log(10.0)
"""A rise of the gradient norm in the logarithm; restarts of real trainings make 2 to 5."""
EVER = math.log(3.0)
"""… and so much above every level so far: where the loss is nearly 0 before a restart, the norm is, too."""
NOISE = 6.0
"""… and so many spreads of single rows."""
GONE_NOISE = 3.0
"""Spreads that the loss must be above the start, and the start above the level before, at least."""


@dataclass
class Watch:
    """The rows after one restart. ``limit``: the level of an explosion; ``high``: the highest level so far."""

    step: int
    usual: float
    limit: float
    levels: int = 0
    high: float = -np.inf
    exploded: bool = False
    back: bool = False
    pending: FloatArray = field(default_factory=lambda: np.empty((2, 0)))


@dataclass
class Course:
    """Gradient norm (its logarithm) or loss of the followed worker.

    Attributes:
        recent: values since the restart, at most ``BEFORE``. ever: the highest level outside of explosions.
        pending: rows that make no level yet, from the first on that is not ordinary; before, None.
        explosions: how many; first, last: restart of the first, last row of the newest; lost: it did not come back.
        worst: restart, level before it and highest level of the worst.
    """

    column: str
    rank: int | None = None
    recent: FloatArray = field(default_factory=lambda: np.empty(0))
    pending: FloatArray | None = None
    start: float = np.nan
    ever: float = -np.inf
    watch: Watch | None = None
    watched: int = 0
    explosions: int = 0
    first: int = -1
    last: int = -1
    lost: bool = False
    worst: tuple[int, float, float] = (-1, 0.0, 0.0)

    def feed(self, part: Part) -> None:
        """Take in rows."""
        self.rank = part.rank
        log = self.column == "grad_norm"
        usable = not log or part.lowest >= TINY
        if self.pending is None and usable and not len(part.restarts):
            newest = part.rows.values[-BEFORE:]
            self.recent = np.concatenate([self.recent, np.log(newest) if log else newest])[-BEFORE:]
            self._ordinary(part.blocks.cells[LEVEL])
            return
        if self.pending is None:
            before = part.earlier.pending.values
            self.pending = np.log(before) if log else before
        rows, starts = part.rows, part.restarts
        if not usable:
            keep = rows.values >= TINY
            rows, starts = rows.take(keep), np.unique(np.cumsum(keep)[starts] - keep[starts])
        if not len(rows):
            return
        if log:
            rows = replace(rows, values=np.log(rows.values))
        self._cycles(rows, [int(s) for s in starts if s < len(rows)])

    def _cycles(self, rows: Rows, starts: list[int]) -> None:
        for i, (begin, end) in enumerate(zip([0, *starts], [*starts, len(rows)], strict=True)):
            part = rows.take(slice(begin, end))
            if i:
                self._restart(int(part.steps[0]))
            watched = 0 if self.watch is None else self._look(self.watch, part)
            self.recent = np.concatenate([self.recent, part.values[-BEFORE:]])[-BEFORE:]
            assert self.pending is not None
            waiting = np.concatenate([self.pending, part.values[watched:]])
            whole = len(waiting) // CELL * CELL
            self.pending = waiting[whole:].copy()
            self._ordinary(levels_of(waiting[:whole]))

    def _ordinary(self, levels: FloatArray) -> None:
        """What is outside of a watch says which levels are ordinary."""
        if len(levels):
            if self.start != self.start:
                self.start = float(levels[0])
            self.ever = max(self.ever, float(levels.max()))

    def _restart(self, step: int) -> None:
        self._end()
        recent, self.recent = self.recent, self.recent[:0]
        if len(recent) < BEFORE:
            return
        usual, spread = middle(recent), spread_of(recent)
        if self.column == "grad_norm":
            limit = max(usual + max(TIMES, NOISE * spread), self.ever + EVER)
        else:
            limit = self.start + GONE_NOISE * spread
            if self.start - usual < GONE_NOISE * spread:
                return  # no progress that could be thrown away
        self.watch = Watch(step, usual, limit)
        self.watched += 1

    def _look(self, watch: Watch, part: Rows) -> int:
        """Watch these rows; how many of them belong to the watch."""
        waiting = np.concatenate([watch.pending, [part.steps, part.values]], axis=1)
        before = int(watch.pending.shape[1])
        whole = waiting.shape[1] // CELL * CELL
        watch.pending = waiting[:, whole:]
        steps = waiting[0, CELL - 1 : whole : CELL]
        levels = levels_of(waiting[1, :whole])
        for i, (level, step) in enumerate(zip(levels.tolist(), steps.tolist(), strict=True)):
            if not self._still_watched(watch, level, int(step)):
                self._end()
                return (i + 1) * CELL - before
        return len(part)

    def _still_watched(self, watch: Watch, level: float, step: int) -> bool:
        """Take in a level; False when it is the last one of the watch."""
        watch.levels += 1
        watch.high = max(watch.high, level)
        if not watch.exploded:
            if level <= watch.limit:
                return watch.levels < WATCHED
            watch.exploded = True
            self.explosions += 1
            self.first = watch.step if self.first < 0 else self.first
        self.last = step
        if self.worst[0] < 0 or watch.high - watch.usual > self.worst[2] - self.worst[1]:
            self.worst = (watch.step, watch.usual, watch.high)
        watch.back = level <= (watch.usual + watch.high) / 2
        return not watch.back and watch.levels < FOLLOWED

    def _end(self) -> None:
        """A watch ends with the next restart, after 320 rows, or when all is well again."""
        watch, self.watch = self.watch, None
        if watch is None:
            return
        if watch.exploded:
            self.lost = not watch.back
        else:
            self.ever = max(self.ever, watch.high)


class ExplosionAtRestart(Check):
    slug = "explosion-at-restart"
    code = "LR307"
    title = "gradient norm or loss exploded at a warm restart"
    scope = "run"
    follows = ("grad_norm", "loss")
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.series = [Course(column) for column in self.follows]

    def follow(self, part: Part) -> None:
        self.series[self.follows.index(part.column)].feed(part)

    def findings(self) -> list[Finding]:
        result = []
        for series in self.series:
            if series.first < 0:
                continue
            step, usual, high = series.worst
            word = series.column.replace("_", " ")
            if series.column == "grad_norm":
                usual, high = math.exp(usual), math.exp(high)
            how = "and did not come back" if series.lost else "and came back"
            if followed := series.watch is not None and series.watch.exploded:
                how = "just now"
            many = "" if series.explosions == 1 else f"; at {series.explosions} of {series.watched} restarts"
            result.append(
                self.finding(
                    f"at the restart of step {step} the {word} rose from {usual:.3g} to {high:.3g} {how}{many}",
                    severity=Severity.error if series.lost else Severity.warning,
                    signal=series.column,
                    rank=series.rank,
                    first_step=series.first,
                    last_step=series.last,
                    state="active" if series.lost or followed else "resolved",
                    fix="let restarts peak lower, warm up before them, clip the gradient, keep the optimizer's state",
                )
            )
        return result

    def not_checked(self) -> str:
        if all(series.rank is None for series in self.series):
            return "the trace has neither loss nor gradient norm"
        return "" if any(series.watched for series in self.series) else "no warm restart with 32 rows before it"


CHECK = ExplosionAtRestart
