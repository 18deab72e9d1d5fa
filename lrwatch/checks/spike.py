"""The loss jumped up, alone or for a while, and came back or not.

What it checks
    Every row of the training loss against the median and the spread of the 64 rows before its block of 8. How far a row
    may stray is learned from the run itself: a single row must be 40 spreads up and well beyond the largest stray so
    far, 2.5 to 25 times, the more so the heavier their tail is; two rows of three 20 spreads and twice the largest;
    half of a block 10 spreads and 3 times what blocks wandered. The rise must also matter: a tenth of the loss, or a twentieth of the
    progress so far. Excepted: the first 200 rows, from which all this is learned (256 for blocks); rows whose learning
    rate was just raised, see ``explosion-at-restart``; and what follows a rollback.

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

from lrwatch.checks import _series as series
from lrwatch.checks._series import CELL, LAST, LEVEL, LR, SPREAD, Follow, Rows, rolling, rolling_mean
from lrwatch.checks.base import Batch, Check, Context
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


class Spike(Check):
    slug = "spike"
    code = "LR302"
    title = "loss spike"
    scope = "run"
    severity = Severity.info

    def __init__(self, context: Context):
        super().__init__(context)
        self.loss = Follow("loss")
        self.segment, self.newest = 0, -1.0
        self.waiting = np.empty((4, 0))
        self.blocks = np.empty((6, 0))
        """The last blocks before the waiting rows: the baseline of the next one."""
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

    def update(self, batch: Batch) -> None:
        for rows in self.loss.rows(batch):
            self._take(rows)

    def finish(self) -> None:
        for rows in self.loss.rest():
            self._take(rows)

    def _take(self, rows: Rows) -> None:
        if rows.segment != self.segment and rows.steps[0] < series.ROLLED_BACK * self.newest:
            self.waiting, self.blocks, self.open, self.edge = self.waiting[:, :0], self.blocks[:, :0], None, None
        self.segment, self.newest = rows.segment, float(rows.steps[-1])
        self.waiting = np.concatenate([self.waiting, rows.table], axis=1) if self.waiting.shape[1] else rows.table
        whole = self.waiting.shape[1] // CELL * CELL
        if not whole:
            return
        table, self.waiting = self.waiting, self.waiting[:, whole:]
        if whole < table.shape[1]:
            table = table[:, :whole]
        new = series.cells_of(table)
        if self.start != self.start:
            self.start = float(new[LEVEL, 0])
        known = self.blocks[:, -WINDOW:]
        base, lr = (rolling(known[f], new[f], WINDOW, WINDOW) for f in (LEVEL, LR))
        spread = rolling_mean(known[SPREAD], new[SPREAD], WINDOW)
        spread = np.fmax(spread, rolling_mean(self.blocks[SPREAD], new[SPREAD], LONG_WINDOW))
        spread[new[LR] > RAISED * lr] = np.inf
        judged = np.isfinite(base)
        self.blocks = np.concatenate([self.blocks, new], axis=1)[:, -LONG_WINDOW:]
        if judged.any():
            rows_of, order = table[:2].reshape(2, -1, CELL), series.ranked(table)
            if judged.all():
                self._judge(rows_of, order, new, base, spread)
            else:
                self._judge(rows_of[:, judged], order[:, judged], new[:, judged], base[judged], spread[judged])
            self.learned += int(judged.sum())

    def _judge(
        self, rows: FloatArray, order: FloatArray, blocks: FloatArray, base: FloatArray, spread: FloatArray
    ) -> None:
        """``rows`` float64[2, m, 8]: steps and values of m blocks; ``order`` float64[8, m]: the values, ascending; the
        others float64[m]."""
        progress = np.maximum(self.start - base, 0.0)
        spread = np.maximum(spread, np.maximum(FLAT * np.abs(base), FLAT_PROGRESS * progress))
        matters = MATTERS * np.abs(base)
        matters = np.where(progress > 0, np.minimum(matters, MATTERS_PROGRESS * progress), matters)
        with np.errstate(divide="ignore", invalid="ignore"):
            whole, far = (np.where(spread > 0, (order[k] - base) / spread, 0.0) for k in (CELL // 2, CELL - 1))
        i = seen = 0
        while i < len(base):
            if self.open is not None:
                i = seen = self._until_over(blocks, i)
                continue
            where = np.flatnonzero(far[i:] > self._floor())
            next_one = i + int(where[0]) if len(where) else len(base)
            self.top_block = max(self.top_block, float(whole[seen:next_one].max(initial=-np.inf)))
            i = seen = next_one
            if i == len(base):
                return
            rise = rows[1, i] - base[i]
            stray = rise / spread[i] if spread[i] > 0 else np.zeros(CELL)
            beyond = stray > self._pair()
            odd = self._odd(stray, beyond, self.learned + i) & (rise > matters[i])
            first = rows[0, i, np.argmax(odd)]
            if not odd.any() and (edge := self.edge) is not None and edge.block == self.learned + i - 1:
                odd[:2] = self._across(edge, stray, rise > matters[i])
                first = edge.steps[np.argmax(edge.far)]
                self.top = edge.top if odd.any() else self.top
            self.edge = None
            if odd.any():
                self._begin(rows[:, i], int(first), float(base[i]), float(spread[i]), odd)
            else:
                beyond &= rise > matters[i]
                if beyond[-2:].any() and self.learned + i >= EARLY:
                    self.edge = Edge(self.learned + i, rows[0, i, -2:].copy(), beyond[-2:], self.top)
                self.top = np.sort(np.concatenate([self.top, stray]))[-STRAYS:]
            i += 1

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
        return far & np.array([edge.far.any(), edge.far[1]])

    def _begin(self, rows: FloatArray, first: int, base: float, spread: float, odd: NDArray[np.bool_]) -> None:
        at = np.flatnonzero(odd)
        high = int(np.argmax(rows[1]))
        rise = float(rows[1, high]) - base
        self.open = Open(base + max(BACK * rise, BACK_SPREADS * spread))
        self.count += 1
        if self.first < 0:
            self.first = first
        self.last = int(rows[0, at[-1]])
        if rise > self.worst[2] - self.worst[1]:
            self.worst = (int(rows[0, high]), base, float(rows[1, high]))

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
                rank=self.loss.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.open is not None else "resolved",
                fix="look at the batches of that step; if spikes repeat, clip the gradient or lower the learning rate",
            )
        ]

    def not_checked(self) -> str:
        if self.loss.rank is None:
            return "the trace has no loss"
        return "" if self.blocks.shape[1] >= WINDOW else "fewer than 72 rows with a loss: no baseline to compare with"


CHECK = Spike
