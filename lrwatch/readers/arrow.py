"""Arrow IPC files and streams, also Feather, by pyarrow (``lrwatch[parquet]``); everything else as for Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import TraceError
from lrwatch.readers._arrow import Batched, pyarrow
from lrwatch.readers.base import Options, Reader, TraceSource

_FILE: Final = b"ARROW1"
_STREAM: Final = b"\xff\xff\xff\xff"


def _open(path: Path, options: Options) -> TraceSource:
    name = options.name(path)
    pa, ipc = pyarrow("pyarrow", name), pyarrow("pyarrow.ipc", name)

    @contextmanager
    def reader() -> Iterator[Any]:
        with pa.memory_map(str(path)) as source:
            magic = source.read(len(_FILE))
            source.seek(0)
            yield ipc.open_file(source) if magic == _FILE else ipc.open_stream(source)

    def batches(columns: Sequence[str] | None, rows: int) -> Iterable[Any]:
        with reader() as opened:
            if hasattr(opened, "num_record_batches"):
                for i in range(opened.num_record_batches):
                    batch = opened.get_batch(i)
                    yield batch if columns is None else batch.select(list(columns))
            else:
                for batch in opened:
                    yield batch if columns is None else batch.select(list(columns))

    try:
        with reader() as opened:
            schema = opened.schema
    except (OSError, ValueError) as e:
        raise TraceError(f"is no Arrow file or stream, or a damaged one: {str(e)[:200]}", source=name) from None
    return Batched(path, options, "arrow", schema, batches)


def _detect(path: Path, head: bytes) -> float:
    if head.startswith(_FILE):
        return 1.0
    return 0.7 if head.startswith(_STREAM) and len(head) > 8 and head[8:12] != b"\xff\xff\xff\xff" else 0.0


READER = Reader("arrow", _detect, _open)
