"""The metric catalogue: every series that lrwatch exports, as data.

``agent.exporter`` renders it, rules and dashboards may name nothing else, and the tests compare all three.
Every series of a worker carries ``run_id`` and ``rank``; what else it carries, and all that a series of the ledger
carries, is in ``labels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "lrwatch_"
COMMON = ("run_id", "rank")
SYNC_EVERY = (64, 1024, 16384)
"""Updates at which the LR of a worker is frozen for comparison with the others."""
MAX_GROUPS = 8
"""Groups with series of their own; of further ones only the worst is shown, as ``_worst``."""
MAX_SERIES = 48
"""Series of a worker other than rank 0."""


Type = Literal["gauge", "counter", "histogram", "info"]
Scope = Literal["rank", "rank0", "ledger"]


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue. ``name`` has the prefix and, for counters, the ``_total``."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    scope: Scope = "rank"
    buckets: tuple[float, ...] = ()


def _m(
    name: str, type: Type, help: str, *labels: str, scope: Scope = "rank", buckets: tuple[float, ...] = ()
) -> Metric:
    return Metric(PREFIX + name, type, help, labels, scope, buckets)


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_RATIO = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)

METRICS: tuple[Metric, ...] = (
    # every rank
    _m("learning_rate", "gauge", "Learning rate used by the newest update.", "group"),
    _m("learning_rate_expected", "gauge", "Learning rate that the contract expects of that same update.", "group"),
    _m("sync_step", "gauge", "Newest update that is a multiple of `every`.", "every"),
    _m("sync_learning_rate", "gauge", "Sum of the groups' learning rates at that update.", "every"),
    _m("step", "gauge", "Newest update, counted over the whole run."),
    _m("steps_total", "counter", "Updates applied by this process."),
    _m("last_step_timestamp_seconds", "gauge", "Unix time of the newest update."),
    _m("drift_ratio", "gauge", "Largest |used - expected| / peak over the groups at the newest update."),
    _m("nonfinite_steps_total", "counter", "Updates whose value was NaN or infinite.", "signal"),
    _m("skipped_steps_total", "counter", "Updates attempted and not applied (loss scaling)."),
    _m("finding_active", "gauge", "1 while a finding lasts and for 5 minutes after, then 0.", "code", "severity"),
    _m("finding_first_step", "gauge", "First affected update of the finding.", "code"),
    _m("finding_cause_info", "info", "Diagnosed cause of the finding.", "code", "cause"),
    _m("contract_info", "info", "Identity of the contract that this worker holds.", "sha256"),
    _m("contract_signed", "gauge", "1 where a trusted key has signed that contract, 0 where nobody asked for it."),
    _m("rank_up", "gauge", "1 while the worker's process is alive."),
    _m("attempt", "gauge", "How often this run was started, 1 for the first time."),
    _m("world_size", "gauge", "Number of workers."),
    _m("gpu_seconds_total", "counter", "Accelerator seconds (processes, without one) spent, all attempts."),
    _m("gpu_memory_allocated_bytes", "gauge", "Accelerator memory in use by tensors."),
    _m("gpu_memory_reserved_bytes", "gauge", "Accelerator memory held by the allocator."),
    _m("gpu_oom_total", "counter", "Out-of-memory errors reported to the agent."),
    _m("dropped_rows_total", "counter", "Rows not recorded because the ring was full."),
    _m("agent_errors_total", "counter", "Errors inside the agent; the training never sees them."),
    # rank 0
    _m("loss", "gauge", "Training loss of the newest update.", scope="rank0"),
    _m("grad_norm", "gauge", "Gradient norm before clipping of the newest update.", scope="rank0"),
    _m(
        "grad_norm_baseline_ratio",
        "histogram",
        "Gradient norm over the median of the recent ones.",
        scope="rank0",
        buckets=_RATIO,
    ),
    _m("step_seconds", "histogram", "Seconds from update to update.", scope="rank0", buckets=_SECONDS),
    _m("validation_metric", "gauge", "Newest validation value.", "metric", scope="rank0"),
    _m("checkpoint_timestamp_seconds", "gauge", "Unix time of the newest checkpoint.", scope="rank0"),
    _m("checkpoints_total", "counter", "Checkpoints written.", "scheduler_state", scope="rank0"),
    _m("run_state", "gauge", "1 for the state the run is in.", "state", scope="rank0"),
    _m("step_deadline_seconds", "gauge", "Seconds within which the contract expects the next update.", scope="rank0"),
    _m("linger_seconds", "gauge", "How long the final state stays readable after the end.", scope="rank0"),
    _m("run_info", "info", "Experiment of the run.", "experiment", scope="rank0"),
    _m("price_per_gpu_second", "gauge", "Price of one accelerator second.", "currency", scope="rank0"),
    # ledger
    _m(
        "runs_total",
        "counter",
        "Finished runs; outcome `missed`: ran to its end without reaching the goal of its contract.",
        "experiment",
        "outcome",
        scope="ledger",
    ),
    _m("runs_anomalous_total", "counter", "Finished runs with an error finding.", "experiment", scope="ledger"),
    _m(
        "runs_gpu_seconds_total",
        "counter",
        "Accelerator seconds of finished runs.",
        "experiment",
        "outcome",
        scope="ledger",
    ),
    _m("runs_over_budget_streak", "gauge", "Latest runs in a row over budget.", "experiment", scope="ledger"),
    _m("final_metric_stddev", "gauge", "Spread of the goal metric between runs.", "experiment", scope="ledger"),
    _m("ledger_scan_timestamp_seconds", "gauge", "Unix time when the ledger last read all runs.", scope="ledger"),
    _m("run_ended_timestamp_seconds", "gauge", "When a run ended; shown for an hour.", "run_id", scope="ledger"),
)


def by_name() -> dict[str, Metric]:
    """The catalogue by full metric name."""
    return {m.name: m for m in METRICS}
