"""The PromQL that the dashboards share.

A run that has ended exports nothing any more, so what is shown of "now" is the last value within the dashboard's time
range. Across a restart that would mix the attempts; ``newest`` keeps to the last one. What a number or a table says
of "now" outlasts a scrape that failed (``recent``); in a graph, a gap is a gap. Workers are scraped at different
moments: they are never compared by the values that they happen to show, only by their own drift, or by values that
they froze at the same step.
"""

from __future__ import annotations

from typing import Final

from lrwatch.ops.dashboards.base import Annotation, Variable
from lrwatch.ops.rules.base import ACTIVE, recent

RUN: Final = 'run_id=~"$run"'
RUN_OR_NONE: Final = 'run_id=~"|$run"'
RANK: Final = 'rank=~"$rank"'
EITHER: Final = 'rank=~"0|$rank"'
GROUP: Final = 'group=~"$group"'
FIRST: Final = 'rank="0"'
DRIFT: Final = "LR101"
"""Code of the check that compares the learning rate with the contract."""
KEY: Final = "run_id, rank, instance"
"""One process: a restarted worker has another instance."""

_ALERTS: Final = ('alertname=~"Lrwatch.+"', 'alertstate="firing"', 'severity!="none"')

TO_RUN: Final = "/d/lrwatch-on-call?${__url_time_range}&${datasource:queryparam}&var-run="
TO_DEBUG: Final = "/d/lrwatch-debug?${__url_time_range}&${datasource:queryparam}&var-run="


def of(metric: str, *matchers: str) -> str:
    """A selector of the chosen runs."""
    return f"{metric}{{{','.join((RUN, *matchers))}}}"


def last(metric: str, *matchers: str) -> str:
    """The last value within the dashboard's time range."""
    return f"last_over_time({of(metric, *matchers)}[$__range])"


def newest(expr: str, *matchers: str) -> str:
    """What belongs to the newest attempt of its run; ``matchers`` as in ``expr`` spare reading other workers.

    The newest attempt is rank 0's: reading that of every worker twice costs seconds in large runs.
    """
    attempt, first = last("lrwatch_attempt", *matchers), last("lrwatch_attempt", FIRST)
    return f"(({expr})\nand on ({KEY}) ({attempt} >= on (run_id) group_left () max by (run_id) ({first})))"


def worst_five(metric: str) -> str:
    """The five highest at each moment. Aggregating by worker, or choosing the same five for the whole panel, asks
    Prometheus to hash the labels of every worker at every point: minutes where this takes a second."""
    return f"topk(5, {of(metric)})"


def any_of(metric: str) -> str:
    """The workers, five at most, of which a counter is above 0."""
    return f"topk(5, {of(metric)} > 0)"


def broken() -> str:
    """3 an error or a page · 2 a warning or a ticket · 1 worth knowing · 0 none of it. Nothing: no run is known.

    Every operand has labels of its own, or ``or`` would take only the first; max drops them.
    """
    weights = (("error", "critical", 3), ("warning", "warning", 2), ("info", "info", 1))
    found = [f"{n} * {last('lrwatch_finding_active', severity(s))}" for s, _, n in weights]
    fired = [f"{n} * max by (alertstate, severity) ({alerts(RUN, severity(s))})" for _, s, n in weights]
    known = f"0 * count by (job) ({last('lrwatch_rank_up', FIRST)})"
    return "max(\n" + "\nor ".join([newest("\nor ".join(found)), *fired, known]) + "\n)"


def going(metric: str) -> str:
    """Chosen runs that go on now."""
    return of(metric, f'state=~"{ACTIVE}"')


def severity(word: str) -> str:
    """A matcher."""
    return f'severity="{word}"'


def alerts(*matchers: str) -> str:
    """Alerts that fire now; not the heartbeat, which always does."""
    return f"ALERTS{{{','.join((*_ALERTS, *matchers))}}}"


def findings(limit: int) -> str:
    """First step of every finding that holds, the earliest first; run, worker, code, severity and cause are labels.

    -1 where a finding belongs to no step. Severity and cause may change while it lasts: the one seen last counts,
    and no side of a join has two.
    """
    key = f"{KEY}, code"

    def seen_last(metric: str) -> str:
        return f"topk by ({key}) (1, max_over_time(timestamp({of(metric)})[$__range:]))"

    active = f"({last('lrwatch_finding_active')} == 1 and {seen_last('lrwatch_finding_active')})"
    cause = seen_last("lrwatch_finding_cause_info")
    first = f"({active} * on ({key}) group_left () {last('lrwatch_finding_first_step')} or {active} * 0 - 1)"
    joined = f"{first} * on ({key}) group_left (cause) ({cause} * 0 + 1)\nor {first} unless on ({key}) {cause}"
    return f"bottomk({limit},\nmax by (run_id, rank, code, severity, cause) (\n{newest(joined)}\n))"


# -- variables ----------------------------------------------------------------------------------------

EXPERIMENT: Final = Variable(
    "experiment", "Experiment", "Name in the contract; All shows runs without a contract, too.",
    "label_values(lrwatch_run_info, experiment)", several=True, every=".*",
)  # fmt: skip
# With All the matcher is .*, which also holds where there is no such label: on run_state, of runs without a contract.
_RUNS: Final = 'label_values({__name__=~"lrwatch_run_(info|state)",experiment=~"$experiment"}, run_id)'
RUNS: Final = Variable("run", "Run", "Runs seen within the time range.", _RUNS, several=True)
ONE_RUN: Final = Variable("run", "Run", "The run to look into.", _RUNS)
WORKER: Final = Variable(
    "rank", "Rank", "The worker whose values are drawn, beside the worst five.",
    f"label_values({of('lrwatch_rank_up')}, rank)",
)  # fmt: skip
GROUPS: Final = Variable(
    "group", "Group", "Parameter groups of the optimizer.",
    f"label_values({of('lrwatch_learning_rate', FIRST)}, group)", several=True, every=".*",
)  # fmt: skip

# -- annotations --------------------------------------------------------------------------------------

_ATTEMPT: Final = of("lrwatch_attempt", FIRST)
_STEP: Final = of("lrwatch_step", FIRST)

ANNOTATIONS: Final = (
    Annotation(
        "Restarts",
        f"max by (run_id) ({_ATTEMPT}) > max by (run_id) (max_over_time({_ATTEMPT}[1d] offset 1m))",
        "Restart", "{{run_id}} was started again", "purple",
    ),
    Annotation(
        "Resumes",
        f"max by (run_id) ({_STEP}) < max by (run_id) (max_over_time({_STEP}[1d] offset 1m))",
        "Re-visited steps", "{{run_id}} went back to a checkpoint and has not passed the old position yet", "blue",
    ),
    Annotation(
        "Checkpoints",
        f"1000 * max by (run_id) ({of('lrwatch_checkpoint_timestamp_seconds', FIRST)})",
        "Checkpoint", "{{run_id}}", "green", at_value=True,
    ),
    Annotation(
        "Findings",
        f"max by (run_id, code, severity) ({of('lrwatch_finding_active')}) == 1",
        "{{code}}", "{{severity}} in {{run_id}}", "red",
    ),
)  # fmt: skip

STATE: Final = f"{newest(last('lrwatch_run_state', FIRST), FIRST)} == 1"
"""The state of each run, as a label."""
_ACTIVE: Final = recent(f'lrwatch_run_state{{state=~"{ACTIVE}"}}')
GOING_ON: Final = f"max by (run_id) ({_ACTIVE}) == 1"
"""Runs that go on now, whichever are chosen."""
