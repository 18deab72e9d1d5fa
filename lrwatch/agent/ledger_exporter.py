"""The ledger as a Prometheus endpoint: the counters of its book, the gauges of what it read last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from lrwatch.agent.announce import say
from lrwatch.errors import LrwatchError
from lrwatch.ledger.book import SETTLE, Book, count
from lrwatch.ledger.kpis import fold
from lrwatch.ledger.run import Run
from lrwatch.ledger.scan import Scanner, load_book, save_book
from lrwatch.metrics import METRICS, PREFIX

RECENT: Final = 3600.0
"""How long after its end a run is shown as ended, in seconds."""

Samples = Sequence[tuple[tuple[str, ...], float]]


@dataclass(frozen=True)
class View:
    """What a scrape shows: the book, and the runs as they were at ``scanned`` (Unix seconds)."""

    book: Book
    runs: tuple[Run, ...]
    scanned: float


def samples(view: View, now: float) -> dict[str, Samples]:
    """Metric name → label values and value."""
    kpis = fold(view.runs)
    ended: dict[tuple[str, ...], float] = {}  # two directories may hold runs of one name
    for run in view.runs:
        if not run.resumed and now - run.ended < RECENT:
            ended[(run.run,)] = max(run.ended, ended.get((run.run,), run.ended))
    values: dict[str, Samples] = {
        "runs_total": sorted(view.book.runs.items()),
        "runs_anomalous_total": [((name,), n) for name, n in sorted(view.book.anomalous.items())],
        "runs_gpu_seconds_total": sorted(view.book.gpu_seconds.items()),
        "runs_over_budget_streak": [
            ((str(k.experiment),), k.over_budget_streak) for k in kpis if k.over_budget_streak is not None
        ],
        "final_metric_stddev": [((str(k.experiment),), k.spread) for k in kpis if k.spread is not None],
        "ledger_scan_timestamp_seconds": [((), view.scanned)],
        "run_ended_timestamp_seconds": sorted(ended.items()),
    }
    return {PREFIX + name: found for name, found in values.items()}


class LedgerCollector:
    """The ledger's rows of ``METRICS``. ``read`` returns the newest view."""

    def __init__(self, read: Callable[[], View], now: Callable[[], float] = time.time):
        self._read, self._now = read, now

    def describe(self) -> Iterator[Family]:
        """Nothing, so that registering asks for no values."""
        return iter(())

    def collect(self) -> Iterator[Family]:
        """The families that have a value, in the order of the catalogue."""
        found = samples(self._read(), self._now())
        for metric in METRICS:
            if metric.scope != "ledger" or not found[metric.name]:
                continue
            family: Any
            if metric.type == "counter":
                family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
            else:
                family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in found[metric.name]:
                family.add_metric(list(labels), value)
            yield family


class Ledger:
    """Reads the runs again and again, keeps the book, shows the newest view.

    Args:
        root: the directory with the runs. state: the book's file. settle: see ``ledger.book``.

    Raises:
        LrwatchError: ``state`` is no book, or ``root`` cannot be read.
    """

    def __init__(self, root: Path, state: Path, settle: float = SETTLE, now: Callable[[], float] = time.time):
        self._scanner, self._state, self._settle, self._now = Scanner(root), state, settle, now
        self._told: set[str] = set()
        self.view = View(load_book(state), (), 0.0)
        self._turn()

    def turn(self) -> None:
        """Read once more. What cannot be read is said once; the time of the scan then stays what it was."""
        try:
            self._turn()
        except LrwatchError as error:
            self._tell(str(error))

    def _turn(self) -> None:
        scan, now = self._scanner.scan(), self._now()
        for problem in scan.problems:
            self._tell(f"{problem}; it is not counted")
        book = count(self.view.book, scan.runs, now, self._settle)
        if book is not self.view.book:
            try:
                save_book(self._state, book)
            except OSError as error:  # the next start counts the same again from the summaries
                self._tell(f"{self._state}: cannot be written ({error.strerror}): a restart may forget deleted runs")
        self.view = View(book, scan.runs, now)

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            say(problem)

    def serve(self, host: str, port: int) -> tuple[Any, int]:
        """Listen in a daemon thread; the server, which ``shutdown`` ends, and its port.

        Raises:
            LrwatchError: nobody can listen there.
        """
        registry = CollectorRegistry()
        registry.register(LedgerCollector(lambda: self.view, self._now))
        try:
            server, _ = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise LrwatchError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from None
        return server, int(server.server_port)
