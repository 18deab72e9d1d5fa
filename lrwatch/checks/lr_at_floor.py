"""The learning rate is zero or at its floor while a large part of the run is still to come.

What it checks
    The learning rate that the updates used, of the first group, after it has come down from its peak. *Zero* (less than
    a hundred-thousandth of the peak): once it has lasted for 2 % of the horizon, with a tenth or more of the horizon to
    come when it began. *Floor* (the promised last value, where that is at most a fifth of the peak): once it has lasted
    for 5 % of the horizon, with half of it or more to come. Where the contract's own curve rises again later, as with
    warm restarts, it is no floor. Without a horizon: zero for 64 rows and a tenth of the run so far.

Why it matters
    Updates at a learning rate of zero change nothing: the rest of the run is paid for and wasted.

Example
    lr-at-floor: the learning rate is 0 since step 5000, with 75% of the schedule to come.

Fix
    Plan the schedule's length for the run's real length; look at ``drift`` for a scheduler that runs too fast.

Source
    Failure mode "LR min too low or schedule wrong"; glossary "LRmin: set to zero stalls".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks._statistics import runs
from lrwatch.checks.base import Batch, Check, Context, Rates
from lrwatch.curve import Curve
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

ZERO = 1e-5
"""Share of the peak: polynomial and exponential decays pass a thousandth long before they end."""
ZERO_LASTS, ZERO_LEFT = 0.02, 0.1
"""Shares of the horizon: how long it must last, how much must be to come. A cosine is this low for the last 0.2 %."""
FLOOR = 0.2
"""A last value above this share of the peak is no floor but a constant stretch."""
FLOOR_LASTS, FLOOR_LEFT = 0.05, 0.5
"""The same for the floor: many plans hold it for the last fifth or third on purpose."""
ROWS, OF_RUN = 64, 0.1
"""Rows, and share of the rows so far, at zero where no horizon is known."""
ROUNDED = 1e-3
"""The floor as four stored digits show it."""
LEAST = 16
"""Rows, whatever share of a short run they are."""
POINTS = 1025
"""Points at which the promised curve is looked at."""


@dataclass
class Stretch:
    """Rows in a row with the learning rate so low: where they began and how many."""

    step: float = -1.0
    share: float = np.nan
    rows: int = 0

    def feed(self, low: NDArray[np.bool_], steps: FloatArray, share: FloatArray) -> tuple[FloatArray, ...]:
        """For each row: step and share at which its stretch began, and its length so far, 0 outside, float64[n]."""
        length = runs(low, self.rows)
        begin = np.arange(len(low)) + 1 - length
        here = np.clip(begin, 0, len(low) - 1)  # of a row outside, whatever: its length is 0
        began = np.where(begin < 0, self.step, steps[here])
        began_share = np.where(begin < 0, self.share, share[here])
        self.step, self.share, self.rows = float(began[-1]), float(began_share[-1]), int(length[-1])
        return began, began_share, length.astype(np.float64)


class LrAtFloor(Check):
    slug = "lr-at-floor"
    code = "LR310"
    title = "learning rate at zero or floor with much to come"
    scope = "run"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.planned = False
        self.peak = self.rows = 0.0
        self.floor = -1.0
        self.rises_until = -1.0
        """Share of the horizon up to which the promised curve rises again."""
        self.at_zero, self.at_floor = Stretch(), Stretch()
        self.first = self.last = self.end = -1
        self.message = ""

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        if self.rank not in (None, chunk.rank):
            return
        lr, rates = batch.lr, batch.rates
        applied = "skipped" not in chunk.columns or not chunk.columns["skipped"].any()
        if self.planned and applied and rates.all and self._high(rates):
            self.rows, self.end = self.rows + len(lr), int(chunk.columns["update"][-1])
            self.peak = max(self.peak, rates.high)
            return
        keep = np.isfinite(lr)
        if "skipped" in chunk.columns:
            keep &= chunk.columns["skipped"] == 0
        if not keep.any():
            return
        self.rank = chunk.rank
        if not self.planned:
            self.planned = True
            self._plan(next((c for n, c in batch.curves.items() if n.startswith("lr/")), None))
        self._take(lr[keep], chunk.columns["update"][keep].astype(np.float64), batch.shares[keep])

    def _high(self, rates: Rates) -> bool:
        """Whether none of these rates is low, and none was just before."""
        lasting = self.at_zero.rows or self.at_floor.rows
        return not lasting and rates.low > max(ZERO * max(self.peak, rates.high), self.floor)

    def _plan(self, curve: Curve | None) -> None:
        """The peak and the floor that the contract promises, and how long its curve goes on rising."""
        if curve is None or not curve.horizon or curve.stateful:
            return
        values = curve.at(np.linspace(0.0, curve.horizon, POINTS))
        self.peak = float(values.max())
        if values[-1] <= FLOOR * self.peak:
            self.floor = float(values[-1]) * (1 + ROUNDED)
        later = np.maximum.accumulate(values[::-1])[::-1]
        rises = np.flatnonzero(later > 2.0 * values + ZERO * self.peak)
        self.rises_until = float(rises[-1] + 1) / (POINTS - 1) if len(rises) else -1.0

    def _take(self, lr: FloatArray, steps: FloatArray, share: FloatArray) -> None:
        peaks = np.maximum.accumulate(np.concatenate([[self.peak], lr]))[1:]
        down = (peaks > 0) & ~(share <= self.rises_until)
        count = self.rows + 1.0 + np.arange(len(lr))
        self.peak, self.rows, self.end = float(peaks[-1]), float(count[-1]), int(steps[-1])
        for stretch, low, lasts, left in (
            (self.at_zero, down & (lr <= ZERO * peaks), ZERO_LASTS, ZERO_LEFT),
            (self.at_floor, down & (lr <= self.floor), FLOOR_LASTS, FLOOR_LEFT),
        ):
            if not low.any() and not stretch.rows:
                continue
            began, began_share, length = stretch.feed(low, steps, share)
            odd = low & (length >= LEAST) & (share - began_share >= lasts) & (1.0 - began_share >= left)
            if stretch is self.at_zero:
                odd |= low & np.isnan(share) & (length >= ROWS) & (length >= OF_RUN * count)
            if odd.any():
                at = int(np.argmax(odd))
                self._say(began[at], began_share[at], lr[at], float(steps[np.flatnonzero(odd)[-1]]))

    def _say(self, began: float, began_share: float, lr: float, last: float) -> None:
        if self.first < 0:
            self.first = int(began)
            left = f", with {1.0 - began_share:.0%} of the schedule to come" if began_share == began_share else ""
            self.message = f"the learning rate is {lr:.3g} since step {began:.0f}{left}"
        self.last = max(self.last, int(last))

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        return [
            self.finding(
                self.message,
                signal="lr",
                rank=self.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.last == self.end else "resolved",
                fix="plan the schedule for the run's real length; look at drift for a scheduler that runs too fast",
            )
        ]

    def not_checked(self) -> str:
        return "" if self.rank is not None else "the trace has no learning rate"


CHECK = LrAtFloor
