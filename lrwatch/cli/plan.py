"""``lrwatch plan``: what a contract will do to a run, before it is started."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lrwatch.cli import base
from lrwatch.cli._promise import promise_options, promised
from lrwatch.findings import Severity

if TYPE_CHECKING:
    from lrwatch.contract import Contract


@click.command(short_help="Draw a contract's curve and say what looks wrong.")
@click.argument("file", required=False, metavar="[CONTRACT]")
@click.option(
    "--updates",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Updates that the trainer will make, as its own progress bar counts them; compared with the horizon.",
)
@click.option(
    "--fail-on",
    type=click.Choice([str(s) for s in reversed(Severity)]),
    default="error",
    show_default=True,
    help="Lowest severity that fails.",
)
@promise_options
@base.output_options("text", "json", "junit", "sarif", "html")
@click.pass_context
def plan(
    ctx: click.Context,
    file: str | None,
    updates: float | None,
    fail_on: str,
    form: str,
    output: str | None,
    force: bool,
) -> int:
    """Draw the curve that a contract promises, with its landmarks, and say what looks wrong, before training.

    Instead of a file, a promise made of options. Rules that need what is not known say so; `lrwatch explain` lists
    them all.

    Exit codes: 0 nothing at or above --fail-on, 1 something looks wrong, 2 not a contract.

    \b
    Examples:
      lrwatch plan contract.yaml
      lrwatch plan contract.yaml --updates 15000 --fail-on warning
      lrwatch plan --cosine --lr 3e-4 --warmup 500 --steps 10000
      lrwatch plan contract.yaml --format html --output plan.html
    """
    base.refuse_to_overwrite(output, force)
    contract = _contract(ctx, file)

    from lrwatch.lint import inspect
    from lrwatch.report import render_plan
    from lrwatch.report._plan import verdict
    from lrwatch.report.base import Look

    found, severity = inspect(contract, updates), Severity[fail_on]
    to_file = output not in (None, "-")
    look = Look(severity, not to_file and base.colours(sys.stdout), to_file or base.shows_unicode(sys.stdout))
    base.write(render_plan(form, found, look), output, force)
    return base.FINDINGS if verdict(found, severity) == "fail" else base.OK


def _contract(ctx: click.Context, file: str | None) -> Contract:
    inline = promised(ctx)
    if file is None and inline is None:
        raise click.UsageError("give a contract, or a promise made of options: --cosine --lr 3e-4 --steps 10000", ctx)
    if file is not None and inline is not None:
        raise click.UsageError(f"{file}: is a contract, and a promise made of options is another; give one", ctx)
    if inline is not None:
        return inline
    from lrwatch.contract import load

    return load(str(file))


COMMAND = plan
