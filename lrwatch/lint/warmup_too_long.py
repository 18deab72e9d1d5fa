"""The warm-up is not over when the run is.

What it checks
    Whether the learning rate still rises at the last planned update although it would turn later: a phase that the
    contract has after the warm-up begins at or past the horizon, or the rise itself ends past it. A curve that is
    meant to rise for ever, a range test, is left alone.

Why it matters
    The run never trains at its learning rate, and the decay never happens. Usually the warm-up counts other units than
    the horizon: micro-batches, samples, or the updates of a longer run from which it was copied.

Example
    the warm-up ends at update 2,000, and the run at update 1,000: its last update gets 50% of the peak

Fix
    Shorten the warm-up or lengthen the horizon, and write both in the units of the clock.

Source
    What people ask about warm-ups that never end, and about micro-batches counted as steps.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule, share


def _judge(plan: Plan) -> Problem | None:
    horizon, turns = plan.horizon or 0.0, plan.turns
    if len(turns) != 2 or turns[1].value <= turns[0].value or turns[1].first != len(plan.t) - 1:
        return None
    current = next(p for p in reversed(plan.phases) if p.start < horizon)
    later = [p.start for p in plan.phases if p.start >= horizon]
    if not later and (current.after == "continue" or current.length is None):
        return None
    end = min(later) if later else current.start + (current.length or 0.0) - current.offset
    full = float(plan.curve.at(np.array([end]))[0])
    if end <= horizon or full <= plan.last * 1.01:
        return None
    return Problem(
        f"the warm-up ends at {plan.place(end)}, and the run at {plan.place(horizon)}: its last update gets "
        f"{share(plan.last / full)} of the peak",
        "shorten the warm-up or lengthen the horizon, in the units of the clock",
        0.0,
        horizon,
    )


RULE = Rule("warmup-too-long", "LP101", "the warm-up is longer than the run", Severity.error, _judge)
