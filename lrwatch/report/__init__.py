"""Reports: what a verification found, in the forms that people and programs read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from lrwatch.report._promise import describe

if TYPE_CHECKING:
    from lrwatch.report.base import Look
    from lrwatch.verify import Report

__all__ = ["FORMATS", "describe", "render"]

FORMATS: Final = ("text", "json", "junit", "sarif", "html")
"""``lrwatch.report.<format>`` has ``render(report, look) -> str``; it is imported when it is asked for."""


def render(form: str, report: Report, look: Look) -> str:
    """The report in one of ``FORMATS``, ending in a newline."""
    module = importlib.import_module(f"lrwatch.report.{form}")
    text: str = module.render(report, look)
    return text
