"""Prometheus, Alertmanager and what they need, on this machine: ``up``, ``status``, ``down``.

Everything is on loopback and in one directory. ``up`` may be called again at any time: what runs is reconfigured, what
was killed is started again with its data, what was left half-way is finished.
"""

from __future__ import annotations

import fcntl
import json
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import LrwatchError
from lrwatch.ops import processes, programs, stackfiles
from lrwatch.ops.stackfiles import READY, Settings

__all__ = ["Service", "Settings", "Stack"]

START: Final = 60.0
"""Seconds that a program may take until it is ready."""
AT_ONCE: Final = 1.0
"""Seconds after which a program that has begun and does not run is one that has ended."""


@dataclass(frozen=True)
class Service:
    """One program of the stack; ``pid`` is None when it does not run."""

    name: str
    url: str
    pid: int | None


class Stack:
    """A stack in a directory."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()

    # -- asking -------------------------------------------------------------------------------------

    def services(self) -> list[Service]:
        """What belongs to this stack, running or not; empty before the first ``up``."""
        ports = self._ports()
        return [
            Service(name, f"http://127.0.0.1:{ports[name]}", processes.running(self.folder, name))
            for name in READY
            if name in ports
        ]

    def url(self, name: str) -> str:
        """Address of a service. Raises ``LrwatchError`` where it does not run."""
        for service in self.services():
            if service.name == name and service.pid is not None:
                return service.url
        raise LrwatchError(f"{self.folder}: {name} does not run; `lrwatch ops stack up --dir {self.folder}` starts it")

    def notifications(self) -> list[dict[str, Any]]:
        """Everything that Alertmanager has delivered, oldest first: ``at``, ``receiver`` and its own payload."""
        path = self.folder / "notifications.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""  # the last one may be on its way
        return [json.loads(line) for line in whole.splitlines()]

    def _ports(self) -> dict[str, int]:
        try:
            ports = json.loads((self.folder / "stack.json").read_text())["ports"]
            return {str(name): int(port) for name, port in ports.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LrwatchError(f"{self.folder / 'stack.json'}: cannot be read ({error}); remove it") from None

    # -- doing --------------------------------------------------------------------------------------

    def up(self, settings: Settings) -> list[Service]:
        """Configure and start what does not run, reload what does.

        Raises:
            LrwatchError: a program is missing, does not start, or the settings cannot work; nothing that this call
                started is left then.
        """
        found = {name: programs.need(name) for name in ("prometheus", "alertmanager")}
        if grafana := programs.find("grafana"):
            found["grafana"] = grafana
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            begun: list[str] = []
            try:
                ports = self._chosen(stackfiles.services(settings, found))
                stackfiles.write(self.folder, settings, ports)
                for name in ports:
                    if processes.running(self.folder, name) is None:
                        begun.append(name)
                        command, env = stackfiles.command(self.folder, name, found.get(name), settings, ports)
                        processes.start(self.folder, name, command, env, stackfiles.home(name, found.get(name)))
                for name in ports:
                    self._await(name, ports[name])
                for name in ("prometheus", "alertmanager"):
                    if name not in begun:
                        self._reload(name, ports[name])
            except BaseException:
                processes.stop(self.folder, begun, patience=2.0)
                raise
        return self.services()

    def down(self) -> list[str]:
        """Stop everything; the data stays. Returns the names of what ran."""
        if not self.folder.is_dir():
            return []
        with self._alone():
            return processes.stop(self.folder, processes.names(self.folder))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two calls at a time would start everything twice."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _chosen(self, names: list[str]) -> dict[str, int]:
        """The ports of last time where they are free or ours, else any free ones."""
        known = self._ports()
        ports: dict[str, int] = {}
        for name in names:
            mine = processes.running(self.folder, name) is not None
            ports[name] = known[name] if name in known and (mine or _freed(known[name])) else _any_free()
        return ports

    def _await(self, name: str, port: int) -> None:
        began = there = time.monotonic()
        log, pid_file = self.folder / "logs" / f"{name}.log", self.folder / "pids" / name
        while True:
            alive = processes.running(self.folder, name) is not None
            if alive and answers(f"http://127.0.0.1:{port}{READY[name]}"):
                return
            now = time.monotonic()
            if alive or not pid_file.exists():  # running, or not begun
                there = now
            if now - there > AT_ONCE or now - began > START:
                said = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
                what = f"was not ready within {START:.0f} s" if alive else "ended at once"
                raise LrwatchError(f"{name} {what}; {log} ends with: {' | '.join(said) or 'nothing'}")
            time.sleep(0.02)

    def _reload(self, name: str, port: int) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/-/reload", method="POST")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except (OSError, urllib.error.HTTPError) as error:
            said = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
            raise LrwatchError(f"{name} refuses its configuration: {' '.join(said.split())}") from None


def answers(url: str) -> bool:
    """Whether an address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _freed(port: int) -> bool:
    """Whether a port is free, or is in a moment: a killed process loses its command line before its sockets."""
    deadline = time.monotonic() + 3 * AT_ONCE
    while not (free := _free(port)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return free


def _any_free() -> int:
    """Below the range from which systems take the ports of outgoing connections: one of those may sit on a port just
    when its service comes back for it."""
    for port in random.sample(range(18_000, 30_000), 200):
        if _free(port):
            return port
    raise LrwatchError("127.0.0.1: none of 200 ports from 18000 to 29999 is free; end what holds them")
