"""``lrwatch verify``: what a recorded run really did, against what was promised."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrwatch.cli import base
from lrwatch.cli._promise import promise_options, promised
from lrwatch.cli._trace import opened, read_share, trace_options
from lrwatch.cli._verdict import exit_code, verdict_options
from lrwatch.errors import LrwatchError
from lrwatch.findings import Severity

if TYPE_CHECKING:
    from lrwatch.contract import Contract

_YAML = (".yaml", ".yml")


@click.command(short_help="Check a recorded run against its contract.")
@click.argument("paths", nargs=-1, required=True, metavar="[CONTRACT] TRACE...")
@trace_options
@click.option(
    "--only",
    multiple=True,
    type=base.Words("lrwatch.checks", "SLUG", dashes=True),
    help="Run this check only; repeatable.",
)
@verdict_options
@click.option("--no-contract", is_flag=True, help="Check only what a trace shows by itself.")
@promise_options
@base.output_options("text", "json", "junit", "sarif", "html")
@click.pass_context
def verify(
    ctx: click.Context,
    paths: tuple[str, ...],
    only: tuple[str, ...],
    fail_on: str,
    allow_inconclusive: bool,
    no_contract: bool,
    form: str,
    output: str | None,
    force: bool,
) -> int:
    """Check a recorded run against its contract.

    The first path is the contract if its name ends in .yaml or .yml; every other path is a trace: a file, a
    run directory, or - for standard input. A run directory has a copy of the contract that it was recorded
    under; without that, and without a promise made of options, only what a trace shows by itself is checked,
    and the report says so.

    \b
    Examples:
      lrwatch verify runs/1
      lrwatch verify contract.yaml runs/1
      lrwatch verify --cosine --lr 3e-4 --warmup 500 --steps 10000 log.csv
      lrwatch verify --no-contract runs/1 --format json --output verdict.json
    """
    base.refuse_to_overwrite(output, force)
    contract, traces = _sort_out(ctx, paths, no_contract)

    from lrwatch.contract.kept import kept
    from lrwatch.report import render
    from lrwatch.report.base import Look
    from lrwatch.verify import verify as check

    source = opened(ctx, traces, contract)
    if contract is None and not no_contract and len(traces) == 1:
        contract = kept(Path(traces[0]), source.info.contract)
    with base.Progress(read_share(ctx)) as progress:
        found = check(contract, source, only=only or None, progress=progress)
    severity = Severity[fail_on]
    to_file = output not in (None, "-")
    look = Look(
        severity,
        not to_file and base.colours(sys.stdout),
        to_file or base.shows_unicode(sys.stdout),
        allow_inconclusive,
    )
    base.write(render(form, found, look), output, force)
    return exit_code(found.result, severity, allow_inconclusive)


def _sort_out(ctx: click.Context, paths: tuple[str, ...], no_contract: bool) -> tuple[Contract | None, list[str]]:
    """Contract and traces among the paths."""
    inline = promised(ctx)
    file, traces = (paths[0], list(paths[1:])) if paths[0].lower().endswith(_YAML) else (None, list(paths))
    for path in traces:
        if path.lower().endswith(_YAML):
            remedy = "give one contract" if file else "the contract comes first, then the traces"
            raise click.UsageError(f"{path}: is named like a contract; {remedy}", ctx)
        if _reads_like_a_contract(path):
            raise click.UsageError(f"{path}: reads like a contract; name it {Path(path).stem}.yaml", ctx)
    if file is not None and (inline is not None or no_contract):
        other = "a promise made of options" if inline is not None else "--no-contract"
        raise click.UsageError(f"{file}: is a contract, and {other} is another answer; give one", ctx)
    if inline is not None and no_contract:
        raise click.UsageError("--no-contract contradicts a promise made of options; give one", ctx)
    if file is None:
        return inline, traces
    from lrwatch.contract import load

    contract = load(file)
    if not traces:
        raise LrwatchError(f"{file}: is a contract; give the trace to check after it: lrwatch verify {file} RUN_DIR")
    return contract, traces


def _reads_like_a_contract(path: str) -> bool:
    """Whether a file that is not named like one begins as contracts do."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            return re.search(rb"^lrwatch\s*:", file.read(4096), re.MULTILINE) is not None
    except (OSError, ValueError):
        return False  # opening it as a trace will say what is wrong


COMMAND = verify
