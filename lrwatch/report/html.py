"""The report to look at: one HTML file that needs nothing else, whatever the length of the run.

It says first what the text report says first. Its charts can be zoomed and read with pointer or keyboard; without
scripts and on paper they are still pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from lrwatch.checks import checks
from lrwatch.findings import Finding
from lrwatch.report._figures import View, chart_data, charts, show_button
from lrwatch.report._html import page, section, table
from lrwatch.report._markup import Child, Markup, clipped, join, tag
from lrwatch.report._page import spans
from lrwatch.report._promise import words
from lrwatch.report._svg import short
from lrwatch.report._views import drawing, first_bad, steps_of
from lrwatch.report._words import capital, cause_words, causes, paths, sentence, steps, where
from lrwatch.report._workers import workers
from lrwatch.report.base import Look, assumed, counted, ordered

if TYPE_CHECKING:
    from lrwatch.result import CheckRun, Series
    from lrwatch.verify import Report

MOST_KEPT: Final = 8
"""Curves with a line of their own in the table although nothing is wrong with them; the chart has them all."""
OPEN: Final = 3
"""Findings whose cause and fix are shown at once."""
IN_FULL: Final = 60
"""Findings shown with everything there is to say; further ones get a line each."""
IN_A_LINE: Final = 800
"""Findings that get a line; of still more only the number is given."""
LINE: Final = 150
"""Characters of where and of what in such a line."""


def render(report: Report, look: Look) -> str:
    """The report as an HTML document."""
    result, findings = report.result, ordered(report.result.findings)
    verdict = result.verdict(look.fail_on)
    name = report.info.run or result.stats.run
    drawn, series = drawing(result, findings, IN_FULL)
    said = sentence(report, verdict, findings)
    sections = (
        _findings(findings),
        charts(drawn),
        workers(result),
        _curves(findings, drawn.views, series),
        _checks(result.checks, findings),
        _basis(report),
    )
    return page(verdict, name, said, _facts(report), chart_data(drawn), sections, look.unicode)


def _facts(report: Report) -> list[tuple[str, str]]:
    stats, contract = report.result.stats, report.contract
    return [
        ("Promise", "none given" if contract is None else f"{contract.source}, {contract.sha256[:12]}"),
        ("Steps", steps(stats.first_step, stats.last_step).removeprefix("steps ").removeprefix("step ")),
        ("Rows", f"{stats.rows:,}"),
        ("Workers", f"{len(stats.ranks):,}"),
        ("Groups", f"{len(stats.groups):,}"),
    ]


# -- findings ----------------------------------------------------------------------------------------


def _findings(findings: Sequence[Finding]) -> Markup:
    if not findings:
        return section("findings", "Findings", tag("p", "None.", class_="calm"))
    rest = findings[IN_FULL:]
    lines = [_line(i, f) for i, f in enumerate(rest[:IN_A_LINE], IN_FULL + 1)]
    more = None
    if lines:
        more = tag("details", tag("summary", counted(len(rest), "more finding")), tag("ol", lines, class_="lines"))
    over = len(rest) - len(lines)
    beyond = tag("p", f"{counted(over, 'finding')} beyond these; --format json has all of them.") if over else None
    cards = [_card(i, f, findings[: i - 1]) for i, f in enumerate(findings[:IN_FULL], 1)]
    return section("findings", f"Findings ({len(findings):,})", cards, more, beyond)


def _line(number: int, f: Finding) -> Markup:
    place, said = clipped(" · ".join(where(f)), LINE), clipped(f" {capital(f.message)}.", LINE)
    severity = tag("span", str(f.severity), class_=f"severity {f.severity}")
    return tag("li", severity, f" {f.code} {f.slug} ", tag("span", place, class_="where"), said, id=f"finding-{number}")


def _card(number: int, f: Finding, before: Sequence[Finding]) -> Markup:
    details: list[Child] = []

    def say(word: str, *texts: Child, kind: str | None = None) -> None:
        details.append([tag("dt", word), *(tag("dd", text, class_=kind) for text in texts)] if texts else None)

    cause = f.cause
    if cause is not None:
        told = next((i for i, g in enumerate(before[:IN_FULL], 1) if g.cause == cause and g.fix == f.fix), None)
        if told is not None:
            say("Cause", join("The same as of ", tag("a", f"finding {told}", href=f"#finding-{told}"), "."))
        else:
            say("Cause", cause_words(cause), kind="cause")
            say("Or", *(capital(other) + "." for other in cause.also_consistent))
            say("Missing", *(capital(what) + "." for what in cause.missing_evidence))
            say("Fix", *[capital(f.fix) + "."] * bool(f.fix), kind="fix")
    else:
        say("Fix", *[capital(f.fix) + "."] * bool(f.fix), kind="fix")
    topics = [f.slug, *causes(cause)]
    say("Page", join([[" · " if i else None, tag("code", f"lrwatch explain {t}")] for i, t in enumerate(topics)]))
    if f.first_step is not None:
        details.append(tag("dd", show_button(number - 1)))
    place = where(f)
    return tag(
        "details",
        tag(
            "summary",
            tag("h3", tag("span", str(f.severity), class_=f"severity {f.severity}"), f"{f.code} {f.slug}"),
            tag("span", " · ".join(place), class_="where") if place else None,
            tag("span", capital(f.message) + ".", class_="message"),
        ),
        tag("dl", details),
        class_=f"finding {f.severity}",
        id=f"finding-{number}",
        open=number <= OPEN,
    )


# -- tables ------------------------------------------------------------------------------------------


def _curves(findings: Sequence[Finding], shown: Sequence[View], series: Sequence[Series]) -> Markup | None:
    """Every curve with a promise, and how far it is off."""
    rows = list(_curve_rows(findings, shown, series))
    if not rows:
        return None
    head = ["Curve", "", "First bad step", "Largest difference", "at step", "used", "promised"]
    return section("groups", "Groups", table(head, rows))


def _curve_rows(
    findings: Sequence[Finding], shown: Sequence[View], series: Sequence[Series]
) -> Iterator[Sequence[Child]]:
    kept: list[str] = []
    for view, s in zip(shown, series, strict=False):  # a view without a curve has no series
        if not np.isfinite(s.expected).any():
            continue
        off = np.abs(s.observed - s.expected)
        worst, bad = int(np.nanargmax(off)) if np.isfinite(off).any() else 0, first_bad(s, findings)
        if bad is None:
            kept.append(view.label)
        else:
            numbers = [short(float(v[worst])) for v in (off, steps_of(s), s.observed, s.expected)]
            yield view.label, tag("span", "differs", class_="bad"), f"{bad:,}", *numbers
    labels = kept if len(kept) <= MOST_KEPT else [f"{len(kept)} curves, from {kept[0]} to {kept[-1]}"]
    for label in labels:
        yield label, tag("span", "kept", class_="ok"), "", "", "", "", ""


def _checks(runs: Sequence[CheckRun], findings: Sequence[Finding]) -> Markup:
    """Every check: those with findings first, then what could not be checked, then what is right."""
    known = checks()
    rows: list[tuple[int, Sequence[Child]]] = []
    for run in runs:
        found = sum(f.slug == run.slug for f in findings)
        if found:
            order, kind, word = 0, "bad", counted(found, "finding")
        elif run.status != "ran":
            order, kind, word = 2, "open", "not checked"
        else:
            order, kind, word = (1, "open", "in part") if run.why else (3, "ok", "nothing found")
        title = known[run.slug].title if run.slug in known else ""
        rows.append(
            (order, [join(tag("code", run.code), f" {run.slug}"), tag("span", word, class_=kind), title, run.why])
        )
    rows.sort(key=lambda row: row[0])
    head = ["Check", "Outcome", "Looks for", "Why not, or not wholly"]
    return section("checks", "Checks", table(head, [row for _, row in rows]))


def _basis(report: Report) -> Markup:
    """What the verdict rests on: promise, trace, assumptions, and what could not have been seen."""
    result, info, stats, contract = report.result, report.info, report.result.stats, report.contract
    items: list[Child] = []

    def say(word: str, *texts: Child) -> None:
        items.append([tag("dt", word), *(tag("dd", text) for text in texts)] if texts else None)

    if result.sensitivity is not None:
        say("Sensitivity", capital(result.sensitivity.sentence) + ".")
    say("Assumed", *(capital(text) + "." for text in assumed(report)))
    if contract is None:
        say("Promise", "None: only what a trace shows by itself was checked.")
    else:
        experiment = f" ({contract.experiment})" if contract.experiment else ""
        say("Promise", f"{contract.source}{experiment}", tag("code", f"sha256 {contract.identity}"),
            tag("pre", [[line, Markup("\n")] for line in words(contract)]))  # fmt: skip
    say("Trace", f"{paths(info.paths)} ({info.format})", f"{counted(stats.rows, 'row')}, ranks {spans(stats.ranks)}")
    if stats.segments > 1:
        say("Segments", f"{stats.segments}: the run was resumed or restarted")
    say("Damage", *(f"{counted(n, 'line')} {kind.replace('_', ' ')}" for kind, n in stats.damage.items()))
    return section("basis", "What this rests on", tag("dl", items))
