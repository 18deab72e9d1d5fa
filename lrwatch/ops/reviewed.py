"""Files that people review: which sweeps may leave the schedule, which contracts may run in production.

Both become rules, so that an alert is silenced, or raised, by what a pull request approved and never by what a
training process says about itself.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.ops.rules.base import Alert, Group, Record
from lrwatch.ops.rules.workers import APPROVED

LONGEST: Final = datetime.timedelta(days=14)
"""A sweep that goes on for longer is asked for again."""
SWEEP_ALERT: Final = "LrwatchSweepAuthorized"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Sweep:
    """A sweep whose runs may leave their schedule for a while."""

    sweep: str
    owner: str
    ticket: str
    starts: datetime.datetime
    expires: datetime.datetime
    reason: str
    source: str


@dataclass(frozen=True)
class Approval:
    """A contract that may run in production."""

    sha256: str
    experiment: str
    owner: str
    ticket: str
    source: str


def sweeps(folder: Path) -> list[Sweep]:
    """Every sweep of a folder of YAML files.

    Raises:
        LrwatchError: a file that lacks something, authorises for more than 14 days, or names a sweep twice.
    """
    found: dict[str, Sweep] = {}
    for path, document in _documents(folder, ("sweep", "owner", "ticket", "starts", "expires", "reason")):
        starts, expires = _moment(path, document, "starts"), _moment(path, document, "expires")
        if expires <= starts:
            raise LrwatchError(f"{path}: expires: must be later than starts ({starts.isoformat()})")
        if expires - starts > LONGEST:
            raise LrwatchError(
                f"{path}: expires: {(expires - starts).days} days after starts; at most {LONGEST.days}, "
                "then it has to be reviewed again"
            )
        sweep = Sweep(
            _matching(path, document, "sweep", _NAME, "letters, digits, dots, dashes and underscores"),
            _text(path, document, "owner"), _text(path, document, "ticket"), starts, expires,
            _text(path, document, "reason"), str(path),
        )  # fmt: skip
        if sweep.sweep in found:
            raise LrwatchError(f"{path}: sweep: {sweep.sweep!r} is authorised by {found[sweep.sweep].source} already")
        found[sweep.sweep] = sweep
    return list(found.values())


def approvals(folder: Path) -> list[Approval]:
    """Every approved contract of a folder of YAML files. Raises ``LrwatchError`` on a file that lacks something."""
    return [
        Approval(
            _matching(path, document, "sha256", _SHA256, "64 hexadecimal digits, as `lrwatch contract hash` prints"),
            _text(path, document, "experiment"), _text(path, document, "owner"), _text(path, document, "ticket"),
            str(path),
        )
        for path, document in _documents(folder, ("sha256", "experiment", "owner", "ticket"))
    ]  # fmt: skip


def sweep_group(found: list[Sweep]) -> Group:
    """One source alert per sweep: it fires while the authorisation lasts, and Alertmanager inhibits by it."""
    return Group(
        "lrwatch.sweeps",
        "Authorised sweeps, from reviewed files. They inhibit learning-rate findings of their own runs, nothing else.",
        tuple(
            Alert(
                SWEEP_ALERT,
                "none",
                f"vector(time()) >= {s.starts.timestamp():.0f} < {s.expires.timestamp():.0f}",
                "A sweep may leave its schedule for now.",
                f"Sweep {s.sweep} of {s.owner} is authorised by {s.ticket} until {s.expires:%Y-%m-%d %H:%M} UTC: "
                f"{s.reason}",
                labels={"sweep": s.sweep, "owner": s.owner, "ticket": s.ticket},
            )
            for s in found
        ),
    )


def approval_group(found: list[Approval]) -> Group:
    """One series per approved contract."""
    return Group(
        "lrwatch.approved",
        "Contracts that may run in production, from reviewed files.",
        tuple(
            Record(
                APPROVED,
                f'label_replace(vector(1), "sha256", "{a.sha256}", "", "")',
                f"{a.experiment}, approved by {a.owner}, {a.ticket}".replace("\n", " "),
            )
            for a in {a.sha256: a for a in found}.values()
        ),
    )


def _documents(folder: Path, keys: tuple[str, ...]) -> list[tuple[Path, dict[str, Any]]]:
    if not folder.is_dir():
        raise LrwatchError(f"{folder}: no such folder")
    found = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".yml", ".yaml")):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise LrwatchError(f"{path}: cannot be read as YAML: {str(error).splitlines()[0]}") from None
        if not isinstance(document, dict):
            raise LrwatchError(f"{path}: must hold {', '.join(keys)}")
        for key in document:
            if key not in keys:
                raise LrwatchError(f"{path}: {key}: unknown key{did_you_mean(str(key), keys)}")
        for key in keys:
            if key not in document:
                raise LrwatchError(f"{path}: {key}: is missing; a reviewed file holds {', '.join(keys)}")
        found.append((path, document))
    return found


def _text(path: Path, document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str) or not value.strip():
        raise LrwatchError(f"{path}: {key}: must be text, got {value!r}")
    if "{{" in value:
        raise LrwatchError(f"{path}: {key}: must not hold a template ({{{{)")
    return " ".join(value.split())


def _matching(path: Path, document: Mapping[str, Any], key: str, pattern: re.Pattern[str], words: str) -> str:
    value = _text(path, document, key)
    if not pattern.fullmatch(value):
        raise LrwatchError(f"{path}: {key}: must be {words}, got {value!r}")
    return value


def _moment(path: Path, document: Mapping[str, Any], key: str) -> datetime.datetime:
    value = document[key]
    try:
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            value = datetime.datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime.datetime):
            raise ValueError
    except ValueError:
        raise LrwatchError(f"{path}: {key}: must be a date, as in 2026-11-30 or 2026-11-30T12:00:00Z") from None
    return value.astimezone(datetime.UTC) if value.tzinfo else value.replace(tzinfo=datetime.UTC)
