"""What the one who was woken reads first: is it broken, which run, which rank, since which step, what do I do."""

from __future__ import annotations

from typing import Final

from lrwatch.ops.dashboards import promql
from lrwatch.ops.dashboards.base import RUNBOOKS, Column, Dashboard, Panel, Query, Row
from lrwatch.ops.dashboards.promql import DRIFT, EITHER, FIRST, GROUP, RANK, last, newest, of
from lrwatch.ops.rules.workers import SPREAD
from lrwatch.ops.rules.workers import WORKERS as ALIVE

SEVERITIES: Final = (("error", "error", "red"), ("critical", "page", "red"), ("warning", "warning", "orange"),
                     ("info", "info", "blue"))  # fmt: skip
STATES: Final = (("failed", "failed", "red"), ("interrupted", "interrupted", "orange"), ("stopped", "stopped", "text"),
                 ("running", "running", "green"), ("starting", "starting", "blue"), ("finished", "finished", "green"),
                 ("converged", "converged", "green"))  # fmt: skip
TO_DEBUG: Final = ("Look into this worker", promql.TO_DEBUG + "${__data.fields.Run}&var-rank=${__data.fields.Rank}")
TO_RUN: Final = ("Only this run", promql.TO_RUN + "${__data.fields.Run}")

BROKEN: Final = Panel(
    "stat", "Is it broken?",
    "The worst of what holds now in the chosen runs: findings of their newest attempt, and alerts that fire. Of a run "
    "that has ended: as it was at its end.",
    (Query(promql.broken()),), width=4, height=8,
    mappings=(("0", "NO", "green"), ("1", "no, but read", "blue"), ("2", "TODAY", "orange"), ("3", "YES", "red")),
    steps=(("green", None), ("blue", 1), ("orange", 2), ("red", 3)),
    empty="no run in this time range",
)  # fmt: skip

FINDINGS: Final = Panel(
    "table", "Which run, which rank, since which step, what to do",
    "Findings that hold in the newest attempt, earliest first step first, at most 30. Click the code for its runbook, "
    "the rank for that worker's curves. A step of -1: it belongs to no step.",
    (Query(promql.findings(30)),), width=20, height=8, empty="no finding: the runs keep their contracts",
    columns=(
        Column("run_id", "Run", link=TO_RUN),
        Column("rank", "Rank", width=70, link=TO_DEBUG),
        Column("Value", "Since step", unit="none", width=110),
        Column("code", "What to do", width=110, link=("Runbook", RUNBOOKS + "/${__value.raw}.md")),
        Column("severity", "Severity", width=100, mappings=SEVERITIES),
        Column("cause", "Likely cause"),
    ),
)  # fmt: skip

ALERTS: Final = Panel(
    "table", "Alerts that fire",
    "What Prometheus fires now about the chosen runs, and about no run; the name leads to the runbook. "
    "LrwatchFinding… are the findings; the others are about runs and workers that cannot speak for themselves.",
    (Query(f"max by (run_id, alertname, severity, code) ({promql.alerts(promql.RUN_OR_NONE)})"),), width=12, height=7,
    empty="nothing fires",
    columns=(
        Column("run_id", "Run", link=TO_RUN),
        Column("alertname", "What to do", link=("Runbook", RUNBOOKS + "/${__value.raw}.md")),
        Column("code", "Finding", width=90, link=("Runbook", RUNBOOKS + "/${__value.raw}.md")),
        Column("severity", "Severity", width=90, mappings=SEVERITIES),
    ),
)  # fmt: skip

RUNS: Final = Panel(
    "table", "Runs",
    "Last state, step, moment of the last step and workers of each run within the time range, of the newest attempt. "
    "A run that says running and whose last step is long ago stalled or vanished.",
    (
        Query(f"max by (run_id, state) ({promql.STATE})"),
        Query(f"max by (run_id) ({newest(last('lrwatch_step', FIRST), FIRST)})"),
        Query(f"1000 * max by (run_id) ({last('lrwatch_last_step_timestamp_seconds', FIRST)})"),
        Query(f"max by (run_id) ({newest(last('lrwatch_world_size', FIRST), FIRST)})"),
    ),
    width=12, height=7, join="run_id", empty="no run in this time range",
    columns=(
        Column("run_id", "Run", link=TO_RUN),
        Column("state", "State", width=110, mappings=STATES),
        Column("Value #B", "Step", unit="none", width=90),
        Column("Value #C", "Last step", unit="dateTimeFromNow", width=140),
        Column("Value #D", "Workers", unit="none", width=80),
    ),
)  # fmt: skip


def rates(legend: str, height: int = 9) -> Panel:
    """The learning rate that was used over the one that the contract expects, drift in red."""
    used = f"max by (run_id, rank, group) ({of('lrwatch_learning_rate', RANK, GROUP)})"
    found = of("lrwatch_finding_active", RANK, f'code="{DRIFT}"')
    return Panel(
        "timeseries", "Learning rate, used and expected",
        "Of the selected rank. Solid: what the optimizer used. Dashed: what the contract expects of that same update. "
        f"Red points: while finding {DRIFT} (drift) holds, and for five minutes after it ended.",
        (
            Query(used, f"{legend} used"),
            Query(
                f"max by (run_id, rank, group) ({of('lrwatch_learning_rate_expected', RANK, GROUP)})",
                f"{legend} expected", "dashed",
            ),
            Query(f"{used}\nand on (run_id, rank) (max by (run_id, rank) ({found}) == 1)", f"{legend} drift", "marks"),
        ),
        unit="sci", width=12, height=height,
    )  # fmt: skip


