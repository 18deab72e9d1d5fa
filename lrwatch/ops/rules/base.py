"""What a rule is, and the words that all of them share.

Expressions name thresholds as ``<name>``; ``ops.render`` writes the values in. Every alert about a run is aggregated
to ``RUN``: a restarted worker has another instance, and must neither reset a ``for`` nor be a second alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

AlertSeverity = Literal["critical", "warning", "info", "none"]
"""``critical`` pages · ``warning`` is a ticket · ``info`` is for the record · ``none`` is not for people."""

DISCOVERY: Final = ("cluster", "namespace", "environment", "sweep")
"""Labels that come from service discovery and tell runs apart; each may be absent."""
RUN: Final = ", ".join((*DISCOVERY, "run_id"))
TARGET: Final = "cluster, namespace, job, instance"
EXPERIMENT: Final = "cluster, namespace, environment, experiment"
ACTIVE: Final = "starting|running|validating|checkpointing"
"""States of a run that has not ended."""


@dataclass(frozen=True)
class Record:
    """A recording rule; ``name`` is ``level:metric:operation``."""

    name: str
    expr: str
    why: str


@dataclass(frozen=True)
class Alert:
    """An alerting rule.

    Attributes:
        wait: the threshold that is its ``for``. hold: the one that is its ``keep_firing_for``: what compares workers
            as they are at one moment must not be taken back, and sent again, because one of their scrapes failed.
        summary: one static sentence. description: a template.
        runbook: the page's name, which may hold template variables.
        labels: besides ``severity``.
    """

    name: str
    severity: AlertSeverity
    expr: str
    summary: str
    description: str
    wait: str = ""
    hold: str = ""
    runbook: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Group:
    """The rules of one file; those that are recorded come before those that use them."""

    name: str
    about: str
    rules: tuple[Record | Alert, ...]


def recent(selector: str) -> str:
    """The newest value of each series, also over a gap in scraping."""
    return f"last_over_time({selector}[<scrape_gap>])"


def counted(metric: str, window: str) -> str:
    """How much a counter grew, by run; also one that was born above 0: the first scrape comes after the first error.

    Neither a scrape that failed nor the end of the process, which may be what the error did to it, changes the answer.
    """
    return f"""\
sum by ({RUN}) (
  increase({metric}[{window}]) > 0
  or (last_over_time({metric}[{window}]) > 0 unless last_over_time({metric}[<scrape_gap>] offset {window}))
)"""


def in_state(states: str) -> str:
    """Runs that are in one of these states."""
    state = f'lrwatch_run_state{{state{"=~" if "|" in states else "="}"{states}"}}'
    return f"max by ({RUN}) ({recent(state)}) == 1"
