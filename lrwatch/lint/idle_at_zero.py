"""The learning rate is zero for a good part of the run.

What it checks
    Whether more than 5% of the planned updates, and more than three of them, have a learning rate of zero: at most
    1e-9 of the peak.

Why it matters
    Those updates cost as much as the others and change nothing. Usually the decay counts fewer steps than the run
    makes: steps of one worker, or of an epoch less.

Example
    the learning rate is 0 from update 5,000 on: 50% of the run

Fix
    Let the decay end with the run, or give it a floor above zero.

Source
    transformers and DeepSpeed hold the 0 that their decays end in.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule, share

MOST, FEW, ZERO = 0.05, 3, 1e-9


def _judge(plan: Plan) -> Problem | None:
    idle = np.abs(plan.values) <= ZERO * plan.peak
    weights = np.diff(plan.t, append=plan.end)  # rows that each looked-at position stands for
    part = float(weights[idle].sum()) / plan.end
    if part <= MOST or weights[idle].sum() <= FEW * plan.stride:
        return None
    edges = np.diff(np.concatenate([[0], idle, [0]]).astype(int))
    stretches = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True)
    start, stop = max(stretches, key=lambda rows: float(weights[rows[0] : rows[1] + 1].sum()))
    first, last = float(plan.t[start]), float(plan.t[stop])
    at_the_end = stop == len(plan.t) - 1
    where = f"from {plan.place(first)} on" if at_the_end else f"between {plan.place(first)} and {plan.place(last)}"
    return Problem(
        f"the learning rate is 0 {where}: {share(part)} of the run",
        "let the decay end with the run, or give it a floor above zero",
        first,
        last,
    )


RULE = Rule("idle-at-zero", "LP104", "the learning rate is zero for part of the run", Severity.warning, _judge)
