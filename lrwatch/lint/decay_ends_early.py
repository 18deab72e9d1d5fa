"""The decay is over long before the run.

What it checks
    Whether a smooth decay to less than half of the peak comes to rest before half of the run. Stairs, which rest
    between their drops, and zero, which has a rule of its own, are left alone.

Why it matters
    The second half trains at the floor, where it learns little. Usually the horizon of the schedule is that of a
    shorter run, or it is stepped more often than it was planned for.

Example
    the decay is over at update 2,500 of 10,000; then the learning rate stays at 3e-05

Fix
    Let the decay end with the run: until: horizon.

Source
    Schedules whose T_max, num_training_steps or decay_steps were not changed with the length of the run.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule


def _judge(plan: Plan) -> Problem | None:
    over = plan.still
    if not 0.0 < over < 0.5 * plan.end or not 1e-9 * plan.peak < plan.last < 0.5 * plan.peak:
        return None
    before = plan.values[: int(np.searchsorted(plan.t, over)) + 1]
    falls = -np.diff(before)
    if falls.max() > 0.25 * plan.peak or np.count_nonzero(falls > 0) < 4:  # stairs
        return None
    return Problem(
        f"the decay is over at {plan.place(over)} of {plan.end:,.0f}; then the learning rate stays at {plan.last:g}",
        "let the decay end with the run: until: horizon",
        over,
        plan.end,
    )


RULE = Rule("decay-ends-early", "LP106", "the decay is over long before the run", Severity.warning, _judge)
