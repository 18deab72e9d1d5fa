"""The stack's own process: finds the trainers, receives the notifications, shows the runbooks.

    python -m lrwatch.ops.keeper DIR

- Discovery: targets that trainers leave in their run directories become one file for Prometheus. Only addresses are
  taken over; what labels a target has, its sweep above all, is the operator's word and never the trainer's.
- ``POST /page|ticket|record|deadman``: what Alertmanager sends, one line each in ``notifications.jsonl``.
- ``GET /notifications``, ``GET /runbooks/NAME.md``.
- It ends, and takes the other processes with it, when the stack's directory is removed or its owner is gone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from lrwatch import assets
from lrwatch.ops import processes

RECEIVERS: Final = ("page", "ticket", "record", "deadman")
PERIOD: Final = 0.5
"""Seconds between two looks at the run directories."""
LONGEST: Final = 1 << 20
"""Bytes of a notification."""
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_PAGE: Final = re.compile(r"/runbooks/([A-Za-z0-9]+\.md)")


def targets(folder: Path) -> Iterator[str]:
    """Addresses that the trainers of a run directory, or of a directory of them, have left."""
    for path in sorted([*folder.glob("targets/*.json"), *folder.glob("*/targets/*.json")]):
        try:
            groups = json.loads(path.read_text(encoding="utf-8"))
            found = [str(t) for group in groups for t in group["targets"]]
        except (OSError, ValueError, TypeError, KeyError):
            continue  # being written, or not ours
        yield from (t for t in found if _ADDRESS.fullmatch(t))


def discovered(folders: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What Prometheus reads: each address once, with the labels of the first folder that holds it."""
    known: set[str] = set()
    groups = []
    for entry in folders:
        fresh = [t for t in dict.fromkeys(targets(Path(entry["path"]))) if t not in known]
        known.update(fresh)
        if fresh:
            groups.append({"targets": fresh, "labels": dict(entry["labels"])})
    return groups


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


class Handler(BaseHTTPRequestHandler):
    """One request. The server carries ``folder``."""

    def do_POST(self) -> None:
        receiver = self.path.strip("/")
        length = int(self.headers.get("Content-Length") or 0)
        if receiver not in RECEIVERS or not 0 < length <= LONGEST:
            return self._answer(404, "text/plain", b"")
        try:
            content = json.loads(self.rfile.read(length))
        except ValueError:
            return self._answer(400, "text/plain", b"")
        line = json.dumps({**content, "at": time.time(), "receiver": receiver})
        with self._log().open("ab", buffering=0) as log:  # in one piece: others write at the same time
            log.write(f"{line}\n".encode())
        self._answer(200, "text/plain", b"")

    def do_GET(self) -> None:
        if self.path == "/-/ready":
            return self._answer(200, "text/plain", b"ready\n")
        if self.path == "/notifications":
            log = self._log()
            return self._answer(200, "application/jsonl", log.read_bytes() if log.exists() else b"")
        if match := _PAGE.fullmatch(self.path):
            page = assets.root() / "alerts" / "runbooks" / match[1]
            if page.is_file():
                return self._answer(200, "text/plain; charset=utf-8", page.read_bytes())
        self._answer(404, "text/plain", b"not here\n")

    def _log(self) -> Path:
        assert isinstance(self.server, Server)
        return self.server.folder / "notifications.jsonl"

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a notification is its own log."""


class Server(ThreadingHTTPServer):
    """Answers for the files of one folder."""

    def __init__(self, folder: Path, port: int):
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder


def main(folder: Path) -> None:
    """Keep until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = json.loads((folder / "stack.json").read_text())
    server = Server(folder, config["ports"]["keeper"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shown: list[dict[str, Any]] | None = None
    others: list[str] = []
    pids: dict[str, int] = {}
    while not stop.wait(PERIOD):
        try:
            config = json.loads((folder / "stack.json").read_text())
            others = [name for name in processes.names(folder) if name != "keeper"]
            pids = {name: pid for name in others if (pid := processes.running(folder, name)) is not None}
            found = discovered(config["runs"])
            if found != shown:
                replace(folder / "discovery" / "targets.json", json.dumps(found, indent=1) + "\n")
                shown = found
        except (OSError, ValueError):
            if not folder.exists():
                _end(pids)
                return
        owner = config.get("owner")
        if owner is not None and not processes.command_line(owner):
            processes.stop(folder, others)
            (folder / "pids" / "keeper").unlink(missing_ok=True)
            return


def _end(pids: Mapping[str, int]) -> None:
    """The directory is gone, and the pid files with it."""
    for pid in pids.values():
        if processes.command_line(pid):
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
