"""How a trace is to be read: the options of every command that reads one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrwatch.cli import base

if TYPE_CHECKING:
    from lrwatch.contract.model import Contract
    from lrwatch.readers.base import Options, TraceSource


def trace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--from --map --lr-read --first-step --every --steps-per-epoch --run``, kept for ``opened``."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        ctx.meta.setdefault(__name__, {})[param.name] = value

    for option in (
        click.option("--jobs", type=click.IntRange(1, 256), default=1, metavar="N", expose_value=False, callback=keep,
                     help="Processes that read the files of different workers."),
        click.option("--run", metavar="RUN", expose_value=False, callback=keep,
                     help="Which run, where a store or a log directory has several."),
        click.option("--steps-per-epoch", type=click.IntRange(1), metavar="N", expose_value=False, callback=keep,
                     help="Updates of an epoch, where rows have epochs only; else what the contract says."),
        click.option("--every", type=click.IntRange(1), metavar="N", expose_value=False, callback=keep,
                     help="Updates from row to row, where rows have no number."),
        click.option("--first-step", type=int, metavar="N", expose_value=False, callback=keep,
                     help="Number that the trace gives to the first update of the run."),
        click.option("--lr-read", type=click.Choice(["used", "after", "unknown"]), expose_value=False, callback=keep,
                     help="When the trainer read the rate: used by the row's update, or after scheduler.step()."),
        click.option("--map", "columns", multiple=True, metavar="NAME=COLUMN", expose_value=False, callback=keep,
                     help="Which column holds what, e.g. lr=learning_rate; repeatable."),
        click.option("--from", "trace_format", type=base.Words("lrwatch.readers", "FORMAT"), expose_value=False,
                     callback=keep, help="Format of the traces; without it, it is recognised."),
    ):  # fmt: skip
        command = option(command)
    return command


def opened(ctx: click.Context, paths: Sequence[str], contract: Contract | None = None) -> TraceSource:
    """The trace in these paths, read as the options say; an epoch has as many updates as the contract says."""
    from lrwatch.readers import open_trace
    from lrwatch.readers.base import METER, Meter

    meter = Meter()
    METER.set(meter)
    ctx.meta[f"{__name__}.share"] = lambda: meter.share(_bytes(tuple(paths)))
    return open_trace(paths, *said(ctx, contract), ctx.meta[__name__]["jobs"])


def said(ctx: click.Context, contract: Contract | None = None) -> tuple[str | None, Options]:
    """What the options say: the format, if any, and how it is to be read."""
    from lrwatch.readers.base import Options

    given = ctx.meta[__name__]
    options = Options(
        columns=dict(_pair(ctx, text) for text in given["columns"]),
        lr_read=given["lr_read"],
        first_step=given["first_step"],
        every=given["every"],
        steps_per_epoch=given["steps_per_epoch"] or (contract.batch.steps_per_epoch if contract else None),
        run=given["run"],
    )
    return given["trace_format"], options


def read_share(ctx: click.Context) -> Callable[[], float | None]:
    """How much of what ``opened`` opened was read, for ``base.Progress``."""
    share: Callable[[], float | None] = ctx.meta.get(f"{__name__}.share", lambda: None)
    return share


@lru_cache(maxsize=1)
def _bytes(paths: Sequence[str]) -> int:
    """The size of the files in these paths; 0 where it is unknown."""
    files = [f for p in map(Path, paths) for f in ([p] if p.is_file() else p.rglob("*") if p.is_dir() else [])]
    try:
        return sum(f.stat().st_size for f in files if f.is_file())
    except OSError:
        return 0


def _pair(ctx: click.Context, text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise click.UsageError(f"--map {text}: must be NAME=COLUMN, e.g. --map lr=learning_rate", ctx)
    return name, column
