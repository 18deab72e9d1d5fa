"""A trace as OpenMetrics text with each row's own time: for ``promtool tsdb create-blocks-from openmetrics``.

    lrwatch_trace_learning_rate{run_id="a",rank="0",group="0"} 0.0003 1767225600.25

The series have other names than the live ones (``lrwatch_learning_rate``), so that both can be in one server.
Prometheus keeps milliseconds and one sample of a series in each, in the order of time: rows of a worker that stand
closer, or whose clock went back, are moved to the next millisecond, and counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from lrwatch.errors import TraceError
from lrwatch.trace.model import SIGNALS, Chunk, Damage, Event, Source

PREFIX: Final = "lrwatch_trace_"
FAMILIES: Final = {
    "learning_rate": ("lr", "Learning rate used by each update."),
    "weight_decay": ("weight_decay", "Weight decay used by each update."),
    "momentum": ("momentum", "Momentum used by each update."),
    "step": ("update", "Number of each update, from 0."),
    "loss": ("loss", "Training loss of each update."),
    "grad_norm": ("grad_norm", "Gradient norm before clipping of each update."),
}
"""Family without its prefix → trace column or signal, help."""
SLACK: Final = 60.0
"""Seconds that a clock may be ahead of ours."""


@dataclass
class Written:
    """What came out: samples; rows that were moved to a later millisecond; how many places could not be read, and
    the first of them."""

    samples: int = 0
    moved: int = 0
    damaged: int = 0
    damage: list[Damage] = field(default_factory=list)


@dataclass(frozen=True)
class Clock:
    """When rows happened that do not say it: update 0 at ``begin`` (Unix seconds), one each ``seconds``."""

    begin: float
    seconds: float


def write(source: Source, file: TextIO, run: str | None = None, clock: Clock | None = None) -> Written:
    """Write a trace; the source is read once for each family.

    Args:
        run: the label ``run_id`` where the trace has none. clock: for rows without a time.

    Raises:
        TraceError: rows have no time, or one in the future (it would block the server for every sample of today); the
            run has no name.
    """
    name = run or source.info.run or _run(source)
    if not name:
        raise TraceError("the trace does not say which run it is; name it with --run-id", source=_where(source))
    written = Written()
    for family, (column, help_text) in FAMILIES.items():
        head = f"# TYPE {PREFIX}{family} gauge\n# HELP {PREFIX}{family} {help_text}\n"
        for text in _samples(source, family, column, name, clock, written):
            file.write(head + text)
            head = ""
    if not written.samples:
        raise TraceError("has no rows; nothing to write", source=_where(source))
    file.write("# EOF\n")
    return written


def _samples(
    source: Source, family: str, column: str, run: str, clock: Clock | None, written: Written
) -> Iterator[str]:
    last: dict[int, int] = {}
    latest = (time.time() + SLACK) * 1000
    for item in source:
        if isinstance(item, Damage) and family == "step":
            written.damaged += 1
            written.damage = [*written.damage, item][:5]
        if not isinstance(item, Chunk) or not len(item):
            continue
        ms, moved = _times(item, clock, last, latest)
        if family == "step":
            written.moved += moved
        groups = item.signals(column) if column in SIGNALS else {"": item.columns[column]} if item.has(column) else {}
        for group, values in groups.items():
            labels = f'run_id="{_escaped(run)}",rank="{item.rank}"' + (f',group="{_escaped(group)}"' if group else "")
            there = item.present(f"{column}/{group}" if group else column)
            prefix = f"{PREFIX}{family}{{{labels}}} "
            lines = [
                f"{prefix}{_number(v)} {t // 1000}.{t % 1000:03d}\n"
                for v, t, yes in zip(values.tolist(), ms.tolist(), there.tolist(), strict=True)
                if yes
            ]
            written.samples += len(lines)
            if lines:
                yield "".join(lines)


def _times(chunk: Chunk, clock: Clock | None, last: dict[int, int], latest: float) -> tuple[NDArray[np.int64], int]:
    """Milliseconds of each row, int64[n], increasing within a worker, and how many rows were moved for that."""
    steps = chunk.columns["update"]
    if clock is not None:
        seconds = clock.begin + clock.seconds * steps
    elif not chunk.present("ts").all():
        line = int(chunk.columns["line"][np.flatnonzero(~chunk.present("ts"))[0]]) if chunk.has("line") else None
        raise TraceError(
            f"the row of step {int(steps[~chunk.present('ts')][0])} has no time; give --begin and --seconds-per-step",
            source=chunk.source,
            line=line,
        )
    else:
        seconds = chunk.columns["ts"]
    wanted = np.round(seconds * 1000.0)
    if not np.isfinite(wanted).all() or (wanted < 0).any():
        raise TraceError("a row has a time that is none", source=chunk.source)
    if (wanted > latest).any():
        step = int(steps[int(np.argmax(wanted > latest))])
        raise TraceError(
            f"the row of step {step} is in the future; Prometheus would then refuse every sample of today: set the "
            f"clock right with --begin and --seconds-per-step",
            source=chunk.source,
        )
    whole = wanted.astype(np.int64)
    place = np.arange(len(whole))
    start = np.append(last.get(chunk.rank, -1) + 1, whole)
    made = np.maximum.accumulate(start - np.append(0, place))[1:] + place
    last[chunk.rank] = int(made[-1])
    return made, int((made != whole).sum())


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    return repr(value).replace("inf", "+Inf").replace("-+", "-") if value in (np.inf, -np.inf) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _run(source: Source) -> str:
    """The run that the first start event names."""
    for item in source:
        if isinstance(item, Event) and item.kind in ("start", "resume") and isinstance(item.fields.get("run"), str):
            return str(item.fields["run"])
        if isinstance(item, Chunk):
            break
    return ""


def _where(source: Source) -> str:
    return ", ".join(source.info.paths[:3])
