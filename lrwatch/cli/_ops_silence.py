"""``lrwatch ops silence``: quiet for one run or sweep, for a while."""

from __future__ import annotations

from pathlib import Path

import click

from lrwatch.cli._ops_rules import Duration


@click.command(short_help="Silence the alerts of one run or one sweep for a while.")
@click.option("--run", metavar="RUN_ID", help="The run.")
@click.option("--sweep", metavar="NAME", help="The sweep, all its runs.")
@click.option("--owner", required=True, metavar="NAME", help="Who answers for it.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, in a few words or as a ticket.")
@click.option("--for", "seconds", type=Duration(), required=True, help="How long, 24h at most.")
@click.option("--alert", metavar="NAME", help="Only this alert.")
@click.option("--code", metavar="CODE", help="Only findings of this code, as LR302.")
@click.option("--alertmanager", metavar="URL", help="Where Alertmanager is.  [that of the stack]")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("lrwatch-stack"), show_default=True,
              help="The stack whose Alertmanager is meant.")
def silence(
    run: str | None,
    sweep: str | None,
    owner: str,
    reason: str,
    seconds: float,
    alert: str | None,
    code: str | None,
    alertmanager: str | None,
    folder: Path,
) -> None:
    """Silence the alerts of one run or one sweep for a while.

    There is no silence for everything, none without an owner, and none longer than a day. The dead-man's switch
    cannot be silenced.

    \b
    Example:
      lrwatch ops silence --run gpt-7 --code LR302 --owner ada --for 2h --reason "known bad shard"
    """
    from lrwatch.ops.silence import Silence, create
    from lrwatch.ops.stack import Stack

    asked = Silence(owner, reason, seconds, run=run, sweep=sweep, alert=alert, code=code)
    url = (alertmanager or Stack(folder).url("alertmanager")).rstrip("/")
    made, ends, hit = create(url, asked)
    click.echo(f"silence {made} until {ends:%Y-%m-%d %H:%M} UTC; it covers {hit} of the alerts that are there now")
    click.echo(f"end it earlier with: amtool silence expire {made} --alertmanager.url={url}")
