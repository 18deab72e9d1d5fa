"""The horizon counts micro-batches, and the clock counts updates.

What it checks
    With the number of updates that the trainer will make (--updates) and batch.accumulate G: whether the horizon, or
    the end of the decay, is G times as many, or one G-th.

Why it matters
    With G micro-batches per update, a schedule of micro-batches is at one G-th of its length when the run ends: the
    learning rate never comes down. The other way round, it comes down in the first G-th of the run.

Example
    the horizon of 80,000 is 4 times the run's 20,000 updates, and batch.accumulate is 4: it counts micro-batches

Fix
    Divide the times of the schedule by G, or let the clock count what they count.

Source
    accelerate, diffusers, axolotl, ColossalAI: horizons that were not divided by the accumulation.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule


def _judge(plan: Plan) -> Problem | None:
    updates, horizon = plan.updates or 0.0, plan.horizon or 0.0
    times, counted = plan.contract.batch.accumulate or 1, horizon / plan.stride
    if times == 1:
        return None
    over = float(np.ceil(plan.still / plan.stride)) if plan.last < 0.9 * plan.peak else counted
    for length, what in ((counted, f"the horizon of {counted:,.0f}"), (over, f"the end of the decay, {over:,.0f},")):
        if abs(length - updates * times) <= times + 0.002 * length:
            said = f"{what} is {times} times the run's {updates:,.0f} updates"
            return Problem(
                f"{said}, and batch.accumulate is {times}: it counts micro-batches",
                f"divide the times of the schedule by {times}",
                0.0,
                horizon,
            )
        if abs(length * times - updates) <= times + 0.002 * updates:
            return Problem(
                f"{what} is one {times}th of the run's {updates:,.0f} updates, and batch.accumulate is {times}: it was "
                "divided twice",
                f"multiply the times of the schedule by {times}",
                0.0,
                horizon,
            )
    return None


def _cannot(plan: Plan) -> str:
    if plan.updates is None:
        return "how many updates the trainer will make is not known (--updates)"
    if plan.contract.batch.accumulate is None:
        return "the contract has no batch.accumulate"
    return "" if plan.update(0.0) is not None else "the clock does not count updates"


RULE = Rule(
    "accumulation-not-counted", "LP110", "micro-batches are counted as updates", Severity.error, _judge,
    cannot=_cannot,
)  # fmt: skip
