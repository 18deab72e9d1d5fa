"""``lrwatch infer``: the contract that a recorded run kept."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lrwatch.cli import base
from lrwatch.cli._trace import opened, trace_options

if TYPE_CHECKING:
    from lrwatch.infer import Inference


@click.command(short_help="Say which schedule a recorded run followed.")
@click.argument("paths", nargs=-1, required=True, metavar="TRACE...")
@trace_options
@click.option("--experiment", metavar="NAME", help="The contract's name.  [the trace's]")
@click.option("--allow-inconclusive", is_flag=True, help="Exit 0 also when the trace cannot decide.")
@base.output_options("yaml", "json")
@click.pass_context
def infer(
    ctx: click.Context,
    paths: tuple[str, ...],
    experiment: str | None,
    allow_inconclusive: bool,
    form: str,
    output: str | None,
    force: bool,
) -> int:
    """Write the contract that a recorded run kept: the plainest schedule that gives every value.

    Comments at its top say how well it explains the trace, what the trace does not show, and what would explain it
    as well. A promise reaches no further than what was seen.

    Exit codes: 0 explained, 1 no schedule explains every value, 2 the trace cannot decide (the contract is written
    all the same), or could not be read.

    \b
    Examples:
      lrwatch infer runs/1 > contract.yaml
      lrwatch infer log.csv --map lr=learning_rate --output contract.yaml
    """
    base.refuse_to_overwrite(output, force)

    from dataclasses import replace

    from lrwatch.importers._document import Imported
    from lrwatch.infer import infer as find
    from lrwatch.report._infer import as_json, sentences
    from lrwatch.report.base import Look, ascii_only

    found = find(opened(ctx, paths))
    if experiment is not None:
        found = replace(found, experiment=experiment)
    to_file = output not in (None, "-")
    unicode = to_file or base.shows_unicode(sys.stdout)
    said = [text[:1].upper() + text[1:] + "." for text in sentences(found)]
    if form == "json":
        text = as_json(found, Look(unicode=unicode))
    else:
        name = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        text = Imported(found.document, f"{name} (inferred)", tuple(said)).yaml()
        text = text.replace("# Imported from", "# Inferred from", 1).replace(" (inferred).", ".", 1)
    base.write(text if unicode else ascii_only(text), output, force)
    if to_file:
        for line in said:
            click.echo(line if base.shows_unicode(sys.stdout) else ascii_only(line))
    return _exit_code(found, allow_inconclusive)


def _exit_code(found: Inference, allow_inconclusive: bool) -> int:
    if found.verdict == "unexplained":
        return base.FINDINGS
    return base.OK if found.verdict == "explained" or allow_inconclusive else base.CANNOT


COMMAND = infer
