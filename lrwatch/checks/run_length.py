"""The run was shorter or longer than its schedule was planned for.

What it checks
    The last position on the contract's clock against the horizon. Stopping early because the goal was reached is
    legal; a trace without an end event may belong to a run that still goes on, which is said and not held against it.

Why it matters
    A schedule that ends early leaves updates at the floor, or climbs again; one that ends late never reaches the
    small steps at which the model settles.

Example
    run-length: the run finished at 12000 of 20000 updates; the learning rate ended at 1.4e-04, not at 3e-05.

Fix
    Plan the horizon for the number of updates that the run will make: batches / accumulation, per epoch, times epochs.
    Declare a change in mid-run as an amendment.

Source
    transformers #23099, Megatron-LM #2258, OneTrainer #1604.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks.base import Batch, Check, Context
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Event


class RunLength(Check):
    slug = "run-length"
    code = "LR103"
    title = "run shorter or longer than promised"
    scope = "run"
    severity = Severity.warning
    needs_contract = True

    def __init__(self, context: Context):
        super().__init__(context)
        self.last_t = -1.0
        self.last_step = -1
        self.last_expected = float("nan")
        self.final_expected = float("nan")
        self.stride = 1.0
        self.strides: dict[int, tuple[float, float]] = {}
        """Rank → last position, and how far it was from the one before."""
        self.past: int | None = None
        self.outcome: str | None = None

    @classmethod
    def cannot(cls, context: Context) -> str:
        if why := super().cannot(context):
            return why
        assert context.contract is not None
        return "" if context.contract.horizon else "the contract has no horizon"

    def update(self, batch: Batch) -> None:
        if batch.t is None or not len(batch.t) or not batch.chunk.origin_known:
            return
        horizon = self._horizon()
        steps = batch.chunk.columns["update"]
        step = self._step()
        own = batch.t - step if batch.chunk.lr_read == "after" else batch.t
        slack = step if batch.chunk.lr_read == "unknown" else 0.0  # steps may count from 1
        if self.past is None and float(own.max()) >= horizon + slack:
            self.past = int(steps[np.argmax(own >= horizon + slack)])
        last, stride = self.strides.get(batch.chunk.rank, (own[0], step))
        if len(own) > 1 and own[-1] > own[-2]:
            stride = float(own[-1] - own[-2])
        else:
            forward = np.diff(own, prepend=last)
            forward = forward[forward > 0.0]
            stride = float(forward[-1]) if len(forward) else stride
        self.strides[batch.chunk.rank] = (float(own[-1]), stride)
        if own[-1] >= self.last_t:
            self.last_t, self.last_step, self.stride = float(own[-1]), int(steps[-1]), stride
            for name, expected in batch.expected.items():
                if name.startswith("lr/"):
                    self.last_expected = float(expected[-1])
                    self.final_expected = float(batch.curves[name].at(np.array([horizon]))[0])
                    break

    def _step(self) -> float:
        """Clock units from one step of the axis to the next."""
        assert self.context.contract is not None
        return float(self.context.contract.clock.ticks)

    def _horizon(self) -> float:
        assert self.context.contract is not None and self.context.contract.horizon is not None
        return self.context.contract.horizon

    def event(self, event: Event) -> None:
        if event.kind == "end":
            self.outcome = str(event.fields.get("outcome", "finished"))
        elif event.kind in ("start", "resume"):
            self.outcome = None

    def findings(self) -> list[Finding]:
        assert self.context.contract is not None
        horizon, axis = self._horizon(), self.context.contract.clock.axis
        if self.past is not None:
            return [
                self.finding(
                    f"the run went on past its horizon: {self.last_t + self._step():.0f} of {horizon:.0f} {axis}s",
                    rank=None,
                    first_step=self.past,
                    last_step=self.last_step,
                    fix="plan the horizon for the run's real length, or declare the extension as an amendment",
                )
            ]
        if self.last_t < 0 or self.last_t + self.stride >= horizon or self.outcome is None:
            return []
        if self.outcome in ("converged", "stopped"):
            return []
        word = "finished" if self.outcome == "finished" else f"ended ({self.outcome})"
        used = f"; the learning rate ended at {self.last_expected:.4g}, not at {self.final_expected:.4g}"
        return [
            self.finding(
                f"the run {word} at {self.last_t + self._step():.0f} of {horizon:.0f} {axis}s"
                + (used if np.isfinite(self.last_expected) else ""),
                severity=Severity.warning if self.outcome == "finished" else Severity.info,
                rank=None,
                last_step=self.last_step,
                fix="plan the horizon for the run's real length"
                if self.outcome == "finished"
                else "resume it from its newest checkpoint",
            )
        ]

    def not_checked(self) -> str:
        if self.last_t < 0:
            return "no row has a known position on the contract's clock"
        if self.outcome is None and self.past is None and self.last_t + self.stride < self._horizon():
            at = self.last_t + self._step()
            return f"no end was recorded: the run may still go on (at {at:.0f} of {self._horizon():.0f})"
        return ""


CHECK = RunLength
