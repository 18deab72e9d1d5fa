"""All workers of a machine on one port, from the snapshots that they publish.

Beside the training, as a sidecar or a child process: 512 workers are scraped as 64 targets, and what a worker was is
still known when its process is gone. ``rank_up`` is said here, by who can see it:

- a worker is up while its process exists and its snapshot is younger than ``STALE`` seconds. A pid is only asked for
  in the namespace it comes from (a sidecar of its own namespace goes by the age alone); a worker that hangs so hard
  that its agent's thread gets no turn grows stale;
- of one that is down nothing but ``rank_up`` 0 is served: its last values would pass for present ones;
- one that closed its watch is served as it ended, ``rank_up`` 0, for ``ENDED`` seconds.

Workers of other machines in the same directory are theirs to serve. The samples go through as text, line by line; a
line that is no sample of the catalogue is left out, so that one bad file cannot spoil the scrape of all.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lrwatch.agent.announce import say
from lrwatch.agent.publish import FOLDER, MARK, boot, pid_namespace
from lrwatch.errors import LrwatchError
from lrwatch.metrics import METRICS, PREFIX
from lrwatch.trace.writer import replace_file

STALE: Final = 15.0
"""Seconds without a snapshot after which a worker is down; it writes one every second, a busy one every few."""
ENDED: Final = 300.0
"""Seconds for which the final state of a worker is served."""
FRESH: Final = 0.5
"""Seconds for which one answer serves all who ask."""
HANGING: Final = 5.0
"""Seconds after which a scraper that does not read is hung up on."""
_FILE = re.compile(r"rank\d+\.prom")
_SAMPLE = re.compile(r'[a-z_]+\{(?:[a-z0-9_]+="[^"\\]*(?:\\.[^"\\]*)*",?)*\} [-+.0-9a-zA-Z]+')
_SUFFIXES: Mapping[str, tuple[str, ...]] = {"histogram": ("_bucket", "_count", "_sum")}
_FAMILIES = {m.name + end: m.name for m in METRICS if m.scope != "ledger" for end in _SUFFIXES.get(m.type, ("",))}
"""Name of a sample → its metric. The name as a scrape has it: counters with their ``_total``."""
_UP = f"{PREFIX}rank_up"


@dataclass(frozen=True)
class Published:
    """A worker's snapshot: whose, when (Unix seconds), and its samples by metric."""

    pid: int
    pid_namespace: str | None
    boot: str
    ts: float
    ended: bool
    samples: Mapping[str, tuple[str, ...]]


def parse(text: str) -> Published:
    """A snapshot as ``publish`` writes it. Raises ValueError: it is none, or torn."""
    head, _, body = text.partition("\n")
    if not head.startswith(MARK):
        raise ValueError("is no snapshot of a worker")
    about = json.loads(head.removeprefix(MARK))
    samples: dict[str, list[str]] = {}
    for line in body.splitlines():
        family = _FAMILIES.get(line.partition("{")[0])
        if family is not None and _SAMPLE.fullmatch(line):
            samples.setdefault(family, []).append(line)
    if _UP not in samples:
        raise ValueError("says nothing of a worker")
    try:
        return Published(
            int(about["pid"]), about["pid_namespace"], str(about["boot"]), float(about["ts"]), bool(about["ended"]),
            {name: tuple(lines) for name, lines in samples.items()},
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(f"is no snapshot of a worker ({error})") from None


def is_up(worker: Published, now: float, here: str | None, exists: Callable[[int], bool]) -> bool:
    """Whether a worker is up. ``here``: this process's pid namespace; ``exists``: whether a pid of it does."""
    if worker.ended or now - worker.ts > STALE:
        return False
    return worker.pid_namespace is None or worker.pid_namespace != here or exists(worker.pid)


def merge(workers: Iterable[tuple[Published, bool]], now: float) -> str:
    """One exposition of all workers, each with whether it is up."""
    lines: dict[str, list[str]] = {}
    for worker, up in workers:
        if worker.ended and now - worker.ts > ENDED:
            continue
        whole = up or worker.ended
        for name, samples in worker.samples.items():
            if name == _UP:
                samples = tuple(f"{line.rpartition(' ')[0]} {float(up)}" for line in samples)
            elif not whole:
                continue
            lines.setdefault(name, []).extend(samples)
    out = []
    for metric in METRICS:
        if metric.name in lines:
            kind = "gauge" if metric.type == "info" else metric.type  # the plain text format knows no info
            out += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {kind}", *lines[metric.name]]
    return "\n".join([*out, ""])


def exists(pid: int) -> bool:
    """Whether a process with this number does, other than as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True


class Node:
    """Reads the snapshots below a run directory when it is asked, at most every half second."""

    def __init__(self, run_dir: Path, now: Callable[[], float] = time.time):
        self._folder, self._now = run_dir / FOLDER, now
        self._here, self._boot = pid_namespace(), boot()
        self._lock = threading.Lock()
        self._answer, self._until = "", 0.0
        self._told: set[str] = set()

    def text(self) -> str:
        """The exposition now."""
        with self._lock:
            if time.monotonic() >= self._until:
                now = self._now()
                workers = [(w, is_up(w, now, self._here, exists)) for w in self.read()]
                self._answer, self._until = merge(workers, now), time.monotonic() + FRESH
            return self._answer

    def read(self) -> list[Published]:
        """The snapshots of this machine's workers, by rank; what is none is said once."""
        try:
            names = sorted(name for name in os.listdir(self._folder) if _FILE.fullmatch(name))
        except FileNotFoundError:
            return []  # no worker has started yet
        except OSError as error:
            self._tell(f"{self._folder}: cannot be read ({error.strerror})")
            return []
        found = []
        for name in names:
            try:
                worker = parse((self._folder / name).read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._tell(f"{self._folder / name}: cannot be read ({error.strerror})")
            except ValueError as error:
                self._tell(f"{self._folder / name}: {error}; it is left out")
            else:
                if worker.boot == self._boot:
                    found.append(worker)
        return found

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            say(problem)


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = HANGING
    node: Node

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(404)
            return
        body = self.node.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A scraper that hangs up is no news."""


def server(node: Node, host: str, port: int) -> http.server.ThreadingHTTPServer:
    """A server of ``/metrics``; the caller runs ``serve_forever``.

    Raises:
        LrwatchError: nobody can listen there.
    """
    handler = type("Handler", (_Handler,), {"node": node})
    try:
        return _Server((host, port), handler)
    except OSError as error:
        raise LrwatchError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from None


def write_target(run_dir: Path, address: str) -> Path:
    """``targets/node-<machine>.json`` for file-based discovery. Raises OSError."""
    path = run_dir / "targets" / f"node-{os.uname().nodename}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps([{"targets": [address], "labels": {"job": "lrwatch"}}]) + "\n").encode())
    return path
