"""``lrwatch top``: one run, live, in a terminal."""

from __future__ import annotations

import sys

import click

from lrwatch.cli import base
from lrwatch.errors import MissingExtra


@click.command(short_help="One run, live, in this terminal.")
@click.argument("where", metavar="[URL|RUN_DIR]", required=False)
@click.option("--every", type=click.FloatRange(0.2), default=2.0, show_default=True, metavar="SECONDS",
              help="Between two looks.")
@click.option("--timeout", type=click.FloatRange(0.1), default=2.0, show_default=True, metavar="SECONDS",
              help="Wait for a worker's answer.")
@click.option("--once", is_flag=True, help="Print what is known now, and end.")
def top(where: str | None, every: float, timeout: float, once: bool) -> None:
    """Show one run: state, learning rate used and expected, loss, workers, findings.

    URL is a worker's metrics or those of `lrwatch ops node`; RUN_DIR is asked for all of its workers, its trace and
    its summary, so it still answers when the run is dead. Without either: the newest run in ./runs. Needs the extra
    lrwatch[top]. q ends.

    \b
    Examples:
      lrwatch top runs/gpt-small-7
      lrwatch top http://node7:9478/metrics
      lrwatch top runs/gpt-small-7 --once
    """
    try:
        from lrwatch.top import live
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "rich":
            raise
        raise MissingExtra("lrwatch top", "top") from None
    from lrwatch.top.sources import source

    plain = not base.shows_unicode(sys.stdout)
    out = live.console(base.colours(sys.stdout), plain)
    if once or not sys.stdout.isatty():
        live.once(source(where, timeout), out, plain)
    else:
        live.follow(source(where, timeout), out, every, plain)


COMMAND = top
