"""HTML and SVG as nested calls; whatever is not marked up already is text, and text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from lrwatch.report._page import clean

LONGEST: Final = 1000
"""Characters of one text; a name in a trace may be of any length, a page may not."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Attribute = str | int | float | bool | None

_VOID = frozenset({"meta", "link", "br", "hr", "input"})


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element. ``class_`` and ``data_x`` become ``class`` and ``data-x``; False and None leave an attribute out.

    >>> tag("p", "a < b", tag("b", "!"), class_="note", hidden=True)
    '<p class="note" hidden>a &lt; b<b>!</b></p>'
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    inner = join(*children)
    return Markup(f"<{name}{said}>" if name in _VOID else f"<{name}{said}>{inner}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after another; control characters and reversed text in names become visible."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(clean(clipped(child, LONGEST)), quote=False))
        elif child is not None:
            parts.append(join(*child))
    return Markup("".join(parts))


def clipped(text: str, most: int) -> str:
    """The text, of a longer one its beginning."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-") if key not in ("viewBox",) else key
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    said = value if isinstance(value, Markup) else escape(clean(clipped(str(value), LONGEST)))
    return f' {name}="{said}"'
