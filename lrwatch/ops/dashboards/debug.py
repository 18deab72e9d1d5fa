"""Everything about one run and one of its workers, and a second run beside it."""

from __future__ import annotations

from typing import Final

from lrwatch.ops.dashboards import on_call, promql
from lrwatch.ops.dashboards.base import RUNBOOKS, Column, Dashboard, Panel, Query, Row, Variable
from lrwatch.ops.dashboards.promql import FIRST, GROUP, RANK, last, newest, of
from lrwatch.ops.rules.base import recent

OTHER: Final = Variable("compare", "Compare with", "A second run, drawn beside the first.", promql.RUNS.query)
_OTHER: Final = 'run_id=~"$compare"'
PER: Final = "[$__rate_interval]"


def _newest(metric: str) -> str:
    """One value: of rank 0, newest attempt."""
    return f"max ({newest(last(metric, FIRST), FIRST)})"


IDENTITY: Final = (
    Panel(
        "stat", "State",
        "The last state of the newest attempt that was scraped within the time range. Who ends before it is scraped "
        "again (watch(linger_s=…) waits) stays at running: see the last step.",
        (Query(f"max by (state) ({promql.STATE})", "{{state}}"),), unit="none", width=3, height=4, names="only",
        empty="no such run in this time range",
    ),
    Panel(
        "stat", "Step", "Newest update of rank 0, counted over the whole run.", (Query(_newest("lrwatch_step")),),
        unit="none", width=3, height=4, empty="no update yet",
    ),
    Panel(
        "stat", "Last step", "When the newest update was made, by the trainer's clock.",
        (Query(f"1000 * max ({last('lrwatch_last_step_timestamp_seconds', FIRST)})"),), unit="dateTimeFromNow",
        width=3, height=4, empty="no update yet",
    ),
    Panel(
        "stat", "Attempt", "How often the run was started. LrwatchRestartLoop looks at how fast it grows.",
        (Query(f"max ({last('lrwatch_attempt', FIRST)})"),), unit="none", width=3, height=4,
    ),
    Panel(
        "stat", "Accelerator time", "Of all workers and all attempts.",
        (Query(f"sum (max by (rank) ({last('lrwatch_gpu_seconds_total')}))"),), unit="s", width=3, height=4,
    ),
    Panel(
        "table", "Contract",
        "Identity of the contract that the workers hold, and how many hold it. More than one row: "
        "LrwatchContractMismatch.",
        (Query(f"count by (sha256) (max by (rank, sha256) ({newest(last('lrwatch_contract_info'))}))"),), width=6,
        height=4,
        empty="the run has no contract: only what needs none is checked",
        columns=(Column("sha256", "sha256"), Column("Value", "Workers", unit="none", width=80)),
    ),
    Panel(
        "stat", "Signature",
        "Whether every worker found the contract signed by a trusted key, or was not asked to look.",
        (Query(f"min ({newest(last('lrwatch_contract_signed'))})"),), unit="none", width=3, height=4,
        mappings=(("0", "not asked for", ""), ("1", "trusted", "green")), empty="no contract",
    ),
)  # fmt: skip

FOUND: Final = Panel(
    "table", "Findings",
    "What holds in the newest attempt, at most 100 rows. Click the code for its runbook, the rank for that worker's "
    "curves. A step of -1: it belongs to no step.",
    (Query(promql.findings(100)),), width=24, height=6, empty="no finding",
    columns=(
        Column("rank", "Rank", width=80, link=("Look into this worker", promql.TO_DEBUG
                                               + "${run}&var-rank=${__value.raw}")),
        Column("Value", "Since step", unit="none", width=110),
        Column("code", "What to do", width=110, link=("Runbook", RUNBOOKS + "/${__value.raw}.md")),
        Column("severity", "Severity", width=100, mappings=on_call.SEVERITIES),
        Column("cause", "Likely cause"),
    ),
)  # fmt: skip

RATIO: Final = Panel(
    "timeseries", "Used over expected",
    "It is 1 where the contract is kept. A constant factor, a staircase or a slope names the bug: see the causes page.",
    (Query(f"max by (group) ({of('lrwatch_learning_rate', RANK, GROUP)}\n"
           f"/ ({of('lrwatch_learning_rate_expected', RANK, GROUP)} > 0))", "{{group}}"),),
    unit="none", width=12, soft=(0.0, 1.5),
    empty="nothing is expected of this worker: no contract, or its origin is unknown",
)  # fmt: skip

