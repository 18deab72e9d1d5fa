"""``lrwatch explain``: the page of a check, a cause, a schedule family, or a contract to start from."""

from __future__ import annotations

import sys

import click

from lrwatch.cli import base


@click.command(short_help="Explain a finding, a cause, a family, a contract.")
@click.argument("topic", required=False, metavar="[SLUG|CODE|CAUSE|FAMILY|contract]")
def explain(topic: str | None) -> None:
    """Explain a check or a rule (by slug or code), a cause, a schedule family, or what a contract looks like.

    Without a topic, list them all.

    \b
    Examples:
      lrwatch explain LR101
      lrwatch explain cosine
      lrwatch explain contract > contract.yaml
    """
    from lrwatch.report import pages
    from lrwatch.report.base import ascii_only

    text = pages.listing() if topic is None else "\n".join(pages.text(found) for found in pages.find(topic))
    sys.stdout.write(text if base.shows_unicode(sys.stdout) else ascii_only(text))


COMMAND = explain
