"""The catalogue of causes: what each means, its formula and the line to change; pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CauseInfo:
    """The catalogue entry of a cause."""

    name: str
    title: str
    formula: str
    fix: str


CAUSES: dict[str, CauseInfo] = {
    c.name: c
    for c in (
        CauseInfo(
            "rate",
            "the scheduler advances k times per step of the contract's clock",
            "O(t) = E(k·t)",
            "call scheduler.step() once per optimizer update, from one place; count the horizon in the same unit",
        ),
        CauseInfo(
            "offset",
            "the scheduler is d steps ahead (d > 0) or behind from the start",
            "O(t) = E(t + d)",
            "step the scheduler after the optimizer, once per update, from the first one on",
        ),
        CauseInfo(
            "offset_at_resume",
            "after a resume the scheduler is d steps ahead or behind",
            "O(t) = E(t + d), t ≥ r",
            "save the scheduler's state after its step, and restore it exactly once",
        ),
        CauseInfo(
            "factor",
            "every value is multiplied by c",
            "O(t) = c·E(t)",
            "give the optimizer the contract's base learning rate; look for a hidden scaling by workers or batch",
        ),
        CauseInfo(
            "factor_at_resume",
            "after a resume every value is multiplied by c",
            "O(t) = c·E(t), t ≥ r",
            "build the scheduler before loading the optimizer's state, and load both",
        ),
        CauseInfo(
            "horizon",
            "the schedule ends at another step than planned",
            "O(t) = E(t) with T' for T",
            "give the scheduler the planned number of updates, or amend the contract",
        ),
        CauseInfo(
            "horizon_at_resume",
            "after a resume the schedule ends at another step than planned",
            "O(t) = E(t) with T' for T, t ≥ r",
            "rebuild the scheduler with the original horizon, or declare the new one as an amendment",
        ),
        CauseInfo(
            "frozen",
            "the scheduler was not stepped any more",
            "O(t) = E(min(t, s))",
            "call scheduler.step() after every update; after a resume bind the scheduler to the new optimizer",
        ),
        CauseInfo(
            "restart_at_resume",
            "the schedule began again at the resume",
            "O(t) = E(t - r), t ≥ r",
            "restore the scheduler's state: scheduler.load_state_dict(checkpoint['scheduler'])",
        ),
        CauseInfo(
            "unexplained",
            "no known transform reproduces the curve",
            "—",
            "compare the curves from the first bad step on",
        ),
    )
}
