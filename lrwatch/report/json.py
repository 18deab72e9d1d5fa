"""The report for programs: strict JSON with stable keys in a stable order.

A number that JSON cannot hold is the text ``"nan"``, ``"inf"`` or ``"-inf"``, as in a trace.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrwatch import __version__
from lrwatch.report.base import Look, assumed, finding_data, ordered, plain

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