FREQUENCY: Final = Panel(
    "timeseries", "Learning rate frozen every 64, 1024 and 16384 updates",
    "Sum over the groups, of the selected rank and of rank 0, at the same update: the comparison behind LrwatchDesync.",
    (
        Query(f"max by (every, rank) ({of('lrwatch_sync_learning_rate', RANK)})", "rank {{rank}}, every {{every}}"),
        Query(f"max by (every) ({of('lrwatch_sync_learning_rate', FIRST)})", "rank 0, every {{every}}", "dashed"),
    ),
    unit="sci", width=12, empty="no update that is a multiple of 64 yet",
)  # fmt: skip

GRADIENTS: Final = (
    on_call.LOSS, on_call.VALIDATION,
    Panel(
        "timeseries", "Gradient norm", "Before clipping, of the newest update, from rank 0.",
        (Query(f"max ({of('lrwatch_grad_norm')})", "gradient norm"),), log=True,
        empty="the training does not pass its gradient norm to the watch",
    ),
    Panel(
        "heatmap", "Gradient norm over its recent median",
        "Every update is counted, not only those that happen to be scraped: cells above 10 are spikes.",
        (Query(f"sum by (le) (increase({of('lrwatch_grad_norm_baseline_ratio_bucket')}{PER}))", "{{le}}"),),
        unit="none", width=12, empty="the training does not pass its gradient norm to the watch",
    ),
    Panel(
        "heatmap", "Seconds per update", "Every update of rank 0 is counted.",
        (Query(f"sum by (le) (increase({of('lrwatch_step_seconds_bucket')}{PER}))", "{{le}}"),), unit="s", width=12,
    ),
)  # fmt: skip


def _rate(metric: str, *matchers: str) -> str:
    return f"rate({of(metric, *matchers)}{PER})"


PACE: Final = (
    Panel(
        "timeseries", "Seconds per update, median and 99th percentile", "Of rank 0.",
        tuple(
            Query(f"histogram_quantile({q}, sum by (le) ({_rate('lrwatch_step_seconds_bucket')}))", name)
            for q, name in (("0.5", "median"), ("0.99", "99 %"))
        ),
        unit="s", least=0,
    ),
    Panel(
        "timeseries", "Updates per second", "By the process's own counter: of the selected rank.",
        (Query(f"max by (rank) ({_rate('lrwatch_steps_total', RANK)})", "rank {{rank}}"),), unit="ops", least=0,
    ),
    Panel(
        "timeseries", "Steps over time",
        "Newest update of rank 0 and of the selected rank; it goes back when a checkpoint is resumed.",
        (Query(f"max by (rank) ({of('lrwatch_step', FIRST)})", "rank {{rank}}", "dashed"),
         Query(f"max by (rank) ({of('lrwatch_step', RANK)})", "rank {{rank}}, selected")), unit="none",
    ),
)  # fmt: skip

MACHINE: Final = (
    Panel(
        "timeseries", "Accelerator memory", "In use by tensors, and held by the allocator, of the selected rank.",
        (
            Query(f"max by (rank) ({of('lrwatch_gpu_memory_allocated_bytes', RANK)})", "rank {{rank}} in use"),
            Query(f"max by (rank) ({of('lrwatch_gpu_memory_reserved_bytes', RANK)})", "rank {{rank}} held", "dashed"),
        ),
        unit="bytes", least=0, width=12, empty="this worker exports no accelerator memory",
    ),
    Panel(
        "timeseries", "Fullest accelerators: worst five", "Memory held by the allocator, at each moment.",
        (Query(promql.worst_five("lrwatch_gpu_memory_reserved_bytes"), "rank {{rank}}"),),
        unit="bytes", least=0, width=12, empty="no worker exports accelerator memory",
    ),
)  # fmt: skip

CHECKPOINTS: Final = (
    Panel(
        "timeseries", "Checkpoints", "Written by rank 0, with and without the scheduler's state: a resume from one "
        "without it restarts the schedule.",
        (Query(f"max by (scheduler_state) ({of('lrwatch_checkpoints_total')})",
               "scheduler state saved: {{scheduler_state}}"),),
        unit="none", least=0, empty="no checkpoint was recorded",
    ),
    Panel(
        "timeseries", "Since the newest checkpoint", "What a crash would cost.",
        (Query(f"time() - max ({of('lrwatch_checkpoint_timestamp_seconds')})", "since the checkpoint"),), unit="s",
        least=0, empty="no checkpoint was recorded",
    ),
    Panel(
        "timeseries", "Attempts", "Starts of the run.",
        (Query(f"max ({of('lrwatch_attempt', FIRST)})", "attempt"),), unit="none", least=0,
    ),
)  # fmt: skip

