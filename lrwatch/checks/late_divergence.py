"""The loss climbed in the last part of the schedule, where it should settle.

What it checks
    The same as ``divergence``, for a rise that begins in the last quarter of the contract's horizon. There the learning
    rate should be small and the loss should not move any more; one that climbs says that the learning rate is not
    small: a horizon that is longer than the run, a floor that is too high, or a curve that climbs again past its end.

Why it matters
    Nearly all of the budget is spent, and the model that is about to be used is the one that was just damaged.

Example
    late-divergence: the loss climbed from 1.94 to 2.71 since step 18304, at 91.5% of the schedule, and stays there.

Fix
    Look at the finding of ``drift`` and ``run-length`` first. Take the last checkpoint before the first bad step, and
    finish from there with the schedule that was promised, or with a lower base or a longer horizon.

Source
    Failure mode "divergence late: loss spikes near the end; learning rate too high or wrong T".
"""

from __future__ import annotations

from lrwatch.checks._climb import LossClimb, Rise
from lrwatch.checks.base import Context


class LateDivergence(LossClimb):
    slug = "late-divergence"
    code = "LR304"
    title = "loss climbed near the end of the schedule"
    needs_contract = True
    late = True
    fix = "take the last checkpoint before that step; finish with a smaller learning rate"

    @classmethod
    def cannot(cls, context: Context) -> str:
        if why := super().cannot(context):
            return why
        assert context.contract is not None
        return "" if context.contract.horizon else "the contract has no horizon"

    def where(self, rise: Rise) -> str:
        return f", at {min(rise.share, 1.0):.1%} of the schedule,"

    def not_checked(self) -> str:
        if self.rank is not None and not self.climb.placed:
            return "the position on the contract's clock is not known"
        return super().not_checked()


CHECK = LateDivergence
