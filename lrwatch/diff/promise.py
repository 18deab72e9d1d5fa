"""One run's rows as the other's promise: where nobody wrote a contract, the good run can stand in for it."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

import numpy as np

from lrwatch.contract.model import Clock, Contract, Group, Phase, Signal, Tolerance, Version
from lrwatch.diff.survey import Counted, Survey
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import EXACT_DIGITS
from lrwatch.trace.model import Chunk, Item, Source, TraceInfo

MOST_ROWS: Final = 1 << 20
"""Rows that a promise is made of; thinned out, it could not tell a bug from a gap."""

CLOSE: Final = 1e-6
"""How closely a bug must give the other curve, relative to each value and to the peak: what lies between two rows, and
after the last one, is not known better."""


def promise(source: Source, survey: Survey) -> Contract | None:
    """A contract that promises what the lowest worker of a run did, a row for a row; None where there are too many.

    Between two recorded steps it goes straight; after the last it stays where it was going (see ``Until``).
    """
    names = [n for n in survey.columns if n.startswith("lr/")]
    if not survey.ranks or not names:
        return None
    counted, rank = Counted(survey), survey.ranks[0]
    parts: dict[str, list[tuple[FloatArray, FloatArray]]] = {name: [] for name in names}
    rows = 0
    for item in source:
        if not isinstance(item, Chunk) or item.rank != rank or not len(item):
            continue
        chunk = counted.rows(item)
        rows += len(chunk)
        if rows > MOST_ROWS:
            return None
        steps = chunk.columns["update"] + (1.0 if survey.after else 0.0)
        for name in names:
            if name in chunk.columns:
                keep = chunk.present(name) & np.isfinite(chunk.columns[name])
                parts[name].append((steps[keep], chunk.columns[name][keep]))
    tables = {name: _table(pieces) for name, pieces in parts.items() if sum(len(v) for _, v in pieces)}
    return _contract(tables, survey) if tables else None


def _table(pieces: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    steps, values = (np.concatenate(column) for column in zip(*pieces, strict=True))
    last = np.append(np.diff(steps) != 0, True)
    return _one_more(steps[last], values[last])


def _one_more(steps: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The table and one step beyond: where the curve goes on smoothly, which is where a scheduler comes to rest."""
    if len(steps) < 4 or steps[-1] - steps[-4] != 3.0:
        return steps, values
    following = max(float(np.dot([-1.0, 4.0, -6.0, 4.0], values[-4:])), 0.0)
    return np.append(steps, steps[-1] + 1.0), np.append(values, following)


def _contract(tables: dict[str, tuple[FloatArray, FloatArray]], survey: Survey) -> Contract:
    """The tables as a contract; put together by hand, for a document of a million numbers takes seconds to check."""
    peak = max(float(values.max()) for _, values in tables.values()) or 1.0
    stored = [survey.columns[name] for name in tables]
    digits, quantum = min(s.digits for s in stored), max(s.quantum for s in stored)
    lost = 0.5 * 10.0 ** (1 - digits) if digits < EXACT_DIGITS - 1 else 0.0
    groups = {
        name.partition("/")[2]: Group(name.partition("/")[2], schedule=(_phase(steps, values / peak),))
        for name, (steps, values) in tables.items()
    }
    default = next(iter(groups.values())).schedule or ()
    signals = MappingProxyType({"lr": Signal("lr", peak, default, groups)})
    tolerance = Tolerance(CLOSE + lost, CLOSE + quantum / 2.0 / peak)
    versions = (Version(0.0, Clock(), signals),)
    return Contract("", Clock(), signals, tolerance=tolerance, versions=versions, source="the other run")


def _phase(steps: FloatArray, multiples: FloatArray) -> Phase:
    table = {"values": multiples, "at": steps, "every": 1.0, "between": "linear"}
    return Phase("table", MappingProxyType(table), 0.0, None, None)


class Until:
    """The rows of a source up to a step: the other run's, of which nothing is known beyond its own end."""

    def __init__(self, source: Source, last: int):
        self.source, self.last, self.rereadable = source, last, source.rereadable

    @property
    def info(self) -> TraceInfo:
        return self.source.info

    def __iter__(self) -> Iterator[Item]:
        for item in self.source:
            if isinstance(item, Chunk) and len(item) and item.columns["update"].max() > self.last:
                item = item.take(item.columns["update"] <= self.last)
            yield item
