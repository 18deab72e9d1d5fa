"""The rendered rules and their tests as data, for the tests of this folder: read once, not to be changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path(__file__).parents[2] / "alerts"


@dataclass(frozen=True)
class Case:
    """One evaluation that a promtool test judges."""

    file: str
    group: str
    alert: str
    at: str
    fires: bool


@cache
def cases() -> list[Case]:
    """Every expectation about an alert in alerts/tests, in the order in which it is written."""
    found = []
    for path in sorted((ALERTS / "tests").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["tests"]:
            for expected in group["alert_rule_test"]:
                fires = bool(expected["exp_alerts"])
                found.append(Case(path.name, group["name"], expected["alertname"], expected["eval_time"], fires))
    return found


@cache
def rendered() -> dict[str, list[dict[str, Any]]]:
    """File name → rules, of the committed rule files."""
    return {
        path.name: [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
        for path in sorted((ALERTS / "rules").glob("*.yml"))
    }


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Alert name → rule."""
    return {rule["alert"]: rule for rules in rendered().values() for rule in rules if "alert" in rule}
