"""``lrwatch ops rules``: render the alert rules, check them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lrwatch.cli import base
from lrwatch.errors import LrwatchError, OutputExists


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """``30s``, ``5m``, ``1h30m`` or a number of seconds → seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from lrwatch.ops.thresholds import seconds

        if isinstance(value, float):
            return value
        try:
            return seconds(str(value))
        except ValueError:
            self.fail(f"{value!r} is no duration, as in 30s, 5m or 1h30m", param, ctx)


def routing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where notifications go."""
    for name, what in (
        ("page", "pages (critical)"),
        ("ticket", "tickets (warning)"),
        ("record", "what is only worth a record (info)"),
        ("deadman", "the heartbeat, whose absence is the alarm"),
    ):
        command = click.option(f"--{name}", metavar="URL", default="", help=f"Webhook for {what}.")(command)
    return command


@click.group(cls=base.Group, short_help="Render or check the alert rules.")
def rules() -> None:
    """Render or check the alert rules."""


@rules.command()
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another threshold; repeatable. `rules thresholds` lists them.")
@click.option("--runbook-url", metavar="BASE", help="Where your people read the runbooks.  [alerts/runbooks]")
@click.option("--grafana-url", metavar="URL", default="",
              help="Grafana with lrwatch's dashboards: alerts get a link to their run there.")
@click.option("--sweeps", type=click.Path(path_type=Path), metavar="DIR", help="Reviewed files that authorise sweeps.")
@click.option("--approved", type=click.Path(path_type=Path), metavar="DIR",
              help="Reviewed files that approve contracts for production.")
@click.option("--evaluation", type=Duration(), default="15s", show_default=True,
              help="Your Prometheus's evaluation_interval.")
@click.option("--group-wait", type=Duration(), default="1m", show_default=True,
              help="How long a run's first alert waits for the ones that explain it.")
@routing_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="Write rules/*.yml and alertmanager.yml there instead of to standard output.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def render(
    settings: tuple[str, ...],
    runbook_url: str | None,
    grafana_url: str,
    sweeps: Path | None,
    approved: Path | None,
    evaluation: float,
    group_wait: float,
    page: str,
    ticket: str,
    record: str,
    deadman: str,
    output: Path | None,
    force: bool,
) -> None:
    """Write the alert rules and Alertmanager's routes, with your thresholds.

    \b
    Examples:
      lrwatch ops rules render -o prometheus --page https://pager.example/hook
      lrwatch ops rules render --set stall_deadline=30m --set desync_hold=5m
      lrwatch ops rules render -o prometheus --sweeps reviewed/sweeps --force
    """
    from lrwatch.ops import render as rendering
    from lrwatch.ops import reviewed, routing
    from lrwatch.ops.thresholds import resolve

    values = resolve(settings)
    routes = routing.Routing(page, ticket, record, deadman, evaluation=evaluation, wait=group_wait)
    if problems := routing.problems(routes, values):
        raise LrwatchError("; ".join(problems))
    extra = []
    if sweeps is not None:
        extra.append(reviewed.sweep_group(reviewed.sweeps(sweeps)))
    if approved is not None:
        extra.append(reviewed.approval_group(reviewed.approvals(approved)))
    made = rendering.files(values, runbook_url or rendering.RUNBOOKS, extra, grafana_url)
    texts = {f"rules/{name}": text for name, text in made.items()} | {"alertmanager.yml": routing.text(routes)}
    if output is None:
        for name, text in texts.items():
            click.echo(f"# --- {name}\n{text}", nl=False)
        return
    for name, text in texts.items():
        path = output / name
        if path.exists() and not force and path.read_text(encoding="utf-8") != text:
            raise OutputExists(path)
    for name, text in texts.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        base.write(text, str(output / name), force=True)
    click.echo(f"{output}: {len(texts)} files", err=True)


@rules.command()
def thresholds() -> None:
    """List every threshold with its value and where it comes from."""
    from lrwatch.ops.thresholds import THRESHOLDS, resolve, written

    values = resolve()
    for name, t in THRESHOLDS.items():
        click.echo(f"{name:<22} {written(name, values):>8}  {t.why}")


@rules.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="[DIR]", required=False)
def check(folder: Path | None) -> int:
    """Check rules: names, runbooks, and what promtool and amtool say, their tests included.

    DIR holds rules/*.yml and, if it likes, alertmanager.yml, tests/*.yml and runbooks/; without it the rules that
    came with lrwatch are checked. Exit codes: 0 nothing found, 1 something found, 2 promtool or amtool is missing.

    \b
    Example:
      lrwatch ops rules check prometheus
    """
    from lrwatch.ops.check import check as judge

    report = judge(folder)
    for line in report.done:
        click.echo(f"ok   {line}")
    for line in report.skipped:
        click.echo(f"skip {line}")
    for line in report.found:
        click.echo(f"BAD  {line}")
    return base.FINDINGS if report.found else base.CANNOT if report.skipped else base.OK
