"""The pages of checks, rules, causes and schedule families: their docstrings, for a terminal and as Markdown.

A docstring is prose, headings (``What it checks`` and the like, their text indented below) and verbatim lines
(indented, where no heading is above).
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Final, Literal

from lrwatch.checks import checks
from lrwatch.diagnosis.causes import CAUSES, CauseInfo
from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.lint import rules
from lrwatch.schedules import families
from lrwatch.schedules.base import REQUIRED, Family

HEADINGS: Final = ("What it checks", "Why it matters", "Example", "Fix", "Source")
WIDTH: Final = 80

Kind = Literal["check", "rule", "cause", "family", "contract"]


@dataclass(frozen=True)
class Block:
    """A piece of a page. ``text`` of ``prose`` is one line, to be wrapped; of ``code`` it is kept as it is."""

    kind: Literal["heading", "prose", "code"]
    text: str


@dataclass(frozen=True)
class Topic:
    """Something that ``lrwatch explain`` knows.

    Attributes:
        name: the word to ask with; alias: another one, e.g. the check's code.
        title: half a line. source: the file it is written in. page: makes its blocks.
    """

    kind: Kind
    name: str
    title: str
    source: str
    page: Callable[[], list[Block]]
    alias: str = ""


def topics() -> list[Topic]:
    """Everything that can be explained, by kind and name."""
    found = [
        Topic("check", slug, check.title, _file("checks", slug), partial(_check_page, slug), check.code)
        for slug, check in checks().items()
    ]
    found += [
        Topic("rule", slug, rule.title, _file("lint", slug), partial(_rule_page, slug), rule.code)
        for slug, rule in rules().items()
    ]
    found += [
        Topic("cause", name, cause.title, "lrwatch/diagnosis/causes.py", partial(_cause_page, cause))
        for name, cause in CAUSES.items()
    ]
    found += [
        Topic(
            "family",
            name,
            _first_line(_docstring("schedules", name)),
            _file("schedules", name),
            partial(_family_page, f),
        )
        for name, f in families().items()
    ]
    annotated = "lrwatch/report/contract.yaml"
    return [*found, Topic("contract", "contract", "a contract to start from, annotated", annotated, _contract_page)]


def find(word: str) -> list[Topic]:
    """The topics of that name or code; a check and a cause may share one.

    Raises LrwatchError when there is none, with did-you-mean.
    """
    known = topics()
    wanted = word.lower().replace("_", "-")
    hits = [t for t in known if wanted in (t.name.replace("_", "-"), t.alias.lower())]
    if not hits:
        words = [w for t in known for w in (t.name, t.alias) if w]
        hint = did_you_mean(word, words)
        near = hint if "did you mean" in hint else ""
        raise LrwatchError(f"nothing is called {word!r}{near} (`lrwatch explain` lists everything)")
    return hits


# -- the two forms -----------------------------------------------------------------------------------


def text(topic: Topic) -> str:
    """The page for a terminal of 80 columns."""
    if topic.kind == "contract":
        return "".join(block.text for block in topic.page())
    lines = [textwrap.fill(_headline(topic), WIDTH, subsequent_indent="  "), ""]
    for block in topic.page():
        if block.kind == "heading":
            lines.append(block.text)
        elif block.kind == "code":
            lines += [textwrap.indent(block.text, "    "), ""]
        else:
            shown = block.text.replace("``", "`")
            lines += [
                textwrap.fill(shown, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False),
                "",
            ]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown(topic: Topic, level: int = 1) -> str:
    """The page as Markdown, its title a heading of ``level``."""
    parts = [f"{'#' * level} {_headline(topic)}"]
    for block in topic.page():
        if block.kind == "heading":
            parts.append(f"{'#' * (level + 1)} {block.text}")
        elif block.kind == "code":
            parts.append(f"```text\n{block.text}\n```")
        else:
            parts.append(
                textwrap.fill(block.text.replace("``", "`"), 120, break_on_hyphens=False, break_long_words=False)
            )
    return "\n\n".join(parts) + "\n"


def listing() -> str:
    """Every topic with its title, for a terminal."""
    known = topics()
    wide = max(len(t.name) for t in known) + 2
    lines: list[str] = []
    heads = {
        "check": "Checks", "rule": "Rules of a plan", "cause": "Causes", "family": "Schedule families",
        "contract": "Also",
    }  # fmt: skip
    for kind, head in heads.items():
        lines += ["", head]
        for topic in (t for t in known if t.kind == kind):
            start = f"  {topic.name:<{wide}}" + (f"{topic.alias:<7}" if topic.alias else "")
            title = topic.title.rstrip(".").replace("``", "`")
            lines.append(textwrap.fill(title, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)))
    return "\n".join(lines[1:]) + "\n"


def _headline(topic: Topic) -> str:
    title = topic.title.rstrip(".").replace("``", "`")
    return f"{topic.name}{f' ({topic.alias})' if topic.alias else ''}: {title[:1].lower()}{title[1:]}"


# -- what the pages say ------------------------------------------------------------------------------


def _check_page(slug: str) -> list[Block]:
    check = checks()[slug]
    first, *rest = blocks(_docstring("checks", slug))
    needs = "a contract" if check.needs_contract else "no contract"
    scope = {"rank": "each worker by itself", "aligned": "the workers side by side", "run": "the run as a whole"}
    facts = f"Severity {check.severity}; looks at {scope[check.scope]}; needs {needs}."
    return [first, Block("prose", facts), *rest]


def _rule_page(slug: str) -> list[Block]:
    rule = rules()[slug]
    first, *rest = blocks(_docstring("lint", slug))
    needs = " It needs clock.horizon." if rule.horizon else ""
    return [first, Block("prose", f"Severity {rule.severity}; `lrwatch plan` asks it before training.{needs}"), *rest]


LETTERS = "O is the value that was used, E the one that the contract promises, t the position on its clock."


def _cause_page(cause: CauseInfo) -> list[Block]:
    return [
        Block("code", cause.formula),
        Block("prose", LETTERS),
        Block("heading", "Fix"),
        Block("prose", cause.fix[:1].upper() + cause.fix[1:] + "."),
    ]


def _family_page(family: Family) -> list[Block]:
    rows = [(p.name, "required" if p.default is REQUIRED else _plain(p.default), p.doc) for p in family.params]
    length = "required" if family.length == "required" else "none"
    rows += [
        ("for, until", length, "its duration, or its end (a number or horizon)"),
        ("over", "none", "its time scale, where that is not the duration"),
        ("offset", "0", "added to local time"),
        ("stairs", "none", "local time is rounded down to a multiple of it"),
        ("min, max", "none", "values that clamp the result"),
        ("after", family.after[0], "past its length: " + ", ".join(family.after)),
    ]
    wide = [max(len(row[i]) for row in rows) + 2 for i in range(2)]
    table = "\n".join(f"{name:<{wide[0]}}{default:<{wide[1]}}{doc}" for name, default, doc in rows)
    return [*blocks(_docstring("schedules", family.name))[1:], Block("heading", "Parameters"), Block("code", table)]


def _contract_page() -> list[Block]:
    return [Block("code", (resources.files("lrwatch.report") / "contract.yaml").read_text(encoding="utf-8"))]


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, (bool, str)):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


# -- docstrings --------------------------------------------------------------------------------------


def blocks(docstring: str) -> list[Block]:
    """The docstring in pieces.

    >>> [b.kind for b in blocks("One line.\\n\\nFix\\n    Do it.")]
    ['prose', 'heading', 'prose']
    """
    result: list[Block] = []
    under_heading = False
    for paragraph in re.split(r"\n\s*\n|\n(?=First value:|Past )", inspect.cleandoc(docstring)):
        head, _, rest = paragraph.partition("\n")
        if head in HEADINGS:  # a check's section: what is indented below is prose
            result.append(Block("heading", head))
            under_heading, paragraph = True, rest
        elif head.rstrip(":") in HEADINGS:  # a family's example
            result.append(Block("heading", head.rstrip(":")))
            under_heading, paragraph = False, rest.replace("``", "")
        elif head.startswith("Source: "):
            result.append(Block("heading", "Source"))
            paragraph = paragraph.removeprefix("Source: ")
        if under_heading:
            paragraph = "\n".join(line.removeprefix("    ") for line in paragraph.split("\n"))
        result.append(_paragraph(paragraph))
    return result


def _paragraph(paragraph: str) -> Block:
    if all(line.startswith("    ") for line in paragraph.splitlines()):
        return Block("code", textwrap.dedent(paragraph).rstrip())
    return Block("prose", " ".join(paragraph.split()))


def _docstring(package: str, name: str) -> str:
    module = importlib.import_module(f"lrwatch.{package}.{name.replace('-', '_')}")
    return module.__doc__ or ""


def _first_line(docstring: str) -> str:
    return blocks(docstring)[0].text


def _file(package: str, name: str) -> str:
    return f"lrwatch/{package}/{name.replace('-', '_')}.py"
