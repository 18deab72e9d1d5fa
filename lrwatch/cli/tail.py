"""``lrwatch tail``: watch a trainer that cannot be changed, by what it prints."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrwatch.cli import base
from lrwatch.cli._promise import promise_options, promised
from lrwatch.cli._trace import said, trace_options
from lrwatch.cli._verdict import exit_code, verdict_options
from lrwatch.findings import Severity

if TYPE_CHECKING:
    from lrwatch.contract import Contract


@click.command(short_help="Watch a trainer by its log or its output.")
@click.argument("file", metavar="FILE|-")
@click.option("--contract", "contract_file", metavar="CONTRACT", help="The promise, a YAML file.")
@click.option("--no-contract", is_flag=True, help="Check only what a log shows by itself.")
@trace_options
@promise_options
@click.option("--quiet", is_flag=True, help="Do not hand standard input on to standard output.")
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR",
              help="Where trace and summary go; default: runs/<experiment>-<time>.")
@click.option("--run-id", metavar="NAME", help="Name of the run; default: that of the directory.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Serve the metrics there.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Port of the metrics; default: any free one.")
@click.option("--until-idle", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="End when nothing was written for so long.")
@click.option("--linger", type=click.FloatRange(0), default=0.0, metavar="SECONDS",
              help="After the end wait so long, at most, until scrapers have read the final state.")
@verdict_options
@click.pass_context
def tail(
    ctx: click.Context,
    file: str,
    contract_file: str | None,
    no_contract: bool,
    quiet: bool,
    run_dir: Path | None,
    run_id: str | None,
    host: str,
    port: int | None,
    until_idle: float | None,
    linger: float,
    fail_on: str,
    allow_inconclusive: bool,
) -> int:
    """Watch a trainer that cannot be changed, by its log FILE or, with -, by its output.

    Reads every text format that verify knows, live: one line on standard error per new finding, the agent's
    metrics on a port, and a run directory with trace and summary. What comes by standard input is handed on to
    standard output untouched. Ends when the pipe is closed, on Ctrl-C, or with --until-idle, with the verdict and
    the exit code of verify.

    \b
    Examples:
      python -u train.py | lrwatch tail - --contract contract.yaml
      lrwatch tail train.log --contract contract.yaml --run-dir runs/1 --until-idle 600
    """
    contract = _contract(ctx, contract_file, no_contract)
    form, options = said(ctx, contract)

    from lrwatch.report import render
    from lrwatch.report.base import Look
    from lrwatch.tail.follow import Settings, Tail
    from lrwatch.tail.signals import Told, on_signals
    from lrwatch.tail.sources import opened

    settings = Settings(run_id, run_dir, host, port or None, linger, until_idle)
    following = Tail(opened(file, quiet), contract, options, form, settings)
    told = Told()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signals(told))
    report = following.follow(told)
    severity = Severity[fail_on]
    look = Look(severity, base.colours(sys.stderr), base.shows_unicode(sys.stderr), allow_inconclusive)
    verdict = render("text", report, look).partition("\n\n")[0].strip()
    click.echo(f"{verdict}\nMore: lrwatch verify {following.run_dir}", err=True)
    return exit_code(report.result, severity, allow_inconclusive)


def _contract(ctx: click.Context, file: str | None, no_contract: bool) -> Contract | None:
    """The promise, from a file or from options."""
    inline = promised(ctx)
    given = [file is not None, inline is not None, no_contract]
    if sum(given) > 1:
        raise click.UsageError("--contract, --no-contract and a promise made of options exclude each other", ctx)
    if not any(given):
        raise click.UsageError(
            "against what? --contract CONTRACT, a promise such as --cosine --lr 3e-4 --steps 10000, or --no-contract",
            ctx,
        )
    if file is None:
        return inline
    from lrwatch.contract import load

    return load(file)


COMMAND = tail
