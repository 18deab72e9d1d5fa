"""One picture of a run: from an address, or from all that a run directory has."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from lrwatch.errors import LrwatchError
from lrwatch.top.scrape import Worker, ask

MOST: Final = 64
"""Workers that are asked at once; of more, these of the lowest ranks."""
TAIL: Final = 1 << 16
"""Bytes at the end of a trace that are read: a few hundred rows."""


@dataclass(frozen=True)
class Row:
    """An update: what is drawn of it."""

    step: int
    ts: float | None = None
    loss: float | None = None
    grad_norm: float | None = None
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Picture:
    """All that is known of a run at a moment.

    Attributes:
        workers: by rank, those that answered. announced: how many there should be, None where nobody says.
        silent: what was asked and did not answer. rows: the newest of the trace of rank 0, if it can be read.
        promised: learning rate by group of the last row, where no worker says it.
        summary: how the run ended, None while it has not.
    """

    at: float
    run: str
    workers: Mapping[int, Worker] = field(default_factory=lambda: MappingProxyType({}))
    announced: int | None = None
    silent: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    promised: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    summary: Mapping[str, Any] | None = None


class Source(Protocol):
    """Where pictures come from. ``look`` raises ``LrwatchError`` where there is nothing to show."""

    name: str

    def look(self) -> Picture: ...


def source(where: str | None, timeout: float = 2.0) -> Source:
    """Of an address or a directory; None: the newest run under ``runs``.

    Raises:
        LrwatchError: it is neither.
    """
    if where is None:
        runs = [path.parent for path in (*Path("runs").glob("*/trace"), *Path("runs").glob("*/targets"))]
        if not runs:
            raise LrwatchError("runs: no run there; name a run directory, or the address of a worker's metrics")
        return Directory(max(runs, key=_touched), timeout)
    if "://" in where or (re.fullmatch(r"[\w.\-]+:\d+(/\S*)?", where) and not Path(where).exists()):
        return Address(where, timeout)
    if not Path(where).is_dir():
        raise LrwatchError(f"{where}: neither a run directory nor an address, as in http://host:9478/metrics")
    return Directory(Path(where), timeout)


def _touched(run: Path) -> float:
    times = [path.stat().st_mtime for path in (run / "trace").glob("*.jsonl")]
    return max(times, default=run.stat().st_mtime)


class Address:
    """A worker's own port, or that of the node exporter."""

    def __init__(self, url: str, timeout: float):
        full = url if "://" in url else f"http://{url}"
        if urlsplit(full).scheme not in ("http", "https"):
            raise LrwatchError(f"{url}: http:// or https:// only")
        self.name = full if urlsplit(full).path.strip("/") else full.rstrip("/") + "/metrics"
        self._timeout = timeout

    def look(self) -> Picture:
        workers = ask(self.name, self._timeout)
        if not workers:
            raise LrwatchError(
                f"{self.name}: shows no worker of lrwatch; give the address of a worker (its first line on standard "
                "error says it), not that of Prometheus"
            )
        runs = sorted({worker.run for worker in workers})
        shown = {w.rank: w for w in workers if w.run == runs[0]}
        also = tuple(f"{run} is here, too" for run in runs[1:])
        return Picture(time.time(), runs[0], shown, _world(shown.values()), also)


class Directory:
    """A run directory: the workers announced in it, the trace, the summary."""

    def __init__(self, path: Path, timeout: float):
        self.path, self.name, self._timeout = path, str(path), timeout

    def look(self) -> Picture:
        targets = self._targets()
        workers: dict[int, Worker] = {}
        silent: list[str] = []
        if targets:
            with ThreadPoolExecutor(min(len(targets), 16)) as pool:
                for address, answer in zip(targets[:MOST], pool.map(self._ask, targets[:MOST]), strict=True):
                    if isinstance(answer, str):
                        silent.append(address)
                    else:
                        workers.update((worker.rank, worker) for worker in answer)
        lines, summary = self._lines(), self._summary()
        rows = tuple(row for line in lines if (row := _row(line)) is not None)
        if not workers and not rows and summary is None:
            raise LrwatchError(f"{self.path}: no worker answers, and there is neither a trace nor a summary")
        run = next((w.run for w in workers.values()), str((summary or {}).get("run") or self.path.absolute().name))
        announced = _world(workers.values()) or (len(targets) if targets else None)
        promise = {} if workers or not rows else self._promised(lines)
        return Picture(time.time(), run, workers, announced, tuple(silent), rows, promise, summary)

    def _ask(self, address: str) -> list[Worker] | str:
        try:
            return ask(f"{address}/metrics", self._timeout)
        except LrwatchError as error:
            return str(error)

    def _targets(self) -> list[str]:
        found: list[str] = []
        for path in sorted((self.path / "targets").glob("*.json")):
            try:
                for group in json.loads(path.read_text()):
                    scheme = group.get("labels", {}).get("__scheme__", "http")
                    found += [f"{scheme}://{target}" for target in group["targets"]]
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                continue  # being written
        return list(dict.fromkeys(found))

    def _newest(self) -> Path | None:
        """The newest segment's trace of the lowest rank."""
        files = sorted((self.path / "trace").glob("rank*-seg*.jsonl"))
        first = files[0].name.partition("-")[0] if files else ""
        return max((path for path in files if path.name.startswith(f"{first}-")), default=None)

    def _lines(self) -> list[dict[str, Any]]:
        """The newest lines of its trace; what is torn is left out."""
        path = self._newest()
        if path is None:
            return []
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - TAIL))
                lines = file.read().split(b"\n")
        except OSError:
            return []
        return [item for line in lines if (item := _object(line)) is not None]

    def _promised(self, lines: list[dict[str, Any]]) -> dict[str, float]:
        from lrwatch.top.promise import promised

        path = self._newest()
        try:
            with (path or self.path).open("rb") as file:
                header = _object(file.readline()) or {}
        except OSError:
            return {}
        return promised(self.path, header, next(line for line in reversed(lines) if _row(line) is not None))

    def _summary(self) -> Mapping[str, Any] | None:
        """How it ended, unless it goes on after that."""
        path = self.path / "summary.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        newer = [f for f in (self.path / "trace").glob("*.jsonl") if f.stat().st_mtime > path.stat().st_mtime + 5]
        return content if isinstance(content, dict) and not newer else None


def _world(workers: Iterable[Worker]) -> int | None:
    sizes = [size for worker in workers if (size := worker.value("world_size")) is not None]
    return int(max(sizes)) if sizes else None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        item = json.loads(line)
    except ValueError:
        return None  # torn: the first of the piece, or the last
    return item if isinstance(item, dict) else None


def _row(item: Mapping[str, Any]) -> Row | None:
    if "event" in item or not isinstance(item.get("update"), int):
        return None
    rates = {k.removeprefix("lr/"): v for k in item if k.startswith("lr/") and (v := _number(item[k])) is not None}
    ts, loss, norm = (_number(item.get(k)) for k in ("ts", "loss", "grad_norm"))
    return Row(item["update"], ts, loss, norm, rates)


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)  # "nan" and "inf" are written as words
    except (TypeError, ValueError):
        return None
