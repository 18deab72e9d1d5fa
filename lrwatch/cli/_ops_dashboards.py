"""``lrwatch ops dashboards``: render Grafana's dashboards."""

from __future__ import annotations

from pathlib import Path

import click

from lrwatch.cli import base
from lrwatch.errors import LrwatchError, OutputExists


@click.group(cls=base.Group, short_help="Grafana dashboards: executive, on-call, debug.")
def dashboards() -> None:
    """Grafana dashboards: executive, on-call, debug."""


@dashboards.command()
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another threshold; repeatable, as for `ops rules render`. Needs grafana-foundation-sdk.")
@click.option("--runbook-url", metavar="BASE", help="Where your people read the runbooks.  [alerts/runbooks]")
@click.option("--datasource", metavar="UID", help="Also write file provisioning for this data source, with --url.")
@click.option("--url", metavar="URL", help="Address of Prometheus as Grafana reaches it, for --datasource.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", required=True,
              help="Directory in which dashboards/*.json and, with --datasource, provisioning/ are written.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def render(
    settings: tuple[str, ...],
    runbook_url: str | None,
    datasource: str | None,
    url: str | None,
    output: Path,
    force: bool,
) -> None:
    """Write the dashboards, and the files by which a Grafana loads them.

    \b
    Examples:
      lrwatch ops dashboards render -o grafana --runbook-url https://wiki.example/runbooks
      lrwatch ops dashboards render -o grafana --datasource lrwatch --url http://prometheus:9090
    """
    from lrwatch.ops.dashboards import files

    if (datasource is None) != (url is None):
        raise LrwatchError("--datasource and --url: give both, or neither")
    made = {f"dashboards/{name}": text for name, text in files.boards(settings, runbook_url, datasource).items()}
    if datasource is not None and url is not None:
        made |= {f"provisioning/{name}": text for name, text in files.provisioning(datasource, url).items()}
    for name, text in made.items():
        path = output / name
        if path.exists() and not force and path.read_text(encoding="utf-8") != text:
            raise OutputExists(path)
    for name, text in made.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        base.write(text, str(output / name), force=True)
    click.echo(f"{output}: {len(made)} files", err=True)
