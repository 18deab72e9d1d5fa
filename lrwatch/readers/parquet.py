"""Parquet files, by pyarrow (``lrwatch[parquet]``): columns by their names as in tables of text.

Nulls are missing values. A rate stored as float32 is compared as one. Steps are taken as counted from 0 and when the
rate was read is unknown, unless ``lrwatch trace convert`` wrote the file: then it says all that the trace said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lrwatch.errors import TraceError
from lrwatch.readers._arrow import Batched, pyarrow
from lrwatch.readers.base import Options, Reader, TraceSource


def _open(path: Path, options: Options) -> TraceSource:
    name = options.name(path)
    parquet = pyarrow("pyarrow.parquet", name)
    try:
        schema = parquet.read_schema(path)
    except (OSError, ValueError) as e:
        raise TraceError(f"is no Parquet file, or a damaged one: {str(e)[:200]}", source=name) from None

    def batches(columns: Sequence[str] | None, rows: int) -> Iterable[Any]:
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(rows, columns=None if columns is None else list(columns))

    return Batched(path, options, "parquet", schema, batches)


READER = Reader("parquet", lambda path, head: 1.0 if head[:4] == b"PAR1" else 0.0, _open)
