"""Tables of a trace as Parquet and Arrow IPC, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from lrwatch.readers._arrow import pyarrow
from lrwatch.readers._exchange import MARK, VERSION, Rows, is_whole

_BATCH: Final = 1 << 16
"""Rows of a batch, and of a row group, at least."""


def write_parquet(rows: Iterable[Rows], columns: Sequence[str], path: Path) -> None:
    """One Parquet file. Raises MissingExtra."""
    parquet = pyarrow("pyarrow.parquet", str(path))
    schema = _schema(columns, path)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in _tables(rows, schema, path):
            writer.write_table(table)


def write_arrow(rows: Iterable[Rows], columns: Sequence[str], path: Path) -> None:
    """One Arrow IPC file. Raises MissingExtra."""
    ipc, schema = pyarrow("pyarrow.ipc", str(path)), _schema(columns, path)
    with ipc.new_file(str(path), schema) as writer:
        for table in _tables(rows, schema, path):
            writer.write_table(table)


def _schema(columns: Sequence[str], path: Path) -> Any:
    pa = pyarrow("pyarrow", str(path))
    leading = [
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("segment", pa.int64(), nullable=False),
        pa.field("event", pa.dictionary(pa.int32(), pa.string())),
        pa.field("fields", pa.string()),
    ]
    rest = [pa.field(name, pa.int64() if is_whole(name) else pa.float64()) for name in columns]
    return pa.schema([*leading, *rest], metadata={MARK: VERSION})


def _tables(rows: Iterable[Rows], schema: Any, path: Path) -> Iterator[Any]:
    pa = pyarrow("pyarrow", str(path))
    waiting: list[Any] = []
    count = 0
    for part in rows:
        waiting.append(_batch(pa, part, schema))
        count += part.n
        if count >= _BATCH:
            yield pa.Table.from_batches(waiting, schema).combine_chunks().unify_dictionaries()
            waiting, count = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema).combine_chunks().unify_dictionaries()


def _batch(pa: Any, part: Rows, schema: Any) -> Any:
    n = part.n
    event = pa.array([part.event or None] * n, pa.string()).dictionary_encode()
    arrays = [
        pa.array(np.full(n, part.rank)),
        pa.array(np.full(n, part.segment)),
        event.cast(schema.field("event").type),
        pa.array([part.fields or None] * n, pa.string()),
    ]
    for name in schema.names[4:]:
        kind = schema.field(name).type
        if name in part.columns:
            arrays.append(pa.array(part.columns[name], kind, mask=part.missing.get(name)))
        else:
            arrays.append(pa.nulls(n, kind))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
