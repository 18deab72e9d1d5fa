"""The loss jumped up, alone or for a while, and came back or not.

What it checks
    Every row of the training loss against the median and the spread of the 64 rows before its block of 8. How far a row
    may stray is learned from the run itself: a single row must be 40 spreads up and well beyond the largest stray so
    far, 2.5 to 25 times, the more so the heavier their tail is; two rows of three 20 spreads and twice the largest;
    half of a block 10 spreads and 3 times what blocks wandered. The rise must also matter: a tenth of the loss, or a
    twentieth of the progress so far. Excepted: the first 200 rows, from which all this is learned (256 for blocks);
    rows whose learning rate was just raised, see ``explosion-at-restart``; and what follows a rollback.

Why it matters
    A spike that comes back is often one odd batch, and worth knowing when the next one does not. One that does not
    come back has damaged the model.

Example
    spike: the loss jumped from 2.13 to 7.9 at step 4120 and came back within 24 rows; 3 spikes in all.

Fix
    Look at the batches of that step. If it came back, nothing needs to be done; if spikes repeat, clip the gradient
    or lower the learning rate. If it did not, go back to the checkpoint before it and skip the batches.

Source
    Chowdhery et al., PaLM, 2022, section 5.1: some 20 spikes, mitigated by restarting 100 steps before and skipping
    200 to 500 batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks._levels import CELL, LAST, LEVEL, LR, SPREAD, Blocks
from lrwatch.checks._statistics import medians, over_windows
from lrwatch.checks.base import Check, Context, Part
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

WINDOW = 8
"""Blocks of 8 rows that are the baseline: 64 rows, short enough to follow a falling loss."""
LONG_WINDOW = 32
"""Blocks whose spread counts, too, if it is larger: batches of several tasks look calm for 64 rows now and then."""
EARLY = 16
"""Blocks (128 rows) from which it is learned how far single rows stray."""
SINGLE = 40.0
"""Spreads that a single row must be above: batches that are odd by 10 or 20 happen in healthy runs."""
PAIR = 20.0
"""Spreads for two rows out of three."""
BLOCK, BLOCK_BEYOND = 10.0, 3.0
"""Spreads for the median of a block, and times the largest so far: noise alone reaches 3, slow wandering more."""
BLOCK_EARLY = 32
"""Blocks (256 rows) from which it is learned how far those wander."""
BEYOND, PAIR_BEYOND = 2.5, 2.0
"""A single row must be beyond so many times the largest stray so far, one of a pair beyond twice …"""
TAIL = 6
"""… and beyond (largest / 8th largest)⁶ times: 5 for Gaussian noise, 60 for the heaviest that have a variance …"""
FARTHEST = 25.0
"""… but never more than so many times: a tail that falls with the third power reaches it at one in 15,000 records."""
STRAYS = 8
MATTERS = 0.1
"""Share of the loss that a rise must be to be worth a line …"""
MATTERS_PROGRESS = 0.05
"""… or share of the progress so far."""
BACK = 0.25
"""It is over when the median of a block is back within this share of the rise, or within 4 spreads."""
BACK_SPREADS = 4.0
STUCK = 8
"""Blocks (64 rows) after which a spike that is not over is a warning."""
FLAT, FLAT_PROGRESS = 2e-3, 2e-4
"""A spread counts as at least these shares of the loss and of the progress: stored digits repeat on a flat stretch."""
CAUTION = 1 - 1e-12
"""What a look that rounds otherwise may be off by."""
RAISED = 1.3
"""Rows at more than this multiple of the learning rate of their baseline are excepted."""


@dataclass
class Open:
    """A spike that is not over."""

    bar: float
    blocks: int = 0


@dataclass
class Edge:
    """The last two rows of a block that is no spike itself: with the first rows of the next one they may be.

    Attributes:
        block: its number. steps: of the rows, float64[2]; far: which of them stray as far as one of a pair, bool[2].
        top: the largest strays before it.
    """

    block: int
    steps: FloatArray
    far: NDArray[np.bool_]
    top: FloatArray


@dataclass(frozen=True)
class Judged:
    """The blocks of a part that may show or teach something, k of m.

    Attributes:
        place: which of the part's blocks, int64[k]; first: of those that have a baseline at all.
        base, spread, matters: the baseline, a row's spread around it, and the least rise that matters, float64[k].
        far, whole: spreads that the highest row and half of the rows are above the baseline, float64[k].
        steps, values: float64[k, 8].
    """

    place: NDArray[np.int64]
    first: int
    base: FloatArray
    spread: FloatArray
    matters: FloatArray
    far: FloatArray
    whole: FloatArray
    steps: FloatArray
    values: FloatArray


def _judged(
    blocks: Blocks, cells: FloatArray, known: int, first: int, start: float, floor: float, top_block: float
) -> Judged:
    """The blocks, from ``cells[:, first]`` on, whose rows may stray farther than ``floor`` or as a whole farther than
    ``top_block``. ``cells``: ``known`` ones from before, and those of these blocks."""
    end = cells.shape[1]
    spread = over_windows(np.add, cells[SPREAD, first - WINDOW : -1], WINDOW) / WINDOW
    longer = np.empty(end - first)
    for i in range(first, min(LONG_WINDOW, end)):
        longer[i - first] = cells[SPREAD, :i].sum() / i
    if end > LONG_WINDOW:
        whole = max(first, LONG_WINDOW)
        longer[whole - first :] = over_windows(np.add, cells[SPREAD, whole - LONG_WINDOW : -1], LONG_WINDOW)
        longer[whole - first :] /= LONG_WINDOW
    spread = np.fmax(spread, longer)
    # No median is below the least of its window, and the spread that counts is this one or more.
    least = over_windows(np.minimum, cells[LEVEL, first - WINDOW : -1], WINDOW)
    row, half = (np.maximum(blocks.order[k, first - known :] - least, 0.0) for k in (CELL - 1, CELL // 2))
    if floor >= 0.0:
        some = np.flatnonzero((row > CAUTION * floor * spread) | (half > CAUTION * top_block * spread))
    else:
        some = np.arange(end - first)
    place = some + first - known
    base, lr = (medians(cells[k], some + first - WINDOW, WINDOW) for k in (LEVEL, LR))
    progress = np.maximum(start - base, 0.0)
    spread = np.maximum(spread[some], np.maximum(FLAT * np.abs(base), FLAT_PROGRESS * progress))
    spread[blocks.cells[LR, place] > RAISED * lr] = np.inf
    matters = MATTERS * np.abs(base)
    matters = np.where(progress > 0, np.minimum(matters, MATTERS_PROGRESS * progress), matters)
    with np.errstate(divide="ignore", invalid="ignore"):
        half, far = (np.where(spread > 0, (blocks.order[k, place] - base) / spread, 0.0) for k in (CELL // 2, CELL - 1))
    return Judged(place, first - known, base, spread, matters, far, half, blocks.steps[place], blocks.values[place])


class Spike(Check):
    slug = "spike"
    code = "LR302"
    title = "loss spike"
    scope = "run"
    follows = ("loss",)
    severity = Severity.info

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.recent = np.empty((6, 0))
        """Cells of the last blocks: the baseline of the next one."""
        self.learned = 0
        """Blocks judged so far."""
        self.top = np.empty(0)
        """The largest strays so far, in spreads, ascending; spikes do not count."""
        self.top_block = 0.0
        """The largest stray of a block's median so far."""
        self.start = np.nan
        self.open: Open | None = None
        self.edge: Edge | None = None
        self.worst = (0, 0.0, 0.0)
        """Step, baseline and value of the highest rise above its baseline."""
        self.first = self.last = -1
        self.count = self.longest = 0

    def follow(self, part: Part) -> None:
        self.rank = part.rank
        if part.anew:
            self.recent, self.open, self.edge = self.recent[:, :0], None, None
        blocks = part.blocks
        if not len(blocks):
            return
        if self.start != self.start:
            self.start = float(blocks.cells[LEVEL, 0])
        known = self.recent.shape[1]
        cells = np.concatenate([self.recent, blocks.cells], axis=1)
        self.recent = cells[:, -LONG_WINDOW:].copy()
        first = max(known, WINDOW)  # the first block with a baseline
        if first < cells.shape[1]:
            self._judge(_judged(blocks, cells, known, first, self.start, self._floor(), self.top_block), blocks.cells)
            self.learned += cells.shape[1] - first

    def _judge(self, judged: Judged, blocks: FloatArray) -> None:
        """``blocks`` float64[6, m]: all cells of the part."""
        j, place = judged, judged.place
        i = seen = 0
        while i < len(place) or self.open is not None:
            if self.open is not None:
                over = self._until_over(blocks, int(place[i - 1]) + 1 if i else j.first)
                if over == blocks.shape[1]:
                    return
                i = seen = int(np.searchsorted(place, over))
                continue
            where = np.flatnonzero(j.far[i:] > self._floor())
            next_one = i + int(where[0]) if len(where) else len(place)
            self.top_block = max(self.top_block, float(j.whole[seen:next_one].max(initial=-np.inf)))
            i = seen = next_one
            if i == len(place):
                return
            self._look(j, i, self.learned + int(place[i]) - j.first)
            i += 1
        if seen < len(place):
            self.top_block = max(self.top_block, float(j.whole[seen:].max(initial=-np.inf)))

    def _look(self, j: Judged, i: int, number: int) -> None:
        """At the rows of the i-th of these blocks, the so-manieth of the run."""
        base, spread = float(j.base[i]), float(j.spread[i])
        steps, values = j.steps[i], j.values[i]
        rise = values - base
        stray = rise / spread if spread > 0 else np.zeros(CELL)
        beyond, matters = stray > self._pair(), rise > j.matters[i]
        odd = self._odd(stray, beyond, number) & matters
        first = steps[np.argmax(odd)]
        if not odd.any() and (edge := self.edge) is not None and edge.block == number - 1:
            odd[:2] = self._across(edge, stray, matters)
            first = edge.steps[np.argmax(edge.far)]
            self.top = edge.top if odd.any() else self.top
        self.edge = None
        if odd.any():
            self._begin(steps, values, int(first), base, spread, odd)
            return
        beyond &= matters
        if beyond[-2:].any() and number >= EARLY:
            self.edge = Edge(number, steps[-2:].copy(), beyond[-2:], self.top)
        self.top = np.sort(np.concatenate([self.top, stray]))[-STRAYS:]

    def _floor(self) -> float:
        """What strays less far than this has nothing to teach."""
        return float(self.top[0]) if len(self.top) else -np.inf

    def _pair(self) -> float:
        """What each of two rows close together must stray farther than."""
        return max(PAIR, PAIR_BEYOND * float(self.top[-1])) if len(self.top) else np.inf

    def _odd(self, stray: FloatArray, far: NDArray[np.bool_], learned: int) -> NDArray[np.bool_]:
        """bool[8]: rows of a block that stray farther than this run's rows do; ``far``: as far as one of a pair."""
        if learned < EARLY:
            return np.zeros(CELL, dtype=bool)
        largest, eighth = float(self.top[-1]), max(float(self.top[0]), 1e-3)
        single = stray > max(SINGLE, largest * max(BEYOND, min((largest / eighth) ** TAIL, FARTHEST)))
        near = np.convolve(far, np.ones(5), "same") >= 2  # another one within two rows
        if learned >= BLOCK_EARLY and np.sort(stray)[CELL // 2] > max(BLOCK, BLOCK_BEYOND * self.top_block):
            return stray > BLOCK
        return single | far & near

    def _across(self, edge: Edge, stray: FloatArray, matters: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool[2]: which of the first two rows of a block make a pair with one of the two rows before it."""
        far = (stray[:2] > max(PAIR, PAIR_BEYOND * float(edge.top[-1]))) & matters[:2]
        near: NDArray[np.bool_] = far & np.array([edge.far.any(), edge.far[1]])
        return near

    def _begin(
        self, steps: FloatArray, values: FloatArray, first: int, base: float, spread: float, odd: NDArray[np.bool_]
    ) -> None:
        high = int(np.argmax(values))
        rise = float(values[high]) - base
        self.open = Open(base + max(BACK * rise, BACK_SPREADS * spread))
        self.count += 1
        if self.first < 0:
            self.first = first
        self.last = int(steps[odd][-1])
        if rise > self.worst[2] - self.worst[1]:
            self.worst = (int(steps[high]), base, float(values[high]))

    def _until_over(self, blocks: FloatArray, i: int) -> int:
        """Follow an open spike from block i on; returns the next block to judge, or the end."""
        assert self.open is not None
        over = np.flatnonzero(blocks[LEVEL, i:] <= self.open.bar)
        stop = i + int(over[0]) if len(over) else blocks.shape[1]
        if stop > i:
            self.last = int(blocks[LAST, stop - 1])
            self.open.blocks += stop - i
            self.longest = max(self.longest, self.open.blocks)
        if len(over):
            self.open = None
        return stop

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        step, base, value = self.worst
        stuck = self.open is not None and self.open.blocks >= STUCK
        if stuck:
            how = f"and has not come back after {self.open.blocks * CELL if self.open else 0} rows"
        else:
            how = f"and came back within {(self.longest + 1) * CELL} rows" if self.open is None else "just now"
        many = "" if self.count == 1 else f"; {self.count} spikes in all, the first at step {self.first}"
        return [
            self.finding(
                f"the loss jumped from {base:.4g} to {value:.4g} at step {step} {how}{many}",
                severity=Severity.warning if stuck else Severity.info,
                signal="loss",
                rank=self.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.open is not None else "resolved",
                fix="look at the batches of that step; if spikes repeat, clip the gradient or lower the learning rate",
            )
        ]

    def not_checked(self) -> str:
        if self.rank is None:
            return "the trace has no loss"
        return "" if self.recent.shape[1] >= WINDOW else "fewer than 72 rows with a loss: no baseline to compare with"


CHECK = Spike
