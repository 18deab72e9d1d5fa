"""The loss climbed above what had been reached and stays there.

What it checks
    Levels of the training loss (medians of 8 rows and more) against the best level that the run had reached at a
    learning rate about as high. Divergence is a rise of more than 6 standard deviations of the run's own noise and of
    more than a tenth of its progress; or, at any learning rate, of 7 tenths of all progress; or to 4 times the loss of
    the first rows; that lasts for at least 64 rows and a twentieth of the run. It is an error once half of all progress
    is gone or it lasts for a quarter of the run; what came back is a warning. The first 96 rows are excepted, for want
    of a history; so is a resume from a much earlier checkpoint. In the last quarter of the schedule the same is
    reported as ``late-divergence``.

Why it matters
    A run that has diverged hardly ever comes back by itself, and every hour after it is lost.

Example
    divergence: the loss climbed from 2.06 to 5.87 since step 4032 and stays there.

Fix
    Stop, go back to the last checkpoint before the first bad step, and continue with a lower learning rate, tighter
    clipping or a longer warm-up; look at the data of that stretch if the learning rate was as promised.

Source
    Zhang et al., OPT logbook, 2022, and Chowdhery et al., PaLM, 2022, on loss divergences of large runs.
"""

from __future__ import annotations

from lrwatch.checks._climb import Climb
from lrwatch.checks._series import TOGETHER, Follow
from lrwatch.checks.base import Batch, Check, Context
from lrwatch.findings import Finding, Severity


class Divergence(Check):
    slug = "divergence"
    code = "LR303"
    title = "loss climbed and stays above what was reached"
    scope = "run"

    def __init__(self, context: Context):
        super().__init__(context)
        self.loss = Follow("loss", together=2 * TOGETHER)
        self.climb = Climb(late=False)

    def update(self, batch: Batch) -> None:
        for rows in self.loss.rows(batch):
            self.climb.feed(rows)

    def finish(self) -> None:
        for rows in self.loss.rest():
            self.climb.feed(rows)
        self.climb.finish()

    def findings(self) -> list[Finding]:
        rise = self.climb.found
        if rise is None:
            return []
        stays = "and stays there" if rise.active else "and came back"
        return [
            self.finding(
                f"the loss climbed from {rise.best:.4g} to {rise.level:.4g} since step {rise.first} {stays}",
                severity=Severity.error if rise.lost else Severity.warning,
                signal="loss",
                rank=self.loss.rank,
                first_step=rise.first,
                last_step=rise.last,
                state="active" if rise.active else "resolved",
                fix="go back to the last checkpoint before that step; lower the learning rate, clip, or warm up longer",
            )
        ]

    def not_checked(self) -> str:
        return "" if self.loss.rank is not None else "the trace has no loss"


CHECK = Divergence
