"""Epochs where updates are counted, or the reverse.

What it checks
    With batch.steps_per_epoch B known. On a clock of updates: the whole horizon, at most 1,000, is less than one epoch;
    or a decaying schedule comes to rest within 1,000 updates and a twentieth of the run, while as many epochs would
    fit into it. On a clock of epochs: more than 10,000 of them, or 3,000 and more that are at least ten times a whole
    number of B.

Why it matters
    A schedule of 90 epochs that is stepped after each update is over in 90 updates; one of 112,500 updates that is
    stepped after each epoch never leaves its beginning. Both train to the end without a word.

Example
    the schedule is over at update 80 of 112,500; 80 epochs would be 100,000 updates

Fix
    Write every time of the schedule in the units of the clock: epochs times steps_per_epoch for updates; or set the
    clock's axis to what the scheduler really counts.

Source
    Stepping per batch and per epoch mixed up, the commonest question about schedulers.
"""

from __future__ import annotations

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule

FEW, MANY, TOO_MANY = 1_000, 3_000, 10_000


def _judge(plan: Plan) -> Problem | None:
    horizon, per_epoch = plan.horizon or 0.0, plan.contract.batch.steps_per_epoch or 0
    if plan.contract.clock.axis == "epoch":
        return _too_many_epochs(plan, horizon, per_epoch)
    if plan.contract.clock.axis not in ("update", "attempt"):
        return None
    if horizon <= FEW and horizon < per_epoch:
        return Problem(
            f"the run ends at update {horizon:,.0f}, before its first epoch of {per_epoch:,} updates is over; "
            f"{horizon:,.0f} epochs would be {horizon * per_epoch:,.0f} updates",
            "write the horizon in updates: epochs times steps_per_epoch",
            0.0,
            horizon,
        )
    over = plan.still
    decays = plan.last < 0.9 * plan.peak
    if decays and 0.0 < over <= min(FEW, 0.05 * horizon) and over * per_epoch <= 1.001 * horizon:
        return Problem(
            f"the schedule is over at update {over:,.0f} of {horizon:,.0f}; {over:,.0f} epochs would be "
            f"{over * per_epoch:,.0f} updates",
            "write the times of the schedule in updates: epochs times steps_per_epoch",
            over,
            horizon,
        )
    return None


def _too_many_epochs(plan: Plan, horizon: float, per_epoch: int) -> Problem | None:
    epochs, rest = divmod(horizon, per_epoch) if per_epoch > 1 else (0.0, 1.0)
    if horizon <= TOO_MANY and not (horizon >= MANY and rest == 0.0 and epochs >= 10):
        return None
    instead = f": {horizon:,.0f} updates are {horizon / per_epoch:,.6g} epochs" if per_epoch > 1 else ""
    return Problem(
        f"the clock counts epochs, and the run has {horizon:,.0f} of them{instead}",
        "write the horizon in epochs, or count updates with axis: update",
        0.0,
        horizon,
    )


def _cannot(plan: Plan) -> str:
    if plan.contract.batch.steps_per_epoch is None and plan.contract.clock.axis != "epoch":
        return "the contract has no batch.steps_per_epoch"
    return ""


RULE = Rule(
    "epochs-and-updates", "LP102", "epochs where updates are counted, or the reverse", Severity.error, _judge,
    cannot=_cannot,
)  # fmt: skip
