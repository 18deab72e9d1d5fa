"""The rules as data. One module per group; ``GROUPS`` is all of them, in the order of their files."""

from __future__ import annotations

from lrwatch.ops.rules.agents import GROUP as AGENTS
from lrwatch.ops.rules.base import Alert, Group, Record
from lrwatch.ops.rules.findings import GROUP as FINDINGS
from lrwatch.ops.rules.ledger import GROUP as LEDGER
from lrwatch.ops.rules.meta import GROUP as META
from lrwatch.ops.rules.runs import GROUP as RUNS
from lrwatch.ops.rules.workers import GROUP as WORKERS

__all__ = ["ALERTS", "GROUPS", "Alert", "Group", "Record"]

GROUPS: tuple[Group, ...] = (FINDINGS, RUNS, WORKERS, AGENTS, LEDGER, META)
ALERTS: tuple[Alert, ...] = tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))