def drifts(height: int = 9) -> Panel:
    """Drift of the selected worker and of the worst."""
    return Panel(
        "timeseries", "Drift: selected rank and worst five",
        "Largest |used − expected| / peak over a worker's groups, each worker against its own expectation of its own "
        "step, so that the moment of scraping plays no part. The worst five of each moment.",
        (
            Query(f"max by (run_id, rank) ({of('lrwatch_drift_ratio', RANK)})", "{{run_id}} rank {{rank}}, selected"),
            Query(promql.worst_five("lrwatch_drift_ratio"), "{{run_id}} rank {{rank}}"),
        ),
        unit="percentunit", width=12, height=height, least=0,
        empty="no worker knows what to expect: no contract, or its origin is unknown",
    )  # fmt: skip


LOSS: Final = Panel(
    "timeseries", "Loss, 48 hours", "Training loss of the newest update, from rank 0.",
    (Query(f"max by (run_id) ({of('lrwatch_loss')})", "{{run_id}}"),), recent="48h",
    empty="the training does not pass its loss to the watch",
)  # fmt: skip
VALIDATION: Final = Panel(
    "timeseries", "Validation, 48 hours", "Newest validation values, from rank 0.",
    (Query(f"max by (run_id, metric) ({of('lrwatch_validation_metric')})", "{{run_id}} {{metric}}"),), recent="48h",
    empty="no validation was recorded",
)  # fmt: skip
GRADIENTS: Final = Panel(
    "timeseries", "Gradient norm", "Before clipping, of the newest update, from rank 0. A gap: it was not finite.",
    (Query(f"max by (run_id) ({of('lrwatch_grad_norm')})", "{{run_id}}"),), log=True,
    empty="the training does not pass its gradient norm to the watch",
)  # fmt: skip

NON_FINITE: Final = Panel(
    "timeseries", "Non-finite and skipped updates",
    "Updates per second of rank 0 and the selected rank whose loss, gradient norm or learning rate was NaN or "
    "infinite, and those that loss scaling skipped. Counters: nothing is lost between scrapes. Of other ranks, "
    "findings tell.",
    (
        Query(f"rate({of('lrwatch_nonfinite_steps_total', EITHER)}[$__rate_interval])",
              "{{run_id}} rank {{rank}} {{signal}} not finite"),
        Query(f"rate({of('lrwatch_skipped_steps_total', EITHER)}[$__rate_interval])",
              "{{run_id}} rank {{rank}} skipped"),
    ),
    unit="ops", least=0,
)  # fmt: skip

WORKERS: Final = Panel(
    "timeseries", "Workers alive", "Workers of each run that are scraped and alive, and how many there should be.",
    (
        Query(f"max by (run_id) ({of(ALIVE)})", "{{run_id}} alive"),
        Query(f"max by (run_id) ({of('lrwatch_world_size', FIRST)})", "{{run_id}} expected", "dashed"),
    ),
    unit="none", least=0, empty="no worker is alive, or the recording rules are not loaded",
)  # fmt: skip
SYNC: Final = Panel(
    "timeseries", "Workers out of step",
    "Relative spread of the workers' learning rates, frozen by each at the same update (every 64, 1024 and 16384), so "
    "that the moment of scraping plays no part. Anything above the threshold pages as LrwatchDesync. A gap: the "
    "workers do not all show the same update yet.",
    (Query(f"max by (run_id) ({of(SPREAD)})", "{{run_id}}"),), unit="percentunit", least=0,
    steps=(("green", None), ("red", "desync_rtol")),
    empty="no update that is a multiple of 64 yet, or the recording rules are not loaded",
)  # fmt: skip
SILENT: Final = Panel(
    "timeseries", "Longest without a step: worst five workers",
    "Seconds since the newest update of the five workers for whom that is longest now. Red: the deadline of "
    "LrwatchRunStalled where the contract gives none.",
    (
        Query(
            f"time() - bottomk(5, {of('lrwatch_last_step_timestamp_seconds')})\n"
            f"and on (run_id) max by (run_id) ({promql.going('lrwatch_run_state')}) == 1",
            "{{run_id}} rank {{rank}}",
        ),
    ),
    unit="s", least=0, steps=(("green", None), ("red", "stall_deadline")), empty="no run is going on",
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "on-call", "lrwatch / on-call",
    "Is it broken, which run, which rank, since which step, what do I do.",
    since="now-6h", refresh="30s",
    variables=(promql.EXPERIMENT, promql.RUNS, promql.WORKER, promql.GROUPS),
    top=(BROKEN, FINDINGS, ALERTS, RUNS),
    rows=(
        Row("Learning rate", (rates("{{run_id}} {{group}}"), drifts())),
        Row("Is it learning", (LOSS, VALIDATION, GRADIENTS)),
        Row("Workers", (WORKERS, SYNC, SILENT)),
        Row("Is it going on", (
            Panel(
                "timeseries", "Updates per second",
                "By rank 0's own counter, which a resume does not set back.",
                (Query(f"max by (run_id) (rate({of('lrwatch_steps_total', FIRST)}[$__rate_interval]))", "{{run_id}}"),),
                unit="ops", least=0,
            ),
            NON_FINITE,
            Panel(
                "timeseries", "Out of memory",
                "Out-of-memory errors so far, of workers that had any, five at most. Any of them pages as "
                "LrwatchGpuOutOfMemory.",
                (Query(promql.any_of("lrwatch_gpu_oom_total"), "{{run_id}} rank {{rank}}"),),
                unit="none", least=0, steps=(("green", None), ("red", 1)), empty="no worker ran out of memory",
            ),
        )),
    ),
    annotations=promql.ANNOTATIONS,
)  # fmt: skip
