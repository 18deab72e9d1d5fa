"""Alertmanager's side: who is woken, who gets a ticket, and which alerts are silent because a worse one explains them.

One notification per run, not per alert. Inhibition needs its source first: a group waits for at least two evaluations
before it speaks, so that a symptom which was seen first is still silenced by its cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from lrwatch.errors import LrwatchError
from lrwatch.ops.render import dump
from lrwatch.ops.reviewed import SWEEP_ALERT
from lrwatch.ops.rules import ALERTS, Alert
from lrwatch.ops.rules.base import DISCOVERY
from lrwatch.ops.thresholds import Values, duration

PAGE, TICKET, RECORD, DEADMAN, NOBODY = (
    "lrwatch-page", "lrwatch-ticket", "lrwatch-record", "lrwatch-deadman", "lrwatch-nobody",
)  # fmt: skip
"""Receivers: wakes somebody · a ticket · for the record · the dead-man's switch · nothing happens."""

_SAME_RUN: Final = (*DISCOVERY, "run_id")
_SAME_EXPERIMENT: Final = ("cluster", "namespace", "environment", "experiment")


@dataclass(frozen=True)
class Inhibition:
    """While an alert of ``source`` fires, those of ``target`` that agree in ``equal`` are silent."""

    why: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...]


def _alert(*names: str) -> str:
    return f'alertname="{names[0]}"' if len(names) == 1 else f'alertname=~"{"|".join(names)}"'


_FINDING = 'alertname=~"LrwatchFinding(Error|Warning|Info)"'

INHIBITIONS: tuple[Inhibition, ...] = (
    Inhibition(
        "An authorised sweep may leave its schedule: findings of conformance (LR1xx), of that sweep only.",
        (_alert(SWEEP_ALERT), 'sweep=~".+"'),
        (_FINDING, 'code=~"LR1[0-9][0-9]"', 'sweep=~".+"'),
        ("sweep",),
    ),
    Inhibition(
        "After a NaN every other sign of instability is its consequence.",
        (_alert("LrwatchFindingError"), 'code="LR301"'),
        (_FINDING, 'code=~"LR3[0-9][0-9]"', 'code!="LR301"'),
        _SAME_RUN,
    ),
    Inhibition(
        "A worker with another contract drifts from the promise of this one.",
        (_alert("LrwatchContractMismatch"),),
        (_FINDING, 'code=~"LR1[0-9][0-9]"'),
        _SAME_RUN,
    ),
    Inhibition(
        "Workers with different contracts use different learning rates.",
        (_alert("LrwatchContractMismatch"),),
        (_alert("LrwatchDesync"),),
        _SAME_RUN,
    ),
    Inhibition(
        "The same finding, less severe on another worker.",
        (_alert("LrwatchFindingError"),),
        (_alert("LrwatchFindingWarning", "LrwatchFindingInfo"),),
        (*_SAME_RUN, "code"),
    ),
    Inhibition(
        "Its target is still there: down, not vanished.",
        (_alert("LrwatchRunDown"),),
        (_alert("LrwatchRunVanished"),),
        _SAME_RUN,
    ),
    Inhibition(
        "A run that stands still is slow, too.",
        (_alert("LrwatchRunStalled"),),
        (_alert("LrwatchThroughputCollapse"),),
        _SAME_RUN,
    ),
    Inhibition(
        "Several runs over budget include the newest one.",
        (_alert("LrwatchCostOverBudgetStreak"),),
        (_alert("LrwatchCostOverBudget"),),
        _SAME_EXPERIMENT,
    ),
    Inhibition(
        "A fast burn is a slow one, too.",
        (_alert("LrwatchConvergenceFastBurn"),),
        (_alert("LrwatchConvergenceSlowBurn"),),
        _SAME_EXPERIMENT,
    ),
)


@dataclass(frozen=True)
class Routing:
    """What a site decides.

    Attributes:
        page, ticket, record, deadman: webhook addresses, or absolute paths of files that hold one, for it may be a
            secret (Alertmanager 0.26); an empty one makes a receiver that does nothing.
        evaluation: seconds between two evaluations of the rules.
        wait, interval, repeat: of a group, in seconds; ``wait`` is at least two evaluations.
        heartbeat: seconds between two messages to the dead-man's switch.
    """

    page: str = ""
    ticket: str = ""
    record: str = ""
    deadman: str = ""
    evaluation: float = 15.0
    wait: float = 60.0
    interval: float = 300.0
    repeat: float = 12 * 3600.0
    heartbeat: float = 60.0


