"""A comparison of two runs for people: where they part, in what else they differ, what may have done it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrwatch.report import _diff as say
from lrwatch.report._page import Page
from lrwatch.report._words import capital
from lrwatch.report.base import Look, counted

if TYPE_CHECKING:
    from lrwatch.diff import Difference

MOST = 20
"""Lines of a kind; of more only the number is given."""


def render(d: Difference, look: Look) -> str:
    """The comparison in 80 columns."""
    page = Page(look.colour, look.unicode)
    word = "same" if d.same else "differ"
    page.item(word.upper(), [say.sentence(d)], gutter=len(word) + 2, role="pass" if d.same else "warning")
    page.blank()
    _list(page, "Parted", [say.parting(p) for p in d.parted])
    order = say.order(d)
    page.item("Order", [capital(order) + "."] * bool(order))
    for suspect in d.suspects:
        page.item("Suspect", [capital(say.suspect(suspect)) + "."])
        page.item("  Or", [capital(other) + "." for other in suspect.cause.also_consistent])
        page.item("  Fix", [capital(suspect.fix) + "."] * bool(suspect.fix))
        page.item("  Page", [f"lrwatch explain {suspect.cause.name}"])
    page.blank()
    _list(page, "Contracts", say.contracts(d))
    _list(page, "Recorded", [say.field(f) for f in d.facts])
    _list(page, "Events", [say.event(h) for h in d.happened])
    for side in ("a", "b"):
        page.item(f"Only in {side.upper()}", [", ".join(d.alone[side])] * bool(d.alone[side]))
    _list(page, "Steps", say.lonely(d))
    parted = {p.column for p in d.parted}
    page.item("Same", [f"{name} in {counted(rows, 'row')}" for name, rows in d.compared.items() if name not in parted])
    page.item("Compared", [f"only {', '.join(d.only)}"] * bool(d.only))
    page.blank()
    page.item("A", say.run(d.a))
    page.item("B", say.run(d.b))
    return page.text()


def _list(page: Page, head: str, texts: list[str]) -> None:
    more = [f"and {len(texts) - MOST:,} more; --format json has all of them"] if len(texts) > MOST else []
    page.item(head, texts[:MOST] + more)
