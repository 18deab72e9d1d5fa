"""docs/failure-modes.md: every failure mode, every metric and every check has its place, and no name is invented."""

from __future__ import annotations

import re
from pathlib import Path

from lrwatch.checks import checks
from lrwatch.metrics import by_name

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "failure-modes.md").read_text(encoding="utf-8")


def test_every_failure_mode_and_metric_has_a_row() -> None:
    rows = re.findall(r"^\| ([FM]\d+) \|", PAGE, flags=re.MULTILINE)
    assert rows == [*(f"F{i}" for i in range(1, 8)), *(f"M{i}" for i in range(1, 11))]


def test_every_check_is_in_the_tables() -> None:
    named = set(re.findall(r"\(checks/([a-z-]+)\.md\)", PAGE))
    assert checks().keys() - named == {"trace-damage"}  # about the record, not about the run


def test_every_check_and_page_that_is_named_exists() -> None:
    assert set(re.findall(r"\(checks/([a-z-]+)\.md\)", PAGE)) <= checks().keys()
    pages = set(re.findall(r"\((?!http)([^)#]+\.md)\)", PAGE))
    assert pages and [p for p in sorted(pages) if not (DOCS / p).exists()] == []


def test_every_series_is_in_the_catalogue() -> None:
    assert set(re.findall(r"`(lrwatch_\w+)`", PAGE)) <= by_name().keys()
