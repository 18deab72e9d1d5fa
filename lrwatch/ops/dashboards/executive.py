"""What the fleet achieves and what it costs, from the ledger; and what goes on now."""

from __future__ import annotations

from typing import Final

from lrwatch.ops.dashboards import promql
from lrwatch.ops.dashboards.base import Column, Dashboard, Panel, Query, Row
from lrwatch.ops.dashboards.promql import GOING_ON
from lrwatch.ops.rules.base import recent
from lrwatch.ops.rules.ledger import JUDGED

EXPERIMENT: Final = 'experiment=~"$experiment"'
NO_RUN_ENDED: Final = "no run ended within the time range, or no ledger is scraped"
_INFO: Final = f"lrwatch_run_info{{{EXPERIMENT}}}"
MINE: Final = f"on (run_id) group_left (experiment) max by (run_id, experiment) (last_over_time({_INFO}[$__range]))"
"""Joins a series of runs with their experiment, and keeps those of the chosen ones."""


def grown(metric: str, outcomes: str = "", by: str = "") -> str:
    """How much a total of the ledger grew within the time range.

    Its totals outlive its restarts, and are the same in two processes of it: the higher is the newer. Neither a scrape
    that failed now, nor a day's gap at the beginning of the range, makes the whole past look new.
    """
    matchers = ",".join(filter(None, (EXPERIMENT, outcomes)))
    clause = f" by ({by})" if by else ""
    now = f"sum{clause} (max without (instance) (last_over_time({metric}{{{matchers}}}[<scrape_gap>])))"
    then = f"sum{clause} (max without (instance) (last_over_time({metric}{{{matchers}}}[1d] offset $__range)))"
    return f"({now} - ({then} or 0 * {now}))"


_JUDGED: Final = JUDGED.strip("{}")
_CONVERGED: Final = 'outcome="converged"'
_RUNS, _ANOMALOUS, _SECONDS = "lrwatch_runs_total", "lrwatch_runs_anomalous_total", "lrwatch_runs_gpu_seconds_total"


def converged(by: str = "") -> str:
    """Share of the judged runs that reached their goal."""
    return f"({grown(_RUNS, _CONVERGED, by)} or 0 * {grown(_RUNS, _JUDGED, by)})\n/ ({grown(_RUNS, _JUDGED, by)} > 0)"


def anomalous(by: str = "") -> str:
    """Share of the finished runs that had an error finding."""
    return f"{grown(_ANOMALOUS, by=by)}\n/ ({grown(_RUNS, by=by)} > 0)"


PRICE: Final = f"max by (experiment, currency) (last_over_time(lrwatch_price_per_gpu_second[$__range]) * {MINE})"
COST: Final = f"sum by (currency) (\n{PRICE}\n* on (experiment) group_left () {grown(_SECONDS, by='experiment')}\n)"

_STREAK: Final = recent(f"lrwatch_runs_over_budget_streak{{{EXPERIMENT}}}")
_SPREAD: Final = recent(f"lrwatch_final_metric_stddev{{{EXPERIMENT}}}")

