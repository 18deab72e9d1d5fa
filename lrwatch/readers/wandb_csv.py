"""What the W&B web page exports: ``"Step","my-run - train/learning_rate","my-run - train/learning_rate__MIN",…``.

One column of values for each run, with its lowest and highest value beside it: a long history is thinned out to about
1500 points before it is exported, and values are averages then. The step is W&B's own (``_step``), from 0; when the
rate was read the file does not say. A file of several runs is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from lrwatch.errors import TraceError
from lrwatch.readers._delimited import Reading
from lrwatch.readers._tables import first_line, header_text, table
from lrwatch.readers.base import Convention, Options, Reader, TraceSource, blocks
from lrwatch.trace.model import Item, TraceInfo

CONVENTION = Convention(
    known=("W&B's export counts its own steps from 0 and averages long histories: one point may stand for many rows",)
)
_COLUMN = re.compile(r"(?P<run>.+?) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?$")


class Export:
    """One exported file."""

    rereadable = True
    rank: int | None = 0

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        cells = next(csv.reader([header_text(first_line(path, self.name), self.name)]))
        found = [_COLUMN.fullmatch(cell) for cell in cells]
        runs = dict.fromkeys(m["run"] for m in found if m)
        if len(runs) > 1:
            raise TraceError(
                f"has {len(runs)} runs: {', '.join(list(runs)[:4])}; export one run at a time", source=self.name
            )
        names = [("" if m["bound"] else m["metric"]) if m else cell for m, cell in zip(found, cells, strict=True)]
        self.table = table(names, ",", options, self.name)
        self.info = TraceInfo((self.name,), "wandb_csv", CONVENTION.known, run=next(iter(runs), None))

    def __iter__(self) -> Iterator[Item]:
        reading = Reading(self.name, self.table, self.options, CONVENTION, 0)
        for line, data in blocks(self.path, self.options.chunk_rows, name=self.name):
            yield from reading.items(line, _unquoted(data))
        if not reading.seen:
            raise TraceError("has a header and no rows; nothing was recorded", source=self.name)


def _unquoted(data: bytes) -> bytes:
    """Cells without their quotes, as far as they are numbers."""
    return re.sub(rb'"([-+.0-9eE]*|nan|inf|NaN|Infinity)"(?=[,\r\n]|$)', rb"\1", data)


def _open(path: Path, options: Options) -> TraceSource:
    return Export(path, options)


def _detect(path: Path, head: bytes) -> float:
    line = head.partition(b"\n")[0]
    return 0.95 if re.match(rb'(?:\xef\xbb\xbf)?"?Step"?,"?.+ - .+__MIN"?', line) else 0.0


READER = Reader("wandb_csv", _detect, _open)
