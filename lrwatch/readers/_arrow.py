"""Record batches → chunks, for the formats that pyarrow reads."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrwatch.errors import MissingExtra, TraceError
from lrwatch.readers._exchange import LEADING, MARK, Decoder, is_whole
from lrwatch.readers._rows import SOFT, WHOLE, Rows, whole
from lrwatch.readers._tables import ROW_INDEX, Table, table
from lrwatch.readers.base import Convention, Options, rank_in
from lrwatch.trace.model import Array, Damage, Item, TraceInfo

Batches = Callable[[Sequence[str] | None, int], Iterable[Any]]
"""(columns, None for all; rows of a batch) → record batches."""


def pyarrow(module: str, name: str) -> Any:
    """A module of pyarrow. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(f"{name}: reading Arrow and Parquet", "parquet") from None


class Batched:
    """A file of record batches: a table of the wild, or one that ``lrwatch trace convert`` wrote."""

    rereadable = True

    def __init__(self, path: Path, options: Options, format: str, schema: Any, batches: Batches):
        self.options, self.name, self.batches = options, options.name(path), batches
        self.ours = MARK.encode() in (schema.metadata or {})
        self.rank: int | None = None
        self.table: Table | None = None
        assumed: tuple[str, ...] = ()
        if not self.ours:
            self.table = table(list(schema.names), ",", options, self.name)
            layout = self.table.layout
            self.rank = None if "rank" in layout.columns else rank_in(Path(self.name)) or 0
            self.narrow = [c for c, i in layout.columns.items() if i != ROW_INDEX and _narrow(schema.field(i).type)]
            assumed = tuple(self._assumed())
        self.info = TraceInfo((self.name,), format, assumed)

    def _assumed(self) -> Iterator[str]:
        assert self.table is not None
        step = self.table.layout.columns.get("update", ROW_INDEX)
        if self.options.first_step is None and step != ROW_INDEX:
            yield (
                f"column {self.table.header[step]!r} of {self.name} counts updates from 0 "
                f"(--first-step 1 if the first update is number 1)"
            )
        for name in self.table.layout.unused:
            yield f"column {name!r} of {self.name} is not used: another one means the same (--map chooses)"

    def __iter__(self) -> Iterator[Item]:
        seen = 0
        for item in self._ours() if self.ours else self._theirs():
            seen += 1
            yield item
        if not seen:
            raise TraceError("has columns and no rows; nothing was recorded", source=self.name)

    def _read(self, columns: Sequence[str] | None) -> Iterator[tuple[Any, Array]]:
        """Batches with the numbers of their rows, from 1."""
        row = 1
        try:
            for batch in self.batches(columns, self.options.chunk_rows):
                for start in range(0, batch.num_rows, self.options.chunk_rows):
                    part = batch.slice(start, self.options.chunk_rows)
                    yield part, np.arange(row, row + part.num_rows)
                    row += part.num_rows
        except (OSError, ValueError) as e:  # pyarrow's errors are one or the other
            why = str(e).partition("\n")[0][:200]
            raise TraceError(f"cannot be read after row {row - 1}: {why}", source=self.name) from None

    def _theirs(self) -> Iterator[Item]:
        assert self.table is not None
        where = {c: i for c, i in self.table.layout.columns.items() if i != ROW_INDEX}
        names = [self.table.header[i] for i in where.values()]
        # A float32 in the file is one that was stored as such, whatever it was before.
        convention = Convention(axis="update" if "update" in self.table.layout.columns else "epoch")
        rows = Rows(self.name, self.options, convention, self.rank or 0, dict.fromkeys(self.narrow, 9))
        first = convention.first(self.options)
        for batch, lines in self._read(names):
            columns: dict[str, Array] = {}
            missing: dict[str, Array] = {}
            bad: dict[int, str] = {}
            for column, name in zip(where, names, strict=True):
                values, absent = _floats(batch.column(batch.schema.get_field_index(name)), self.name, name)
                if column in WHOLE:
                    counts, odd = whole(values)
                    odd &= ~absent
                    if column in SOFT:
                        absent = absent | odd
                    else:
                        odd |= absent | (counts < (first if column == "update" else 0))
                        bad |= {int(i): f"{name} is {values[i]!r}" for i in np.flatnonzero(odd)}
                    values = counts
                columns[column], missing[column] = values, absent
            if bad:
                yield from (Damage("not_a_row", self.name, int(lines[i]), bad[i], self.rank or 0) for i in sorted(bad))
                keep = np.setdiff1d(np.arange(len(lines)), list(bad))
                columns = {c: v[keep] for c, v in columns.items()}
                missing, lines = {c: v[keep] for c, v in missing.items()}, lines[keep]
            if len(lines):
                yield from rows.split(columns, missing, lines)
        yield from rows.end()

    def _ours(self) -> Iterator[Item]:
        decoder = Decoder(self.name)
        for batch, lines in self._read(None):
            named = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
            columns: dict[str, Array] = {}
            missing: dict[str, Array] = {}
            for name, column in named.items():
                if name not in LEADING:
                    columns[name], missing[name] = _exact(column, is_whole(name))
            events = named["event"].fill_null("").to_pylist()
            fields = {i: named["fields"][i].as_py() or "" for i, event in enumerate(events) if event}
            ranks, segments = (named[name].to_numpy(zero_copy_only=False) for name in ("rank", "segment"))
            yield from decoder.items(ranks, segments, events, fields, columns, missing, lines)


def _narrow(kind: Any) -> bool:
    return str(kind) in ("float", "halffloat")


def _floats(column: Any, source: str, name: str) -> tuple[Array, Array]:
    """float64[n], and where it is null."""
    pc, pa = pyarrow("pyarrow.compute", source), pyarrow("pyarrow", source)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            column = pc.divide(pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64()), 1e6)
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
        column = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise TraceError(f"column {name!r} has no numbers, it is {kind}; choose with --map", source=source) from None
    return np.asarray(column.fill_null(0.0).to_numpy(zero_copy_only=False), dtype=np.float64), absent


def _exact(column: Any, counts: bool) -> tuple[Array, Array]:
    absent = column.is_null().to_numpy(zero_copy_only=False)
    filled = column.fill_null(0) if column.null_count else column
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.int64 if counts else np.float64), absent
