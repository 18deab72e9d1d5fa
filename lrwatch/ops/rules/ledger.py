"""How the fleet does, from the ledger: the one long-lived process that counts finished runs.

Its counters are totals that outlive its restarts, so growth over a window is a plain difference: exact for counts of
a few, where ``increase`` would extrapolate and miss series that were born within the window.
"""

from __future__ import annotations

from lrwatch.ops.rules.base import EXPERIMENT, Alert, AlertSeverity, Group, Record, recent

RUNS = "experiment_outcome:lrwatch_runs:sum"
ANOMALOUS = "experiment:lrwatch_runs_anomalous:sum"
SCAN = "ledger:lrwatch_ledger_scan_timestamp_seconds:max"
JUDGED = '{outcome=~"converged|missed|failed"}'
"""A run that was stopped by hand, was interrupted, or has no goal says nothing about convergence."""
MISSED = '{outcome=~"missed|failed"}'
_FLEET = "cluster, namespace, environment"


def _grown(recorded: str, window: str, by: str) -> str:
    """How much a recorded total grew; a scrape that failed, or a day's gap at the far end, does no harm."""
    now = f"sum by ({by}) ({recent(recorded)})"
    then = f"sum by ({by}) (last_over_time({recorded}[1d] offset {window}))"
    return f"{now}\n- ({then}\n   or 0 * {now})"


def _known(window: str) -> str:
    """Where the ledger was there already when the window began: else its whole past would count as new."""
    return f"and on (cluster, namespace) last_over_time({SCAN}[1d] offset {window})"


def _counts(speed: str) -> tuple[Record, ...]:
    """Judged and missed runs in the windows of a burn rate."""
    return tuple(
        Record(
            f"experiment:lrwatch_runs_{what}:{speed}_{length}",
            _grown(RUNS + outcomes, f"<burn_{speed}_{length}>", EXPERIMENT),
            f"{what} runs within burn_{speed}_{length}",
        )
        for length in ("long", "short")
        for what, outcomes in (("judged", JUDGED), ("missed", MISSED))
    )


def _burn(speed: str, severity: AlertSeverity, words: str) -> Alert:
    def share(length: str) -> str:
        return f"experiment:lrwatch_runs_missed:{speed}_{length} / experiment:lrwatch_runs_judged:{speed}_{length}"

    limit = f"<burn_{speed}_limit>"
    return Alert(
        f"LrwatchConvergence{speed.capitalize()}Burn",
        severity,
        f"""\
{share("long")} > {limit}
and {share("short")} > {limit}
and experiment:lrwatch_runs_judged:{speed}_long >= <burn_{speed}_sample>
{_known(f"<burn_{speed}_long>")}""",
        f"Runs of an experiment miss their goal {words}.",
        "Experiment {{ $labels.experiment }}: {{ humanizePercentage $value }} of the runs judged within "
        f"<burn_{speed}_long> missed their goal or failed; the objective is that <convergence_objective%> reach it.",
        wait="kpi_for",
    )


_STREAK = f"max by ({EXPERIMENT}) ({recent('lrwatch_runs_over_budget_streak')})"
_RECENT = "and experiment:lrwatch_runs:recent > 0"

_ANOMALOUS = f"""\
fleet:lrwatch_runs_anomalous:grown / fleet:lrwatch_runs:grown > <anomalous_share>
and fleet:lrwatch_runs:grown >= <anomalous_sample>
{_known("<anomalous_window>")}"""

GROUP = Group(
    "lrwatch.ledger",
    "Cost, convergence and anomalies over finished runs.",
    (
        Record(
            RUNS,
            f"sum by ({EXPERIMENT}, outcome) (lrwatch_runs_total)",
            "finished runs, whatever instance the ledger has now",
        ),
        Record(
            ANOMALOUS,
            f"sum by ({EXPERIMENT}) (lrwatch_runs_anomalous_total)",
            "finished runs with an error finding, whatever instance the ledger has now",
        ),
        Record(
            SCAN,
            "max by (cluster, namespace) (lrwatch_ledger_scan_timestamp_seconds)",
            "when the ledger last read the runs",
        ),
        Record(
            "experiment:lrwatch_runs:recent",
            _grown(RUNS, "<budget_recent>", EXPERIMENT),
            "finished runs within budget_recent",
        ),
        Record(
            "fleet:lrwatch_runs:grown",
            _grown(RUNS, "<anomalous_window>", _FLEET),
            "finished runs within anomalous_window",
        ),
        Record(
            "fleet:lrwatch_runs_anomalous:grown",
            _grown(ANOMALOUS, "<anomalous_window>", _FLEET),
            "finished runs with an error finding within anomalous_window",
        ),
        *_counts("fast"),
        *_counts("slow"),
        Alert(
            "LrwatchLedgerStale",
            "warning",
            f"time() - last_over_time({SCAN}[1d]) > <ledger_stale>",
            "The ledger no longer counts finished runs.",
            "The ledger last read the runs {{ humanizeDuration $value }} ago: cost, convergence and anomaly alerts see "
            "nothing newer.",
            wait="ledger_stale_for",
        ),
        Alert(
            "LrwatchCostOverBudget",
            "warning",
            f"{_STREAK} >= 1\n{_RECENT}",
            "The newest run of an experiment cost more than its budget.",
            "Experiment {{ $labels.experiment }}: the newest {{ $value }} finished run(s) went over the budget of the "
            "contract.",
            wait="kpi_for",
        ),
        Alert(
            "LrwatchCostOverBudgetStreak",
            "critical",
            f"{_STREAK} >= <budget_streak>\n{_RECENT}",
            "Several runs of an experiment in a row cost more than their budget.",
            "Experiment {{ $labels.experiment }}: the newest {{ $value }} finished runs in a row went over the budget "
            "of the contract.",
            wait="kpi_for",
        ),
        Alert(
            "LrwatchAnomalousRuns",
            "warning",
            _ANOMALOUS,
            "Too many finished runs had an error finding.",
            "{{ humanizePercentage $value }} of the runs that ended within <anomalous_window> had an error finding; "
            "the target is at most <anomalous_share%>.",
            wait="kpi_for",
        ),
        _burn("fast", "critical", "several times as often as the objective allows, today"),
        _burn("slow", "warning", "more often than the objective allows, this week"),
    ),
)
