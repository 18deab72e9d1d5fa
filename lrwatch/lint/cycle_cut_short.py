"""The run ends in the middle of a cycle.

What it checks
    For a curve that comes down, rises again, and would come down once more: whether the last planned update is more
    than a tenth of a cycle's height above its lowest point. It holds for warm restarts (T_0, T_mult), for triangles,
    and for a cosine that climbs back after its length.

Why it matters
    What a restart gains shows when the learning rate has come down again. A run that is cut off at a high rate ends
    worse than one without the last restart.

Example
    the run ends at 73% of the way up from the low of a cycle that began at update 7,000

Fix
    Choose period and multiply so that whole cycles make up the run: T_0·(1 + T_mult + T_mult² + …) = horizon. For a
    cosine, let its length be that of the run.

Source
    Loshchilov and Hutter, SGDR, 2016; torch CosineAnnealingLR climbs back past T_max.
"""

from __future__ import annotations

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule, share

HIGH = 0.1


def _judge(plan: Plan) -> Problem | None:
    turns = plan.turns
    rises = [i for i in range(1, len(turns)) if turns[i].value > turns[i - 1].value]
    rises = [i for i in rises if i > 1]  # what comes first is a warm-up
    if not rises:
        return None
    low = turns[rises[-1] - 1]
    height = max(turn.value for turn in turns[: rises[-1]]) - low.value
    above = (plan.last - low.value) / height
    settled = plan.still < 0.95 * plan.end  # it came to rest there: somebody wants that value
    if above <= HIGH or settled or height < HIGH * plan.peak:
        return None
    began = float(plan.t[low.last])
    return Problem(
        f"the run ends at {share(min(above, 1.0))} of the way up from the low of a cycle that began at "
        f"{plan.place(began)}",
        "choose the cycles so that whole ones make up the run, or let the decay end with it",
        began,
        plan.end,
    )


RULE = Rule("cycle-cut-short", "LP105", "the run ends in the middle of a cycle", Severity.warning, _judge)
