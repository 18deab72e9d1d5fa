"""A cyclical schedule whose half cycle is shorter than 2 epochs or longer than 10.

What it checks
    For a curve that goes up and down in at least two cycles, beginning at its low: the way up, in epochs of
    batch.steps_per_epoch updates.

Why it matters
    Cyclical learning rates were found to work with half cycles of 2 to 10 epochs; torch's default of 2,000 updates is
    anything between a tenth of an epoch and hundreds.

Example
    a half cycle has 2,000 updates, 0.16 epochs of 12,500; 2 to 10 epochs are usual

Fix
    Set up (step_size_up) to a few epochs' updates.

Source
    Smith, Cyclical learning rates for training neural networks, 2015, section 3.2.
"""

from __future__ import annotations

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule

LEAST, MOST = 2.0, 10.0


def _judge(plan: Plan) -> Problem | None:
    turns, clock = plan.turns, plan.contract.clock
    if len(turns) < 4 or turns[1].value <= turns[0].value or turns[2].value > turns[0].value + 0.1 * plan.peak:
        return None
    rise = float(plan.t[turns[1].first] - plan.t[turns[0].last])
    fall = float(plan.t[turns[2].first] - plan.t[turns[1].last])
    if rise < 0.2 * fall or turns[1].last != turns[1].first:  # a warm-up before something that restarts
        return None
    per_epoch = 1 if clock.axis == "epoch" else (plan.contract.batch.steps_per_epoch or 1) * clock.ticks
    epochs = rise / per_epoch
    if LEAST <= epochs <= MOST:
        return None
    said = f"{rise / clock.ticks:,.0f} updates, {epochs:.3g} epochs of {per_epoch // clock.ticks:,}"
    return Problem(
        f"a half cycle has {f'{epochs:,.4g} epochs' if clock.axis == 'epoch' else said}; 2 to 10 epochs are usual",
        "set the way up to the updates of a few epochs",
        float(plan.t[turns[0].last]),
        float(plan.t[turns[2].first]),
    )


def _cannot(plan: Plan) -> str:
    axis = plan.contract.clock.axis
    if axis == "epoch" or (axis in ("update", "attempt") and plan.contract.batch.steps_per_epoch):
        return ""
    return "the contract has no batch.steps_per_epoch"


RULE = Rule(
    "cycle-length", "LP109", "half cycles outside of 2 to 10 epochs", Severity.warning, _judge, horizon=False,
    cannot=_cannot,
)  # fmt: skip
