"""Cells of a table or a log → chunks: numbers, what is missing, what is wrong, and how precisely it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lrwatch.readers.base import Convention, Options
from lrwatch.trace.model import COUNTERS, SIGNALS, Array, Chunk
from lrwatch.trace.precision import EXACT, Precision

EMPTY: Final = frozenset({"", "none", "null", "na", "n/a"})
SOFT: Final = frozenset({*COUNTERS, "ts", "world"}) - {"update"}
"""Columns in which a cell that is no number is a missing value, not damage."""
WHOLE: Final = frozenset({*COUNTERS, "rank", "world"})
_LIMIT: Final = 2.0**53
_FEW: Final = 1024


class Rows:
    """The state of turning the rows of one source into chunks.

    Args:
        name: of the source. rank: whose rows they are when they do not say it themselves. digits: column → significant
            digits that it can have, where that is less than the convention says.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        convention: Convention | None = None,
        rank: int = 0,
        digits: Mapping[str, int] | None = None,
    ):
        self.name, self.options, self.rank = name, options, rank
        self._stored = digits or {}
        self.convention = convention or Convention()
        self._lr_read = self.convention.read(options)
        self._first = self.convention.first(options)
        self._counted: dict[int, int] = {}
        self._precision: dict[str, Precision] = {}
        self._held: dict[int, Chunk] = {}

    def exact(self, column: str) -> bool:
        """Whether nothing can be learnt any more from the texts of a column about its precision."""
        if self.convention.digits == EXACT or column.partition("/")[0] not in SIGNALS:
            return True
        return column in self._precision and self._precision[column].exact

    def take(
        self, cells: Mapping[str, Sequence[str]], lines: Array, theirs: Mapping[str, str]
    ) -> tuple[list[Chunk], dict[int, str]]:
        """Rows of texts as one chunk per worker, or what is wrong with some of them.

        Args:
            cells: column → its texts. lines: int64[n]. theirs: column → its name in the source, for messages.
        """
        columns: dict[str, Array] = {}
        missing: dict[str, Array] = {}
        wrong: dict[int, str] = {}
        for column, texts in cells.items():
            values, absent, bad = numbers(texts)
            if column in WHOLE:
                values, odd = whole(values)
                bad |= odd & ~absent
            if column in ("update", "rank"):
                bad |= absent | (values < (self._first if column == "update" else 0))
            elif column in SOFT:
                bad, absent = np.zeros_like(bad), absent | bad
            for i in np.flatnonzero(bad).tolist():
                wrong.setdefault(i, f"{theirs.get(column, column)} is {texts[i][:40]!r}")
            columns[column], missing[column] = values, absent
        if wrong:
            return [], wrong
        for column in columns:
            if not self.exact(column):
                self.measure(column, cells[column])
        return self.split(columns, missing, lines), {}

    def measure(self, column: str, texts: Sequence[str] | Array) -> None:
        """Learn from the texts of a signal how precisely it was written."""
        precision = self._precision.setdefault(column, Precision())
        precision.take(texts[:_FEW])
        if not precision.exact:  # else the others would not be looked at
            precision.take(texts[_FEW:])

    def split(self, columns: dict[str, Array], missing: dict[str, Array], lines: Array) -> list[Chunk]:
        """Columns of n rows as one chunk per worker; ``update`` is still counted as the source counts it."""
        columns, missing = dict(columns), {c: m for c, m in missing.items() if c != "skipped" and m.any()}
        numbered = "update" in columns
        if numbered and self._first:
            columns["update"] = columns["update"] - self._first
        unknown = missing.pop("world", None)
        world = columns.pop("world", np.zeros(0))
        world = world if unknown is None else world[~unknown]
        ranks = columns.pop("rank", None)
        signals = [column for column in columns if column.partition("/")[0] in SIGNALS]
        precision = {c: self._precision[c] for c in signals if c in self._precision}
        most, stored = self.convention.digits or EXACT, self._stored
        whole_chunk = Chunk(
            {"update": lines, **columns, "line": lines},
            rank=self.rank,
            world=int(world[-1]) if len(world) else None,
            missing=missing,
            quantum={c: p.quantum for c, p in precision.items()},
            digits={c: min(precision[c].digits if c in precision else most, stored.get(c, most)) for c in signals},
            lr_read=self._lr_read,
            source=self.name,
        )
        if ranks is None:
            return self._finished(whole_chunk, numbered)
        order = np.argsort(ranks, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(ranks[order])) + 1)
        return [
            chunk
            for rows in parts
            for chunk in self._finished(replace(whole_chunk.take(rows), rank=int(ranks[rows[0]])), numbered)
        ]

    def end(self) -> list[Chunk]:
        """The rows that were kept back because the next one might have been a part of them."""
        held, self._held = self._held, {}
        return [_tidy(chunk) for chunk in held.values()]

    # -- placing rows on the run --------------------------------------------------------------------

    def _finished(self, chunk: Chunk, numbered: bool) -> list[Chunk]:
        """Rows on their updates, without columns that have no value here."""
        columns, missing = dict(chunk.columns), dict(chunk.missing)
        if not numbered:
            columns["update"], placed = self._placed(chunk)
            if not placed:
                missing["update"] = np.ones(len(chunk), dtype=bool)
        chunk = _tidy(replace(chunk, columns=columns, missing=missing))
        return self._whole(chunk) if self.convention.merge else [chunk]

    def _placed(self, chunk: Chunk) -> tuple[Array, bool]:
        """int64[n], the updates of rows that have no number of their own, and whether they are known."""
        n, begun = len(chunk), self._counted.get(chunk.rank, 0)
        self._counted[chunk.rank] = begun + n
        if self.convention.axis == "epoch":
            known = chunk.has("epoch") and chunk.present("epoch").all()
            epochs = chunk.columns["epoch"] if known else np.arange(begun, begun + n)
            per = self.options.steps_per_epoch
            return ((epochs + 1) * per - 1 if per else epochs), bool(per)
        return np.arange(begun, begun + n) * (self.options.every or 1), True

    # -- rows that come in parts --------------------------------------------------------------------

    def _whole(self, chunk: Chunk) -> list[Chunk]:
        """Rows of one step joined; those of the last step are kept back until another step follows."""
        if chunk.rank in self._held:
            chunk = appended(self._held.pop(chunk.rank), chunk)
        steps = chunk.columns["update"]
        cut = len(steps) - int(np.argmax(steps[::-1] != steps[-1])) if (steps != steps[-1]).any() else 0
        held = chunk.take(slice(cut, None))
        if len(held) > 64:  # no step has so many parts
            held = joined(held)
        self._held[chunk.rank] = joined(held)
        return [_tidy(joined(chunk.take(slice(cut))))] if cut else []


