"""What the programs of a stack are told: configuration files and command lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import LrwatchError
from lrwatch.ops import keeper, render, reviewed, routing
from lrwatch.ops.dashboards import files
from lrwatch.ops.rules.base import DISCOVERY, Group
from lrwatch.ops.thresholds import duration, resolve

READY: Final[Mapping[str, str]] = {
    "keeper": "/-/ready", "ledger": "/metrics", "alertmanager": "/-/ready", "prometheus": "/-/ready",
    "grafana": "/api/health",
}  # fmt: skip
"""Service → where it says that it is ready; in the order in which they are started."""
SHORTEST: Final = 1.0
"""Seconds between scrapes: an agent renews what it shows once a second."""


@dataclass(frozen=True)
class Settings:
    """What a stack watches, and how.

    Attributes:
        runs: run directories, or directories of them; the ledger reads the first. labels: of every target, e.g.
            ``environment``. sweeps: name → directory of the runs of that sweep.
        scrape: seconds between scrapes and between evaluations. thresholds: ``name=value``.
        wait, interval, repeat: of Alertmanager's groups, in seconds; without them: as long as the slowest inhibitor
            needs, 10 scrapes, 12 h. settle: seconds until a run that did not finish counts as ended in the ledger.
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
    settle: float = 300.0
    authorised: Path | None = None
    approved: Path | None = None
    owner: int | None = None


def services(settings: Settings, programs: Mapping[str, Path]) -> list[str]:
    """The services that these settings and programs make, in the order in which they are started."""
    ours = {"keeper", *(["ledger"] if settings.runs else [])}
    return [name for name in READY if name in ours or name in programs]


def write(folder: Path, settings: Settings, ports: Mapping[str, int]) -> None:
    """Every configuration file of the stack in ``folder``.

    Raises:
        LrwatchError: thresholds, routes or reviewed files that cannot work; nothing is written then.
    """
    if settings.scrape < SHORTEST:
        raise LrwatchError(f"a scrape every {duration(settings.scrape)}: at least {duration(SHORTEST)} apart")
    values = resolve(settings.thresholds)
    home = f"http://127.0.0.1:{ports['keeper']}"
    slowest = max(values["mismatch_for"], values["finding_error_for"]) + 2 * settings.scrape
    page, ticket, record, deadman = (f"{home}/{receiver}" for receiver in keeper.RECEIVERS)
    routes = routing.Routing(
        page, ticket, record, deadman, evaluation=settings.scrape,
        wait=slowest if settings.wait is None else settings.wait,
        interval=10 * settings.scrape if settings.interval is None else settings.interval, repeat=settings.repeat,
        heartbeat=max(settings.scrape, 1.0),
    )  # fmt: skip
    if problems := routing.problems(routes, values):
        raise LrwatchError("; ".join(problems))
    grafana = f"http://127.0.0.1:{ports['grafana']}" if "grafana" in ports else ""
    rules = render.files(values, f"{home}/runbooks", _reviewed(settings), grafana)
    config = folder / "config"
    for path in (*settings.runs, *settings.sweeps.values(), folder / "discovery", folder / "ledger"):
        path.mkdir(parents=True, exist_ok=True)  # what is to be watched has to be there from the start
    for old in (config / "rules").glob("*.yml"):
        if old.name not in rules:
            old.unlink()
    for name, text in rules.items():
        keeper.replace(config / "rules" / name, text)
    keeper.replace(config / "alertmanager.yml", routing.text(routes))
    keeper.replace(config / "prometheus.yml", render.dump(_prometheus(folder, settings, ports)))
    if "grafana" in ports:
        _provision_grafana(folder, ports, f"{home}/runbooks")
    runs = [
        {"path": str(path.resolve()), "labels": {**settings.labels, "sweep": name}}
        for name, path in settings.sweeps.items()
    ]
    runs += [{"path": str(path.resolve()), "labels": dict(settings.labels)} for path in settings.runs]
    state = {"ports": dict(ports), "runs": runs, "owner": settings.owner}
    keeper.replace(folder / "stack.json", json.dumps(state, indent=1) + "\n")


