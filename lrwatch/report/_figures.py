"""The charts of a page: figures drawn once, and the numbers from which its script draws them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lrwatch.findings import Finding
from lrwatch.report import _svg as svg
from lrwatch.report._html import section
from lrwatch.report._markup import Markup, tag
from lrwatch.report._views import UPRIGHT, View, events, span
from lrwatch.report._words import concerns, where

if TYPE_CHECKING:
    from lrwatch.result import Result

MOST_UPRIGHTS: Final = 40
BARS: Final = 10
"""Findings drawn along the steps."""
HEIGHTS: Final = {"curve": 300, "off": 170}
TITLES: Final = {"off": "Off the promise", "loss": "Loss", "grad_norm": "Gradient norm"}


def charts(result: Result, findings: Sequence[Finding], shown: Sequence[View]) -> Markup | None:
    """The part of the page with the curves; nothing where nothing was recorded."""
    if not shown:
        return None
    over, first = span(result), shown[0]
    marks = dict(events(result))
    uprights = _uprights(marks)
    slots = list(dict.fromkeys(slot for view in shown for slot in view.plots))
    figures = []
    for slot in slots:
        plot = first.plots.get(slot)
        title = TITLES.get(slot) or (first.label if slot == "curve" or plot is None else plot.lines[0].name)
        height = HEIGHTS.get(slot, 190)
        drawn = svg.chart(plot, over, height, f"{title} over the steps", uprights) if plot is not None else None
        figures.append(_figure(slot, title, height, drawn, plot and [(n.role, n.name) for n in plot.lines]))
    rows = _rows(findings, marks)
    if rows:
        strip = svg.strip(rows, over, "Findings and events over the steps")
        figures.append(_figure("when", "When", svg.strip_height(len(rows)), strip, None))
    choice = tag(
        "select", [tag("option", v.label, value=i) for i, v in enumerate(shown)], id="view", aria_label="Curve"
    )
    buttons = [
        tag("button", text, type="button", data_do=do, title=why)
        for text, do, why in (("+", "in", "Zoom in"), ("−", "out", "Zoom out"), ("Whole run", "all", "Whole run"))
    ]
    keys = (
        "Drag across a chart to zoom, double-click for the whole run. With a chart in focus: ← → move the reading "
        "line, with Shift the picture; + − zoom, 0 shows the whole run, L changes to a logarithmic axis. "
        "A long run is thinned out; its extremes stay."
    )
    controls = tag("div", choice if len(shown) > 1 else None, *buttons, class_="controls", role="toolbar",
                   aria_label="Charts", aria_describedby="keys")  # fmt: skip
    live = tag("p", "", id="reading", class_="unseen", aria_live="polite")
    return section("charts", "Curves", controls, figures, tag("p", keys, id="keys", class_="hint"), live)


def _figure(slot: str, title: str, height: int, drawn: Markup | None, legend: Any) -> Markup:
    keys = [tag("span", tag("i", "", class_=f"key {role}"), name, class_="entry") for role, name in legend or ()]
    log = None
    if slot not in ("off", "when"):
        log = tag("button", "log", type="button", class_="log", aria_pressed="false", title="Logarithmic axis")
    head = tag("figcaption", tag("b", title), tag("span", keys, class_="legend"), log)
    return tag("figure", head, tag("div", drawn, class_="plot"), data_slot=slot, data_height=height)


def _uprights(marks: dict[str, list[tuple[float, str]]]) -> list[tuple[float, str]]:
    """The events drawn across every chart."""
    return [mark for kind, found in marks.items() if kind in UPRIGHT for mark in found][:MOST_UPRIGHTS]


def _rows(
    findings: Sequence[Finding], marks: dict[str, list[tuple[float, str]]]
) -> list[tuple[str, list[tuple[str, float, float, str]]]]:
    """What is drawn along the steps: name → (class, first step, last step, words)."""
    rows: list[tuple[str, list[tuple[str, float, float, str]]]] = []
    for f in [f for f in findings if f.first_step is not None][:BARS]:
        assert f.first_step is not None
        last = f.first_step if f.last_step is None else f.last_step
        rows.append((f.slug, [(str(f.severity), f.first_step, last, f"{f.code} {' · '.join(where(f))}")]))
    for kind, found in marks.items():
        rows.append((kind, [("event", at, at, said) for at, said in found]))
    return rows


def chart_data(result: Result, findings: Sequence[Finding], shown: Sequence[View], cards: int) -> dict[str, Any]:
    """What the page's script draws: plots once, views by their numbers, where the first ``cards`` findings are."""
    plots: list[Any] = []
    seen: dict[int, int] = {}
    drawn = []
    for view in shown:
        for plot in view.plots.values():
            if id(plot) not in seen:
                seen[id(plot)] = len(plots)
                plots.append(plot.data())
        drawn.append({"label": view.label, "shows": {slot: seen[id(p)] for slot, p in view.plots.items()}})
    marks = dict(events(result))
    return {
        "span": list(span(result)),
        "plots": plots,
        "views": drawn,
        "events": [{"at": at, "said": said} for at, said in _uprights(marks)],
        "rows": [
            {"name": name, "short": svg.fitted(name), "marks": [list(mark) for mark in found]}
            for name, found in _rows(findings, marks)
        ],
        "findings": [
            {"first": f.first_step, "last": f.last_step, "view": _view_of(f, shown)} for f in findings[:cards]
        ],
    }


def _view_of(finding: Finding, shown: Sequence[View]) -> int | None:
    return next((i for i, v in enumerate(shown) if v.series is not None and concerns(finding, v.series)), None)