def _tidy(chunk: Chunk) -> Chunk:
    """Without columns that have no value here, and without marks where nothing is missing."""
    if not chunk.missing:
        return chunk
    empty = {c for c, absent in chunk.missing.items() if c != "update" and absent.all()}
    return replace(
        chunk,
        columns={c: values for c, values in chunk.columns.items() if c not in empty},
        missing={c: absent for c, absent in chunk.missing.items() if c not in empty and absent.any()},
    )


def joined(chunk: Chunk) -> Chunk:
    """Neighbours with the same update as one row, where no column has two values for it."""
    steps = chunk.columns["update"]
    starts = np.flatnonzero(np.append(True, np.diff(steps) != 0))
    if len(starts) == len(steps):
        return chunk
    values = [c for c in chunk.columns if c not in ("update", "line", "ts", "epoch")]
    counts = [np.add.reduceat(chunk.present(c).astype(np.int64), starts) for c in values]
    fits = np.all([c <= 1 for c in counts], axis=0) if counts else np.ones(len(starts), dtype=bool)
    sizes = np.diff(np.append(starts, len(steps)))
    keep = np.zeros(len(steps), dtype=bool)
    keep[starts] = True
    keep |= np.repeat(~fits, sizes)
    group = np.repeat(np.arange(len(starts)), sizes)
    columns, missing = {}, {}
    for name, column in chunk.columns.items():
        column, there = column.copy(), chunk.present(name).copy()
        part = np.flatnonzero(there & ~keep)
        first = starts[group[part]]
        free = ~there[first]
        column[first[free]] = column[part[free]]
        there[first] = True
        columns[name] = column[keep]
        if not there[keep].all():
            missing[name] = ~there[keep]
    return replace(chunk, columns=columns, missing=missing)


def appended(first: Chunk, second: Chunk) -> Chunk:
    """The rows of both; what they have in common otherwise is the second's."""
    names = dict.fromkeys([*first.columns, *second.columns])
    columns = {n: np.concatenate([_column(first, n, second), _column(second, n, first)]) for n in names}
    missing = {n: ~np.concatenate([first.present(n), second.present(n)]) for n in names}
    return replace(second, columns=columns, missing={n: m for n, m in missing.items() if m.any()})


def _column(chunk: Chunk, name: str, other: Chunk) -> Array:
    return chunk.columns[name] if name in chunk.columns else np.zeros(len(chunk), other.columns[name].dtype)


def whole(values: Array) -> tuple[Array, Array]:
    """int64[n], and bool[n] where float64[n] has no whole number (there it is 0)."""
    fits = np.isfinite(values) & (np.abs(values) < _LIMIT)
    fits &= np.floor(values, where=fits, out=np.zeros_like(values)) == values
    return np.where(fits, values, 0.0).astype(np.int64), ~fits


def numbers(texts: Sequence[str]) -> tuple[Array, Array, Array]:
    """float64[n], where there is no value, and where the text is no number."""
    absent, bad = np.zeros(len(texts), dtype=bool), np.zeros(len(texts), dtype=bool)
    try:
        return np.array(list(map(float, texts)), dtype=np.float64), absent, bad
    except ValueError:
        values = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if not text or text.strip().lower() in EMPTY:
            absent[i] = True
        elif is_number(text):
            values[i] = float(text)
        else:
            bad[i] = True
    return values, absent, bad


def is_number(text: str) -> bool:
    """Whether Python's float takes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True