def _reviewed(settings: Settings) -> list[Group]:
    made = []
    if settings.authorised is not None:
        made.append(reviewed.sweep_group(reviewed.sweeps(settings.authorised)))
    if settings.approved is not None:
        made.append(reviewed.approval_group(reviewed.approvals(settings.approved)))
    return made


def _prometheus(folder: Path, settings: Settings, ports: Mapping[str, int]) -> dict[str, Any]:
    every = duration(settings.scrape)
    trainers = {
        "job_name": "lrwatch",
        "file_sd_configs": [{"files": [str(folder / "discovery" / "*.json")], "refresh_interval": "5s"}],
        "sample_limit": 10_000,
        **owned(DISCOVERY),
    }
    static = [
        {"job_name": f"lrwatch-{name}", "static_configs": [{"targets": [f"127.0.0.1:{ports[name]}"]}]}
        for name in ("ledger",)
        if name in ports
    ]
    manager = {"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}
    timeout = duration(min(settings.scrape, 10.0))
    return {
        "global": {"scrape_interval": every, "scrape_timeout": timeout, "evaluation_interval": every},
        "rule_files": [str(folder / "config" / "rules" / "*.yml")],
        "alerting": {"alertmanagers": [manager]},
        "scrape_configs": [trainers, *static],
    }


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


def command(
    folder: Path, name: str, program: Path | None, settings: Settings, ports: Mapping[str, int]
) -> tuple[list[str], dict[str, str]]:
    """How a service is started: command line, and environment on top of ours."""
    address, data = f"127.0.0.1:{ports[name]}", folder / name
    if name in ("keeper", "ledger"):
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        ours = {
            "keeper": ["lrwatch.ops.keeper", str(folder)],
            "ledger": [
                "lrwatch", "ledger", *(str(runs.resolve()) for runs in settings.runs[:1]), "--serve",
                f"--port={ports[name]}", f"--every={max(settings.scrape, 1.0)}", f"--settle={settings.settle}",
                f"--state={data / 'counted.json'}",
            ],
        }  # fmt: skip
        return [sys.executable, "-m", *ours[name]], {"PYTHONPATH": path}
    if name == "prometheus":
        return [
            str(program), f"--config.file={folder / 'config' / 'prometheus.yml'}", f"--storage.tsdb.path={data}",
            f"--web.listen-address={address}", f"--web.external-url=http://{address}",
            "--web.enable-lifecycle", "--web.enable-remote-write-receiver",
            # An alert that fires before Alertmanager is known would wait a minute to be sent again.
            "--rules.alert.resend-delay=5s",
        ], {}  # fmt: skip
    if name == "alertmanager":
        return [
            str(program), f"--config.file={folder / 'config' / 'alertmanager.yml'}", f"--storage.path={data}",
            f"--web.listen-address={address}", f"--web.external-url=http://{address}",
            "--cluster.listen-address=",  # else it gossips on every interface
        ], {}  # fmt: skip
    server = ["server"] if program and program.name == "grafana" else []
    return [str(program), *server, f"--config={folder / 'grafana.ini'}"], {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(ports[name]),
        "GF_PATHS_DATA": str(data),
        "GF_PATHS_PROVISIONING": str(folder / "config" / "grafana"),
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
    }


def home(name: str, program: Path | None) -> Path | None:
    """The directory to start in: an unpacked Alertmanager has its templates beside it (tests/tools.sh)."""
    found = program.parent.parent / "share" / name if program else None
    return found if found is not None and found.is_dir() else None


def _provision_grafana(folder: Path, ports: Mapping[str, int], runbooks: str) -> None:
    """Data source and dashboards; their links lead to the keeper's runbooks."""
    grafana = folder / "config" / "grafana"
    boards = folder / "config" / "boards"
    texts = {boards / name: text for name, text in files.boards((), runbooks, "lrwatch").items()}
    url = f"http://127.0.0.1:{ports['prometheus']}"
    texts |= {grafana / name: text for name, text in files.provisioning("lrwatch", url, str(boards)).items()}
    for path, text in texts.items():
        keeper.replace(path, text)
    keeper.replace(folder / "grafana.ini", "")
