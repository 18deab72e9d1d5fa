"""Silences that cannot grow old: of one run or one sweep, by somebody, for a day at most."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

from lrwatch.checks import checks
from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.ops import api
from lrwatch.ops.rules import ALERTS
from lrwatch.ops.thresholds import duration

LONGEST: Final = 24 * 3600.0


@dataclass(frozen=True)
class Silence:
    """What is silenced. ``seconds``: for how long; ``alert``, ``code``: only these, None for all alerts of the run."""

    owner: str
    reason: str
    seconds: float
    run: str | None = None
    sweep: str | None = None
    alert: str | None = None
    code: str | None = None


def matchers(silence: Silence) -> list[dict[str, Any]]:
    """Which alerts Alertmanager silences.

    Raises:
        LrwatchError: neither run nor sweep, no owner, no reason, longer than a day, an unknown alert or code.
    """
    if bool(silence.run) == bool(silence.sweep):
        raise LrwatchError("a silence is of one run or of one sweep: give --run or --sweep")
    for name in ("owner", "reason"):
        if not getattr(silence, name).strip():
            raise LrwatchError(f"--{name}: must not be empty; whoever finds the silence wants to know")
    if not 0 < silence.seconds <= LONGEST:
        raise LrwatchError(
            f"--for {duration(silence.seconds)}: at most {duration(LONGEST)}; what needs longer is a sweep "
            "that somebody reviews (`lrwatch ops rules render --sweeps`)"
        )
    names = [a.name for a in ALERTS if a.severity != "none"]
    if silence.alert is not None and silence.alert not in names:
        raise LrwatchError(f"--alert {silence.alert}: no such alert{did_you_mean(silence.alert, names)}")
    codes = [check.code for check in checks().values()]
    if silence.code is not None and silence.code not in codes:
        raise LrwatchError(f"--code {silence.code}: no such code of a finding{did_you_mean(silence.code, codes)}")

    def matcher(name: str, value: str, pattern: bool = False) -> dict[str, Any]:
        return {"name": name, "value": value, "isRegex": pattern, "isEqual": True}

    return [
        matcher("alertname", silence.alert) if silence.alert else matcher("alertname", "Lrwatch.+", True),
        matcher("run_id", silence.run) if silence.run else matcher("sweep", str(silence.sweep)),
        *([matcher("code", silence.code)] if silence.code else []),
    ]


def create(alertmanager: str, silence: Silence) -> tuple[str, datetime.datetime, int]:
    """Make it; returns its id, when it ends, and how many alerts that are there now it silences.

    Raises:
        LrwatchError: see ``matchers``; or Alertmanager refuses or cannot be reached.
    """
    wanted = matchers(silence)
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(seconds=silence.seconds)
    answer = api.post(
        f"{alertmanager}/api/v2/silences",
        {
            "matchers": wanted,
            "startsAt": now.isoformat(),
            "endsAt": ends.isoformat(),
            "createdBy": silence.owner,
            "comment": silence.reason,
        },
    )
    if not isinstance(answer, dict) or "silenceID" not in answer:
        raise LrwatchError(f"{alertmanager}: answers, but not as Alertmanager does; give its address")
    about = [m for m in wanted if not m["isRegex"]]
    hit = [a for a in api.alerts(alertmanager) if all(a["labels"].get(m["name"]) == m["value"] for m in about)]
    return str(answer["silenceID"]), ends, len(hit)
