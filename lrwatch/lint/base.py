"""What a rule of the plan is: one question asked of a contract's curve before anything is trained.

A rule is a module in this folder, named as its slug, that defines ``RULE``; its docstring is its page. Rules read the
drawn curve rather than the parameters of a family, so they hold for every family and every composition of phases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from lrwatch.contract.model import Contract, Phase
from lrwatch.curve import Curve
from lrwatch.findings import Finding, Severity
from lrwatch.lint._shape import Turn, positions, turns
from lrwatch.schedules.base import FloatArray

NO_HORIZON: Final = "the contract has no clock.horizon"
NO_CURVE: Final = "a plateau reacts to metrics that nobody has recorded yet"
NO_NUMBERS: Final = "the curve is not finite"
SMALL: Final = 1e-3
"""Movements below this share of the whole range are no turns."""


@dataclass(frozen=True)
class Plan:
    """The learning rate of one group over the planned run, as rules see it.

    Attributes:
        contract: the promise, without the interventions of its amendments. group: None for every group that the
            contract does not name. updates: how many updates the trainer will make, if somebody said.
    """

    contract: Contract
    group: str | None = None
    updates: float | None = None

    @cached_property
    def curve(self) -> Curve:
        return Curve(self.contract, "lr", self.group or "")

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that hold at the end."""
        return self.curve.phases

    @property
    def horizon(self) -> float | None:
        return self.contract.horizon

    @cached_property
    def stride(self) -> float:
        """Clock units from one row to the next: of an update, or of whatever else the clock counts."""
        clock, batch = self.contract.clock, self.contract.batch
        return float(clock.ticks * (batch.size if clock.axis == "sample" and batch.size and not batch.ramp else 1))

    @property
    def end(self) -> float:
        """Where the drawn curve ends: the horizon, or a little past the last thing that happens without one."""
        if self.horizon is not None:
            return self.horizon
        return 1.25 * max([1.0, *self.curve.marks()])

    @cached_property
    def t(self) -> FloatArray:
        """Clock positions of the planned updates, float64[n]: all of them, of a long run a dense choice."""
        return positions(self.end, self.stride, self.curve.marks())

    @cached_property
    def values(self) -> FloatArray:
        """The learning rate at ``t``, float64[n]."""
        return self.curve.at(self.t)

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Where the curve begins and where it turns, lows and tops in turn."""
        return turns(self.values, SMALL)

    @property
    def peak(self) -> float:
        return float(self.values.max())

    @property
    def last(self) -> float:
        """The learning rate of the last planned update."""
        return float(self.values[-1])

    @cached_property
    def still(self) -> float:
        """The clock position from which on the curve keeps its last value, within 1e-6 of the peak."""
        moving = np.flatnonzero(np.abs(self.values - self.last) > 1e-6 * self.peak)
        return float(self.t[moving[-1] + 1]) if len(moving) else 0.0

    def place(self, t: float) -> str:
        """``update 200``, ``epoch 30``, ``sample 51,200``."""
        steps = t / self.contract.clock.ticks
        return f"{self.contract.clock.axis} {steps:,.0f}" if steps < 1e15 else f"{self.contract.clock.axis} {steps:g}"

    def update(self, t: float) -> int | None:
        """The update at a clock position; None where the contract does not say."""
        axis, batch = self.contract.clock.axis, self.contract.batch
        if axis in ("update", "attempt") or (axis == "sample" and self.stride != 1.0):
            return int(t / self.stride)
        return int(t * batch.steps_per_epoch) if axis == "epoch" and batch.steps_per_epoch else None


@dataclass(frozen=True)
class Problem:
    """What a rule found: the facts, what to do, and from where to where on the clock."""

    message: str
    fix: str
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        slug, code: its names; title: half a line. severity: of what it finds.
        judge: plan → what is wrong, or None. horizon, curve: whether it needs the contract to have a horizon, and a
            finite curve that is known beforehand. cannot: why this plan cannot be judged in other ways, "" if it can.
    """

    slug: str
    code: str
    title: str
    severity: Severity
    judge: Callable[[Plan], Problem | None]
    horizon: bool = True
    curve: bool = True
    cannot: Callable[[Plan], str] = lambda plan: ""

    def gap(self, plan: Plan) -> str:
        """Why the rule cannot judge the plan, "" if it can."""
        if self.horizon and plan.horizon is None:
            return NO_HORIZON
        if self.curve and plan.curve.stateful:
            return NO_CURVE
        if self.curve and not np.isfinite(plan.values).all():
            return NO_NUMBERS
        return self.cannot(plan)

    def finding(self, plan: Plan, problem: Problem) -> Finding:
        """The problem as reports show it."""
        first, last = (None if t is None else plan.update(t) for t in (problem.first, problem.last))
        return Finding(
            self.code, self.slug, self.severity, problem.message, signal="lr", group=plan.group, first_step=first,
            last_step=last, fix=problem.fix,
        )  # fmt: skip


def share(x: float) -> str:
    """A share in words: ``12%``, ``0.4%``."""
    return f"{x:.0%}" if x >= 0.1 else f"{100.0 * x:.2g}%"
