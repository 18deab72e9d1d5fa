"""``lrwatch diff``: two runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrwatch.cli import base
from lrwatch.cli._trace import opened, trace_options

if TYPE_CHECKING:
    from lrwatch.contract import Contract


@click.command(short_help="Say where two runs part, and why.")
@click.argument("a")
@click.argument("b")
@trace_options
@click.option(
    "--contract",
    "files",
    multiple=True,
    metavar="FILE",
    help="What both promised; given twice, what A and what B promised.  [contract.yaml in the run directory]",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["lr", "weight_decay", "momentum", "loss", "grad_norm"]),
    help="Compare this alone; repeatable. Nothing else then makes the runs differ.",
)
@base.output_options("text", "json", "html")
@click.pass_context
def diff(
    ctx: click.Context,
    a: str,
    b: str,
    files: tuple[str, ...],
    only: tuple[str, ...],
    form: str,
    output: str | None,
    force: bool,
) -> int:
    """Say where two runs part, in what else they differ, and which bug would do that.

    A and B are run directories or traces; rows are compared update by update, within what was lost in storing
    them. A run without a contract is judged by the other's; without any, A is taken as the promise of B. Of
    updates that a run did again after a rollback, the last time counts.

    Exit codes: 0 the same, 1 they differ, 2 could not compare.

    \b
    Examples:
      lrwatch diff runs/good runs/bad
      lrwatch diff --contract contract.yaml runs/good runs/bad --format html --output diff.html
      lrwatch diff --only lr old.csv new.csv
    """
    base.refuse_to_overwrite(output, force)
    if a == b == "-":
        raise click.UsageError("- and -: standard input can be one of the runs only", ctx)

    from lrwatch.diff import diff as compare
    from lrwatch.report import render_diff
    from lrwatch.report.base import Look

    sources = opened(ctx, [a]), opened(ctx, [b])
    promised = (sources[0].info.contract, sources[1].info.contract)
    contracts = _contracts(ctx, files, (a, b), promised)
    with base.Progress() as progress:
        found = compare(*sources, contracts, only=only, progress=progress)
    to_file = output not in (None, "-")
    look = Look(colour=not to_file and base.colours(sys.stdout), unicode=to_file or base.shows_unicode(sys.stdout))
    base.write(render_diff(form, found, look), output, force)
    return base.OK if found.same else base.FINDINGS


def _contracts(
    ctx: click.Context, files: tuple[str, ...], runs: tuple[str, str], recorded: tuple[str | None, str | None]
) -> tuple[Contract | None, Contract | None]:
    """What A and what B promised."""
    from lrwatch.contract import load
    from lrwatch.contract.kept import kept

    if len(files) > 2:
        raise click.UsageError(f"--contract was given {len(files)} times; once for both runs, or once for each", ctx)
    if files:
        return load(files[0]), load(files[-1])
    return kept(Path(runs[0]), recorded[0]), kept(Path(runs[1]), recorded[1])


COMMAND = diff
