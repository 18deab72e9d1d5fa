"""What a report says in words, the same in every format: the verdict, where a finding is, its cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lrwatch.findings import Cause, Finding
from lrwatch.report._page import spans
from lrwatch.report.base import counted

if TYPE_CHECKING:
    from lrwatch.contract import Contract
    from lrwatch.result import Series
    from lrwatch.verify import Report


def sentence(report: Report, verdict: str, findings: Sequence[Finding]) -> str:
    """The verdict with its reason."""
    stats = report.result.stats
    if verdict == "fail":
        top = findings[0]
        if top.cause is None or top.cause.name == "unexplained":
            return capital(top.message) + "."
        since = "" if top.first_step is None else f"; first bad step {top.first_step:,}"
        several = ["Either " + top.cause.sentence, *top.cause.also_consistent]
        return (", or ".join(several) if len(several) > 1 else capital(top.cause.sentence)) + since + "."
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
    return f"The run kept its promise in {steps(stats.first_step, stats.last_step)}{who}{others}."


def _undecided(report: Report) -> str:
    runs = report.result.checks
    if not any(run.status == "ran" for run in runs):
        whys = dict.fromkeys(run.why for run in runs if run.why)
        return f"Nothing could be checked: {'; '.join(whys) or 'no check was chosen'}."
    reasons = [run.why for run in runs if run.slug == "drift" and run.why]
    return f"Whether the promise was kept could not be decided: {'; '.join(reasons)}."


def steps(first: int | None, last: int | None) -> str:
    """``steps 3–1,200``."""
    if first is None or last is None:
        return "no step"
    return f"step {first:,}" if first == last else f"steps {first:,}–{last:,}"


def capital(text: str) -> str:
    """The beginning of a sentence, unless it is a name that must stay as it is (``lr``, ``grad_norm``)."""
    word = text.split(" ")[0]
    head = text[:1].upper() if word.isalpha() and word != "lr" else text[:1]
    return head + text[1:].rstrip(".")


def where(finding: Finding) -> list[str]:
    """Workers, signal and groups, steps."""
    parts = []
    if finding.rank is not None:
        parts.append(f"rank {finding.rank}")
    elif finding.ranks:
        parts.append(f"ranks {spans(finding.ranks)}")
    groups = finding.details.get("groups", ())
    if finding.group is not None:
        parts.append(f"{finding.signal or ''} group {group_name(finding)}".strip())
    elif finding.signal is not None:
        parts.append(f"{finding.signal} groups {', '.join(map(str, groups))}" if groups else finding.signal)
    first, last = finding.first_step, finding.last_step
    if first is not None:
        parts.append(steps(first, first if last is None else last))
    if finding.state == "resolved":
        parts.append("resolved")
    return parts


def group_name(finding: Finding) -> str:
    """The group's name as a trace has it, with the optimizer's before it where there are several."""
    return f"{finding.optimizer}/{finding.group}" if finding.optimizer is not None else str(finding.group)


def same(cause: Cause, other: Cause | None) -> bool:
    """Whether two findings have one cause, known equally well."""
    return other is not None and replace(cause, explains=0.0) == replace(other, explains=0.0)


def causes(cause: Cause | None) -> list[str]:
    """The entries of the catalogue that a cause leads to: its own, or those of the two that it is made of."""
    if cause is None or cause.name == "unexplained":
        return []
    parts = [str(cause.params[part]) for part in ("first", "second") if part in cause.params]
    return list(dict.fromkeys(parts)) if cause.name == "two_causes" else [cause.name]


def cause_words(cause: Cause) -> str:
    """The cause as a sentence, with how well it is known."""
    sentence = capital(cause.sentence or cause.name.replace("_", " "))
    if cause.name == "unexplained":
        return sentence + "."
    return f"{sentence}. It explains {cause.explains:.0%} of the deviation; confidence: {cause.confidence}."


def chosen(series: Sequence[Series], findings: Sequence[Finding]) -> tuple[Series | None, Finding | None]:
    """The curve that the gravest finding speaks of, else the first one."""
    for finding in findings:
        for s in series:
            if concerns(finding, s):
                return s, finding
    return (series[0], None) if series else (None, None)


def paths(paths: Sequence[str]) -> str:
    """The files, of many only the first."""
    return ", ".join(paths) if len(paths) <= 3 else f"{paths[0]} and {len(paths) - 1} more files"


def counts_steps(contract: Contract | None) -> bool:
    """Whether a position on the contract's clock is the number of a step."""
    clock = None if contract is None else contract.clock
    return clock is None or (clock.axis == "update" and clock.counts == "applied" and clock.ticks == 1)


def concerns(finding: Finding, series: Series) -> bool:
    """Whether a finding speaks of this curve."""
    groups = [group_name(finding)] if finding.group is not None else list(finding.details.get("groups", ()))
    ranks = [finding.rank] if finding.rank is not None else list(finding.ranks)
    return (
        series.signal == finding.signal
        and (not groups or series.group in groups)
        and (not ranks or series.rank in ranks)
    )
