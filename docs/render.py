"""Makes the pages that are written in the code: ``python docs/render.py`` rewrites them beside this file.

checks/<slug>.md, lint/<slug>.md and families/<name>.md are docstrings, causes.md is the catalogue of causes, cli.md is
--help.
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
            made[f"{folder}/{topic.name}.md"] = MADE.format(source=topic.source) + pages.markdown(topic)
    causes = [
        _pictured(pages.markdown(topic, level=2), topic.name) for topic in pages.topics() if topic.kind == "cause"
    ]
    head = MADE.format(source="lrwatch/diagnosis/causes.py") + "# Causes that lrwatch can name\n\n"
    made["causes.md"] = head + "\n".join(causes)
    made["frameworks.md"] = MADE.format(source="lrwatch/importers/_frameworks") + frameworks.page(importers())
    made["cli.md"] = MADE.format(source="--help") + "# The command line\n\n" + "\n".join(_commands())
    return made


def _pictured(page: str, cause: str) -> str:
    """The page of a cause with its picture, which gallery.py draws, under the heading."""
    heading, _, rest = page.partition("\n")
    return f"{heading}\n\n![{cause}: what was promised and what was used](causes/{cause}.svg)\n{rest}"


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
