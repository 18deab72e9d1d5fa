"""MLflow's local stores: ``mlruns/EXPERIMENT/RUN/metrics/…`` and ``mlflow.db``; ``--run`` names one of several runs.

Read as they lie on disk, without MLflow. Steps are what the trainer passed, taken as counted from 0; when the rate was
read the store does not say (``--lr-read``).
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lrwatch.errors import TraceError
from lrwatch.readers._scalars import Scalars, items, one_run
from lrwatch.readers.base import Convention, Options, Reader, TraceSource
from lrwatch.trace.model import Damage, Item, TraceInfo

CONVENTION = Convention(merge=True, known=("steps of MLflow are taken as counted from 0 (--first-step 1 otherwise)",))
_SQLITE: Final = b"SQLite format 3\0"
_INFINITE: Final = 1.7976931348623157e308
"""How MLflow stores infinities in a database."""

Point = tuple[int, int, str, str]
"""Milliseconds, step, metric, value."""
_DAMAGED = (sqlite3.Error, UnicodeDecodeError, TypeError, ValueError, OverflowError)
"""What reading a damaged database raises: its bytes may be no text, and its numbers no numbers."""


class Folder:
    """The metrics folder of one run: a file per metric, a line per value."""

    rereadable = True
    rank: int | None = 0

    def __init__(self, path: Path, options: Options, name: str):
        self.path, self.options, self.name = path, options, name
        self.info = TraceInfo((str(path),), "mlflow", CONVENTION.known, run=path.parent.name)

    def __iter__(self) -> Iterator[Item]:
        damage: list[Damage] = []
        files = sorted(f for f in self.path.rglob("*") if f.is_file())
        points = heapq.merge(*(_points(f, str(f.relative_to(self.path)), damage) for f in files))
        for item in items(_together(points), self.name, self.options, CONVENTION):
            yield item
            while damage:
                yield damage.pop()
        yield from damage


def _points(file: Path, metric: str, damage: list[Damage]) -> Iterator[Point]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                ts, value, step = line.split()[:3]
                float(value)
                yield int(ts), int(step), metric, value.decode()
            except ValueError:
                if line.strip():
                    torn = not line.endswith(b"\n")
                    shown = line[:40].decode(errors="replace").strip()
                    damage.append(Damage("torn" if torn else "not_a_row", str(file), number, f"no value: {shown!r}"))


class Database:
    """One run of a SQLite store."""

    rereadable = True
    rank: int | None = 0

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        with self._connected() as db:
            try:
                found = db.execute("SELECT DISTINCT run_uuid FROM metrics").fetchall()
            except _DAMAGED as e:
                raise TraceError(f"is no store of MLflow: {e}", source=self.name) from None
        self.run = one_run({str(run): None for (run,) in found}, options, self.name)
        self.info = TraceInfo((self.name,), "mlflow", CONVENTION.known, run=self.run)

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)

    def __iter__(self) -> Iterator[Item]:
        return items(_together(self._points()), self.name, self.options, CONVENTION)

    def _points(self) -> Iterator[Point]:
        db = self._connected()
        try:
            for ts, step, metric, value, nan in db.execute(
                "SELECT timestamp, step, key, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY timestamp, step",
                (self.run,),
            ):
                if abs(value) >= _INFINITE:
                    value *= 2
                yield int(ts), int(step), str(metric), "nan" if nan else repr(float(value))
        except _DAMAGED as e:
            raise TraceError(f"cannot be read any further: {e}", source=self.name) from None
        finally:
            db.close()


def _together(points: Iterator[Point]) -> Iterator[Scalars]:
    """What was logged at the same moment for the same step, numbered from 1."""
    number, key, values = 0, (-1, -1), dict[str, str]()
    for ts, step, metric, value in points:
        if (ts, step) != key and values:
            number += 1
            yield Scalars(str(key[1]), values, repr(key[0] / 1000), number)
            values = {}
        key = ts, step
        values[metric] = value
    if values:
        yield Scalars(str(key[1]), values, repr(key[0] / 1000), number + 1)


def _runs(path: Path) -> dict[str, Path]:
    """Run → its metrics folder, in a store, an experiment or a run."""
    places = (path, *path.glob("*/"), *path.glob("*/*/"), *path.glob("mlruns/*/*/"))
    return {p.name: p / "metrics" for p in sorted(places) if (p / "meta.yaml").is_file() and (p / "metrics").is_dir()}


def _open(path: Path, options: Options) -> TraceSource:
    if not path.is_dir():
        return Database(path, options)
    runs = _runs(path)
    return Folder(runs[one_run(runs, options, options.name(path))], options, options.name(path))


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 0.85 if _runs(path) else 0.0
    return 0.9 if head.startswith(_SQLITE) and b"metrics" in head else 0.6 if head.startswith(_SQLITE) else 0.0


READER = Reader("mlflow", _detect, _open)
