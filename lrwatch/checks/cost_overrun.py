"""The run has cost more than its budget, or is about to.

What it checks
    GPU-hours so far × ``cost.per_gpu_hour`` against ``cost.budget``. GPU-hours are the time from first to last row of
    each segment (pauses between restarts are free) × the number of workers, or the ``gpu_seconds`` of the events where
    these are recorded, per worker. From a tenth of the schedule on the whole cost is forecast as cost / share of the
    schedule: an info when it is a tenth above the budget, until it is within it; over budget is a warning.

Why it matters
    A run that will cost twice its budget can be seen at a tenth of it.

Example
    cost-overrun: 412 USD were spent at 88% of the schedule; the budget is 400 USD (103 GPU-hours at 4).

Fix
    Stop at the goal (early stop), shorten the horizon as an amendment, or find why updates take longer than planned.

Source
    Failure mode "cost overruns: long training, overly conservative decay"; FinOps practice of budgets with forecasts.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks.base import Batch, Check, Context
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.model import Event

FROM = 0.1
"""Share of the schedule at which the forecast begins: start-up and compilation weigh little by then."""
MARGIN = 1.1
"""A forecast within a tenth of the budget is as good as on it."""


class CostOverrun(Check):
    slug = "cost-overrun"
    code = "LR502"
    title = "run costs more than its budget"
    scope = "run"
    severity = Severity.warning
    needs_contract = True

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.world = 1
        self.segment = -1
        self.began = np.nan
        self.done = self.seconds = 0.0
        """Seconds of the segments before this one, and of all up to the newest row."""
        self.counted: dict[int, float] = {}
        """Rank → ``gpu_seconds`` of its newest event."""
        self.share = np.nan
        self.forecast_first = self.over_first = self.last = -1
        self.forecast = np.nan

    @classmethod
    def cannot(cls, context: Context) -> str:
        if why := super().cannot(context):
            return why
        assert context.contract is not None
        cost = context.contract.cost
        return "" if cost is not None and cost.budget is not None else "the contract has no cost.budget"

    def event(self, event: Event) -> None:
        seconds, world = event.fields.get("gpu_seconds"), event.fields.get("world")
        if isinstance(seconds, (int, float)) and np.isfinite(seconds):
            self.counted[event.rank] = max(float(seconds), self.counted.get(event.rank, 0.0))
            if self._spent(0.0) > self._budget and self.over_first < 0:
                self.over_first = self.last = event.update
        if isinstance(world, int) and event.kind in ("start", "resume"):
            self.world = world

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        self.world = chunk.world or self.world
        if "ts" not in chunk.columns or self.rank not in (None, chunk.rank):
            return
        ts, there = batch.finite("ts").values, batch.finite("ts").there
        if not there.any():
            return
        self.rank = chunk.rank
        if chunk.segment != self.segment:
            self.segment, self.done, self.began = chunk.segment, self.seconds, float(ts[there][0])
        seconds = np.maximum.accumulate(self.done + np.maximum(ts[there] - self.began, 0.0))
        self.seconds = float(seconds[-1])
        self._judge(seconds, batch.shares[there], chunk.columns["update"][there].astype(np.float64))

    def _judge(self, seconds: FloatArray, share: FloatArray, steps: FloatArray) -> None:
        spent = self._spent(seconds)
        over = np.flatnonzero(spent > self._budget)
        if len(over) and self.over_first < 0:
            self.over_first = int(steps[over[0]])
        self.share, self.last = float(share[-1]), int(steps[-1])
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = np.where(share >= FROM, spent / np.minimum(share, 1.0), np.nan)
        self.forecast = float(whole[-1])
        high = np.flatnonzero(whole > MARGIN * self._budget)
        if len(high) and self.forecast_first < 0:
            self.forecast_first = int(steps[high[0]])

    @property
    def _budget(self) -> float:
        assert self.context.contract is not None and self.context.contract.cost is not None
        return self.context.contract.cost.budget or 0.0

    def _spent(self, seconds: FloatArray | float) -> FloatArray:
        """Money, float64[n] for the seconds of one worker, float64[n]."""
        assert self.context.contract is not None and self.context.contract.cost is not None
        counted = float(np.mean(list(self.counted.values()))) if self.counted else 0.0
        hours = np.maximum(np.asarray(seconds, dtype=np.float64), counted) * self.world / 3600.0
        return np.asarray(hours * self.context.contract.cost.per_gpu_hour)

    def findings(self) -> list[Finding]:
        assert self.context.contract is not None and self.context.contract.cost is not None
        cost = self.context.contract.cost
        spent = float(self._spent(self.seconds))
        at = f" at {min(self.share, 1.0):.0%} of the schedule" if self.share == self.share else ""
        so_far = f"{spent:.4g} {cost.currency} were spent{at}"
        rate = f"({spent / cost.per_gpu_hour:.4g} GPU-hours at {cost.per_gpu_hour:g})" if cost.per_gpu_hour else ""
        if self.over_first >= 0:
            severity, first = Severity.warning, self.over_first
            message, state = f"{so_far}; the budget is {self._budget:g} {cost.currency} {rate}".rstrip(), "active"
        elif self.forecast_first >= 0:
            severity, first = Severity.info, self.forecast_first
            message = f"{so_far}; at this pace it will be {self.forecast:.4g}, the budget is {self._budget:g}"
            state = "active" if self.forecast > self._budget else "resolved"
        else:
            return []
        return [
            self.finding(
                message,
                severity=severity,
                rank=None,
                first_step=first,
                last_step=self.last,
                state=state,
                fix="stop at the goal, shorten the horizon as an amendment, or find why updates take longer",
            )
        ]

    def not_checked(self) -> str:
        if self.rank is not None or self.counted:
            return ""
        return "the trace records neither timestamps (`ts`) nor `gpu_seconds`"


CHECK = CostOverrun