AGENT: Final = (
    Panel(
        "timeseries", "Evidence lost",
        "Rows that were dropped because the ring was full, and errors inside the agent, of workers that have any, five "
        "at most. Any of them is LrwatchAgentUnhealthy. The training does not notice.",
        (
            Query(promql.any_of("lrwatch_dropped_rows_total"), "rank {{rank}} rows dropped"),
            Query(promql.any_of("lrwatch_agent_errors_total"), "rank {{rank}} errors"),
        ),
        unit="none", least=0, steps=(("green", None), ("red", 1)), width=12, empty="none was lost",
    ),
    Panel(
        "table", "Series per target",
        "What the last scrape of this run's targets brought in, the largest five. LrwatchCardinality looks at it, by "
        "worker.",
        (Query("topk(5, max by (instance) (max_over_time(scrape_samples_post_metric_relabeling[<scrape_gap>])\n"
               f"and on (instance, job) {recent(of('lrwatch_rank_up'))}))"),),
        width=12, empty="the run is not scraped any more",
        columns=(Column("instance", "Target"), Column("Value", "Series", unit="none", width=120)),
    ),
)  # fmt: skip


def _both(metric: str, x: str, y: str) -> tuple[Query, ...]:
    """A metric over the step, of this run and of the other."""
    return tuple(
        Query(f"max ({name}{{{run},{FIRST}{more}}})", f"{legend}, {whose}")
        for run, whose in (('run_id=~"$run"', "this run"), (_OTHER, "compared run"))
        for name, legend, more in (("lrwatch_step", x, ""), (metric, y, f",{GROUP}" if "rate" in metric else ""))
    )


_PAIRS: Final = (("this run", "step, this run", "{}, this run"), ("compared run", "step, compared run",
                                                                  "{}, compared run"))  # fmt: skip


def _over_steps(metric: str, name: str, title: str, unit: str) -> Panel:
    return Panel(
        "xy", title,
        "Both runs over their own steps, at the moments of the scrapes that lie within the time range: choose one that "
        "holds both. For every step, use lrwatch diff on their run directories.",
        _both(metric, "step", name), unit=unit, width=12, height=9,
        pairs=tuple((who, x, y.format(name)) for who, x, y in _PAIRS),
        empty="one of the runs has no such value within the time range",
    )  # fmt: skip


COMPARED: Final = Panel(
    "table", "Side by side", "Last values within the time range, of both runs.",
    tuple(
        Query(f'max by (run_id) (last_over_time({metric}{{run_id=~"$run|$compare",{FIRST}}}[$__range]))')
        for metric in ("lrwatch_step", "lrwatch_loss", "lrwatch_drift_ratio", "lrwatch_gpu_seconds_total")
    ),
    width=24, height=5, join="run_id",
    columns=(
        Column("run_id", "Run", link=("Look into this run", promql.TO_DEBUG + "${__value.raw}")),
        Column("Value #A", "Step", unit="none"), Column("Value #B", "Loss", unit="short"),
        Column("Value #C", "Drift", unit="percentunit"), Column("Value #D", "Accelerator time of rank 0", unit="s"),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    "debug", "lrwatch / debug",
    "One run and one of its workers in detail, and a second run beside it.",
    since="now-6h", refresh="30s",
    variables=(promql.EXPERIMENT, promql.ONE_RUN, promql.WORKER, promql.GROUPS, OTHER),
    top=(*IDENTITY, FOUND),
    rows=(
        Row("Learning rate", (on_call.rates("{{group}}"), on_call.drifts(), RATIO, FREQUENCY)),
        Row("Loss and gradients", GRADIENTS),
        Row("Pace", PACE),
        Row("Non-finite, workers, silence", (on_call.NON_FINITE, on_call.WORKERS, on_call.SILENT)),
        Row("Accelerators", MACHINE),
        Row("Checkpoints and resumes", CHECKPOINTS),
        Row("The watcher itself", AGENT),
        Row("Compare runs", (
            COMPARED,
            _over_steps("lrwatch_loss", "loss", "Loss over steps", "short"),
            _over_steps("lrwatch_learning_rate", "rate", "Learning rate over steps", "sci"),
        )),
    ),
    annotations=promql.ANNOTATIONS,
)  # fmt: skip
