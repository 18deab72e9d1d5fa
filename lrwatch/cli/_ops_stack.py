"""``lrwatch ops stack``: Prometheus and Alertmanager on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from lrwatch.cli import base
from lrwatch.cli._ops_rules import Duration
from lrwatch.errors import LrwatchError

_DIR = click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("lrwatch-stack"),
                    show_default=True, help="Where everything of the stack is kept.")  # fmt: skip


@click.group(cls=base.Group, short_help="Prometheus and Alertmanager on this machine, wired up.")
def stack() -> None:
    """Prometheus and Alertmanager on this machine, wired up.

    The programs are taken from PATH or .tools/bin (`make tools` in a checkout); Grafana joins if it is there.
    Everything listens on loopback only.
    """


@stack.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUNS]...")
@_DIR
@click.option("--scrape", type=Duration(), default="5s", show_default=True,
              help="Time between scrapes, and between evaluations of the rules.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Another threshold; repeatable.")
@click.option("--sweep", "sweeps", multiple=True, metavar="NAME=DIR", help="Runs in DIR are of this sweep; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE",
              help="A label of every target, as environment=production; repeatable.")
@click.option("--sweeps", "authorised", type=click.Path(path_type=Path), metavar="DIR",
              help="Reviewed files that authorise sweeps.")
@click.option("--approved", type=click.Path(path_type=Path), metavar="DIR",
              help="Reviewed files that approve contracts for production.")
def up(
    runs: tuple[Path, ...],
    folder: Path,
    scrape: float,
    settings: tuple[str, ...],
    sweeps: tuple[str, ...],
    labels: tuple[str, ...],
    authorised: Path | None,
    approved: Path | None,
) -> None:
    """Start what does not run, reconfigure what does.

    RUNS are run directories, or directories of them; trainers there are found while they run. Notifications are
    written to notifications.jsonl in the stack's directory.

    \b
    Examples:
      lrwatch ops stack up runs
      lrwatch ops stack up runs --scrape 1s --sweep lr-range=runs/lr-range
    """
    from lrwatch.ops.rules.base import DISCOVERY
    from lrwatch.ops.stack import Settings, Stack

    given = dict(_pair("--label", text) for text in labels)
    for name in given:
        if name not in DISCOVERY or name == "sweep":
            raise LrwatchError(f"--label {name}: discovery sets {', '.join(n for n in DISCOVERY if n != 'sweep')} only")
    made = Stack(folder)
    made.up(
        Settings(
            runs=runs or (Path("runs"), Path("lrwatch-runs")), labels=given, scrape=scrape, thresholds=settings,
            sweeps={name: Path(path) for name, path in (_pair("--sweep", text) for text in sweeps)},
            authorised=authorised, approved=approved,
        )
    )  # fmt: skip
    _show(made)


@stack.command()
@_DIR
def status(folder: Path) -> int:
    """Say what runs, what it watches and which alerts fire; exit 1 if something that belongs to the stack is down."""
    from lrwatch.ops.stack import Stack

    made = Stack(folder)
    if not made.services():
        raise LrwatchError(f"{folder}: there is no stack; `lrwatch ops stack up --dir {folder}` makes one")
    return _show(made)


@stack.command()
@_DIR
def down(folder: Path) -> None:
    """Stop everything; the data stays."""
    from lrwatch.ops.stack import Stack

    stopped = Stack(folder).down()
    click.echo(f"{folder}: stopped {', '.join(stopped)}" if stopped else f"{folder}: nothing was running")


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise LrwatchError(f"{option} {text}: give it as NAME=VALUE")
    return name, value


def _show(made: object) -> int:
    from lrwatch.ops.api import alerts, targets
    from lrwatch.ops.stack import Stack

    assert isinstance(made, Stack)
    for service in made.services():
        click.echo(f"{service.name:<13} {service.url:<24} {f'pid {service.pid}' if service.pid else 'DOWN'}")
    down = [s.name for s in made.services() if s.pid is None]
    if "prometheus" not in down:
        healths = [target["health"] for target in targets(made.url("prometheus"))]
        click.echo(f"targets       {healths.count('up')} up, {len(healths) - healths.count('up')} not")
    if "alertmanager" not in down:
        for alert in alerts(made.url("alertmanager")):
            labels = alert["labels"]
            if labels["severity"] != "none":
                about = labels.get("run_id") or labels.get("experiment") or labels.get("instance") or ""
                what = " ".join(filter(None, (labels["alertname"], labels.get("code"), about)))
                click.echo(f"alert         {labels['severity']:<8} {what} ({alert['status']['state']})")
    log = made.folder / "notifications.jsonl"
    click.echo(f"notifications {log}")
    return base.FINDINGS if down else base.OK
