"""What no process can say of itself: that it is gone, that it stands still, that it keeps starting again."""

from __future__ import annotations

from lrwatch.ops.rules.base import ACTIVE, RUN, Alert, Group, Record, in_state, recent

ACTIVE_RUN = "run:lrwatch_run_state:active"
RATE = "run:lrwatch_steps:rate15m"
_STATE = f'lrwatch_run_state{{state=~"{ACTIVE}"}}'
_ENDED = "lrwatch_run_ended_timestamp_seconds"
_LAST_STEP = recent("lrwatch_last_step_timestamp_seconds")

_DOWN = f"""\
max by ({RUN}) (
  last_over_time({_STATE}[<memory>]) and on (job, instance) (up == 0)
) == 1
unless {ACTIVE_RUN}
unless on (run_id) {_ENDED}"""

# A run that ends and stops serving at once was last seen running. Only who keeps its final state readable
# (lrwatch_linger_seconds) or writes down how runs end (the ledger, if it knows the experiment) can tell that from a
# crash; without either this alert does not guess.
_VANISHED = f"""\
(
  last_over_time({ACTIVE_RUN}[<memory>]) == 1
  unless {ACTIVE_RUN}
  unless on (run_id) {_ENDED}
)
and (
  max by ({RUN}) (last_over_time(lrwatch_linger_seconds[<memory>])) > 0
  or
  max by ({RUN}) (last_over_time(lrwatch_run_info[<memory>]) and on (experiment) lrwatch_runs_total)
)"""

_STALLED = f"""\
time() - max by ({RUN}) ({_LAST_STEP})
> (
  max by ({RUN}) ({recent("lrwatch_step_deadline_seconds")})
  or
  clamp_min(<stall_factor> * max by ({RUN}) (
    {recent("lrwatch_step_seconds_sum")} / ({recent("lrwatch_step_seconds_count")} > 0)
  ), <stall_deadline>)
  or
  0 * max by ({RUN}) ({_LAST_STEP}) + <stall_first>
)
and {in_state("running")}
unless max by ({RUN}) (changes(lrwatch_step[<stall_quiet>])) > 0"""

_PHASE = f"""\
max by ({RUN}, state) ({recent('lrwatch_run_state{state=~"starting|validating|checkpointing"}')}) == 1
unless on ({RUN}) max by ({RUN}) (changes(lrwatch_step[<phase_quiet>])) > 0"""

_RESTARTS = f"""\
max by ({RUN}) ({recent('lrwatch_attempt{rank="0"}')})
- min by ({RUN}) (min_over_time(lrwatch_attempt{{rank="0"}}[<restart_window>]))
>= <restarts>"""

_COLLAPSE = f"""\
{RATE} < <throughput_share> * quantile_over_time(0.5, {RATE}[<throughput_window>])
and quantile_over_time(0.5, {RATE}[<throughput_window>]) > <throughput_steps> / 900
and {RATE} offset <throughput_age> > 0
and {in_state("running")}"""

_NOT_JUDGED = f"""\
{in_state("running")}
and max by ({RUN}) ({recent("lrwatch_contract_info")})
unless max by ({RUN}) ({recent("lrwatch_drift_ratio")})"""

GROUP = Group(
    "lrwatch.runs",
    "Runs that are down, vanished, stalled, stuck, restarting, slow, or not judged.",
    (
        Record(
            ACTIVE_RUN,
            f"max by ({RUN}) ({_STATE})",
            "1 while a run has not ended, 0 when it has, absent when nobody says; survives a change of instance",
        ),
        Record(
            RATE,
            f'max by ({RUN}) (rate(lrwatch_steps_total{{rank="0"}}[15m]))',
            "updates per second, from the counter of the process: a resume sets back the step, never this",
        ),
        Alert(
            "LrwatchRunDown",
            "critical",
            _DOWN,
            "A training run that was going on cannot be scraped any more.",
            "Run {{ $labels.run_id }} was last seen going on, its target is still there, and scraping it fails.",
            wait="run_down_for",
        ),
        Alert(
            "LrwatchRunVanished",
            "critical",
            _VANISHED,
            "A training run is gone and nobody recorded that it ended.",
            "Run {{ $labels.run_id }} was last seen going on; its target is gone, and neither its own final state nor "
            "the ledger says that it ended.",
            wait="run_vanished_for",
        ),
        Alert(
            "LrwatchRunStalled",
            "critical",
            _STALLED,
            "A running training has made no step within its deadline.",
            "Run {{ $labels.run_id }} says that it is running and made its last step {{ humanizeDuration $value }} "
            "ago.",
            wait="stall_for",
        ),
        Alert(
            "LrwatchPhaseTooLong",
            "warning",
            _PHASE,
            "A training run has been starting, validating or checkpointing for too long.",
            "Run {{ $labels.run_id }} has been {{ $labels.state }} for more than <phase_for> without a step.",
            wait="phase_for",
        ),
        Alert(
            "LrwatchRestartLoop",
            "warning",
            _RESTARTS,
            "A training run keeps being restarted.",
            "Run {{ $labels.run_id }} was started {{ $value }} more times within <restart_window>.",
            wait="restart_for",
        ),
        Alert(
            "LrwatchThroughputCollapse",
            "warning",
            _COLLAPSE,
            "A training run makes steps far more slowly than it used to.",
            'Run {{ $labels.run_id }} makes {{ printf "%.3g" $value }} steps per second; its median over '
            f'<throughput_window> is {{{{ with printf "quantile_over_time(0.5, {RATE}{{run_id=%q}}'
            '[<throughput_window>])" '
            '$labels.run_id | query }}{{ . | first | value | printf "%.3g" }}{{ end }}.',
            wait="throughput_for",
        ),
        Alert(
            "LrwatchRunNotJudged",
            "warning",
            _NOT_JUDGED,
            "A training run has a contract that it is not compared with.",
            "Run {{ $labels.run_id }} is running under a contract, and no worker knows which learning rate to expect: "
            "after a resume nobody said at which update it goes on, or the clock of the contract is not recorded.",
            wait="not_judged_for",
        ),
    ),
)
