"""``lrwatch trace``: other forms of a recorded trace."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrwatch.cli import base
from lrwatch.cli._trace import opened, trace_options
from lrwatch.errors import LrwatchError, OutputExists

if TYPE_CHECKING:
    from lrwatch.trace.model import Damage

_FORMATS = ("parquet", "arrow", "csv", "run")


@click.group("trace", cls=base.Group)
def trace() -> None:
    """Turn a recorded trace into another form of it."""


@trace.command()
@click.argument("paths", nargs=-1, required=True, metavar="TRACE... OUTPUT")
@click.option("--to", "form", type=click.Choice(_FORMATS), help="Form of the output; without it, its name tells.")
@click.option("--force", is_flag=True, help="Overwrite the output file.")
@trace_options
@click.pass_context
def convert(ctx: click.Context, paths: tuple[str, ...], form: str | None, force: bool) -> int:
    """Write a trace as Parquet, Arrow IPC, CSV, or a run directory, without loss.

    The last path is the output: .parquet, .arrow, .feather or .csv, or a directory for lrwatch's own form. Reading it
    again gives every row and event, NaN and infinities, what is missing, and how precisely it was stored.

    \b
    Examples:
      lrwatch trace convert runs/1 run.parquet
      lrwatch trace convert trainer_state.json runs/imported
    """
    if len(paths) < 2:
        raise click.UsageError("give the trace and then the output, e.g. runs/1 run.parquet", ctx)
    from lrwatch.convert import convert as write
    from lrwatch.convert import format_of

    output = Path(paths[-1])
    form = form or format_of(output)
    done = write(opened(ctx, paths[:-1]), output, form, force)
    click.echo(f"{output}: {done.rows} rows, {done.events} events", err=True)
    _tell(done.damage, done.damaged)
    return base.OK


def _tell(damage: Sequence[Damage], count: int) -> None:
    """What is not in the output."""
    for place in damage[:5]:
        click.echo(f"lrwatch: not written: {place.source}:{place.line}: {place.message}", err=True)
    if count > 5:
        click.echo(f"lrwatch: and {count - 5} more places that could not be read", err=True)


@trace.command()
@click.argument("paths", nargs=-1, required=True, metavar="TRACE...")
@click.option("--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
@click.option("--run-id", metavar="RUN", help="The label run_id, where the trace does not say it.")
@click.option("--begin", metavar="TIME", help="When update 0 happened (ISO 8601 or Unix seconds).")
@click.option(
    "--seconds-per-step", type=click.FloatRange(0.001), metavar="S", help="From update to update, after --begin."
)
@trace_options
@click.pass_context
def openmetrics(
    ctx: click.Context,
    paths: tuple[str, ...],
    output: str | None,
    force: bool,
    run_id: str | None,
    begin: str | None,
    seconds_per_step: float | None,
) -> int:
    """Write a trace as OpenMetrics text, every step with its own time, to backfill Prometheus.

    \b
    Example:
      lrwatch trace openmetrics runs/1 --output run.om
      promtool tsdb create-blocks-from openmetrics run.om /var/lib/prometheus
    """
    if (begin is None) != (seconds_per_step is None):
        raise click.UsageError("--begin and --seconds-per-step belong together", ctx)
    base.refuse_to_overwrite(output, force)
    from lrwatch.convert.openmetrics import Clock, write

    clock = Clock(_moment(ctx, begin), seconds_per_step) if begin and seconds_per_step else None
    source = opened(ctx, paths)
    if output in (None, "-"):
        written = write(source, sys.stdout, run_id, clock)
    else:
        path = Path(str(output))
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                written = write(source, file, run_id, clock)
            if not force and os.path.lexists(path):
                raise OutputExists(path)
            part.replace(path)
        except OSError as e:
            raise LrwatchError(f"{output}: cannot be written: {e.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
    moved = f"; {written.moved} rows were moved to a later millisecond" if written.moved else ""
    click.echo(f"{written.samples} samples{moved}", err=True)
    _tell(written.damage, written.damaged)
    return base.OK


def _moment(ctx: click.Context, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise click.UsageError(f"--begin {text}: is no time; write 2026-01-02T03:04:05Z or Unix seconds", ctx) from None


COMMAND = trace
