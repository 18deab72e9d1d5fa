"""Makes the pages that are written in the code: ``python docs/render.py`` rewrites them beside this file.

checks/<slug>.md, lint/<slug>.md and families/<name>.md are docstrings, each folder's README.md lists them, causes.md is
the catalogue of causes, cli.md is --help. The pictures are drawn by gallery.py and curves.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from lrwatch.cli import main
from lrwatch.importers import _page as frameworks
from lrwatch.importers import importers
from lrwatch.report import pages

HERE = Path(__file__).parent
MADE = "<!-- made from {source} by docs/render.py; edit there -->\n\n"


def rendered() -> dict[str, str]:
    """Path below docs/ → text of every page that is made."""
    made = {}
    for topic in pages.topics():
        folder = {"check": "checks", "rule": "lint", "family": "families"}.get(topic.kind)
        if folder:
            page = pages.markdown(topic)
            if folder == "families":
                page = _pictured(page, f"{topic.name}: its curve, and past the horizon", f"{topic.name}.svg")
            made[f"{folder}/{topic.name}.md"] = MADE.format(source=topic.source) + page
    made["checks/README.md"] = _listed("check", "Checks", CHECKS)
    made["lint/README.md"] = _listed("rule", "Planning rules", RULES)
    made["families/README.md"] = _drawn()
    causes = [
        _pictured(_once(t), f"{t.name}: what was promised and what was used", f"causes/{t.name}.svg")
        for t in pages.topics()
        if t.kind == "cause"
    ]
    head = MADE.format(source="lrwatch/diagnosis/causes.py") + f"# Causes that lrwatch can name\n\n{CAUSES}\n"
    made["causes.md"] = head + "\n".join(causes)
    made["frameworks.md"] = MADE.format(source="lrwatch/importers/_frameworks") + frameworks.page(importers())
    made["cli.md"] = MADE.format(source="--help") + "# The command line\n\n" + "\n".join(_commands())
    return made


CHECKS = """\
What is asked of a run. Every check says what it needs, what it reports, when it stays quiet, and what to do; one that
cannot be made is listed as such and never passes. `lrwatch explain SLUG` prints the page.
"""
RULES = """\
What [`lrwatch plan`](../plan.md) asks about the curve before a GPU is paid for; `lrwatch explain SLUG` prints the page.
"""
CAUSES = """\
Every cause is a formula. In all of them O is the value that was used, E the one that the contract promises, t the
position on the contract's clock, r that of a resume and s that of something else that happened. A cause is named only
if its formula gives every recorded value within its precision; when several do, all are said. In the pictures the band
is what the named cause gives. `lrwatch explain NAME` prints an entry.
"""
FAMILIES = """\
The closed forms that a contract's `schedule` is made of, alone or one after another as phases; the keys that every
phase may have are in [the contract](../contract.md#lr-weight_decay-momentum). A legend is what the contract says; the
dotted line is the horizon. What a framework's scheduler is called here: [frameworks](../frameworks.md).
"""


def _once(topic: pages.Topic) -> str:
    """The entry of a cause, without the letters that the top of the page explains."""
    return pages.markdown(topic, level=2).replace(f"{pages.LETTERS}\n\n", "")


def _pictured(page: str, alt: str, picture: str) -> str:
    """A page with its picture, which gallery.py or curves.py draws, under the heading."""
    heading, _, rest = page.partition("\n")
    return f"{heading}\n\n![{alt}]({picture})\n{rest}"


def _title(topic: pages.Topic) -> str:
    return topic.title.rstrip(".").replace("``", "`").replace("|", "\\|")


def _listed(kind: str, title: str, words: str) -> str:
    """The index of a folder, one row per page."""
    found = [t for t in pages.topics() if t.kind == kind]
    coded = any(t.alias for t in found)
    rows = [("| code " if coded else "") + "| name | what it finds |", ("|---" if coded else "") + "|---|---|"]
    for t in sorted(found, key=lambda t: (t.alias or "", t.name)):
        rows.append((f"| {t.alias} " if coded else "") + f"| [{t.name}]({t.name}.md) | {_title(t)} |")
    return MADE.format(source="their docstrings") + f"# {title}\n\n{words}\n" + "\n".join(rows) + "\n"


def _drawn() -> str:
    """The index of the families: each with its picture."""
    parts = [MADE.format(source="their docstrings") + f"# Schedule families\n\n{FAMILIES}"]
    for t in (t for t in pages.topics() if t.kind == "family"):
        parts.append(f"## [{t.name}]({t.name}.md)\n\n{_title(t)}.\n\n![{t.name}]({t.name}.svg)\n")
    return "\n".join(parts)


def _commands() -> Iterator[str]:
    root = click.Context(main, info_name="lrwatch", terminal_width=80, **main.context_settings)
    yield _help(root)
    for name in main.list_commands(root):
        command = main.get_command(root, name)
        assert command is not None
        yield from _below(command, click.Context(command, root, info_name=name))


def _below(command: click.Command, ctx: click.Context) -> Iterator[str]:
    yield _help(ctx)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            yield from _below(child, click.Context(child, ctx, info_name=name))


def _help(ctx: click.Context) -> str:
    return f"## {ctx.command_path}\n\n```text\n{ctx.command.get_help(ctx)}\n```\n"


if __name__ == "__main__":
    for name, text in rendered().items():
        page = HERE / name
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")
    known = {HERE / name for name in rendered()}
    for page in [*HERE.glob("checks/*.md"), *HERE.glob("lint/*.md"), *HERE.glob("families/*.md")]:
        if page not in known:
            page.unlink()
