"""A restart that goes higher than the peak before it, or hardly anywhere.

What it checks
    For a curve that comes down and rises again: whether a later top lies more than 1% above the first one, or the
    first rise after a fall brings back less than 5% of it.

Why it matters
    Each restart is a shock that the optimizer has to take; one that is larger than the first was not what the first
    stretch of the run proved to be stable. One that is hardly there costs a cycle and changes nothing.

Example
    the restart at update 4,000 goes to 0.0006, above the peak of 0.0003 before it

Fix
    Let restarts return to the peak or to a share of it (decay ≤ 1); leave out those that do nothing.

Source
    Loshchilov and Hutter, SGDR, 2016; Keras CosineDecayRestarts with m_mul.
"""

from __future__ import annotations

from itertools import pairwise

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule, share

HIGHER, LITTLE = 1.01, 0.05


def _judge(plan: Plan) -> Problem | None:
    turns = plan.turns
    rises = [b.value > a.value for a, b in pairwise(turns)]
    tops = [i for i in range(len(turns)) if (rises[i - 1] if i else rises[:1] == [False])]
    if len(tops) < 2:
        return None
    first = turns[tops[0]]
    for i in tops[1:]:
        if turns[i].value > HIGHER * first.value:
            at = float(plan.t[turns[i].first])
            return Problem(
                f"the restart at {plan.place(at)} goes to {turns[i].value:g}, above the peak of {first.value:g} before "
                "it",
                "let restarts return to the peak or to a share of it",
                at,
            )
    low, again = turns[tops[1] - 1], turns[tops[1]]
    back = (again.value - low.value) / (first.value - low.value)
    if back < LITTLE:
        at = float(plan.t[again.first])
        return Problem(
            f"the restart at {plan.place(at)} brings back {share(back)} of what was lost before it",
            "leave it out, or let it return to a larger share of the peak",
            at,
        )
    return None


RULE = Rule("restart-amplitude", "LP108", "a restart that is too high, or hardly there", Severity.warning, _judge)
