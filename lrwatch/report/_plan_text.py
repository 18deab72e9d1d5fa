"""A plan for people: what looks wrong, the curve, its landmarks, and what could not be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrwatch.lint import landmarks
from lrwatch.report import _plan as say
from lrwatch.report._page import Page
from lrwatch.report._plot import plot
from lrwatch.report._promise import words
from lrwatch.report._words import capital, where
from lrwatch.report.base import Look

if TYPE_CHECKING:
    from lrwatch.lint import Inspection
    from lrwatch.lint.base import Plan

MOST = 8
"""Curves that are drawn."""


def render(inspection: Inspection, look: Look) -> str:
    """The plan in 80 columns."""
    page = Page(look.colour, look.unicode)
    verdict = say.verdict(inspection, look.fail_on)
    page.item(verdict.upper(), [say.sentence(inspection)], gutter=len(verdict) + 2, role=verdict)
    for finding in inspection.findings:
        page.blank()
        place = " · ".join(where(finding))
        page.item(str(finding.severity), [f"{finding.code} {finding.slug}" + (f"  {place}" if place else "")],
                  gutter=9, role=str(finding.severity))  # fmt: skip
        page.item("", [capital(finding.message) + "."], gutter=9)
        page.item("Fix", [capital(finding.fix) + "."], indent=9, gutter=9)
        page.item("Page", [f"lrwatch explain {finding.slug}"], indent=9, gutter=9)
    for plan in inspection.plans[:MOST]:
        page.blank()
        _curve(page, plan)
    page.blank()
    runs, contract = inspection.runs, inspection.contract
    page.item("Judged", [", ".join(run.slug for run in runs if run.status == "ran")])
    page.item("Not judged", _gaps(inspection))
    experiment = f" ({contract.experiment})" if contract.experiment else ""
    head = f"{contract.source}{experiment}, sha256 {contract.sha256[:12]}"
    page.item("Contract", [head, *words(contract)])
    return page.text()


def _curve(page: Page, plan: Plan) -> None:
    unit = plan.contract.clock.axis
    page.item("", [f"lr, {say.group(plan)}"], gutter=12)
    page.verbatim(plot(say.series(plan), unicode=page.unicode, unit=unit, paint=page.paint, word="promised"))
    page.blank()
    for mark in landmarks(plan):
        page.verbatim(f"{mark.name:<16}{mark.value:<14.6g}{plan.place(mark.t)}", indent=12)
    if plan.curve.stateful:
        page.item("", ["Before any metric; what follows depends on the recorded ones."], gutter=12)


def _gaps(inspection: Inspection) -> list[str]:
    """What could not be judged, by reason."""
    why: dict[str, list[str]] = {}
    for run in inspection.runs:
        if run.why:
            why.setdefault(run.why, []).append(run.slug)
    return [f"{', '.join(slugs)}: {reason}" for reason, slugs in why.items()]
