"""What Grafana would ask Prometheus: the committed dashboards with their variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BOARDS: dict[str, dict[str, Any]] = {
    path.stem.removeprefix("lrwatch-"): json.loads(path.read_text())
    for path in sorted((ROOT / "dashboards").glob("*.json"))
}
MACROS = {"__range": "60s", "__rate_interval": "5s"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")


def fill(text: str, **values: str) -> str:
    """``$name`` and ``${name}`` → value. Raises ``KeyError`` for one without a value."""
    known = {**MACROS, **values}
    return _VARIABLE.sub(lambda m: known[m[1] or m[2]], text)


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels that ask something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """(dashboard, title of the panel, panel, target) of everything that is asked."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield name, panel["title"], panel, target


def variables(board: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → variable."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression with everything filled in) of every target, annotation and variable."""
    chosen = {"run": "a|b", "rank": "0", "group": ".*", "experiment": ".*", "compare": "b", "datasource": "p"}
    for name, title, _, target in targets():
        yield f"{name}: {title}: {target['refId']}", fill(target["expr"], **chosen)
    for name, board in BOARDS.items():
        for annotation in board["annotations"].get("list", []):
            if "expr" in annotation:
                yield f"{name}: annotation {annotation['name']}", fill(annotation["expr"], **chosen)
        for variable in variables(board).values():
            if variable["type"] == "query":
                selector = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert selector, variable["query"]
                yield f"{name}: variable {variable['name']}", fill(selector[1], **chosen)
