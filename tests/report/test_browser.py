"""The HTML report in a real browser: it draws, zooms, reads and switches, by pointer and by keyboard, and runs nothing
that a name in a trace brings along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrwatch.findings import Finding
from lrwatch.report import render
from lrwatch.report.base import Look
from lrwatch.result import Samples, Series, Stats
from lrwatch.trace.model import Event, TraceInfo
from lrwatch.trace.picture import Mark
from tests.report.browser import Browser
from tests.report.conftest import Make

CURVE = 'figure[data-slot="curve"]'
STEPS = np.arange(1000.0)
PROMISED = 3e-4 * (1 - STEPS / 1000)
USED = 3e-4 * np.maximum(1 - STEPS / 250, 0)
EVIL = "</script><img src=https://example.com/x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module")
def browser(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tool("chromium"), tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def file(report: Make, drift: Finding, tmp_path: Path) -> Path:
    """A report on two groups, with a scheduler four times too fast, loss, a resume, and hostile names."""
    found = report(
        info=TraceInfo((EVIL,), "jsonl", run=EVIL),
        findings=(replace(drift, last_step=999, message=EVIL), replace(drift, slug=EVIL, group="head", first_step=500)),
        series=(
            Series("lr", "0", 0, STEPS, USED, PROMISED, 1, STEPS, USED),
            Series("lr", "head", 0, STEPS, 10 * USED, 10 * PROMISED, None, STEPS, 10 * USED),
        ),
        samples=(Samples("loss", 0, STEPS, 4.0 - STEPS / 500), Samples(f"validation/{EVIL}", 0, STEPS, STEPS)),
        marks=(Mark(Event("resume", 400, fields={"run": EVIL})),),
        stats=Stats(rows=4000, ranks=(0, 1, 2, 3), groups=("0", "head"), first_step=0, last_step=999, run=EVIL),
    )
    path = tmp_path / "report.html"
    path.write_text(render("html", found, Look()), encoding="utf-8")
    return path


def strokes(browser: Browser, slot: str = "curve") -> list[Any]:
    """Class and first coordinates of every line of a chart."""
    found: list[Any] = browser.ask(
        f"[...document.querySelectorAll('figure[data-slot=\"{slot}\"] path.line')]"
        ".map(p => [p.getAttribute('class'), p.getAttribute('d')])"
    )
    return found


def steps_shown(browser: Browser) -> list[str]:
    """The labels of the steps below the first chart."""
    found: list[str] = browser.ask(
        f"[...document.querySelectorAll('{CURVE} text.tick')].filter(t => t.getAttribute('text-anchor') !== 'end' || "
        "t.getAttribute('x') > 200).map(t => t.textContent)"
    )
    return found


@pytest.mark.parametrize("dark", [False, True])
def test_it_draws_without_a_request_or_a_complaint(browser: Browser, file: Path, dark: bool) -> None:
    browser.open(file, dark=dark)
    assert [kind for kind, _ in strokes(browser)] == ["line cause", "line promised", "line used"]
    page, ink = browser.ask("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    light = ("rgb(251, 250, 248)", "rgb(29, 33, 38)")
    assert (page, ink) == (("rgb(20, 23, 26)", "rgb(230, 228, 223)") if dark else light)
    assert (browser.requests, browser.console) == ([], [])


def test_a_name_in_a_trace_runs_nothing_and_asks_for_nothing(browser: Browser, file: Path) -> None:
    browser.open(file)
    assert browser.ask("document.title") == f"FAIL · {EVIL} · lrwatch"
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.drag(f"{CURVE} svg", 0.3, 0.6)
    assert browser.ask("document.querySelectorAll('img').length") == 0
    assert browser.ask("document.querySelector('h1').textContent").startswith("Either the scheduler")
    assert EVIL in browser.ask("document.querySelector('figure[data-slot=\"metric-0\"] b').textContent")
    # And were there a hole: the policy lets no other script run and nothing be fetched.
    injected = "(() => { const s = document.createElement('script'); s.textContent = 'document.title = 1'; "
    browser.ask(injected + "document.body.append(s); const i = new Image(); i.src = 'https://example.com/x'; })()")
    assert browser.ask("document.title") == f"FAIL · {EVIL} · lrwatch"
    assert len([said for said in browser.console if "Content Security Policy" in said]) == 2
    assert browser.requests == []


def test_dragging_zooms_every_chart_and_double_click_shows_the_whole_run(browser: Browser, file: Path) -> None:
    browser.open(file)
    whole, loss = strokes(browser), strokes(browser, "loss")
    assert steps_shown(browser)[0] == "0" and steps_shown(browser)[-1] == "1,000"
    browser.drag(f"{CURVE} svg", 0.5, 0.6)
    shown = [int(step.replace(",", "")) for step in steps_shown(browser)]
    assert 380 < shown[0] < shown[-1] < 600
    assert strokes(browser, "loss") != loss
    browser.ask(f"document.querySelector('{CURVE} svg').dispatchEvent(new MouseEvent('dblclick'))")
    assert strokes(browser) == whole and strokes(browser, "loss") == loss


def test_the_keyboard_reads_zooms_pans_and_changes_the_axis(browser: Browser, file: Path) -> None:
    browser.open(file)
    browser.ask(f"document.querySelector('{CURVE} svg').focus()")
    assert browser.ask("document.activeElement.tagName") == "svg"
    for _ in range(2):
        browser.press("ArrowRight")
    legend = browser.ask(f"document.querySelector('{CURVE} .legend').textContent")
    assert legend == "step 10what the named cause gives 2.88e-4promised 2.97e-4used 2.88e-4"
    assert browser.ask("document.getElementById('reading').textContent").startswith(
        "Step 10. what the named cause gives 2.88e-4. promised 2.97e-4. used 2.88e-4."
    )
    whole = strokes(browser)
    browser.press("+")
    assert steps_shown(browser)[-1] == "500"
    browser.press("ArrowRight", shift=True)
    assert steps_shown(browser)[0] == "200"
    browser.press("0")
    assert strokes(browser) == whole
    browser.press("l")
    assert browser.ask(f"document.querySelector('{CURVE} .log').getAttribute('aria-pressed')") == "true"
    assert "1e-5" in browser.ask(f"[...document.querySelectorAll('{CURVE} text.tick')].map(t => t.textContent)")
    assert browser.ask("document.activeElement.tagName") == "svg"
    browser.press("L")
    assert strokes(browser) == whole


def test_another_curve_by_choice_and_by_its_finding(browser: Browser, file: Path) -> None:
    browser.open(file)
    title = f"document.querySelector('{CURVE} b').textContent"
    assert browser.ask(title) == "lr, group 0, rank 0"
    browser.ask("(s => { s.value = '1'; s.dispatchEvent(new Event('change')) })(document.getElementById('view'))")
    assert browser.ask(title) == "lr, group head, rank 0"
    ticks = browser.ask(f"[...document.querySelectorAll('{CURVE} text.tick')].map(t => t.textContent)")
    assert "0.003" in ticks
    browser.ask("document.querySelector('[data-finding=\"0\"]').click()")
    assert browser.ask(title) == "lr, group 0, rank 0"


def test_without_scripts_it_is_still_a_picture(browser: Browser, file: Path) -> None:
    browser.open(file)
    shown = strokes(browser)
    browser.open(file, scripts=False)
    root = browser.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
    found = browser.call("DOM.querySelectorAll", nodeId=root, selector="figure path.line.used")["nodeIds"]
    attributes = browser.call("DOM.getAttributes", nodeId=found[0])["attributes"]
    drawn = dict(zip(attributes[::2], attributes[1::2], strict=True))["d"]
    assert drawn.count("L") == 999 and len(shown) == 3
    buttons = browser.call("DOM.querySelectorAll", nodeId=root, selector=".controls")["nodeIds"]
    style = browser.call("DOM.getOuterHTML", nodeId=buttons[0])["outerHTML"]
    assert 'role="toolbar"' in style


def test_on_a_phone_and_on_paper(browser: Browser, file: Path) -> None:
    browser.open(file, width=390)
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    assert browser.ask("document.querySelectorAll('details:not([open])').length") == 0  # three findings at most
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = false)")
    assert browser.paper().startswith(b"%PDF-")
    assert browser.ask("document.querySelectorAll('details:not([open])').length") == 0
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('.controls')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")
