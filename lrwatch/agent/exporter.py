"""The snapshot as a Prometheus endpoint. The only home of prometheus_client.

A collector over the catalogue: no metric objects, no locks, no global registry; a scrape renders the newest snapshot
and touches nothing of the training.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family

from lrwatch.agent.meters import Snapshot
from lrwatch.metrics import COMMON, METRICS, Metric
from lrwatch.trace.writer import replace_file

LATELY: Final = 300.0
"""Seconds after which somebody who scraped is not waited for any more."""


class Collector:
    """``METRICS`` with the values of a snapshot. ``read`` returns the newest one."""

    def __init__(self, read: Callable[[], Snapshot], run_id: str, rank: int):
        self._read, self._common = read, [run_id, str(rank)]
        self._metrics = [m for m in METRICS if m.scope == "rank" or (m.scope == "rank0" and rank == 0)]

    def describe(self) -> Iterator[Family]:
        """The families without samples, so that registering asks for no values."""
        for metric in self._metrics:
            yield self._family(metric)

    def collect(self) -> Iterator[Family]:
        """The families that have a value, in the order of the catalogue."""
        snapshot = self._read()
        for metric in self._metrics:
            family = self._family(metric)
            if metric.name in snapshot.histograms:
                histogram = snapshot.histograms[metric.name]
                family.add_metric(self._common, histogram.buckets, histogram.total)
            for labels, value in snapshot.samples.get(metric.name, ()):
                if metric.type == "info":
                    family.add_metric(self._common, dict(zip(metric.labels, labels, strict=True)))
                else:
                    family.add_metric([*self._common, *labels], value)
            if family.samples:
                yield family

    @staticmethod
    def _family(metric: Metric) -> Any:
        labels = [*COMMON, *metric.labels]
        if metric.type == "gauge":
            return GaugeMetricFamily(metric.name, metric.help, labels=labels)
        if metric.type == "counter":
            return CounterMetricFamily(metric.name.removesuffix("_total"), metric.help, labels=labels)
        if metric.type == "info":
            return InfoMetricFamily(metric.name.removesuffix("_info"), metric.help, labels=COMMON)
        return HistogramMetricFamily(metric.name, metric.help, labels=labels)


class Exporter:
    """An HTTP server in a daemon thread, and the file by which Prometheus finds it.

    Args:
        read: returns the newest snapshot. port: a fixed one, None for any free one.
        run_dir: gets ``targets/rank00000.json`` for file-based discovery; None for no file.
        tls: ``certfile``, ``keyfile``, ``client_cafile``, … as prometheus_client's ``start_http_server`` has them.
    """

    def __init__(
        self,
        read: Callable[[], Snapshot],
        *,
        run_id: str,
        rank: int,
        host: str,
        port: int | None,
        run_dir: Path | None,
        tls: Mapping[str, Any] | None = None,
    ):
        self._tls = dict(tls or {})
        self._seen: dict[tuple[str, str], float] = {}
        self._read: Counter[tuple[str, str]] | None = None
        self._registry = CollectorRegistry()
        self._registry.register(Collector(read, run_id, rank))
        self._host, self._wanted = host, port or 0
        self._target = run_dir / "targets" / f"rank{rank:05d}.json" if run_dir is not None else None
        self._server: Any = None
        self._thread: Any = None
        self.port: int | None = None
        self.problems: list[str] = []

    def start(self) -> None:
        """Listen; where the port is taken on any free one, else not at all. ``problems`` says what went wrong."""
        for port in dict.fromkeys((self._wanted, 0)):
            try:
                self._server, self._thread = start_http_server(
                    port, addr=self._host, registry=self._registry, **self._tls
                )
                if self._tls:  # a client that never greets must not hold up the others
                    self._server.socket.do_handshake_on_connect = False
                self._server.set_app(self._seeing(self._server.get_app()))
                self._server.handle_error = _ignore  # a scraper that hangs up is no news for the training's stderr
                self.port = int(self._server.server_port)
                break
            except Exception as error:
                remedy = "taking any free port" if port else "no metrics will be served"
                self.problems.append(f"cannot listen on {self._host}:{port} ({_reason(error)}); {remedy}")
        if self.port is not None and self._target is not None:
            try:
                self._write_target(self._target)
            except OSError as error:
                self.problems.append(f"{self._target}: cannot be written ({_reason(error)}): no discovery by file")

    def text(self) -> bytes:
        """What a scrape would get now."""
        return generate_latest(self._registry)

    @property
    def url(self) -> str | None:
        """Where to scrape, None when nothing listens."""
        return None if self.port is None else f"http{'s' if self._tls else ''}://{self._address()}/metrics"

    def _address(self) -> str:
        host = socket.gethostname() if self._host in ("", "0.0.0.0", "::") else self._host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def _write_target(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = {"job": "lrwatch", **({"__scheme__": "https"} if self._tls else {})}
        targets = [{"targets": [self._address()], "labels": labels}]
        replace_file(path, (json.dumps(targets) + "\n").encode())

    def _seeing(self, app: Any) -> Any:
        """The application, and who asks it."""

        def seeing(environ: Mapping[str, Any], start_response: Any) -> Any:
            who = str(environ.get("REMOTE_ADDR")), str(environ.get("HTTP_USER_AGENT"))
            self._seen[who] = time.monotonic()
            answer = app(environ, start_response)
            if self._read is not None:
                self._read[who] += 1
            return answer

        return seeing

    def linger(self, seconds: float) -> None:
        """Wait until everybody who has scraped lately has read what is there now twice, at most for so long."""
        now = time.monotonic()
        waiting = {who for who, at in list(self._seen.items()) if now - at < LATELY}
        self._read = Counter()
        while waiting and time.monotonic() - now < seconds and self._server is not None:
            time.sleep(0.05)
            waiting = {who for who in waiting if self._read[who] < 2}

    def close(self) -> None:
        """Stop listening and take the target away."""
        if self._server is None:
            return
        server, self._server, port, self.port = self._server, None, self.port, None
        stopping = threading.Thread(target=server.shutdown, daemon=True)
        stopping.start()
        with contextlib.suppress(OSError):  # it looks for a shutdown twice a second, or when somebody calls
            socket.create_connection((server.server_address[0], port), timeout=0.5).close()
        stopping.join(timeout=5.0)
        server.server_close()
        self._thread.join(timeout=1.0)
        if self._target is not None:
            with contextlib.suppress(OSError):
                self._target.unlink(missing_ok=True)

    def abandon(self) -> None:
        """In a forked child: let go of the listening socket; the thread that serves it did not come along."""
        if self._server is not None:
            self._server.socket.close()
            self._server = self.port = None


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__


def _ignore(request: object, client: object) -> None:
    """Instead of a traceback."""
