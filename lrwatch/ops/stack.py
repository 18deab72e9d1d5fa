"""Prometheus, Alertmanager and what they need, on this machine: ``up``, ``status``, ``down``.

Everything is on loopback and in one directory. ``up`` may be called again at any time: what runs is reconfigured, what
was killed is started again with its data, what was left half-way is finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lrwatch import assets
from lrwatch.errors import LrwatchError
from lrwatch.ops import keeper, processes, programs, render, reviewed, routing
from lrwatch.ops.rules.base import DISCOVERY
from lrwatch.ops.thresholds import duration, resolve

START: Final = 30.0
"""Seconds that a program may take until it is ready."""
READY: Final[Mapping[str, str]] = {
    "keeper": "/-/ready", "alertmanager": "/-/ready", "prometheus": "/-/ready", "grafana": "/api/health",
}  # fmt: skip
"""Service → where it says that it is ready; in the order in which they are started."""


@dataclass(frozen=True)
class Settings:
    """What a stack watches, and how.

    Attributes:
        runs: run directories, or directories of them. labels: of every target, e.g. ``environment``.
        sweeps: name → directory of the runs of that sweep. scrape: seconds between scrapes and between evaluations.
        thresholds: ``name=value``. wait, interval, repeat: of Alertmanager's groups, in seconds; None: two scrapes
        more than the slowest inhibitor, 10 scrapes, 12 h.
        authorised, approved: folders of reviewed files. owner: a process with whom the stack ends.
    """

    runs: tuple[Path, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    sweeps: Mapping[str, Path] = field(default_factory=dict)
    scrape: float = 5.0
    thresholds: tuple[str, ...] = ()
    wait: float | None = None
    interval: float | None = None
    repeat: float = 12 * 3600.0
    authorised: Path | None = None
    approved: Path | None = None
    owner: int | None = None


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
        ports = self._state().get("ports", {})
        return [
            Service(name, f"http://127.0.0.1:{ports[name]}", processes.running(self.folder, name))
            for name in READY
            if name in ports
        ]

    def url(self, name: str) -> str:
        """Address of a service. Raises ``LrwatchError`` where there is none."""
        for service in self.services():
            if service.name == name and service.pid is not None:
                return service.url
        raise LrwatchError(f"{self.folder}: {name} does not run; `lrwatch ops stack up --dir {self.folder}` starts it")

    def notifications(self) -> list[dict[str, Any]]:
        """Everything that Alertmanager has delivered, oldest first: ``at``, ``receiver`` and its own payload."""
        path = self.folder / "notifications.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / "stack.json").read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise LrwatchError(f"{self.folder / 'stack.json'}: cannot be read ({error}); remove it") from None
        return state if isinstance(state, dict) else {}

    # -- doing --------------------------------------------------------------------------------------

    def up(self, settings: Settings) -> list[Service]:
        """Configure and start what does not run, reload what does.

        Raises:
            LrwatchError: a program is missing, does not start, or the settings cannot work; nothing that this call
                started is left then.
        """
        commands = {name: programs.need(name) for name in ("prometheus", "alertmanager")}
        if grafana := programs.find("grafana"):
            commands["grafana"] = grafana
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            begun: list[str] = []
            try:
                ports = self._ports([name for name in READY if name == "keeper" or name in commands])
                self._configure(settings, ports)
                for name in ports:
                    if processes.running(self.folder, name) is None:
                        begun.append(name)
                        command, env = self._command(name, commands.get(name), ports)
                        processes.start(self.folder, name, command, env, _home(name, commands.get(name)))
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

    def _ports(self, names: list[str]) -> dict[str, int]:
        """The ports of last time where they are free or ours, else any free ones."""
        known = self._state().get("ports", {})
        ports: dict[str, int] = {}
        for name in names:
            mine = processes.running(self.folder, name) is not None
            ports[name] = known[name] if name in known and (mine or _free(known[name])) else _any_free()
        return ports

    def _configure(self, settings: Settings, ports: Mapping[str, int]) -> None:
        """Write every configuration file."""
        values = resolve(settings.thresholds)
        home = f"http://127.0.0.1:{ports['keeper']}"
        late = max(values[w] for w in ("mismatch_for", "finding_error_for")) + 2 * settings.scrape
        page, ticket, record, deadman = (f"{home}/{receiver}" for receiver in keeper.RECEIVERS)
        routes = routing.Routing(
            page, ticket, record, deadman,
            evaluation=settings.scrape, wait=late if settings.wait is None else settings.wait,
            interval=10 * settings.scrape if settings.interval is None else settings.interval, repeat=settings.repeat,
            heartbeat=max(settings.scrape, 1.0),
        )  # fmt: skip
        if problems := routing.problems(routes, values):
            raise LrwatchError("; ".join(problems))
        extra = []
        if settings.authorised is not None:
            extra.append(reviewed.sweep_group(reviewed.sweeps(settings.authorised)))
        if settings.approved is not None:
            extra.append(reviewed.approval_group(reviewed.approvals(settings.approved)))
        (self.folder / "discovery").mkdir(exist_ok=True)  # Prometheus watches it from its start on, or not at all
        config = self.folder / "config"
        made = render.files(values, f"{home}/runbooks", extra)
        for old in (config / "rules").glob("*.yml"):
            if old.name not in made:
                old.unlink()
        for name, text in made.items():
            keeper.replace(config / "rules" / name, text)
        keeper.replace(config / "alertmanager.yml", routing.text(routes))
        keeper.replace(config / "prometheus.yml", render.dump(self._prometheus(settings, ports)))
        if "grafana" in ports:
            self._provision_grafana(ports)
        runs = [{"path": str(path.resolve()), "labels": {**settings.labels, "sweep": name}}
                for name, path in settings.sweeps.items()]  # fmt: skip
        runs += [{"path": str(path.resolve()), "labels": dict(settings.labels)} for path in settings.runs]
        state = {"ports": dict(ports), "runs": runs, "owner": settings.owner}
        keeper.replace(self.folder / "stack.json", json.dumps(state, indent=1) + "\n")

    def _prometheus(self, settings: Settings, ports: Mapping[str, int]) -> dict[str, Any]:
        every = duration(settings.scrape)
        return {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": duration(min(settings.scrape, 10.0)),
                "evaluation_interval": every,
            },
            "rule_files": [str(self.folder / "config" / "rules" / "*.yml")],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}]
            },
            "scrape_configs": [
                {
                    "job_name": "lrwatch",
                    "file_sd_configs": [
                        {"files": [str(self.folder / "discovery" / "*.json")], "refresh_interval": "5s"}
                    ],
                    "sample_limit": 10_000,
                    **owned(DISCOVERY),
                }
            ],
        }

    def _command(self, name: str, program: Path | None, ports: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
        """How a service is started: command line and environment on top of ours."""
        address, data = f"127.0.0.1:{ports[name]}", self.folder / name
        if name == "keeper":
            root = str(Path(__file__).parents[2])
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
            return [sys.executable, "-m", "lrwatch.ops.keeper", str(self.folder)], {"PYTHONPATH": path}
        if name == "prometheus":
            return [
                str(program), f"--config.file={self.folder / 'config' / 'prometheus.yml'}",
                f"--storage.tsdb.path={data}", f"--web.listen-address={address}", f"--web.external-url=http://{address}",
                "--web.enable-lifecycle", "--web.enable-remote-write-receiver",
                # An alert that fires before Alertmanager is known would wait a minute to be sent again.
                "--rules.alert.resend-delay=5s",
            ], {}  # fmt: skip
        if name == "alertmanager":
            return [
                str(program), f"--config.file={self.folder / 'config' / 'alertmanager.yml'}", f"--storage.path={data}",
                f"--web.listen-address={address}", f"--web.external-url=http://{address}",
                "--cluster.listen-address=",  # else it gossips on every interface
            ], {}  # fmt: skip
        command = [str(program), *(["server"] if program and program.name == "grafana" else [])]
        return [*command, f"--config={self.folder / 'grafana.ini'}"], {
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": str(ports[name]),
            "GF_PATHS_DATA": str(data),
            "GF_PATHS_PROVISIONING": str(self.folder / "config" / "grafana"),
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
        }

    def _provision_grafana(self, ports: Mapping[str, int]) -> None:
        provisioning = self.folder / "config" / "grafana"
        source = {"name": "lrwatch", "uid": "lrwatch", "type": "prometheus", "access": "proxy",
                  "url": f"http://127.0.0.1:{ports['prometheus']}"}  # fmt: skip
        boards = {"name": "lrwatch", "type": "file", "options": {"path": str(assets.find("dashboards"))}}
        keeper.replace(provisioning / "datasources" / "lrwatch.yaml",
                       render.dump({"apiVersion": 1, "datasources": [source]}))  # fmt: skip
        keeper.replace(provisioning / "dashboards" / "lrwatch.yaml",
                       render.dump({"apiVersion": 1, "providers": [boards]}))  # fmt: skip
        keeper.replace(self.folder / "grafana.ini", "")

    def _await(self, name: str, port: int) -> None:
        deadline = time.monotonic() + START
        log = self.folder / "logs" / f"{name}.log"
        while True:
            alive = processes.running(self.folder, name)
            if alive is not None and answers(f"http://127.0.0.1:{port}{READY[name]}"):
                return
            ended = alive is None and (self.folder / "pids" / name).exists() and time.monotonic() > deadline - START + 1
            if ended or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
                what = "ended at once" if ended else f"was not ready within {START:.0f} s"
                raise LrwatchError(f"{name} {what}; {log} ends with: {' | '.join(said) or 'nothing'}")
            time.sleep(0.02)

    def _reload(self, name: str, port: int) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/-/reload", method="POST")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except (OSError, urllib.error.HTTPError) as error:
            said = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
            raise LrwatchError(f"{name} refuses its configuration: {' '.join(said.split())}") from None


def owned(labels: Sequence[str]) -> dict[str, Any]:
    """Relabelling by which only discovery can set these labels: what a process says of itself does not count.

    A label of the target beats one of the sample, but only where the target has it; so every target gets all of them,
    and those that discovery left out go again.
    """
    return {
        "relabel_configs": [
            {"source_labels": [label], "regex": "", "target_label": label, "replacement": "none"} for label in labels
        ],
        "metric_relabel_configs": [
            *(
                {"source_labels": [label], "regex": "none", "target_label": label, "replacement": ""}
                for label in labels
            ),
            {"action": "labeldrop", "regex": f"exported_({'|'.join(labels)})"},
        ],
    }


def _home(name: str, program: Path | None) -> Path | None:
    """The directory to start in: an unpacked Alertmanager has its templates beside it (tests/tools.sh)."""
    home = program.parent.parent / "share" / name if program else None
    return home if home is not None and home.is_dir() else None


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


def _any_free() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
