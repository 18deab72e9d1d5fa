"""Single values as experiment trackers keep them, (step, name, value) in the order they were logged → rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from lrwatch.errors import TraceError
from lrwatch.readers._records import VALIDATION, Records, Row
from lrwatch.readers._tables import ROW_INDEX, mapped
from lrwatch.readers.base import Convention, Options
from lrwatch.trace.model import Damage, Item
from lrwatch.trace.names import resolve

BATCH: Final = 1 << 14


class Scalars(NamedTuple):
    """Values that were logged together."""

    step: str
    values: Mapping[str, str]
    ts: str = ""
    line: int = 0


class Columns:
    """Which names mean what: learnt as they come, the names of the trace model or ``--map``."""

    def __init__(self, options: Options, name: str):
        self.options, self.name = options, name
        self.names: dict[str, None] = {}
        self.columns: dict[str, str] = {}

    def row(self, scalars: Scalars) -> Row:
        """Trace columns of what was logged together."""
        if any(name not in self.names for name in scalars.values):
            self.names.update(dict.fromkeys(scalars.values))
            names = list(self.names)
            layout = resolve(names, mapped(names, self.options, self.name, lenient=True))
            self.columns = {names[i]: c for c, i in layout.columns.items() if i != ROW_INDEX}
        row = {self.columns[n]: v for n, v in scalars.values.items() if n in self.columns}
        for name, value in scalars.values.items():
            if name not in self.columns and (metric := validation(name)):
                row[VALIDATION + metric] = value
        if row and "update" not in row:
            row["update"] = scalars.step
        if row and scalars.ts and "ts" not in row:
            row["ts"] = scalars.ts
        return row


def validation(name: str) -> str:
    """The metric that a name gives for a validation: ``val/loss``, ``eval/accuracy``, ``val_loss``; else nothing."""
    low = name.lower()
    for prefix in ("eval/", "val/", "validation/", "valid/", "eval_", "val_"):
        if low.startswith(prefix):
            metric = low.removeprefix(prefix)
            dull = metric in ("step", "epoch", "global_step") or metric.endswith(("runtime", "per_second"))
            return "" if dull else metric
    return ""


def items(
    logged: Iterable[Scalars | Damage], name: str, options: Options, convention: Convention, rank: int = 0
) -> Iterator[Item]:
    """The items of what was logged.

    Raises:
        TraceError: there was nothing that a trace has.
    """
    records, columns = Records(name, options, convention, rank), Columns(options, name)
    source = iter(logged)
    while batch := list(islice(source, BATCH)):
        rows: list[Row] = []
        lines: list[int] = []
        for entry in batch:
            if isinstance(entry, Damage):
                yield entry
            elif row := columns.row(entry):
                rows.append(row)
                lines.append(entry.line)
        yield from records.take(rows, lines, {c: n for n, c in columns.columns.items()})
    yield from records.end()
    if not records.rated:
        shown = ", ".join(list(columns.names)[:12]) or "nothing"
        raise TraceError(f"no learning rate among {shown}; name it with --map lr=NAME", source=name)


def one_run(runs: Mapping[str, object], options: Options, name: str) -> str:
    """The run that is meant. Raises TraceError: there are none, several, or not the one that ``--run`` names."""
    if not runs:
        raise TraceError("has no run with metrics", source=name)
    listed = ", ".join(list(runs)[:6]) + (f" and {len(runs) - 6} more" if len(runs) > 6 else "")
    if options.run is not None:
        if options.run not in runs:
            raise TraceError(f"has no run {options.run!r}; there are {listed}", source=name)
        return options.run
    if len(runs) > 1:
        raise TraceError(f"has {len(runs)} runs ({listed}); name one with --run", source=name)
    return next(iter(runs))
