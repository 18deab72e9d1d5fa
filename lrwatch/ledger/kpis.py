"""Runs → what each experiment achieves and costs. Later attempts of a run have replaced the earlier ones here."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrwatch.ledger.run import Run

JUDGED = ("converged", "missed", "failed")
"""Outcomes that say something about convergence; being stopped, preempted or without a goal does not."""


@dataclass(frozen=True)
class Kpis:
    """One experiment, or all of them.

    Attributes:
        experiment: None for all. runs: that ended and were not resumed. outcomes: how many of each, judged by the goal.
        gpu_seconds, lost_gpu_seconds: of these runs; lost is what came after the first update of an error finding.
        metric, spread: the goal's metric and the sample standard deviation of its final values; None below two runs.
        over_budget_streak: newest runs in a row over budget; None where no run has one. cost: by currency.
    """

    experiment: str | None
    runs: int
    outcomes: Mapping[str, int]
    gpu_seconds: float
    lost_gpu_seconds: float
    anomalous: int
    metric: str | None
    spread: float | None
    over_budget_streak: int | None
    cost: Mapping[str, float]

    @property
    def judged(self) -> int:
        """Runs that converged, missed their goal or failed."""
        return sum(self.outcomes.get(outcome, 0) for outcome in JUDGED)

    @property
    def convergence_rate(self) -> float | None:
        """converged / (converged + missed + failed), None without any."""
        return self.outcomes.get("converged", 0) / self.judged if self.judged else None

    @property
    def gpu_hours_per_converged(self) -> float | None:
        """GPU-hours of all runs, the failed ones too, / converged; None without any."""
        converged = self.outcomes.get("converged", 0)
        return self.gpu_seconds / 3600.0 / converged if converged else None

    @property
    def anomalous_rate(self) -> float | None:
        """Runs with an error finding / runs, None without any."""
        return self.anomalous / self.runs if self.runs else None


def fold(runs: Sequence[Run]) -> tuple[Kpis, ...]:
    """One entry per experiment, by name; nothing of runs that go on again."""
    ended = [r for r in runs if not r.resumed]
    return tuple(
        _fold(name, [r for r in ended if r.experiment == name]) for name in sorted({r.experiment for r in ended})
    )


def total(runs: Sequence[Run]) -> Kpis:
    """All experiments as one; spread and streak mean nothing there and are None."""
    return _fold(None, [r for r in runs if not r.resumed])


def _fold(experiment: str | None, runs: Sequence[Run]) -> Kpis:
    newest_first = sorted(runs, key=lambda r: (r.ended, r.key), reverse=True)
    metric, spread = _spread(newest_first) if experiment is not None else (None, None)
    cost: Counter[str] = Counter()
    for run in runs:
        if run.cost is not None:
            cost[run.currency] += run.cost  # type: ignore[assignment]  # a Counter adds floats as well
    return Kpis(
        experiment=experiment,
        runs=len(runs),
        outcomes=dict(sorted(Counter(r.judged for r in runs).items())),
        gpu_seconds=math.fsum(r.gpu_seconds for r in runs),
        lost_gpu_seconds=math.fsum(r.lost_gpu_seconds for r in runs),
        anomalous=sum(r.anomalous for r in runs),
        metric=metric,
        spread=spread,
        over_budget_streak=_streak(newest_first) if experiment is not None else None,
        cost=dict(sorted(cost.items())),
    )


def _spread(newest_first: Sequence[Run]) -> tuple[str | None, float | None]:
    """Over the runs that came to their end and have the metric of the newest of them."""
    goals = [r.goal for r in newest_first if r.goal and r.judged in ("converged", "missed", "finished")]
    finite = [(g.metric, g.value) for g in goals if g.value is not None and math.isfinite(g.value)]
    if not finite:
        return None, None
    metric = finite[0][0]
    values = [value for name, value in finite if name == metric]
    return metric, statistics.stdev(values) if len(values) > 1 else None


def _streak(newest_first: Sequence[Run]) -> int | None:
    """A run that was interrupted below its budget may go on: it neither counts nor ends a streak."""
    known = [r.over_budget for r in newest_first if r.over_budget or r.outcome != "interrupted"]
    known = [over for over in known if over is not None]
    return None if not known else [*known, False].index(False)