def problems(routing: Routing, values: Values) -> list[str]:
    """Which alerts would leave before the one that inhibits them is known."""
    found = []
    if routing.wait < 2 * routing.evaluation:
        found.append(
            f"group_wait of {duration(routing.wait)} is shorter than two evaluations ({duration(routing.evaluation)} "
            "each): an alert would leave before the one that inhibits it is known"
        )
    for one in INHIBITIONS:
        for source in _named(one.source):
            for target in _named(one.target):
                late = (values[source.wait] if source.wait else 0.0) + routing.evaluation
                leaves = (values[target.wait] if target.wait else 0.0) + routing.wait
                if late > leaves:
                    found.append(
                        f"{source.name} inhibits {target.name} but may be known {duration(late)} after the trouble "
                        f"begins, when {target.name} has left after {duration(leaves)}: shorten {source.wait}, or wait "
                        "longer with --group-wait"
                    )
    return found


def _named(matchers: tuple[str, ...]) -> list[Alert]:
    """The alerts of the catalogue that the ``alertname`` matcher of these means."""
    text = next(m for m in matchers if m.startswith("alertname"))
    pattern = re.compile(text.partition('"')[2].rstrip('"'))
    return [alert for alert in ALERTS if pattern.fullmatch(alert.name)]


def document(routing: Routing) -> dict[str, Any]:
    """Alertmanager's configuration. Raises ``LrwatchError`` on a webhook that is no address."""

    def to(receiver: str, *matchers: str, **more: Any) -> dict[str, Any]:
        return {"receiver": receiver, "matchers": list(matchers), **more}

    return {
        "route": {
            "receiver": NOBODY,
            "group_by": [*_SAME_RUN, "experiment"],
            "group_wait": duration(routing.wait),
            "group_interval": duration(routing.interval),
            "repeat_interval": duration(routing.repeat),
            "routes": [
                to(DEADMAN, _alert("LrwatchWatchdog"), group_wait="0s", group_interval=duration(routing.heartbeat),
                   repeat_interval=duration(routing.heartbeat)),
                to(NOBODY, 'alertname=~"Lrwatch.*"', 'severity="none"'),
                to(PAGE, 'alertname=~"Lrwatch.*"', 'severity="critical"'),
                to(TICKET, 'alertname=~"Lrwatch.*"', 'severity="warning"'),
                to(RECORD, 'alertname=~"Lrwatch.*"', 'severity="info"'),
            ],
        },
        "inhibit_rules": [
            {"source_matchers": list(i.source), "target_matchers": list(i.target), "equal": list(i.equal)}
            for i in INHIBITIONS
        ],
        "receivers": [
            _receiver(PAGE, routing.page),
            _receiver(TICKET, routing.ticket),
            _receiver(RECORD, routing.record),
            _receiver(DEADMAN, routing.deadman, resolved=False),
            {"name": NOBODY},
        ],
    }  # fmt: skip


def _receiver(name: str, url: str, resolved: bool = True) -> dict[str, Any]:
    if not url:
        return {"name": name}
    if url.startswith("/"):
        return {"name": name, "webhook_configs": [{"url_file": url, "send_resolved": resolved}]}
    if not url.startswith(("http://", "https://")):
        raise LrwatchError(f"{name}: a webhook is an http:// or https:// address, got {url!r}")
    return {"name": name, "webhook_configs": [{"url": url, "send_resolved": resolved}]}


def text(routing: Routing) -> str:
    """``alertmanager.yml``, each inhibition with its reason."""
    made = document(routing)
    rules = made.pop("inhibit_rules")
    receivers = made.pop("receivers")
    lines = [
        "# Routes and inhibitions of the lrwatch alerts.",
        "# Rendered by `lrwatch ops rules render`; edit lrwatch/ops/routing.py, not this file.",
        dump(made).rstrip("\n"),
        "inhibit_rules:",
    ]
    for one, rule in zip(INHIBITIONS, rules, strict=True):
        lines += [f"# {one.why}", dump([rule]).rstrip("\n")]
    return "\n".join([*lines, dump({"receivers": receivers}).rstrip("\n")]) + "\n"
