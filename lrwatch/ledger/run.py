"""The summaries that a run left → what the ledger knows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

OUTCOMES: Final = ("finished", "converged", "stopped", "failed", "interrupted")
"""What a summary may say; the ledger adds ``missed``."""
NO_EXPERIMENT: Final = "unknown"
"""Experiment of a run without a contract."""


@dataclass(frozen=True)
class Goal:
    """What the run was for; ``value``: the last validation, ``best``: the best finite one, None without any."""

    metric: str
    target: float
    mode: str
    value: float | None
    best: float | None

    @property
    def reached(self) -> bool | None:
        """Whether a validation met the target; None when the metric was never validated."""
        if self.best is None:
            return None if self.value is None else False
        return self.best <= self.target if self.mode == "min" else self.best >= self.target


@dataclass(frozen=True)
class Part:
    """One worker's summary. Times in Unix seconds; ``segment``: of its last row, None where it is not said."""

    run: str
    experiment: str
    rank: int
    world: int | None
    outcome: str
    attempt: int
    segment: int | None
    started: float
    ended: float
    gpu_seconds: float
    last_update: int | None
    anomalous: bool
    first_bad: int | None
    goal: Goal | None
    per_gpu_hour: float | None
    currency: str
    budget: float | None


@dataclass(frozen=True)
class Run:
    """A run that ended, at least once.

    Attributes:
        key: its directory below the ledger's. outcome: what rank 0 said. gpu_seconds: of all workers, all attempts.
        complete: every worker left a summary. resumed: a later attempt has begun since.
        anomalous: some worker has an error finding; first_bad: the first update of these, None where none says.
    """

    key: str
    run: str
    experiment: str
    outcome: str
    attempt: int
    started: float
    ended: float
    gpu_seconds: float
    complete: bool
    resumed: bool
    last_update: int | None
    anomalous: bool
    first_bad: int | None
    goal: Goal | None
    per_gpu_hour: float | None
    currency: str
    budget: float | None

    @property
    def judged(self) -> str:
        """The outcome in view of the goal: ``converged`` when it was reached, ``missed`` when the run ended without.

        The trainer's word stands where there is no goal, or nothing was validated.
        """
        reached = self.goal.reached if self.goal else None
        if reached and self.outcome in ("finished", "converged", "stopped"):
            return "converged"
        return "missed" if reached is False and self.outcome in ("finished", "converged") else self.outcome

    @property
    def cost(self) -> float | None:
        """gpu_seconds / 3600 × price, None without a price."""
        return None if self.per_gpu_hour is None else self.gpu_seconds / 3600.0 * self.per_gpu_hour

    @property
    def over_budget(self) -> bool | None:
        """None without a budget."""
        return None if self.cost is None or self.budget is None else self.cost > self.budget

    @property
    def lost_gpu_seconds(self) -> float:
        """gpu_seconds × (updates from the first bad one on) / updates: updates are taken to last equally long."""
        if self.first_bad is None or self.last_update is None or self.last_update < 0:
            return 0.0
        updates = self.last_update + 1
        return self.gpu_seconds * min(max(updates - self.first_bad, 0), updates) / updates


def part(content: object) -> Part:
    """A summary as it was read. Raises ValueError: it is none, says which field is wrong."""
    if not isinstance(content, Mapping) or "lrwatch" not in content:
        raise ValueError("is no summary of lrwatch")
    if content.get("outcome") not in OUTCOMES:
        raise ValueError(f"outcome is {content.get('outcome')!r}, not one of {', '.join(OUTCOMES)}")
    ended = _number(content.get("ended"))
    if ended is None:
        raise ValueError("ended is no time")
    findings = content.get("findings")
    bad = [f for f in findings if isinstance(f, Mapping) and f.get("severity") == "error"] if findings else []
    steps = [step for f in bad if (step := _whole(f.get("first_step"))) is not None]
    cost = content.get("cost")
    cost = cost if isinstance(cost, Mapping) else {}
    started = _number(content.get("started"))
    return Part(
        run=str(content.get("run") or "run"),
        experiment=str(content.get("experiment") or NO_EXPERIMENT),
        rank=_whole(content.get("rank")) or 0,
        world=_whole(content.get("world")),
        outcome=str(content["outcome"]),
        attempt=_whole(content.get("attempt")) or 1,
        segment=_whole(content.get("segment")),
        started=ended if started is None else started,
        ended=ended,
        gpu_seconds=max(_number(content.get("gpu_seconds")) or 0.0, 0.0),
        last_update=_whole(content.get("last_update")),
        anomalous=bool(bad),
        first_bad=min(steps, default=None),
        goal=_goal(content.get("goal")),
        per_gpu_hour=_number(cost.get("per_gpu_hour")),
        currency=str(cost.get("currency") or "USD"),
        budget=_number(cost.get("budget")),
    )


def run(key: str, parts: Sequence[Part], newest_segment: int | None = None) -> Run:
    """A run from the summaries of its workers; what concerns all is taken from the lowest rank.

    A worker without a summary is charged with the mean of the others. ``newest_segment``: the highest number of a
    trace file of the lowest rank; one that its summary does not know belongs to a later attempt.
    """
    lead = min(parts, key=lambda p: p.rank)
    workers = max(lead.world or 1, len(parts))
    steps = [p.first_bad for p in parts if p.first_bad is not None]
    return Run(
        key=key,
        run=lead.run,
        experiment=lead.experiment,
        outcome=lead.outcome,
        attempt=lead.attempt,
        started=lead.started,
        ended=max(p.ended for p in parts),
        gpu_seconds=sum(p.gpu_seconds for p in parts) / len(parts) * workers,
        complete=len(parts) == workers,
        resumed=newest_segment is not None and lead.segment is not None and newest_segment > lead.segment,
        last_update=max((p.last_update for p in parts if p.last_update is not None), default=None),
        anomalous=any(p.anomalous for p in parts),
        first_bad=min(steps, default=None),
        goal=lead.goal,
        per_gpu_hour=lead.per_gpu_hour,
        currency=lead.currency,
        budget=lead.budget,
    )


def _goal(content: Any) -> Goal | None:
    if not isinstance(content, Mapping):
        return None
    target, value = _number(content.get("target")), content.get("value")
    if target is None or not content.get("metric") or content.get("mode") not in ("min", "max"):
        return None
    last = math.nan if isinstance(value, str) else _number(value)  # "nan", "inf": validated, and of no use
    return Goal(str(content["metric"]), target, str(content["mode"]), last, _number(content.get("best")))


def _number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
