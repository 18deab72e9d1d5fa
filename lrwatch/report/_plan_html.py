"""A plan to look at: the frame and the charts of the other HTML reports, with the promised curve in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lrwatch.lint import landmarks
from lrwatch.report import _plan as say
from lrwatch.report._figures import Bar, Drawing, View, chart_data, charts, show_button
from lrwatch.report._html import page, section, table
from lrwatch.report._markup import Child, Markup, clipped, tag
from lrwatch.report._plots import Line, Plot, thinned
from lrwatch.report._promise import words
from lrwatch.report._svg import short
from lrwatch.report._views import LABEL
from lrwatch.report._words import capital, where
from lrwatch.report.base import Look

if TYPE_CHECKING:
    from lrwatch.findings import Finding
    from lrwatch.lint import Inspection
    from lrwatch.lint.base import Plan

MOST_POINTS: Final = 1500
MOST_VIEWS: Final = 24


def render(inspection: Inspection, look: Look) -> str:
    """The plan as an HTML document."""
    contract, drawn = inspection.contract, _drawing(inspection)
    horizon = "none" if contract.horizon is None else f"{contract.horizon:,.0f}"
    facts = [
        ("Contract", f"{contract.source}, {contract.sha256[:12]}"),
        ("Clock", f"{contract.clock.axis}s"),
        ("Horizon", horizon),
        ("Rules", f"{sum(run.status == 'ran' for run in inspection.runs)} of {len(inspection.runs)}"),
    ]
    sections = (
        _findings(inspection),
        charts(drawn),
        section("landmarks", "Landmarks", _landmarks(inspection)),
        _rules(inspection),
        section("promise", "The promise", tag("dl", tag("dt", "Promise"),
                [tag("dd", line) for line in words(contract)], class_="pairs")),
    )  # fmt: skip
    verdict = say.verdict(inspection, look.fail_on)
    said = say.sentence(inspection)
    return page(verdict, contract.experiment or None, said, facts, chart_data(drawn), sections, look.unicode)


def _findings(inspection: Inspection) -> Markup:
    if not inspection.findings:
        return section("findings", "Findings", tag("p", "None.", class_="calm"))
    cards = [_card(i, f) for i, f in enumerate(inspection.findings)]
    return section("findings", f"Findings ({len(cards)})", cards)


def _card(i: int, f: Finding) -> Markup:
    head = tag("h3", tag("span", str(f.severity), class_=f"severity {f.severity}"), f"{f.code} {f.slug}")
    body: list[Child] = [
        tag("dt", "Fix"), tag("dd", capital(f.fix) + ".", class_="fix"),
        tag("dt", "Page"), tag("dd", tag("code", f"lrwatch explain {f.slug}")),
    ]  # fmt: skip
    if f.first_step is not None:
        body.append(tag("dd", show_button(i)))
    return tag(
        "details",
        tag("summary", head, tag("span", " · ".join(where(f)), class_="where"),
            tag("span", capital(f.message) + ".", class_="message")),
        tag("dl", body), class_=f"finding {f.severity}", id=f"finding-{i + 1}", open=i < 3,
    )  # fmt: skip


def _landmarks(inspection: Inspection) -> Markup:
    rows = [
        [m.name, say.group(plan), short(m.value), plan.place(m.t)]
        for plan in inspection.plans[:MOST_VIEWS]
        for m in landmarks(plan)
    ]
    return table(["Landmark", "Groups", "Learning rate", "At"], rows)


def _rules(inspection: Inspection) -> Markup:
    found = {f.slug for f in inspection.findings}
    rows: list[list[Child]] = []
    for run in inspection.runs:
        outcome = "found something" if run.slug in found else "nothing" if run.status == "ran" else "not judged"
        rows.append([f"{run.code} {run.slug}", outcome, capital(run.why) + "." if run.why else ""])
    return section("rules", "Rules", table(["Rule", "Outcome", "Why not"], rows))


def _drawing(inspection: Inspection) -> Drawing:
    plans = inspection.plans[:MOST_VIEWS]
    ticks = inspection.contract.clock.ticks
    end = max(plan.end for plan in plans) / ticks
    named = [plan.group for plan in plans]
    jumps = [
        (f.first_step, f.last_step, named.index(f.group) if f.group in named else None) for f in inspection.findings
    ]
    rows: list[tuple[str, list[Bar]]] = [
        (f.code, [(str(f.severity), f.first_step, end if f.last_step is None else f.last_step, f.message)])
        for f in inspection.findings
        if f.first_step is not None
    ]
    uprights = [(m.t / ticks, m.name) for m in landmarks(plans[0]) if m.name.startswith(("end of", "decay", "restart"))]
    return Drawing([_view(plan) for plan in plans], (0.0, end), {}, uprights, rows, jumps)


def _view(plan: Plan) -> View:
    s = say.series(plan)
    rows = thinned([s.observed], MOST_POINTS)
    line = Line("used", "promised", s.t[rows], s.observed[rows])
    return View(clipped(f"lr, {say.group(plan)}", LABEL), {"curve": Plot((line,))})
