"""Tables in the wild: see ``_delimited`` for how they are read.

Where the file does not say something, it is not guessed: when the rate was read is unknown without ``--lr-read``, and
a table without a step or a rate column is refused.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lrwatch.errors import TraceError
from lrwatch.readers._delimited import File, lines
from lrwatch.readers._streams import inner_name
from lrwatch.readers._tables import header_line, separated
from lrwatch.readers.base import Convention, Options, Reader, TraceSource
from lrwatch.trace.names import resolve

CONVENTION = Convention()


def _open(path: Path, options: Options) -> TraceSource:
    if path.is_dir():
        raise TraceError("is a directory; name the tables in it", source=options.name(path))
    return File(path, options, "csv", CONVENTION)


def _detect(path: Path, head: bytes) -> float:
    line = header_line(head)[1]
    by_name = 0.5 if inner_name(path).suffix.lower() in (".csv", ".tsv") and head else 0.0
    if b"\0" in line or not line.strip() or line.lstrip()[:1] in (b"{", b"["):
        return 0.0
    cells, _ = separated(line.decode("utf-8", "replace").removeprefix("\ufeff").removeprefix("#").strip())
    columns = resolve(cells).columns
    sure = ("update" in columns) + any(c.startswith("lr/") for c in columns)
    return max(by_name, (0.0, 0.7, 0.9)[sure] if len(cells) > 1 else 0.0)


READER = Reader("csv", _detect, _open, partial(lines, convention=CONVENTION))
