"""The charts of a page: figures drawn once, and the numbers from which its script draws them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lrwatch.report import _svg as svg
from lrwatch.report._html import section
from lrwatch.report._markup import Markup, tag
from lrwatch.report._plots import Line, Plot

HEIGHTS: Final = {"curve": 300, "off": 170}
MOST_UPRIGHTS: Final = 40
Bar = tuple[str, float, float, str]
"""Class, first and last step, words."""


@dataclass(frozen=True)
class View:
    """What the charts show of one curve: slot (``curve``, ``off``, ``loss``, ``grad_norm``, ``metric-0``, …) → plot."""

    label: str
    plots: Mapping[str, Plot]


@dataclass(frozen=True)
class Drawing:
    """Everything that the charts of a page show.

    Attributes:
        views: one per curve; the page begins with the first. span: first and last step.
        titles: slot → heading, of the slots that have one of their own.
        uprights: steps and words of what is drawn across every chart. rows: what is drawn along the steps, by name.
        jumps: first step, last step and view of what a button leads to.
    """

    views: Sequence[View]
    span: tuple[float, float]
    titles: Mapping[str, str]
    uprights: Sequence[tuple[float, str]] = ()
    rows: Sequence[tuple[str, Sequence[Bar]]] = ()
    jumps: Sequence[tuple[int | None, int | None, int | None]] = field(default=())


def charts(d: Drawing) -> Markup | None:
    """The part of the page with the curves; nothing where nothing was recorded."""
    if not d.views:
        return None
    first, uprights = d.views[0], d.uprights[:MOST_UPRIGHTS]
    figures = []
    for slot in dict.fromkeys(slot for view in d.views for slot in view.plots):
        plot = first.plots.get(slot)
        title = d.titles.get(slot) or (first.label if slot == "curve" or plot is None else plot.lines[0].name)
        height = HEIGHTS.get(slot, 190)
        drawn = svg.chart(plot, d.span, height, f"{title} over the steps", uprights) if plot is not None else None
        figures.append(_figure(slot, title, height, drawn, [] if plot is None else plot.lines))
    if d.rows:
        strip = svg.strip(d.rows, d.span, "What happened over the steps")
        figures.append(_figure("when", "When", svg.strip_height(len(d.rows)), strip))
    options = [tag("option", view.label, value=i) for i, view in enumerate(d.views)]
    buttons = [
        tag("button", text, type="button", data_do=do, title=why)
        for text, do, why in (("+", "in", "Zoom in"), ("−", "out", "Zoom out"), ("Whole run", "all", "Whole run"))
    ]
    keys = (
        "Drag across a chart to zoom, double-click for the whole run. With a chart in focus: ← → move the reading "
        "line, with Shift the picture; + − zoom, 0 shows the whole run, L changes to a logarithmic axis. "
        "A long run is thinned out; its extremes stay."
    )
    choice = tag("select", options, id="view", aria_label="Curve") if len(options) > 1 else None
    controls = tag("div", choice, *buttons, class_="controls", role="toolbar", aria_label="Charts",
                   aria_describedby="keys")  # fmt: skip
    live = tag("p", "", id="reading", class_="unseen", aria_live="polite")
    return section("charts", "Curves", controls, figures, tag("p", keys, id="keys", class_="hint"), live)


def _figure(slot: str, title: str, height: int, drawn: Markup | None, lines: Sequence[Line] = ()) -> Markup:
    keys = [tag("span", tag("i", "", class_=f"key {line.role}"), line.name, class_="entry") for line in lines]
    log = None
    if slot not in ("off", "when"):
        log = tag("button", "log", type="button", class_="log", aria_pressed="false", title="Logarithmic axis")
    head = tag("figcaption", tag("b", title), tag("span", keys, class_="legend"), log)
    return tag("figure", head, tag("div", drawn, class_="plot"), data_slot=slot, data_height=height)


def show_button(jump: int) -> Markup:
    """Leads from a part of the page to where it is in the charts: the number of one of its drawing's jumps."""
    return tag("button", "Show in the charts", type="button", class_="show", data_finding=jump)


def chart_data(d: Drawing) -> dict[str, Any]:
    """What the page's script draws: plots once, views by their numbers."""
    plots: list[Any] = []
    seen: dict[int, int] = {}
    drawn = []
    for view in d.views:
        for plot in view.plots.values():
            if id(plot) not in seen:
                seen[id(plot)] = len(plots)
                plots.append(plot.data())
        drawn.append({"label": view.label, "shows": {slot: seen[id(p)] for slot, p in view.plots.items()}})
    return {
        "span": list(d.span),
        "plots": plots,
        "views": drawn,
        "events": [{"at": at, "said": said} for at, said in d.uprights[:MOST_UPRIGHTS]],
        "rows": [{"name": n, "short": svg.fitted(n), "marks": [list(bar) for bar in bars]} for n, bars in d.rows],
        "findings": [{"first": first, "last": last, "view": view} for first, last, view in d.jumps],
    }
