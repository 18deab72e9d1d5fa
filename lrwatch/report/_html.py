"""The frame of a page: one file that needs no network, in which nothing can run but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from lrwatch import __version__
from lrwatch.report._markup import Child, Markup, tag


def page(
    verdict: str,
    name: str | None,
    said: str,
    facts: Sequence[tuple[str, str]],
    data: Any,
    sections: Sequence[Markup | None],
    unicode: bool,
) -> str:
    """A whole document: a verdict of ``name`` with its reason, a few facts, sections; ``data`` is for its script.

    The policy in its head allows this very script and style sheet and nothing else: no request, no inline handler,
    no other script, whatever a name in a trace says.
    """
    css, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"lrwatch {__version__}"),
        tag("title", f"{verdict.upper()}{f' · {name}' if name else ''} · lrwatch"),
        tag("style", Markup(css)),
    )
    top = tag(
        "header",
        tag("p", tag("span", verdict, class_="verdict"), tag("span", name) if name else None, class_="eyebrow"),
        tag("h1", said),
        tag("dl", [tag("div", tag("dt", word), tag("dd", value)) for word, value in facts], class_="facts"),
        class_=f"top {verdict}",
    )
    held = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    body = tag(
        "body",
        tag("a", "To the main part", class_="skip", href="#main"),
        top,
        tag("main", *sections, id="main"),
        tag("footer", f"Made by lrwatch {__version__}. This file needs no network and asks for none."),
        tag("script", Markup(held), type="application/json", id="data"),
        tag("script", Markup(script)),
    )
    text = "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"
    return text if unicode else text.encode("ascii", "xmlcharrefreplace").decode()


def section(name: str, title: str, *children: Child) -> Markup:
    """A part of the page with a heading."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def table(head: Sequence[str], rows: Sequence[Sequence[Child]]) -> Markup:
    """A table whose first column names the row; on a narrow screen a list, every value with the name of its column."""
    top = tag("thead", tag("tr", [tag("th", text, scope="col") for text in head]))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            [tag("td", cell, data_head=name) for name, cell in zip(head[1:], row[1:], strict=True)],
        )
        for row in rows
    ]
    return tag("div", tag("table", top, tag("tbody", body)), class_="wide", tabindex=0)


def _asset(name: str) -> str:
    return (resources.files("lrwatch.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
