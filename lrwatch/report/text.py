"""The report for people: the verdict first, then why, the curves, and what could not be checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrwatch.findings import Finding
from lrwatch.report._page import Page, spans
from lrwatch.report._plot import plot
from lrwatch.report._promise import words
from lrwatch.report._words import (
    capital,
    cause_words,
    causes,
    chosen,
    counts_steps,
    paths,
    same,
    sentence,
    steps,
    where,
)
from lrwatch.report.base import Look, assumed, counted, ordered

if TYPE_CHECKING:
    from lrwatch.verify import Report

MOST = 12
"""Findings shown in full; of more only the number is given."""


def render(report: Report, look: Look) -> str:
    """The report in 80 columns."""
    page = Page(look.colour, look.unicode)
    findings = ordered(report.result.findings)
    verdict = report.result.verdict(look.fail_on)
    page.item(verdict.upper(), [sentence(report, verdict, findings)], gutter=len(verdict) + 2, role=verdict)
    for i, finding in enumerate(findings[:MOST]):
        page.blank()
        _finding(page, finding, findings[:i])
    if len(findings) > MOST:
        page.blank()
        page.item("", [f"{counted(len(findings) - MOST, 'more finding')}; --format json has all of them"], gutter=2)
    _curves(page, report, findings)
    _evidence(page, report)
    return page.text()


# -- findings ----------------------------------------------------------------------------------------


def _finding(page: Page, finding: Finding, before: Sequence[Finding]) -> None:
    place = " · ".join(where(finding))
    page.item(str(finding.severity), [f"{finding.code} {finding.slug}" + (f"  {place}" if place else "")],
              gutter=9, role=str(finding.severity))  # fmt: skip
    page.item("", [capital(finding.message) + "."], gutter=9)
    cause = finding.cause
    if cause is not None and any(same(cause, other.cause) and finding.fix == other.fix for other in before):
        page.item("Cause", ["The same as above."], indent=9, gutter=9)
        page.item("Page", [f"lrwatch explain {finding.slug}"], indent=9, gutter=9)
        return
    if cause is not None:
        page.item("Cause", [cause_words(cause)], indent=9, gutter=9)
        page.item("Or", [capital(other) + "." for other in cause.also_consistent], indent=9, gutter=9)
        page.item("Missing", [capital(what) + "." for what in cause.missing_evidence], indent=9, gutter=9)
    page.item("Fix", [capital(finding.fix) + "."] * bool(finding.fix), indent=9, gutter=9)
    topics = [finding.slug, *causes(cause)]
    page.item("Page", [" · ".join(f"lrwatch explain {topic}" for topic in topics)], indent=9, gutter=9)


# -- the curves --------------------------------------------------------------------------------------


def _curves(page: Page, report: Report, findings: list[Finding]) -> None:
    series, finding = chosen(report.result.series, findings)
    if series is None:
        return
    page.blank()
    several = f" of rank {series.rank}" if len(report.result.stats.ranks) > 1 else ""
    page.item("", [f"{series.signal}, group {series.group}{several}"], gutter=12)
    in_steps = report.contract is None or counts_steps(report.contract)  # else t is no step
    first_bad = finding.first_step if finding is not None else series.first_bad
    mark = float(first_bad) if first_bad is not None and in_steps else None
    unit = "step" if report.contract is None or in_steps else report.contract.clock.axis
    page.verbatim(plot(series, unicode=page.unicode, mark=mark, unit=unit, paint=page.paint))


# -- what was checked, with what ------------------------------------------------------------------------


def _evidence(page: Page, report: Report) -> None:
    result, info, stats, contract = report.result, report.info, report.result.stats, report.contract
    page.blank()
    page.item("Checked", [", ".join(run.slug for run in result.checks if run.status == "ran") or "nothing"])
    page.item("In part", [f"{run.slug}: {run.why}" for run in result.checks if run.status == "ran" and run.why])
    page.item("Not checked", [f"{run.slug}: {run.why}" for run in result.checks if run.status != "ran"])
    if result.sensitivity is not None:
        page.item("Sensitivity", [capital(result.sensitivity.sentence) + "."])
    page.item("Assumed", [capital(text) + "." for text in assumed(report)])
    if contract is None:
        said = "none: only what a trace shows by itself was checked; `lrwatch explain contract` shows one to start from"
        page.item("Contract", [said])
    else:
        experiment = f" ({contract.experiment})" if contract.experiment else ""
        head = f"{contract.source}{experiment}, sha256 {contract.sha256[:12]}"
        page.item("Contract", [head, *words(contract)])
    parts = [
        counted(stats.rows, "row"),
        f"{'rank' if len(stats.ranks) == 1 else 'ranks'} {spans(stats.ranks)}",
        f"{'group' if len(stats.groups) == 1 else 'groups'} {', '.join(stats.groups)}",
        steps(stats.first_step, stats.last_step),
    ]
    if stats.segments > 1:
        parts.append(counted(stats.segments, "segment"))
    if stats.damage:
        parts.append(counted(sum(stats.damage.values()), "damaged line"))
    name = info.run or stats.run
    page.item("Trace", [f"{paths(info.paths)} ({info.format}{f', run {name}' if name else ''})", ", ".join(parts)])
