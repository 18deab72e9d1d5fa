"""What single expressions answer in the awkward cases, by promtool: restarts, resumes, findings that change."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards.asked import BOARDS, fill, targets

CHOSEN = {"run": "a", "rank": "0", "group": ".*", "experiment": ".*", "__range": "1h"}
OLD, NEW = 'run_id="a",instance="old:1",job="lrwatch"', 'run_id="a",instance="new:2",job="lrwatch"'


def panel(board: str, title: str) -> str:
    return fill(next(t["expr"] for b, name, _, t in targets() if (b, name) == (board, title)), **CHOSEN)


def annotation(name: str) -> str:
    found = next(a for a in BOARDS["on-call"]["annotations"]["list"] if a["name"] == name)
    return fill(found["expr"], **CHOSEN)


@pytest.fixture
def answers(tmp_path: Path, tool: Callable[[str], str]) -> Callable[..., None]:
    """``answers({series: values}, (expr, time, {labels: value}), …)``, a value per minute."""

    def check(series: dict[str, str], *asked: tuple[str, str, dict[str, float]]) -> None:
        test: dict[str, Any] = {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": expr, "eval_time": at, "exp_samples": [{"labels": k, "value": v} for k, v in wanted.items()]}
                for expr, at, wanted in asked
            ],
        }
        path = tmp_path / "test.yml"
        path.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
        done = subprocess.run([tool("promtool"), "test", "rules", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


def test_restarts_and_resumes_are_marked(answers: Callable[..., None]) -> None:
    """Attempt 1 makes 100 updates a minute and is gone after 10 minutes; attempt 2 begins at 12, from step 500."""
    answers(
        {
            f'lrwatch_attempt{{rank="0",{OLD}}}': "1x10 stale", f'lrwatch_step{{rank="0",{OLD}}}': "0+100x10 stale",
            f'lrwatch_attempt{{rank="0",{NEW}}}': "_x12 2x18", f'lrwatch_step{{rank="0",{NEW}}}': "_x12 500+100x18",
        },
        (annotation("Restarts"), "9m", {}),
        (annotation("Restarts"), "12m", {'{run_id="a"}': 2}),
        (annotation("Restarts"), "14m", {}),
        (annotation("Resumes"), "9m", {}),
        (annotation("Resumes"), "13m", {'{run_id="a"}': 600}),
        (annotation("Resumes"), "19m", {}),
    )  # fmt: skip


def test_a_checkpoint_is_marked_at_its_own_time(answers: Callable[..., None]) -> None:
    answers(
        {f'lrwatch_checkpoint_timestamp_seconds{{rank="0",{OLD}}}': "120x9"},
        (annotation("Checkpoints"), "5m", {'{run_id="a"}': 120_000}),
    )


def test_a_finding_whose_cause_and_severity_changed_is_one_row(answers: Callable[..., None]) -> None:
    """And one without a cause or a step is a row, too. Nothing makes the join ambiguous, which would be an error."""
    table = panel("on-call", "Which run, which rank, since which step, what to do")
    answers(
        {
            f'lrwatch_attempt{{rank="0",{OLD}}}': "1x30", f'lrwatch_attempt{{rank="1",{OLD}}}': "1x30",
            f'lrwatch_finding_active{{rank="0",code="LR101",severity="warning",{OLD}}}': "1x5 stale",
            f'lrwatch_finding_active{{rank="0",code="LR101",severity="error",{OLD}}}': "_x6 1x24",
            f'lrwatch_finding_first_step{{rank="0",code="LR101",{OLD}}}': "120x30",
            f'lrwatch_finding_cause_info{{rank="0",code="LR101",cause="rate",{OLD}}}': "1x9 stale",
            f'lrwatch_finding_cause_info{{rank="0",code="LR101",cause="factor",{OLD}}}': "_x10 1x20",
            f'lrwatch_finding_active{{rank="1",code="LR502",severity="warning",{OLD}}}': "1x30",
            f'lrwatch_finding_active{{rank="1",code="LR302",severity="warning",{OLD}}}': "1x10 0x19",
        },
        (table, "29m", {
            '{run_id="a",rank="0",code="LR101",severity="error",cause="factor"}': 120,
            '{run_id="a",rank="1",code="LR502",severity="warning"}': -1,
        }),
        (panel("on-call", "Is it broken?"), "29m", {"{}": 3}),
    )  # fmt: skip


def test_only_the_newest_attempt_is_broken(answers: Callable[..., None]) -> None:
    """Attempt 1 had drift to its end; attempt 2 has none, and has ended, too: nobody exports anything any more."""
    answers(
        {
            f'lrwatch_rank_up{{rank="0",{OLD}}}': "1x10 stale", f'lrwatch_rank_up{{rank="0",{NEW}}}': "_x12 1x9 stale",
            f'lrwatch_attempt{{rank="0",{OLD}}}': "1x10 stale", f'lrwatch_attempt{{rank="0",{NEW}}}': "_x12 2x9 stale",
            f'lrwatch_finding_active{{rank="0",code="LR101",severity="error",{OLD}}}': "1x10 stale",
            f'lrwatch_run_state{{rank="0",state="running",{OLD}}}': "1x10 stale",
            f'lrwatch_run_state{{rank="0",state="running",{NEW}}}': "_x12 1x8 0 stale",
            f'lrwatch_run_state{{rank="0",state="finished",{NEW}}}': "_x12 0x8 1 stale",
        },
        (panel("on-call", "Is it broken?"), "9m", {"{}": 3}),
        (panel("on-call", "Is it broken?"), "40m", {"{}": 0}),
        (panel("on-call", "Runs"), "40m", {'{run_id="a",state="finished"}': 1}),
        (panel("on-call", "Is it broken?"), "3h", {}),
    )  # fmt: skip


def test_growth_survives_a_restart_of_the_ledger(answers: Callable[..., None]) -> None:
    """Of 14 runs, 4 ended within the hour: 3 converged, 1 missed. The ledger was another process at its beginning."""
    old, new = 'instance="l:1",job="ledger"', 'instance="l:2",job="ledger"'
    answers(
        {
            f'lrwatch_runs_total{{experiment="x",outcome="converged",{old}}}': "10x59 stale",
            f'lrwatch_runs_total{{experiment="x",outcome="converged",{new}}}': "_x60 10+1x3 13x60",
            f'lrwatch_runs_total{{experiment="x",outcome="missed",{new}}}': "_x70 1x60",
            f'lrwatch_runs_gpu_seconds_total{{experiment="x",outcome="converged",{old}}}': "1000x59 stale",
            f'lrwatch_runs_gpu_seconds_total{{experiment="x",outcome="converged",{new}}}': "_x60 1600x60",
        },
        (panel("executive", "Runs that reached their goal"), "100m", {"{}": 0.75}),
        (panel("executive", "Average time to converge"), "100m", {"{}": 200}),
    )


def test_a_scrape_that_failed_changes_no_number(answers: Callable[..., None]) -> None:
    """The ledger's, where the time range begins and where it ends; a run's, at the end. A run that is gone is gone."""
    ledger = 'instance="l:1",job="ledger"'
    answers(
        {
            f'lrwatch_runs_total{{experiment="x",outcome="converged",{ledger}}}': "10x40 stale 10x18 13x39 stale",
            f'lrwatch_runs_total{{experiment="x",outcome="missed",{ledger}}}': "_x70 1x30 stale",
            f'lrwatch_runs_over_budget_streak{{experiment="x",{ledger}}}': "2x100 stale",
            f'lrwatch_run_info{{rank="0",experiment="x",{OLD}}}': "1x100 stale",
            f'lrwatch_run_state{{rank="0",state="running",{OLD}}}': "1x100 stale",
            f'lrwatch_world_size{{rank="0",{OLD}}}': "8x100 stale", f'lrwatch_step{{rank="0",{OLD}}}': "7x100 stale",
            f'lrwatch_finding_active{{rank="0",code="LR101",severity="error",{OLD}}}': "1x100 stale",
        },
        (panel("executive", "Runs that reached their goal"), "101m", {"{}": 0.75}),
        (panel("executive", "Runs over budget in a row"), "101m", {"{}": 2}),
        (panel("executive", "Runs going on"), "101m", {"{}": 1}),
        (panel("executive", "Accelerators in use"), "101m", {"{}": 8}),
        (panel("executive", "Runs with an error finding now"), "101m", {"{}": 1}),
        (panel("executive", "Runs, and what holds against them"), "101m", {'{run_id="a",experiment="x"}': 1}),
        (panel("executive", "Runs going on"), "104m", {"{}": 0}),
    )  # fmt: skip


def test_the_worst_five_of_seven(answers: Callable[..., None]) -> None:
    series = {f'lrwatch_drift_ratio{{rank="{rank}",{OLD}}}': f"0.{rank}x9" for rank in range(7)}
    expr = next(
        fill(t["expr"], **CHOSEN)
        for b, name, _, t in targets()
        if (b, name, t["refId"]) == ("on-call", "Drift: selected rank and worst five", "B")
    )
    answers(series, (f"max by (rank) ({expr})", "5m", {f'{{rank="{rank}"}}': rank / 10 for rank in range(2, 7)}))
