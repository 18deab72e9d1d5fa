"""From summaries to KPIs; every expected number is worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lrwatch.ledger.kpis import fold, total
from lrwatch.ledger.run import Run, part, run
from tests.ledger.helpers import COST, ERROR, GOAL, summary


def one(key: str = "a", segment: int | None = None, **changes: Any) -> Run:
    return run(key, [part(summary(**changes))], segment)


@pytest.mark.parametrize(
    ("outcome", "goal", "expected"),
    [
        ("finished", None, "finished"),
        ("converged", None, "converged"),
        ("finished", GOAL, "converged"),
        ("finished", {**GOAL, "best": 1.9}, "converged"),
        ("finished", {**GOAL, "best": 1.91}, "missed"),
        ("converged", {**GOAL, "best": 1.91}, "missed"),
        ("stopped", GOAL, "converged"),
        ("stopped", {**GOAL, "best": 2.0}, "stopped"),
        ("failed", GOAL, "failed"),
        ("interrupted", GOAL, "interrupted"),
        ("finished", {**GOAL, "value": None, "best": None}, "finished"),
        ("finished", {**GOAL, "value": "nan", "best": None}, "missed"),
        ("finished", {**GOAL, "mode": "max", "best": 1.95}, "converged"),
        ("finished", {**GOAL, "mode": "max", "best": 1.8}, "missed"),
    ],
)
def test_the_goal_judges_the_outcome(outcome: str, goal: dict[str, Any] | None, expected: str) -> None:
    assert one(outcome=outcome, goal=goal).judged == expected


def test_what_was_spent_after_the_first_bad_step_is_lost() -> None:
    bad = one(findings=[ERROR, {**ERROR, "first_step": 80}])
    assert bad.lost_gpu_seconds == 900.0  # updates 75 to 99 of 100: a quarter of an hour
    assert one(findings=[{**ERROR, "first_step": 0}]).lost_gpu_seconds == 3600.0
    assert one(findings=[{**ERROR, "first_step": 500}]).lost_gpu_seconds == 0.0
    assert one(findings=[{**ERROR, "first_step": None}]).lost_gpu_seconds == 0.0
    assert one(findings=[{**ERROR, "severity": "warning"}]).lost_gpu_seconds == 0.0


def test_workers_add_up_and_one_without_a_summary_costs_as_much_as_the_others() -> None:
    parts = [
        part(summary(world=4, gpu_seconds=3600.0)),
        part(summary(world=4, rank=1, gpu_seconds=3000.0, ended=10001.0, findings=[ERROR])),
        part(summary(world=4, rank=3, gpu_seconds=3000.0)),
    ]
    made = run("a", parts)
    assert (made.gpu_seconds, made.complete, made.ended) == (12800.0, False, 10001.0)
    assert (made.anomalous, made.first_bad, made.lost_gpu_seconds) == (True, 75, 3200.0)


def test_the_kpis_of_an_experiment() -> None:
    runs = [
        one("a", goal={**GOAL, "value": 1.80}, cost=COST),
        one("b", goal={**GOAL, "value": 1.90}, cost=COST, gpu_seconds=7200.0, ended=20000.0),
        one("c", goal={**GOAL, "value": 2.00, "best": 1.95}, cost=COST, ended=15000.0, findings=[ERROR]),
        one("d", outcome="failed", gpu_seconds=18000.0, cost=COST, ended=30000.0),  # 12.50 USD of 10
        one("e", outcome="stopped", gpu_seconds=360.0),
        one("f", experiment="vit", goal=GOAL),
    ]
    gpt, vit = fold(runs)
    assert (gpt.experiment, gpt.runs, gpt.judged) == ("gpt", 5, 4)
    assert gpt.outcomes == {"converged": 2, "failed": 1, "missed": 1, "stopped": 1}
    assert gpt.convergence_rate == 0.5
    assert gpt.gpu_seconds == 32_760.0  # 1 + 2 + 1 + 5 + 0.1 = 9.1 hours
    assert gpt.gpu_hours_per_converged == pytest.approx(4.55)
    assert gpt.lost_gpu_seconds == 900.0
    assert (gpt.anomalous, gpt.anomalous_rate) == (1, 0.2)
    assert (gpt.metric, gpt.spread) == ("val_loss", pytest.approx(0.1))  # of 1.8, 1.9, 2.0
    assert gpt.over_budget_streak == 1
    assert gpt.cost == {"USD": pytest.approx(22.5)}
    assert (vit.convergence_rate, vit.spread, vit.over_budget_streak) == (1.0, None, None)
    everything = total(runs)
    assert (everything.experiment, everything.runs, everything.spread) == (None, 6, None)
    assert everything.convergence_rate == 0.6


def test_nothing_is_said_without_evidence() -> None:
    (kpis,) = fold([one(outcome="stopped")])
    assert (kpis.convergence_rate, kpis.gpu_hours_per_converged, kpis.spread, kpis.over_budget_streak) == (None,) * 4
    assert total([]).anomalous_rate is None


def test_the_spread_is_of_one_metric_and_finite_values() -> None:
    runs = [
        one("a", goal={**GOAL, "value": 1.0}),
        one("b", goal={**GOAL, "value": "nan"}),
        one("c", goal={**GOAL, "value": 3.0}, ended=20000.0),
        one("d", goal={**GOAL, "metric": "accuracy", "value": 0.5}),
        one("e", goal={**GOAL, "value": 9.0}, outcome="failed"),
    ]
    (kpis,) = fold(runs)
    assert (kpis.metric, kpis.spread) == ("val_loss", pytest.approx(2**0.5))


@pytest.mark.parametrize(
    ("gpu_hours", "expected"),
    [((1, 5, 5, 5), 3), ((5, 5, 1), 0), ((5,), 1), ((5, 1, 5), 1), ((4,), 0)],
)
def test_the_streak_counts_back_from_the_newest_run(gpu_hours: tuple[int, ...], expected: int) -> None:
    runs = [one(str(i), cost=COST, gpu_seconds=3600.0 * hours, ended=10000.0 + i) for i, hours in enumerate(gpu_hours)]
    runs.append(one("no budget", ended=90000.0))
    runs.append(one("may go on", outcome="interrupted", cost=COST, ended=90001.0))
    (kpis,) = fold(reversed(runs))
    assert kpis.over_budget_streak == expected


def test_a_run_that_goes_on_again_is_not_among_the_ended() -> None:
    assert fold([one(segment=1)]) == ()
    assert [k.runs for k in fold([one(segment=0)])] == [1]
    old_summary = {k: v for k, v in summary().items() if k != "segment"}
    assert not run("a", [part(old_summary)], 4).resumed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is no summary of lrwatch"),
        ({"outcome": "finished"}, "is no summary of lrwatch"),
        (summary(outcome="won"), "outcome is 'won', not one of finished, converged, stopped, failed, interrupted"),
        (summary(ended="now"), "ended is no time"),
        (summary(ended=float("inf")), "ended is no time"),
    ],
)
def test_what_is_no_summary_is_refused(content: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        part(content)
    assert str(raised.value) == message


def test_odd_fields_of_a_summary_are_as_good_as_absent() -> None:
    odd = part(summary(gpu_seconds="nan", world=True, cost=3, goal="x", last_update=-1, findings=None, experiment=None))
    assert (odd.gpu_seconds, odd.world, odd.per_gpu_hour, odd.goal, odd.last_update) == (0.0, None, None, None, None)
    assert odd.experiment == "unknown"
