"""The horizon is not the length of the run.

What it checks
    With the number of updates that the trainer will make (--updates): whether the horizon is more than 1% off, for a
    curve whose learning rate at the end depends on it.

Why it matters
    A schedule that is longer than the run never comes down, a shorter one is over too early, or climbs back.

Example
    the horizon is 20,000 and the run has 15,000 updates: its last learning rate is 0.000104, not 3.5e-05

Fix
    Set clock.horizon to the updates that the trainer makes, and the scheduler's total steps with it.

Source
    Progress bars and schedulers that disagree: transformers, diffusers, LTX-Video-Trainer.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule


def _judge(plan: Plan) -> Problem | None:
    end, horizon = (plan.updates or 0.0) * plan.stride, plan.horizon or 0.0
    times = plan.contract.batch.accumulate or 1
    if abs(end - horizon) <= max(0.01 * horizon, plan.stride):
        return None
    if times > 1 and any(abs(end * k - horizon) <= 0.01 * horizon for k in (times, 1 / times)):
        return None  # accumulation-not-counted says more
    last = float(plan.curve.at(np.array([end - plan.stride]))[0])
    if abs(last - plan.last) <= 0.01 * plan.peak:
        return None
    return Problem(
        f"the horizon is {horizon / plan.stride:,.0f} updates and the run has {plan.updates:,.0f}: its last learning "
        f"rate is {last:.3g}, not {plan.last:.3g}",
        "set clock.horizon, and the scheduler's total steps with it, to the updates that the trainer makes",
        min(end, horizon),
        None,
    )


def _cannot(plan: Plan) -> str:
    if plan.updates is None:
        return "how many updates the trainer will make is not known (--updates)"
    countable = plan.contract.clock.axis in ("update", "attempt") or plan.stride != 1.0
    return "" if countable else "the clock does not count updates"


RULE = Rule("other-horizon", "LP111", "the horizon is not the length of the run", Severity.warning, _judge,
            cannot=_cannot)  # fmt: skip