GOALS: Final = (
    Panel(
        "stat", "Runs that reached their goal",
        "Converged runs over all judged ones (converged, missed, failed) that ended within the time range. Green from "
        "the objective on that the alerts LrwatchConvergence…Burn guard.",
        (Query(converged()),), unit="percentunit", width=4, height=4,
        steps=(("red", None), ("green", "convergence_objective")), empty=NO_RUN_ENDED,
    ),
    Panel(
        "stat", "Runs with an error finding",
        "Share of the runs that ended within the time range. Red above the target of LrwatchAnomalousRuns.",
        (Query(anomalous()),), unit="percentunit", width=4, height=4,
        steps=(("green", None), ("red", "anomalous_share")), empty=NO_RUN_ENDED,
    ),
    Panel(
        "stat", "Accelerator time per converged run",
        "Accelerator seconds of all finished runs, the failed ones too, over the number of converged ones.",
        (Query(f"{grown(_SECONDS)}\n/ ({grown(_RUNS, _CONVERGED)} > 0)"),), unit="s", width=4, height=4,
        empty="no run converged within the time range",
    ),
    Panel(
        "stat", "Average time to converge",
        "Accelerator seconds of the converged runs alone, over their number: divide by the workers of a run for the "
        "time on the clock.",
        (Query(f"{grown(_SECONDS, _CONVERGED)}\n/ ({grown(_RUNS, _CONVERGED)} > 0)"),), unit="s", width=4, height=4,
        empty="no run converged within the time range",
    ),
    Panel(
        "stat", "Cost per converged run",
        "Cost of all finished runs, by the price in their contract, over the number of converged ones; in that "
        "price's currency. The price is known of experiments with a run going on within the time range.",
        (Query(f"{COST}\n/ on () group_left () ({grown(_RUNS, _CONVERGED)} > 0)", "{{currency}}"),), unit="none",
        width=4, height=4, empty="no run converged, or no contract names a price", names="with value",
    ),
    Panel(
        "stat", "Runs over budget in a row",
        "The longest present streak of an experiment. Red: LrwatchCostOverBudgetStreak pages.",
        (Query(f"max ({_STREAK})"),), unit="none", width=4, height=4,
        steps=(("green", None), ("orange", 1), ("red", "budget_streak")), empty="no contract names a budget",
    ),
)  # fmt: skip

BY_EXPERIMENT: Final = Panel(
    "table", "Experiments",
    "Of the runs that ended within the time range: how many, what share reached the goal, what share had an error "
    "finding, accelerator hours; the spread of the goal's final value between runs, and the runs over budget in a row.",
    (
        Query(grown(_RUNS, by="experiment")),
        Query(converged("experiment")),
        Query(anomalous("experiment")),
        Query(f"{grown(_SECONDS, by='experiment')} / 3600"),
        Query(f"max by (experiment) ({_SPREAD})"),
        Query(f"max by (experiment) ({_STREAK})"),
    ),
    width=24, height=7, join="experiment", empty=NO_RUN_ENDED,
    columns=(
        Column("experiment", "Experiment"),
        Column("Value #A", "Ended", unit="none", width=90),
        Column("Value #B", "Reached the goal", unit="percentunit", width=150),
        Column("Value #C", "With an error finding", unit="percentunit", width=170),
        Column("Value #D", "Accelerator hours", unit="none", width=150),
        Column("Value #E", "Spread of the result", unit="short", width=160),
        Column("Value #F", "Over budget in a row", unit="none", width=170),
    ),
)  # fmt: skip

TRENDS: Final = (
    Panel(
        "timeseries", "Finished runs by outcome", "Totals of the ledger since it began.",
        (Query(f"sum by (outcome) ({_RUNS}{{{EXPERIMENT}}})", "{{outcome}}"),), unit="none", width=12,
        least=0, empty="no ledger is scraped",
    ),
    Panel(
        "timeseries", "Accelerator hours of finished runs by outcome",
        "Totals of the ledger since it began: what is not converged was paid for all the same.",
        (Query(f"sum by (outcome) ({_SECONDS}{{{EXPERIMENT}}}) / 3600", "{{outcome}}"),), unit="none", width=12,
        least=0, empty="no ledger is scraped",
    ),
)  # fmt: skip

_WORKERS: Final = f"max by (run_id) ({recent('lrwatch_world_size')})"
_PRICE: Final = f"max by (run_id, currency) ({recent('lrwatch_price_per_gpu_second')})"
_ERRORS: Final = recent('lrwatch_finding_active{severity="error"}')

