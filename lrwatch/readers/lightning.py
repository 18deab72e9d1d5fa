"""Lightning's CSVLogger: ``metrics.csv`` in ``lightning_logs/version_0``, with the rates of LearningRateMonitor.

Steps count from 0 (``trainer.global_step`` before the update) and the monitor reads the rate before the batch, so it is
the one that the update uses. What was logged for the same step stands in rows of their own, which are joined here. The
logger writes the whole file again when a new metric comes, so all rows have the columns of the header.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from lrwatch.errors import TraceError
from lrwatch.readers._delimited import File, lines
from lrwatch.readers._tables import separated
from lrwatch.readers.base import Convention, Options, Reader, TraceSource

CONVENTION = Convention(
    lr_read="used",
    merge=True,
    known=("Lightning counts steps from 0, and its LearningRateMonitor reads the rate that the update uses",),
)
_MONITOR = re.compile(r"lr-\w+")


def _file(path: Path) -> Path | None:
    """The newest ``metrics.csv`` of a log directory, or the file itself."""
    if not path.is_dir():
        return path
    for place in (path, path / "lightning_logs", path / "csv_logs"):
        versions = [(int(f.parent.name.split("_")[-1]), f) for f in place.glob("version_[0-9]*/metrics.csv")]
        if (place / "metrics.csv").is_file():
            return place / "metrics.csv"
        if versions:
            return max(versions)[1]
    return None


def _open(path: Path, options: Options) -> TraceSource:
    file = _file(path)
    if file is None:
        raise TraceError("has no metrics.csv of Lightning's CSVLogger", source=options.name(path))
    return File(file, options, "lightning", CONVENTION)


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 0.9 if _file(path) is not None else 0.0
    cells, _ = separated(head.partition(b"\n")[0].decode("utf-8", "replace").strip())
    names = {cell.strip() for cell in cells}
    return 0.95 if {"epoch", "step"} <= names and any(_MONITOR.match(name) for name in names) else 0.0


READER = Reader("lightning", _detect, _open, partial(lines, convention=CONVENTION))
