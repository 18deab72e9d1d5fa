"""What the formats share: how a report should look, and the order of what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lrwatch.findings import Cause, Finding, Severity

if TYPE_CHECKING:
    from lrwatch.verify import Report


_ASCII: Final = str.maketrans({
    "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "×": "x", "≤": "<=", "≥": ">=",
    "≠": "!=", "“": '"', "”": '"', "’": "'", "π": "pi", "√": "sqrt", "∞": "inf",
})  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a report is judged and drawn.

    Attributes:
        fail_on: the lowest severity that makes the verdict ``fail``.
        colour: whether to use ANSI colours. unicode: whether the output can show more than ASCII.
        allow_inconclusive: whether a verdict that stays open is no failure, where a format has no third way.
    """

    fail_on: Severity = Severity.error
    colour: bool = False
    unicode: bool = True
    allow_inconclusive: bool = False

    def open(self, report: Report) -> bool:
        """Whether the verdict stays open and that counts as a failure."""
        return not self.allow_inconclusive and report.result.verdict(self.fail_on) == "inconclusive"


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The gravest first; among equals the earliest, then in the order given."""
    return sorted(findings, key=lambda f: (-f.severity, -1 if f.first_step is None else f.first_step))


def assumed(report: Report) -> list[str]:
    """The conventions taken for granted, by the reader and by the checks, each once."""
    return list(dict.fromkeys((*report.info.assumed, *report.result.stats.assumed)))


def ascii_only(text: str) -> str:
    """The text in ASCII, for terminals that can show nothing else."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def counted(n: int, word: str, plural: str = "") -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{n:,} {word if n == 1 else plural or word + 's'}"


def cause_data(cause: Cause) -> dict[str, Any]:
    """A cause as plain data."""
    return {
        "name": cause.name,
        "params": cause.params,
        "confidence": cause.confidence,
        "explains": cause.explains,
        "also_consistent": cause.also_consistent,
        "missing_evidence": cause.missing_evidence,
        "sentence": cause.sentence,
    }


def finding_data(finding: Finding) -> dict[str, Any]:
    """A finding as plain data; it may hold numbers that need ``plain`` before they are JSON."""
    return {
        "code": finding.code,
        "slug": finding.slug,
        "severity": str(finding.severity),
        "signal": finding.signal,
        "optimizer": finding.optimizer,
        "group": finding.group,
        "rank": finding.rank,
        "first_step": finding.first_step,
        "last_step": finding.last_step,
        "state": finding.state,
        "message": finding.message,
        "cause": None if finding.cause is None else cause_data(finding.cause),
        "fix": finding.fix,
        "runbook": finding.runbook,
    }


def plain(value: Any) -> Any:
    """The value as JSON can hold it: mappings, lists, text, numbers (numpy's too), true, false, null.

    >>> plain({"a": (1, float("inf"))})
    {'a': [1, 'inf']}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # a numpy scalar or array, without importing numpy
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (int, float)):
        return value
    return str(value)
