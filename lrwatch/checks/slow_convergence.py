"""The contract's goal is out of reach, or was not reached.

What it checks
    The goal's metric, from its recorded validations. From half of the schedule on: the improvement that the goal still
    asks for, against all that the second half of the validations so far has brought, scaled to what is left of the
    schedule. The goal is called out of reach when it asks for more than 3 times as much (8 times while the promised
    learning rate is yet to fall to less than half, for a decay brings a late improvement of its own), beyond 4 standard
    deviations of the metric's noise. At the end: the goal was not reached.

Why it matters
    A run that will miss its goal can be stopped or corrected while half of the budget is left.

Example
    slow-convergence: val_loss is 2.41 at 70% of the schedule; the goal of 1.9 asks for 0.51 more, the second half of
    the run so far gained 0.06.

Fix
    Look at ``drift`` and ``lr-at-floor`` first. Else raise the base or the floor, extend the horizon as an amendment,
    or correct the goal.

Source
    Service-level indicators "successful convergence rate" and "GPU-hours per converged model".
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks._validations import SHARE, VALUE, Validations
from lrwatch.checks.base import Batch, Check, Context
from lrwatch.curve import Curve
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Event

FROM = 0.5
"""Share of the schedule at which a forecast is made for the first time."""
LEAST = 8
"""Validations for it."""
TIMES = 3.0
"""The wanted improvement over what the recent pace would bring: curves flatten, so the pace flatters."""
TIMES_DECAY = 8.0
"""… while the learning rate is yet to fall: a decay of the last fifth brings as much as the half before it, or more."""
FALLS = 0.5
NOISE = 4.0


class SlowConvergence(Check):
    slug = "slow-convergence"
    code = "LR313"
    title = "goal out of reach or not reached"
    scope = "run"
    severity = Severity.warning
    needs_contract = True

    def __init__(self, context: Context):
        super().__init__(context)
        self.validations = Validations()
        self.first = self.last = -1
        self.message = ""
        self.active = False

    @classmethod
    def cannot(cls, context: Context) -> str:
        if why := super().cannot(context):
            return why
        assert context.contract is not None
        if context.contract.goal is None:
            return "the contract has no goal"
        return "" if context.contract.horizon else "the contract has no horizon"

    def update(self, batch: Batch) -> None:
        self.validations.row(batch)

    def event(self, event: Event) -> None:
        assert self.context.contract is not None and self.context.contract.goal is not None
        v, goal = self.validations, self.context.contract.goal
        if event.kind == "end" and event.fields.get("outcome") in ("finished", "converged"):
            self._ended(event.update)
        metrics = event.fields.get("metrics")
        if event.kind != "validation" or not isinstance(metrics, dict) or goal.metric not in metrics:
            return
        if v.take(event, self.context.contract) is None or v.best is None:
            return
        wanted = float(v.best[VALUE]) - v.sign * goal.target
        if wanted <= 0:
            self.active = False
            return
        if v.share >= FROM and v.count >= LEAST and self._hopeless(wanted):
            self._say(event.update, self._pace(wanted))

    def _say(self, step: int, message: str) -> None:
        self.active, self.message, self.last = True, message, step
        self.first = step if self.first < 0 else self.first

    def _hopeless(self, wanted: float) -> bool:
        v = self.validations
        shares = v.kept[SHARE]
        if not np.isfinite(shares).all():
            return False
        gained, span = self._recent()
        left = max(1.0 - v.share, 0.0)
        possible = max(gained, 0.0) * left / max(span, 1e-9)
        times = TIMES_DECAY if self._falls() else TIMES
        return wanted > times * possible + NOISE * v.noise()

    def _recent(self) -> tuple[float, float]:
        """What the second half of the schedule so far has gained, and its length as a share of the horizon."""
        v = self.validations
        shares, values = v.kept[SHARE], v.kept[VALUE]
        recent = shares >= v.share / 2
        before = values[~recent] if (~recent).any() else values[:1]
        return float(before.min() - values.min()) if recent.any() else 0.0, v.share / 2

    def _falls(self) -> bool:
        """Whether the promised learning rate is yet to fall to less than half."""
        contract = self.context.contract
        assert contract is not None and contract.horizon
        curve = Curve(contract)
        now, end = curve.at(np.array([min(self.validations.share, 1.0), 1.0]) * contract.horizon)
        return bool(end < FALLS * now)

    def _pace(self, wanted: float) -> str:
        assert self.context.contract is not None and self.context.contract.goal is not None
        v, goal = self.validations, self.context.contract.goal
        assert v.best is not None
        return (
            f"{goal.metric} is at best {v.shown(float(v.best[VALUE]))} at {v.share:.0%} of the schedule; the goal of "
            f"{goal.target:g} asks for {wanted:.3g} more, the second half of the run so far gained "
            f"{max(self._recent()[0], 0.0):.3g}"
        )

    def _ended(self, step: int) -> None:
        v = self.validations
        assert self.context.contract is not None and self.context.contract.goal is not None
        goal = self.context.contract.goal
        if v.best is None or v.metric != goal.metric or not float(v.best[VALUE]) > v.sign * goal.target:
            return
        self._say(
            step,
            f"the run ended at {min(v.share, 1.0):.0%} of the schedule with {goal.metric} at best "
            f"{v.shown(float(v.best[VALUE]))}; the goal is {goal.target:g}",
        )

    def findings(self) -> list[Finding]:
        if self.first < 0:
            return []
        assert self.context.contract is not None and self.context.contract.goal is not None
        return [
            self.finding(
                self.message,
                signal=self.context.contract.goal.metric,
                rank=self.validations.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.active else "resolved",
                fix="look at drift and lr-at-floor first; else extend the horizon as an amendment or correct the goal",
            )
        ]

    def not_checked(self) -> str:
        if self.validations.count:
            return ""
        assert self.context.contract is not None and self.context.contract.goal is not None
        return f"no validation with the goal's metric {self.context.contract.goal.metric} was recorded"


CHECK = SlowConvergence
