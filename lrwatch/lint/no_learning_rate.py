"""The curve gives what no learning rate can be.

What it checks
    Whether the learning rate is below zero or not finite at any planned update.

Why it matters
    A learning rate below zero climbs the loss; one that is infinite ends the run. Formulas without a clamp do this past
    their length: torchtitan's linear decay, torch's OneCycleLR with linear annealing.

Example
    the learning rate is -3e-05 at update 10,001

Fix
    Let the phase hold its last value (after: hold), or end the run with it.

Source
    torchtitan's linear and sqrt decays past their steps.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule


def _judge(plan: Plan) -> Problem | None:
    wrong = np.flatnonzero(~(np.isfinite(plan.values) & (plan.values >= -1e-12 * np.nanmax(np.abs(plan.values)))))
    if not len(wrong):
        return None
    first, last = float(plan.t[wrong[0]]), float(plan.t[wrong[-1]])
    return Problem(
        f"the learning rate is {plan.values[wrong[0]]:g} at {plan.place(first)}",
        "let the phase hold its last value (after: hold), or end the run with it",
        first,
        last,
    )


RULE = Rule("no-learning-rate", "LP113", "below zero, or not finite", Severity.error, _judge, horizon=False,
            curve=False)  # fmt: skip
