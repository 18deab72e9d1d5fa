"""Rules as Prometheus reads them: the catalogue with the thresholds written in, as YAML with comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from lrwatch.ops.rules import GROUPS
from lrwatch.ops.rules.base import Alert, Group, Record
from lrwatch.ops.thresholds import Values, duration, written

RUNBOOKS: Final = "alerts/runbooks"
"""Where the pages stand in the repository; a platform that shows them on the web renders with its own address."""
_PLACEHOLDER: Final = re.compile(r"<([a-z][a-z_]+)(%?)>")


def fill(text: str, values: Values) -> str:
    """``<name>`` → the threshold's value, ``<name%>`` → in percent. Raises ``KeyError`` on an unknown name."""
    return _PLACEHOLDER.sub(lambda m: f"{100 * values[m[1]]:.4g} %" if m[2] else written(m[1], values), text)


def rule(one: Record | Alert, values: Values, runbooks: str = RUNBOOKS, grafana: str = "") -> dict[str, Any]:
    """One rule as Prometheus reads it. ``grafana``: whose dashboards alerts lead to, "" for none."""
    if isinstance(one, Record):
        return {"record": one.name, "expr": fill(one.expr, values)}
    wait, hold = (values[name] if name else 0.0 for name in (one.wait, one.hold))
    return {
        "alert": one.name,
        "expr": fill(one.expr, values),
        **({"for": duration(wait)} if wait else {}),
        **({"keep_firing_for": duration(hold)} if hold else {}),
        "labels": {"severity": one.severity, **one.labels},
        "annotations": {
            "summary": one.summary,
            "description": fill(one.description, values),
            "runbook_url": f"{runbooks.rstrip('/')}/{one.runbook or one.name}.md",
            **({"dashboard_url": f"{grafana.rstrip('/')}/d/{_board(one)}"} if grafana else {}),
        },
    }


def _board(one: Alert) -> str:
    """Where one looks first: at the run, or at the experiment, or at all of them."""
    if "$labels.run_id" in one.description:
        return "lrwatch-on-call?var-run={{ $labels.run_id }}"
    if "$labels.experiment" in one.description:
        return "lrwatch-executive?var-experiment={{ $labels.experiment }}"
    return "lrwatch-executive"


def group(one: Group, values: Values, runbooks: str = RUNBOOKS, grafana: str = "") -> dict[str, Any]:
    """One group as Prometheus reads it."""
    return {"name": one.name, "rules": [rule(r, values, runbooks, grafana) for r in one.rules]}


def filename(one: Group) -> str:
    """``lrwatch.runs`` → ``runs.yml``."""
    return f"{one.name.rpartition('.')[2]}.yml"


def files(
    values: Values, runbooks: str = RUNBOOKS, extra: Sequence[Group] = (), grafana: str = ""
) -> dict[str, str]:
    """File name → text of every rule file; ``extra`` are groups made of reviewed files."""
    return {filename(g): text(g, values, runbooks, grafana) for g in (*GROUPS, *extra)}


def text(one: Group, values: Values, runbooks: str = RUNBOOKS, grafana: str = "") -> str:
    """A rule file."""
    lines = [f"# {one.about}", "# Rendered by `lrwatch ops rules render`; edit lrwatch/ops/, not this file.", "groups:"]
    lines += [f"- name: {one.name}", "  rules:" if one.rules else "  rules: []"]
    for r in one.rules:
        if isinstance(r, Record):
            lines.append(f"  # {r.why}")
        lines += _indented(dump([rule(r, values, runbooks, grafana)]))
    return "\n".join(lines) + "\n"


def _indented(yaml_text: str) -> Iterable[str]:
    return (f"  {line}" if line else line for line in yaml_text.rstrip("\n").split("\n"))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are read, everything in the order in which it was written."""


def _multiline(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _multiline)


def dump(document: Any) -> str:
    """YAML as the rendered files are written."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
