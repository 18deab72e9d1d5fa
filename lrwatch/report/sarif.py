"""The report as SARIF 2.1.0, which code-scanning services read: one result per finding, one rule per check.

A result points at the trace file of the worker; where a run's trace cannot be told apart by worker, at the first file.
What could not be checked is a notification of the invocation, which then was not successful if it leaves the verdict
open.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from lrwatch import __version__
from lrwatch.checks import checks
from lrwatch.checks.base import Check
from lrwatch.findings import Finding, Severity
from lrwatch.lint import rules
from lrwatch.lint.base import Rule
from lrwatch.report._words import capital, cause_words, where
from lrwatch.report.base import Look, cause_data, ordered, plain

if TYPE_CHECKING:
    from lrwatch.result import CheckRun
    from lrwatch.verify import Report

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Final = {Severity.error: "error", Severity.warning: "warning", Severity.info: "note"}


def render(report: Report, look: Look) -> str:
    """The report as one SARIF log."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report, look)]}
    return json.dumps(plain(log), indent=2, ensure_ascii=not look.unicode, allow_nan=False) + "\n"


def _run(report: Report, look: Look) -> dict[str, Any]:
    result, info = report.result, report.info
    slugs = [run.slug for run in result.checks]
    verdict = result.verdict(look.fail_on)
    return {
        "tool": {
            "driver": {
                "name": "lrwatch",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(run) for run in result.checks],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not look.open(report),
                "toolExecutionNotifications": [_gap(run, slugs) for run in result.checks if run.why],
            }
        ],
        "artifacts": [{"location": {"uri": uri(path)}} for path in info.paths],
        "results": [_result(f, report, slugs) for f in ordered(result.findings)],
        "properties": {"verdict": verdict, "run": info.run or result.stats.run},
    }


def _rule(run: CheckRun) -> dict[str, Any]:
    check: type[Check] | Rule | None = checks().get(run.slug) or rules().get(run.slug)
    module = check.judge.__module__ if isinstance(check, Rule) else getattr(check, "__module__", "")
    page = (sys.modules[module].__doc__ or "").strip() if module else ""
    rule: dict[str, Any] = {
        "id": run.code,
        "name": "".join(word.capitalize() for word in run.slug.split("-")),
        "shortDescription": {"text": check.title if check is not None else run.slug},
        "help": {"text": page or run.slug},
        "properties": {"slug": run.slug},
    }
    if check is not None:
        rule["defaultConfiguration"] = {"level": LEVELS[check.severity]}
    return rule


def _gap(run: CheckRun, slugs: list[str]) -> dict[str, Any]:
    word = "not checked" if run.status != "ran" else "checked in part"
    return {
        "level": "note",
        "message": {"text": f"{run.slug} {word}: {run.why}"},
        "associatedRule": {"id": run.code, "index": slugs.index(run.slug)},
    }


def _result(f: Finding, report: Report, slugs: list[str]) -> dict[str, Any]:
    said = {
        "ruleId": f.code,
        "level": LEVELS[f.severity],
        "message": {"text": _message(f)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri(f.details.get("file") or _path(f, report.info.paths))},
                    **({"region": {"startLine": line}} if (line := f.details.get("line")) is not None else {}),
                },
                "logicalLocations": [{"fullyQualifiedName": " · ".join(where(f)) or f.slug}],
            }
        ],
        "partialFingerprints": {"lrwatch/v1": _fingerprint(f)},
        "properties": {
            "signal": f.signal,
            "optimizer": f.optimizer,
            "group": f.group,
            "ranks": f.ranks if f.rank is None else [f.rank],
            "firstStep": f.first_step,
            "lastStep": f.last_step,
            "state": f.state,
            "cause": None if f.cause is None else cause_data(f.cause),
            "runbook": f.runbook,
        },
    }
    return said | ({"ruleIndex": slugs.index(f.slug)} if f.slug in slugs else {})


def _message(f: Finding) -> str:
    said = [capital(f.message) + "."]
    if f.cause is not None:
        said.append(f"Cause: {cause_words(f.cause)}")
        said += [f"Or: {capital(other)}." for other in f.cause.also_consistent]
    if f.fix:
        said.append(f"Fix: {capital(f.fix)}.")
    return " ".join(said)


def _path(f: Finding, paths: tuple[str, ...]) -> str:
    """The first file of the finding's worker."""
    rank = f.rank if f.rank is not None else min(f.ranks, default=None)
    named = (p for p in paths if (m := re.search(r"rank0*(\d+)", Path(p).name)) and int(m[1]) == rank)
    return next(named, paths[0] if paths else "-")


def uri(path: str) -> str:
    """A path as a URI reference: a relative one stays relative.

    >>> uri("runs/my run/log.csv")
    'runs/my%20run/log.csv'
    """
    quoted = quote(path.encode("utf-8", "surrogateescape"))
    return f"file://{quoted}" if path.startswith("/") else quoted


def _fingerprint(f: Finding) -> str:
    """The same for the same trouble of another run of the same experiment: without steps and numbers."""
    cause = f.cause.name if f.cause is not None else ""
    what = [f.code, f.signal, f.optimizer, f.group, f.rank, cause]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
