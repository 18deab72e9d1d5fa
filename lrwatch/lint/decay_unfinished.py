"""The run ends before its decay does.

What it checks
    Whether the phase that the run ends in has a length that reaches past the horizon, and the learning rate would have
    fallen by more than 5% of the peak until then.

Why it matters
    The last part of a decay is where the loss falls most; a run that is cut off there ends worse than one with a
    shorter schedule. Usually the schedule counts what the horizon does not: micro-batches, or steps of every worker.

Example
    the run ends at update 5,000, and its decay at update 20,000: the last learning rate is 85% of the peak

Fix
    Give the decay the length of the run: until: horizon. For a run that is meant to be continued later, a
    warmup_stable_decay says so.

Source
    Horizons in micro-batches: accelerate, diffusers, axolotl and others.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule, share


def _judge(plan: Plan) -> Problem | None:
    horizon = plan.horizon or 0.0
    current = next((p for p in reversed(plan.phases) if p.start < horizon), None)
    if current is None or current.length is None or current.after == "restart":
        return None
    end = current.start + current.length - current.offset
    final = float(plan.curve.at(np.array([end]))[0])
    if end <= horizon + 2.0 * plan.stride or plan.last - final <= 0.05 * plan.peak:
        return None
    return Problem(
        f"the run ends at {plan.place(horizon)}, and its decay at {plan.place(end)}: the last learning rate is "
        f"{share(plan.last / plan.peak)} of the peak",
        "give the decay the length of the run: until: horizon",
        horizon,
        None,
    )


RULE = Rule("decay-unfinished", "LP107", "the run ends before its decay does", Severity.warning, _judge)
