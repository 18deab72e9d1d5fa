"""The page of a plan in a real browser: it draws every group, keeps names harmless, and asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from lrwatch.cli import main
from tests.report.browser import Browser

EVIL = "</script><img src=https://example.com/x onerror=\"document.title='run'\">"
CONTRACT = f"""\
lrwatch: 1
experiment: {json.dumps(EVIL)}
clock: {{horizon: 1000}}
lr:
  base: 3.0e-4
  schedule: [{{linear: {{from: 0, for: 2000}}}}, {{cosine: {{to: 3.0e-5, for: 8000}}}}]
  groups: {{head: {{scale: 10}}, {json.dumps(EVIL)}: {{base: 0.01, schedule: [{{constant: {{}}}}]}}}}
"""


def test_the_page_of_a_plan(tool: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    page = tmp_path / "plan.html"
    result = CliRunner().invoke(
        main, ["plan", str(tmp_path / "contract.yaml"), "--format", "html", "--output", str(page)]
    )
    assert result.exit_code == 1, result.output  # the warm-up is longer than the run
    with Browser(tool("chromium"), tmp_path / "profile") as browser:
        browser.open(page)
        assert browser.ask("document.title") == f"FAIL · {EVIL} · lrwatch"
        assert "warm-up" in browser.ask("document.querySelector('h1').textContent")
        assert browser.ask("document.querySelectorAll('figure path.line').length") == 1
        assert "promised" in browser.ask("document.querySelector('figure').textContent")
        browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.ask("document.querySelectorAll('img').length") == 0
        assert "end of warm-up" not in browser.ask("document.querySelector('#landmarks').textContent")
        assert EVIL in browser.ask("document.querySelector('#landmarks').textContent")
        assert (browser.requests, browser.console) == ([], [])
