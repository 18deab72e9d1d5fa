"""``lrwatch ops kubernetes``: render what the manifests share with rules, routes and dashboards."""

from __future__ import annotations

from pathlib import Path

import click

from lrwatch.cli import base
from lrwatch.errors import LrwatchError, OutputExists


@click.group(cls=base.Group, short_help="Manifests for Kubernetes: render what they are made of.")
def kubernetes() -> None:
    """Manifests for Kubernetes: render what they are made of.

    docs/kubernetes.md says how to install them.
    """


@kubernetes.command()
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another threshold; repeatable. `ops rules thresholds` lists them.")
@click.option("--runbook-url", metavar="BASE", help="Where your people read the runbooks.  [alerts/runbooks]")
@click.option("--sweeps", type=click.Path(path_type=Path), metavar="DIR", help="Reviewed files that authorise sweeps.")
@click.option("--approved", type=click.Path(path_type=Path), metavar="DIR",
              help="Reviewed files that approve contracts for production.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", required=True,
              help="A copy of deploy/kubernetes; without the hand-written manifests, they are copied there, too.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def render(
    settings: tuple[str, ...],
    runbook_url: str | None,
    sweeps: Path | None,
    approved: Path | None,
    output: Path,
    force: bool,
) -> None:
    """Write the manifests with your thresholds, runbooks and reviewed files, ready for `kubectl apply -k`.

    \b
    Examples:
      lrwatch ops kubernetes render -o k8s --runbook-url https://wiki.example/runbooks
      lrwatch ops kubernetes render -o k8s --set stall_deadline=30m --force
    """
    from lrwatch import assets
    from lrwatch.ops import kubernetes as manifests
    from lrwatch.ops import render as rendering
    from lrwatch.ops import reviewed, routing
    from lrwatch.ops.thresholds import resolve

    values = resolve(settings)
    if problems := routing.problems(routing.Routing(), values):
        raise LrwatchError("; ".join(problems))
    extra = []
    if sweeps is not None:
        extra.append(reviewed.sweep_group(reviewed.sweeps(sweeps)))
    if approved is not None:
        extra.append(reviewed.approval_group(reviewed.approvals(approved)))
    made = manifests.files(values, runbook_url or rendering.RUNBOOKS, extra)
    home = assets.find("deploy/kubernetes")
    written = {
        str(path.relative_to(home)): path.read_text(encoding="utf-8")
        for path in sorted(home.rglob("*"))
        if path.is_file() and "rendered" not in path.relative_to(home).parts
    }
    for name, text in made.items():
        path = output / name
        if path.exists() and not force and path.read_text(encoding="utf-8") != text:
            raise OutputExists(path)
    new = {name: text for name, text in written.items() if not (output / name).exists()}  # theirs are theirs
    for name, text in (made | new).items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        base.write(text, str(output / name), force=True)
    click.echo(f"{output}: {len(made)} files rendered, {len(new)} copied", err=True)
