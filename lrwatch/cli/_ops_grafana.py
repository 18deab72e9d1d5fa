"""``lrwatch ops grafana``: our folder, data source, dashboards and annotations in a Grafana."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrwatch.cli import base
from lrwatch.cli._ops_rules import Duration
from lrwatch.errors import LrwatchError

if TYPE_CHECKING:
    from lrwatch.ops.grafana.client import Grafana
    from lrwatch.ops.grafana.plan import Change
    from lrwatch.ops.grafana.wanted import Wanted


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which Grafana, and what of lrwatch's."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--timeout", type=Duration(), default="10s", show_default=True, help="Wait for an answer."),
        click.option("--run", "runs", multiple=True, type=path, metavar="RUN_DIR",
                     help="Events and findings of this finished run as annotations; repeatable."),
        click.option("--dashboards", "boards", type=path, metavar="DIR",
                     help="Dashboards that you rendered.  [those that came with lrwatch]"),
        click.option("--runbook-url", metavar="BASE", help="Where your people read the runbooks."),
        click.option("--folder", metavar="TITLE", default="lrwatch", show_default=True, help="Title of the folder."),
        click.option("--datasource", metavar="UID", help="A Prometheus data source that is there, to begin with."),
        click.option("--prometheus", metavar="URL", help="Make a data source for this Prometheus, as Grafana sees it."),
        click.option("--token-file", type=path, metavar="FILE", help="File with the token.  [GRAFANA_TOKEN]"),
        click.option("--url", envvar="GRAFANA_URL", metavar="URL", help="Address of Grafana.  [GRAFANA_URL]"),
    ):
        command = option(command)
    return command


@click.group(cls=base.Group, short_help="Folder, data source, dashboards, annotations in a Grafana.")
def grafana() -> None:
    """Bring lrwatch's folder, data source, dashboards and annotations into a Grafana.

    Only what has lrwatch's uid prefix and tag is touched, nothing of the whole organisation. The token is read from
    GRAFANA_TOKEN or a file. Needs the extra lrwatch[grafana].
    """


@grafana.command()
@_options
@click.option("--force", is_flag=True, help="Overwrite what is not lrwatch's, or was changed at the same moment.")
def apply(force: bool, **options: Any) -> None:
    """Create what is missing, update what differs. The same again changes nothing.

    \b
    Examples:
      lrwatch ops grafana apply --url https://grafana.example --prometheus http://prometheus:9090
      lrwatch ops grafana apply --url https://grafana.example --datasource abc123 --run runs/7
    """
    from lrwatch.ops.grafana.plan import carry_out, to_apply

    server, wanted = _opened(**options)
    carry_out(to_apply(server, wanted, force), lambda change: _say(change, lines=False))


@grafana.command()
@_options
@click.option("--force", is_flag=True, help="As `apply --force` would.")
def diff(force: bool, **options: Any) -> int:
    """Show what `apply` would do, and write nothing; exit 1 if that is anything.

    \b
    Example:
      lrwatch ops grafana diff --url https://grafana.example --prometheus http://prometheus:9090
    """
    from lrwatch.ops.grafana.plan import to_apply

    server, wanted = _opened(**options)
    changes = to_apply(server, wanted, force)
    for change in changes:
        _say(change, lines=True)
    return base.OK if all(change.action == "keep" for change in changes) else base.FINDINGS


@grafana.command()
@_options
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def delete(dry_run: bool, **options: Any) -> None:
    """Delete lrwatch's dashboards and data source, and its folder if nothing else is in it.

    Annotations are deleted of the runs given with --run.
    """
    from lrwatch.ops.grafana.plan import carry_out, to_delete

    server, wanted = _opened(**options)
    changes = to_delete(server, wanted)
    if dry_run:
        for change in changes:
            _say(change, lines=True)
    else:
        carry_out(changes, lambda change: _say(change, lines=change.action == "keep"))
    if not changes:
        click.echo("nothing of lrwatch's is there")


def _opened(url: str | None, token_file: Path | None, timeout: float, **options: Any) -> tuple[Grafana, Wanted]:
    from lrwatch.ops.grafana import client
    from lrwatch.ops.grafana.wanted import wanted

    if not url:
        raise LrwatchError("no Grafana was named: give --url, or set GRAFANA_URL")
    names = {"runbook_url": "runbooks"}
    asked = wanted(**{names.get(name, name): value for name, value in options.items()})
    return client.Grafana(url, client.token(token_file), timeout), asked


def _say(change: Change, lines: bool) -> None:
    from lrwatch.ops.grafana.plan import SHOWN

    more = f"  {len(change.lines)} differences" if change.action == "update" else ""
    click.echo(f"{change.action:<7} {change.kind:<12} {change.uid}{more}")
    if lines:
        for line in change.lines[:SHOWN]:
            click.echo(f"          {line}")
        if len(change.lines) > SHOWN:
            click.echo(f"          … and {len(change.lines) - SHOWN} more")
