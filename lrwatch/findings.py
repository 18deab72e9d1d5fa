"""Findings: what a check says, in one immutable shape for reports, metrics and exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Literal


class Severity(IntEnum):
    """``info``: a fact worth knowing · ``warning``: look at it today · ``error``: the promise is broken."""

    info = 1
    warning = 2
    error = 3

    def __str__(self) -> str:
        return self.name


Confidence = Literal["high", "ambiguous", "low"]


@dataclass(frozen=True)
class Cause:
    """Why a curve differs from its promise: a named transform with fitted parameters.

    Attributes:
        name: one of the causes of ``diagnosis.causes``; ``unexplained`` when nothing fits.
        params: the fitted numbers, e.g. ``{"k": 4}``.
        confidence: ``high``: unique · ``ambiguous``: see ``also_consistent`` · ``low``: evidence is missing.
        explains: share of the deviation that the transform removes, 0 to 1.
        sentence: the cause in words, e.g. "the scheduler was stepped once per worker (k = 4 = world size)".
        also_consistent: other causes that fit as well, each as ``name: sentence``.
        missing_evidence: what would separate them.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    confidence: Confidence = "high"
    explains: float = 1.0
    sentence: str = ""
    also_consistent: tuple[str, ...] = ()
    missing_evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    Attributes:
        code: stable identifier, e.g. ``LR101``; slug: the check's name, e.g. ``drift``.
        message: one sentence with the facts; fix: what to do; runbook: the page, a path under the docs.
        signal, optimizer, group: what it concerns, None where it does not apply.
        rank: the worker, None when it concerns several: then ``ranks`` names them (all of them if empty).
        first_step, last_step: first and last affected row, in updates (0-based).
        state: ``active`` while it lasts, ``resolved`` after it ended.
    """

    code: str
    slug: str
    severity: Severity
    message: str
    signal: str | None = None
    optimizer: str | None = None
    group: str | None = None
    rank: int | None = None
    ranks: tuple[int, ...] = ()
    first_step: int | None = None
    last_step: int | None = None
    state: Literal["active", "resolved"] = "active"
    cause: Cause | None = None
    fix: str = ""
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def runbook(self) -> str:
        """The page of the check, or of the rule of a plan (LP…), relative to the documentation's root."""
        return f"{'lint' if self.code.startswith('LP') else 'checks'}/{self.slug}.md"

    @property
    def key(self) -> tuple[Any, ...]:
        """Identity of a finding over time: the same trouble found again is the same finding."""
        return (self.code, self.signal, self.optimizer, self.group, self.rank, self.first_step)


def worst(findings: tuple[Finding, ...] | list[Finding]) -> Severity | None:
    """The highest severity, None without findings."""
    return max((f.severity for f in findings), default=None)
