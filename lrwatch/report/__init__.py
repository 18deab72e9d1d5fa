"""Reports: what a verification or a comparison found, in the forms that people and programs read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from lrwatch.report._promise import describe

if TYPE_CHECKING:
    from lrwatch.diff import Difference
    from lrwatch.report.base import Look
    from lrwatch.verify import Report

__all__ = ["DIFF_FORMATS", "FORMATS", "describe", "render", "render_diff"]

FORMATS: Final = ("text", "json", "junit", "sarif", "html")
"""``lrwatch.report.<format>`` has ``render(report, look) -> str``; it is imported when it is asked for."""
DIFF_FORMATS: Final = ("text", "json", "html")
"""The same of comparisons: ``lrwatch.report._diff_<format>``."""


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