FLEET: Final = (
    Panel(
        "stat", "Runs going on", "Runs that started and have not ended, of all experiments, without a contract too.",
        (Query(f"count ({GOING_ON}) or vector(0)"),), unit="none", width=4, height=4,
    ),
    Panel(
        "stat", "Accelerators in use", "Workers of the runs that go on.",
        (Query(f"sum ({_WORKERS} and {GOING_ON}) or vector(0)"),), unit="none", width=4,
        height=4,
    ),
    Panel(
        "stat", "Spending per hour",
        "Price in the contract × workers, of the runs that go on; in that price's currency.",
        (Query(f"3600 * sum by (currency) ({_PRICE} * on (run_id) group_left () ({_WORKERS} and {GOING_ON}))",
               "{{currency}}"),),
        unit="none", width=4, height=4, names="with value", empty="no run with a price goes on",
    ),
    Panel(
        "stat", "Runs with an error finding now", "Runs of which any worker has an error finding.",
        (Query(f"count (max by (run_id) ({_ERRORS}) == 1) or vector(0)"),), unit="none",
        width=4, height=4, steps=(("green", None), ("red", 1)),
    ),
    Panel(
        "stat", "Pages firing", "Critical alerts of lrwatch, those without a run too.",
        (Query('count (ALERTS{alertname=~"Lrwatch.+",alertstate="firing",severity="critical"}) or vector(0)'),),
        unit="none", width=4, height=4, steps=(("green", None), ("red", 1)),
    ),
    Panel(
        "stat", "Ledger read the runs", "How long ago. Red: LrwatchLedgerStale.",
        (Query(f"time() - max ({recent('lrwatch_ledger_scan_timestamp_seconds')})"),), unit="s", width=4, height=4,
        steps=(("green", None), ("red", "ledger_stale")), empty="no ledger is scraped",
    ),
)  # fmt: skip

_CHOSEN: Final = f"max by (run_id, experiment) ({recent(_INFO)}) and on (run_id) ({GOING_ON})"
_STEP: Final = recent('lrwatch_step{rank="0"}')
_SPENT: Final = f"sum by (run_id) (max by (run_id, rank) ({recent('lrwatch_gpu_seconds_total')}))"

RUNS: Final = (
    Panel(
        "table", "Runs, and what holds against them",
        "Runs of the chosen experiments, with what holds against them; the name leads to the on-call dashboard.",
        (
            Query(_CHOSEN),
            Query(f"max by (run_id) ({_STEP}) and on (run_id) ({_CHOSEN})"),
            Query(f"{_WORKERS} and on (run_id) ({_CHOSEN})"),
            Query(f"sum by (run_id) (max by (run_id, code) ({_ERRORS}))\nand on (run_id) ({_CHOSEN})"),
            Query(f"{_SPENT} / 3600 and on (run_id) ({_CHOSEN})"),
        ),
        width=16, height=9, join="run_id", empty="no run with a contract goes on",
        columns=(
            Column("run_id", "Run", link=("On-call", promql.TO_RUN + "${__value.raw}")),
            Column("experiment", "Experiment"),
            Column("Value #B", "Step", unit="none", width=100),
            Column("Value #C", "Workers", unit="none", width=90),
            Column("Value #D", "Errors", unit="none", width=80),
            Column("Value #E", "Accelerator hours", unit="none", width=150),
        ),
    ),
    Panel(
        "table", "Ended within the last hour", "What the ledger saw end, newest first.",
        (Query(f"1000 * max by (run_id) ({recent('lrwatch_run_ended_timestamp_seconds')})"),), width=8, height=9,
        empty="no run ended within the last hour",
        columns=(
            Column("run_id", "Run", link=("On-call", promql.TO_RUN + "${__value.raw}")),
            Column("Value", "Ended", unit="dateTimeFromNow", width=150),
        ),
    ),
    Panel(
        "timeseries", "Runs by state", "Runs in each state, over time.",
        (Query("sum by (state) (max by (run_id, state) (lrwatch_run_state)) > 0", "{{state}}"),), unit="none",
        width=12, least=0, empty="no run in this time range",
    ),
    Panel(
        "timeseries", "Findings by code", "Runs with each finding, over time.",
        (Query("count by (code, severity) (max by (run_id, code, severity) (lrwatch_finding_active) == 1)",
               "{{code}} {{severity}}"),),
        unit="none", width=12, least=0, empty="no finding",
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "executive", "lrwatch / executive",
    "What training runs achieve, what they cost, how many go wrong; and the fleet as it is now.",
    since="now-7d", refresh="5m",
    variables=(promql.EXPERIMENT,),
    top=GOALS,
    rows=(
        Row("Experiments", (BY_EXPERIMENT, *TRENDS)),
        Row("The fleet now", (*FLEET, *RUNS)),
    ),
)  # fmt: skip
