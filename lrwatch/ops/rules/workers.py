"""What one worker cannot know of the others: each sees only itself. Values of workers are compared only where they
were frozen at the same step, never as they happen to be scraped."""

from __future__ import annotations

from lrwatch.ops.rules.base import ACTIVE, RUN, Alert, Group, Record, counted, recent
from lrwatch.ops.rules.runs import ACTIVE_RUN

WORKERS = "run:lrwatch_rank_up:count"
SPREAD = "run_every:lrwatch_sync_learning_rate:spread"
APPROVED = "lrwatch:contract_approved:info"
PRODUCTION = "production"

_STATE = recent(f'lrwatch_run_state{{state=~"{ACTIVE}"}}')
# Only rank 0 says that the run goes on: while its scrape fails, what it said last counts.
_DOWN = f"""\
{WORKERS} < max_over_time({WORKERS}[<worker_window>])
and {WORKERS} < max by ({RUN}) (lrwatch_world_size)
and (
  {ACTIVE_RUN} == 1
  or max by ({RUN}) ({_STATE} and on (job, instance) (up == 0)) == 1
)"""

_SPREAD = f"""\
(
  max by ({RUN}, every) (lrwatch_sync_learning_rate)
  - min by ({RUN}, every) (lrwatch_sync_learning_rate)
)
/ max by ({RUN}, every) (lrwatch_sync_learning_rate)
and (
  max by ({RUN}, every) (lrwatch_sync_step)
  == min by ({RUN}, every) (lrwatch_sync_step)
)"""

_HELD = recent(f'lrwatch_contract_info{{environment="{PRODUCTION}"}}')
_UNAPPROVED = f"""\
(
  max by ({RUN}, sha256) ({_HELD})
  unless on (sha256) {APPROVED}
)
and on () count({APPROVED}) > 0"""

GROUP = Group(
    "lrwatch.workers",
    "Workers that are gone, doubled, or out of step with each other.",
    (
        Record(
            WORKERS,
            f"count by ({RUN}) (max by ({RUN}, rank) (lrwatch_rank_up == 1))",
            "workers of a run that are alive, each once, whatever their instance",
        ),
        Record(
            SPREAD,
            _SPREAD,
            "relative spread of the learning rate over the workers, only while all show the same sync step",
        ),
        Alert(
            "LrwatchWorkerDown",
            "warning",
            _DOWN,
            "A worker of a running training is gone.",
            'Run {{ $labels.run_id }}: {{ $value }} of {{ with printf "max(lrwatch_world_size{run_id=%q})" '
            "$labels.run_id | query }}{{ . | first | value }}{{ end }} workers are seen, and it had more before.",
            wait="worker_down_for",
        ),
        Alert(
            "LrwatchDuplicateWorker",
            "warning",
            f"count by ({RUN}) (count by ({RUN}, rank) (lrwatch_rank_up == 1) > 1)",
            "Two processes claim to be the same worker of the same run.",
            "Run {{ $labels.run_id }}: {{ $value }} rank(s) are served by more than one process.",
            wait="duplicate_for",
            hold="scrape_gap",
        ),
        Alert(
            "LrwatchGpuOutOfMemory",
            "critical",
            counted("lrwatch_gpu_oom_total", "<oom_window>"),
            "A training run ran out of accelerator memory.",
            'Run {{ $labels.run_id }}: {{ printf "%.0f" $value }} out-of-memory error(s) in <oom_window>.',
            wait="oom_for",
        ),
        Alert(
            "LrwatchDesync",
            "critical",
            f"max by ({RUN}) (max_over_time({SPREAD}[<desync_hold>])) > <desync_rtol>",
            "Workers of one run use different learning rates at the same step.",
            "Run {{ $labels.run_id }}: the learning rates of its workers differ by {{ humanizePercentage $value }} at "
            "the same update"
            '{{ with printf "max(lrwatch_sync_step{run_id=%q})" $labels.run_id | query }}'
            ' (seen up to update {{ . | first | value | printf "%.0f" }}){{ end }}.',
            wait="desync_for",
        ),
        Alert(
            "LrwatchContractMismatch",
            "critical",
            f"count by ({RUN}) (count by ({RUN}, sha256) (lrwatch_contract_info)) > 1",
            "Workers of one run hold different contracts.",
            "Run {{ $labels.run_id }}: its workers hold {{ $value }} different contracts:"
            '{{ with printf "count by (sha256) (lrwatch_contract_info{run_id=%q})" $labels.run_id | query }}'
            '{{ range sortByLabel "sha256" . }} {{ slice .Labels.sha256 0 12 }} on {{ .Value }} worker(s);{{ end }}'
            "{{ end }} see the runbook for who holds which.",
            wait="mismatch_for",
            hold="scrape_gap",
        ),
        Alert(
            "LrwatchContractUnapproved",
            "warning",
            _UNAPPROVED,
            "A production run follows a contract that nobody approved.",
            "Run {{ $labels.run_id }} follows contract {{ $labels.sha256 }}, which is not among the approved ones.",
            wait="unapproved_for",
        ),
    ),
)
