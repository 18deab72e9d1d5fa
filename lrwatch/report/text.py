"""The report for people: the verdict first, then why, the curves, and what could not be checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lrwatch.findings import Cause, Finding
from lrwatch.report._page import Page, spans
from lrwatch.report._plot import plot
from lrwatch.report._promise import words
from lrwatch.report.base import Look, assumed, counted, ordered

if TYPE_CHECKING:
    from lrwatch.result import Series
    from lrwatch.verify import Report

MOST = 12
"""Findings shown in full; of more only the number is given."""


def render(report: Report, look: Look) -> str:
    """The report in 80 columns."""
    page = Page(look.colour, look.unicode)
    findings = ordered(report.result.findings)
    verdict = report.result.verdict(look.fail_on)
    page.item(verdict.upper(), [_sentence(report, verdict, findings)], gutter=len(verdict) + 2, role=verdict)
    for i, finding in enumerate(findings[:MOST]):
        page.blank()
        _finding(page, finding, findings[:i])
    if len(findings) > MOST:
        page.blank()
        page.item("", [f"{counted(len(findings) - MOST, 'more finding')}; --format json has all of them"], gutter=2)
    _curves(page, report, findings)
    _evidence(page, report)
    return page.text()


# -- the verdict -------------------------------------------------------------------------------------


def _sentence(report: Report, verdict: str, findings: list[Finding]) -> str:
    stats = report.result.stats
    if verdict == "fail":
        top = findings[0]
        if top.cause is None or top.cause.name == "unexplained":
            return _capital(top.message) + "."
        since = "" if top.first_step is None else f"; first bad step {top.first_step:,}"
        several = ["Either " + top.cause.sentence, *top.cause.also_consistent]
        return (", or ".join(several) if len(several) > 1 else _capital(top.cause.sentence)) + since + "."
    if verdict == "inconclusive":
        return _undecided(report)
    others = f"; {counted(len(findings), 'lesser finding')}" if findings else ""
    if report.contract is None:
        return (
            "Nothing wrong in what a trace shows by itself. Without a contract the learning rate was compared "
            f"with nothing{others}."
        )
    if not any(run.slug == "drift" and run.status == "ran" for run in report.result.checks):
        return f"Nothing wrong in what was asked for. Whether the promise was kept was not checked{others}."
    who = f" of each of {len(stats.ranks)} workers" if len(stats.ranks) > 1 else ""
    return f"The run kept its promise in {_steps(stats.first_step, stats.last_step)}{who}{others}."


def _undecided(report: Report) -> str:
    runs = report.result.checks
    if not any(run.status == "ran" for run in runs):
        whys = dict.fromkeys(run.why for run in runs if run.why)
        return f"Nothing could be checked: {'; '.join(whys) or 'no check was chosen'}."
    reasons = [run.why for run in runs if run.slug == "drift" and run.why]
    return f"Whether the promise was kept could not be decided: {'; '.join(reasons)}."


def _steps(first: int | None, last: int | None) -> str:
    if first is None or last is None:
        return "no step"
    return f"step {first:,}" if first == last else f"steps {first:,}–{last:,}"


def _capital(text: str) -> str:
    """The beginning of a sentence, unless it is a name that must stay as it is (``lr``, ``grad_norm``)."""
    word = text.split(" ")[0]
    head = text[:1].upper() if word.isalpha() and word != "lr" else text[:1]
    return head + text[1:].rstrip(".")


# -- findings ----------------------------------------------------------------------------------------


def _finding(page: Page, finding: Finding, before: Sequence[Finding]) -> None:
    where = " · ".join(_where(finding))
    page.item(str(finding.severity), [f"{finding.code} {finding.slug}" + (f"  {where}" if where else "")],
              gutter=9, role=str(finding.severity))  # fmt: skip
    page.item("", [_capital(finding.message) + "."], gutter=9)
    cause = finding.cause
    if cause is not None and any(_same(cause, other.cause) and finding.fix == other.fix for other in before):
        page.item("Cause", ["The same as above."], indent=9, gutter=9)
        page.item("Page", [f"lrwatch explain {finding.slug}"], indent=9, gutter=9)
        return
    if cause is not None:
        page.item("Cause", [_cause(cause)], indent=9, gutter=9)
        page.item("Or", [_capital(other) + "." for other in cause.also_consistent], indent=9, gutter=9)
        page.item("Missing", [_capital(what) + "." for what in cause.missing_evidence], indent=9, gutter=9)
    page.item("Fix", [_capital(finding.fix) + "."] * bool(finding.fix), indent=9, gutter=9)
    topics = [finding.slug] if cause is None or cause.name == "unexplained" else [finding.slug, cause.name]
    page.item("Page", [" · ".join(f"lrwatch explain {topic}" for topic in topics)], indent=9, gutter=9)


def _same(cause: Cause, other: Cause | None) -> bool:
    """Whether two findings have one cause, known equally well."""
    return other is not None and replace(cause, explains=0.0) == replace(other, explains=0.0)


def _where(finding: Finding) -> list[str]:
    parts = []
    if finding.rank is not None:
        parts.append(f"rank {finding.rank}")
    elif finding.ranks:
        parts.append(f"ranks {spans(finding.ranks)}")
    groups = finding.details.get("groups", ())
    if finding.group is not None:
        parts.append(f"{finding.signal or ''} group {_group(finding)}".strip())
    elif finding.signal is not None:
        parts.append(f"{finding.signal} groups {', '.join(map(str, groups))}" if groups else finding.signal)
    first, last = finding.first_step, finding.last_step
    if first is not None:
        parts.append(_steps(first, first if last is None else last))
    if finding.state == "resolved":
        parts.append("resolved")
    return parts


def _group(finding: Finding) -> str:
    """The group's name as a trace has it, with the optimizer's before it where there are several."""
    return f"{finding.optimizer}/{finding.group}" if finding.optimizer is not None else str(finding.group)


def _cause(cause: Cause) -> str:
    sentence = _capital(cause.sentence or cause.name.replace("_", " "))
    if cause.name == "unexplained":
        return sentence + "."
    return f"{sentence}. It explains {cause.explains:.0%} of the deviation; confidence: {cause.confidence}."


# -- the curves --------------------------------------------------------------------------------------


def _curves(page: Page, report: Report, findings: list[Finding]) -> None:
    chosen, finding = _chosen(report.result.series, findings)
    if chosen is None:
        return
    page.blank()
    several = f" of rank {chosen.rank}" if len(report.result.stats.ranks) > 1 else ""
    page.item("", [f"{chosen.signal}, group {chosen.group}{several}"], gutter=12)
    clock = None if report.contract is None else report.contract.clock
    in_steps = clock is None or (clock.axis == "update" and clock.counts == "applied")  # else t is no step
    first_bad = finding.first_step if finding is not None else chosen.first_bad
    mark = float(first_bad) if first_bad is not None and in_steps else None
    unit = "step" if clock is None or in_steps else clock.axis
    page.verbatim(plot(chosen, unicode=page.unicode, mark=mark, unit=unit, paint=page.paint))


def _chosen(series: Sequence[Series], findings: list[Finding]) -> tuple[Series | None, Finding | None]:
    """The curve that the gravest finding speaks of, else the first one."""
    for finding in findings:
        groups = [_group(finding)] if finding.group is not None else list(finding.details.get("groups", ()))
        ranks = [finding.rank] if finding.rank is not None else list(finding.ranks)
        for s in series:
            if s.signal == finding.signal and (not groups or s.group in groups) and (not ranks or s.rank in ranks):
                return s, finding
    return (series[0], None) if series else (None, None)


# -- what was checked, with what ------------------------------------------------------------------------


def _evidence(page: Page, report: Report) -> None:
    result, info, stats, contract = report.result, report.info, report.result.stats, report.contract
    page.blank()
    page.item("Checked", [", ".join(run.slug for run in result.checks if run.status == "ran") or "nothing"])
    page.item("In part", [f"{run.slug}: {run.why}" for run in result.checks if run.status == "ran" and run.why])
    page.item("Not checked", [f"{run.slug}: {run.why}" for run in result.checks if run.status != "ran"])
    if result.sensitivity is not None:
        page.item("Sensitivity", [_capital(result.sensitivity.sentence) + "."])
    page.item("Assumed", [_capital(text) + "." for text in assumed(report)])
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
        _steps(stats.first_step, stats.last_step),
    ]
    if stats.segments > 1:
        parts.append(counted(stats.segments, "segment"))
    if stats.damage:
        parts.append(counted(sum(stats.damage.values()), "damaged line"))
    name = info.run or stats.run
    page.item("Trace", [f"{_paths(info.paths)} ({info.format}{f', run {name}' if name else ''})", ", ".join(parts)])


def _paths(paths: Sequence[str]) -> str:
    return ", ".join(paths) if len(paths) <= 3 else f"{paths[0]} and {len(paths) - 1} more files"
