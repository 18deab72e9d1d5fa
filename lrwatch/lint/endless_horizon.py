"""A horizon that no run reaches.

What it checks
    Whether the horizon is a placeholder: 100 million updates, epochs or rounds and more, 10¹³ samples, 10¹⁶ tokens;
    and the learning rate changes on the way there after its warm-up.

Why it matters
    Datasets that are streamed have no length, and trainers are given a huge number of steps instead. A schedule that
    decays over that number stays at its peak for ever.

Example
    the horizon is 1e+24 updates: after 10 million of them the learning rate is still 100% of the peak

Fix
    Give the run a real length, in updates, and let the schedule end with it; or promise a constant learning rate.

Source
    Streaming datasets in ms-swift, transformers and datasets: max_steps of 1e24, sys.maxsize.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule, share

NO_RUN = {"sample": 1e13, "token": 1e16}
NO_UPDATES = 1e8


def _judge(plan: Plan) -> Problem | None:
    axis, horizon = plan.contract.clock.axis, plan.horizon or 0.0
    limit = NO_RUN.get(axis, NO_UPDATES * plan.contract.clock.ticks)
    if horizon < limit or plan.last > 0.99 * plan.peak:
        return None
    reached = float(plan.curve.at(np.array([limit / 10.0]))[0])
    return Problem(
        f"the horizon is {horizon:g} {axis}s: after {limit / 10.0:g} of them the learning rate is "
        f"{share(reached / plan.peak)} of the peak",
        "give the run a real length and let the schedule end with it, or promise a constant learning rate",
        0.0,
        horizon,
    )


RULE = Rule("endless-horizon", "LP112", "a horizon that no run reaches", Severity.error, _judge)
