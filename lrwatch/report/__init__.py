"""Reports: what a verification or a comparison found, in the forms that people and programs read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from lrwatch.report._promise import describe

if TYPE_CHECKING:
    from lrwatch.diff import Difference
    from lrwatch.lint import Inspection
    from lrwatch.report.base import Look
    from lrwatch.verify import Report

__all__ = ["DIFF_FORMATS", "FORMATS", "PLAN_FORMATS", "describe", "render", "render_diff", "render_plan"]

FORMATS: Final = ("text", "json", "junit", "sarif", "html")
"""``lrwatch.report.<format>`` has ``render(report, look) -> str``; it is imported when it is asked for."""
DIFF_FORMATS: Final = ("text", "json", "html")
"""The same of comparisons: ``lrwatch.report._diff_<format>``."""

PLAN_FORMATS: Final = ("text", "json", "junit", "sarif", "html")
"""The same of plans: ``lrwatch.report._plan_<format>``; CI's formats take a plan as a report of rules."""


def render(form: str, report: Report, look: Look) -> str:
    """The report in one of ``FORMATS``, ending in a newline."""
    module = importlib.import_module(f"lrwatch.report.{form}")
    text: str = module.render(report, look)
    return text


def render_diff(form: str, difference: Difference, look: Look) -> str:
    """The comparison in one of ``DIFF_FORMATS``, ending in a newline."""
    module = importlib.import_module(f"lrwatch.report._diff_{form}")
    text: str = module.render(difference, look)
    return text


def render_plan(form: str, inspection: Inspection, look: Look) -> str:
    """The plan in one of ``PLAN_FORMATS``, ending in a newline."""
    if form in ("junit", "sarif"):
        from lrwatch.report import _plan

        return render(form, _plan.report(inspection), look)
    module = importlib.import_module(f"lrwatch.report._plan_{form}")
    text: str = module.render(inspection, look)
    return text
