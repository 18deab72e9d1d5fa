"""A drop of the learning rate that the run never reaches.

What it checks
    Whether a milestone, the first of regular drops, or a phase that changes the learning rate lies at or past the
    horizon. Warm-ups have a rule of their own.

Why it matters
    The run trains on at a rate that was meant to fall, and what the drop brings is never seen. Usually the milestones
    were copied from a longer run, or count other units than the horizon.

Example
    milestone 3 is at epoch 80, and the run ends at epoch 60

Fix
    Move it to before the horizon, or take it out of the contract.

Source
    torch MultiStepLR and SequentialLR accept any milestone and say nothing.
"""

from __future__ import annotations

import numpy as np

from lrwatch.findings import Severity
from lrwatch.lint.base import Plan, Problem, Rule
from lrwatch.schedules import families

_NAMED = ("milestone", "first drop")


def _judge(plan: Plan) -> Problem | None:
    horizon = plan.horizon or 0.0
    found = [(at, what) for at, what in _marks(plan) if at >= horizon and _moves(plan, at)]
    turns = plan.turns
    warming_up = len(turns) == 2 and turns[1].value > turns[0].value and turns[1].first == len(plan.t) - 1
    if not found or warming_up:
        return None
    at, what = min(found)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(
        f"{what} is at {plan.place(at)}, and the run ends at {plan.place(horizon)}{more}",
        "move it to before the horizon, or take it out",
        horizon,
        None,
    )


def _marks(plan: Plan) -> list[tuple[float, str]]:
    """Where the schedule says that something happens, and what."""
    found = []
    for i, phase in enumerate(plan.phases):
        if i:
            found.append((phase.start, f"the {phase.family} phase"))
        local = {} if phase.length is None else {"length": phase.length}
        marks = families()[phase.family].landmarks({**phase.params, **local})
        found += [
            (phase.start + x - phase.offset, word) for word, x in marks.items() if word.startswith(_NAMED)
        ]  # fmt: skip
    return found


def _moves(plan: Plan, at: float) -> bool:
    """Whether the learning rate changes there, or from there on."""
    before, here, later = plan.curve.at(np.array([max(at - plan.stride, 0.0), at, at + 0.1 * (plan.horizon or 1.0)]))
    return bool(max(abs(here - before), abs(later - here)) > 1e-3 * max(before, here, later))


RULE = Rule("milestone-past-end", "LP103", "a drop that the run never reaches", Severity.warning, _judge)
