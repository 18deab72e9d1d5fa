"""A comparison of two runs to look at: the frame and the charts of the other HTML reports, with both runs in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from lrwatch.report import _diff as say
from lrwatch.report._figures import Bar, Drawing, View, chart_data, charts, show_button
from lrwatch.report._html import page, section
from lrwatch.report._markup import Child, Markup, clipped, tag
from lrwatch.report._plots import Floats, Line, Plot, thinned
from lrwatch.report._views import LABEL, UPRIGHT, events, steps_of
from lrwatch.report._words import capital
from lrwatch.report.base import Look, counted

if TYPE_CHECKING:
    from lrwatch.diff import Difference, Parting, Run

TITLES: Final = {"off": "B − A", "loss": "Loss", "grad_norm": "Gradient norm"}
MOST_POINTS: Final = 1200
MOST_VIEWS: Final = 24
MOST: Final = 40
"""Columns that parted, fields and events that are shown."""


def render(d: Difference, look: Look) -> str:
    """The comparison as an HTML document."""
    drawn = _drawing(d)
    names = [r.info.run or r.result.stats.run for r in (d.a, d.b)]
    facts = [
        (side, clipped(name or r.info.paths[0], LABEL)) for side, name, r in zip("AB", names, (d.a, d.b), strict=True)
    ]
    facts += [(f"{side}: rows", f"{r.survey.rows:,}") for side, r in (("A", d.a), ("B", d.b))]
    sections = (_suspects(d), _parted(d), charts(drawn), _besides(d), _runs(d))
    verdict = "same" if d.same else "differ"
    title = " and ".join(name for name in dict.fromkeys(names) if name) or None
    return page(verdict, title, say.sentence(d), facts, chart_data(drawn), sections, look.unicode)


def _suspects(d: Difference) -> Markup | None:
    if not d.suspects:
        return None
    cards = []
    for s in d.suspects[:MOST]:
        items: list[Child] = [[tag("dt", "Or"), tag("dd", capital(o) + ".")] for o in s.cause.also_consistent]
        if s.fix:
            items.append([tag("dt", "Fix"), tag("dd", capital(s.fix) + ".", class_="fix")])
        items.append([tag("dt", "Page"), tag("dd", tag("code", f"lrwatch explain {s.cause.name}"))])
        head = tag("h3", tag("span", f"run {s.side.upper()}", class_="severity error"), s.cause.name)
        cards.append(
            tag("details", tag("summary", head, tag("span", capital(say.suspect(s)) + ".", class_="message")),
                tag("dl", items), class_="finding error", open=True)
        )  # fmt: skip
    return section("suspects", "Likely cause", cards)


def _parted(d: Difference) -> Markup:
    cards = []
    for i, p in enumerate(d.parted[:MOST]):
        head = tag("h3", p.column)
        place = tag("span", f"first at step {p.step:,}", class_="where")
        said = capital(say.parting(p).partition(": ")[2]) + "."
        body = [tag("dt", "A"), tag("dd", f"{p.a!r}"), tag("dt", "B"), tag("dd", f"{p.b!r}"), tag("dd", show_button(i))]
        cards.append(
            tag("details", tag("summary", head, place, tag("span", said, class_="message")), tag("dl", body),
                class_="finding warning", open=i < 2)
        )  # fmt: skip
    over = len(d.parted) - len(cards)
    same = [f"{name} in {counted(rows, 'row')}" for name, rows in d.compared.items() if name not in _columns(d)]
    order = say.order(d)
    return section(
        "parted",
        "Where they part" if d.parted else "They do not part",
        tag("p", capital(order) + ".", class_="lead") if order else None,
        cards,
        tag("p", f"and {counted(over, 'column')} more; --format json has all of them") if over else None,
        tag("p", f"The same: {', '.join(same[:MOST])}.", class_="calm") if same else None,
    )


def _columns(d: Difference) -> set[str]:
    return {p.column for p in d.parted}


def _besides(d: Difference) -> Markup | None:
    items: list[Child] = []

    def tell(word: str, texts: Sequence[str]) -> None:
        more = [f"and {len(texts) - MOST:,} more; --format json has all of them"] if len(texts) > MOST else []
        items.append([tag("dt", word), *(tag("dd", text) for text in [*texts[:MOST], *more])] if texts else None)

    tell("Contracts", say.contracts(d))
    tell("Recorded", [say.field(f) for f in d.facts])
    tell("Events", [say.event(h) for h in d.happened])
    for side in ("a", "b"):
        tell(f"Only in {side.upper()}", [", ".join(d.alone[side])] if d.alone[side] else [])
    tell("Steps", say.lonely(d))
    return section("besides", "What else differs", tag("dl", items, class_="pairs")) if any(items) else None


def _runs(d: Difference) -> Markup:
    items = [[tag("dt", side), *(tag("dd", said) for said in say.run(r))] for side, r in (("A", d.a), ("B", d.b))]
    return section("runs", "The runs", tag("dl", items, class_="pairs"))


# -- charts ------------------------------------------------------------------------------------------


def _drawing(d: Difference) -> Drawing:
    runs, partings = (d.a, d.b), {p.column: p for p in d.parted}
    signals = [c for c in d.compared if c not in say.VALUES]
    signals.sort(key=lambda c: c not in partings)  # stable: those that part come first, as in the list above
    values = {name: plot for name in say.VALUES if (plot := _plot(name, runs, partings.get(name))) is not None}
    views = []
    for column in signals[:MOST_VIEWS]:
        plots = {"curve": _plot(column, runs, partings.get(column)), "off": _off(partings.get(column))}
        signal, _, group = column.partition("/")
        label = f"{signal}, group {clipped(group, LABEL)}"
        views.append(View(label, {slot: plot for slot, plot in {**plots, **values}.items() if plot is not None}))
    if not views and values:
        views = [View("", values)]
    rows: list[tuple[str, Sequence[Bar]]] = [
        (p.column, [("warning", p.step, p.last, say.parting(p))]) for p in d.parted[:10]
    ]
    uprights = []
    for side, run in zip("AB", runs, strict=True):
        for kind, found in events(run.result):
            rows.append((f"{side}: {kind}", [("event", at, at, f"{side}: {said}") for at, said in found]))
            uprights += [(at, f"{side}: {said}") for at, said in found if kind in UPRIGHT]
    ends = [step for run in runs for step in run.survey.steps or ()]
    shown = signals[:MOST_VIEWS]
    jumps = [(p.step, p.last, shown.index(p.column) if p.column in shown else None) for p in d.parted[:MOST]]
    return Drawing(views, (float(min(ends)), float(max(ends) + 1)), TITLES, uprights, rows, jumps)


def _plot(column: str, runs: tuple[Run, Run], parting: Parting | None) -> Plot | None:
    """A column of the lowest worker of both."""
    lines = []
    for role, run in zip("ab", runs, strict=True):
        found = _recorded(column, run)
        if found is not None:
            rows = thinned([found[1]], MOST_POINTS)
            lines.append(Line(role, role.upper(), found[0][rows], found[1][rows]))
    odd = [at for line in lines for at in line.x[~np.isfinite(line.y)].tolist()]
    return Plot(tuple(lines), tuple(odd[:200]), None if parting is None else parting.step) if lines else None


def _recorded(column: str, run: Run) -> tuple[Floats, Floats] | None:
    """Steps and values of a column, as the run's report would draw it."""
    if column in say.VALUES:
        return next(((s.update, s.value) for s in run.result.samples if s.name == column), None)
    signal, _, group = column.partition("/")
    mine = (s for s in run.result.series if (s.signal, s.group) == (signal, group))
    return next(((steps_of(s), s.observed) for s in mine), None)


def _off(parting: Parting | None) -> Plot | None:
    if parting is None or not len(parting.steps):
        return None
    rows = thinned([parting.curve], MOST_POINTS)
    line = Line("off", "B − A", parting.steps[rows], parting.curve[rows])
    return Plot((line,), mark=parting.step, least=0.0)
