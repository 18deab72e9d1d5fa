"""The report for programs: strict JSON with stable keys in a stable order.

A number that JSON cannot hold is the text ``"nan"``, ``"inf"`` or ``"-inf"``, as in a trace.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrwatch import __version__
from lrwatch.findings import Finding
from lrwatch.report.base import Look, assumed, cause_data, ordered, plain

if TYPE_CHECKING:
    from lrwatch.verify import Report


def render(report: Report, look: Look) -> str:
    """The report as one JSON document, indented by two."""
    return json.dumps(plain(document(report, look)), indent=2, ensure_ascii=not look.unicode, allow_nan=False) + "\n"


def document(report: Report, look: Look) -> dict[str, Any]:
    """The report as plain data."""
    result, info, stats = report.result, report.info, report.result.stats
    contract, sensitivity = report.contract, report.result.sensitivity
    return {
        "lrwatch": __version__,
        "verdict": result.verdict(look.fail_on),
        "run": info.run or stats.run,
        "contract": None if contract is None else {"path": contract.source, "sha256": contract.sha256},
        "trace": {
            "paths": info.paths,
            "format": info.format,
            "rows": stats.rows,
            "ranks": stats.ranks,
            "groups": stats.groups,
            "first_step": stats.first_step,
            "last_step": stats.last_step,
            "damage": stats.damage,
        },
        "checks": [{"slug": run.slug, "status": run.status, "why": run.why or None} for run in result.checks],
        "findings": [finding_data(f) for f in ordered(result.findings)],
        "sensitivity": None
        if sensitivity is None
        else {
            "relative": sensitivity.relative,
            "absolute": sensitivity.absolute,
            "sentence": sensitivity.sentence,
        },
        "stats": {"segments": stats.segments, "assumed": assumed(report)},
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
