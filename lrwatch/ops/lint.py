"""What can be told about rules without running them: names that exist, pages that exist, sentences for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.metrics import by_name

PROMETHEUS_OWN: Final = frozenset({"up", "scrape_samples_post_metric_relabeling"})
"""Series that Prometheus itself writes for every target."""
SEVERITIES: Final = frozenset({"critical", "warning", "info", "none"})

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_NOT_NAMES: Final = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME: Final = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "group_left", "group_right", "inf", "nan", "by"})
_QUERY: Final = re.compile(r'printf "((?:[^"\\]|\\.)*)"[^}]*\| query')


def metrics(expr: str) -> set[str]:
    """Every metric that a PromQL expression names.

    >>> sorted(metrics('max by (rank) (rate(a_total{b="c"}[5m] offset 1h)) > 2 unless on (x) level:d:sum'))
    ['a_total', 'level:d:sum']
    """
    bare = _NOT_NAMES.sub(" ", _STRING.sub('""', expr))
    bare = re.sub(r"\b\d[\w.]*", "0", bare)
    return {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}


def queries(template: str) -> list[str]:
    """The PromQL that an annotation asks, with its ``%q`` filled in by something."""
    return [q.replace("%q", '"x"') for q in _QUERY.findall(template)]


def unknown(expr: str, recorded: Iterable[str]) -> list[str]:
    """Names in an expression that nobody exports, each with a suggestion."""
    catalogue = by_name()
    known = {*catalogue, *PROMETHEUS_OWN, *recorded}
    for metric in catalogue.values():
        if metric.type == "histogram":
            known |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return [f"no metric {name!r}{did_you_mean(name, known)}" for name in sorted(metrics(expr) - known)]


def load(path: Path) -> list[dict[str, Any]]:
    """The rules of a file. Raises ``LrwatchError`` when it is not a rule file."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [dict(rule) for group in document["groups"] for rule in group["rules"] or ()]
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError) as error:
        raise LrwatchError(f"{path}: not a rule file: {type(error).__name__}: {error}") from None


def problems(files: Mapping[str, list[dict[str, Any]]], pages: Path | None) -> list[str]:
    """What is wrong with rules, one sentence each. ``pages``: the folder of the runbooks, None to trust the links."""
    recorded = {str(r["record"]) for rules in files.values() for r in rules if "record" in r}
    # Made of reviewed files, which a site may not have: an absent one silences the alert that asks for it.
    recorded.add("lrwatch:contract_approved:info")
    return [
        f"{file}: {rule.get('alert') or rule.get('record')}: {problem}"
        for file, rules in files.items()
        for rule in rules
        for problem in _of_rule(rule, recorded, pages)
    ]


def _of_rule(rule: Mapping[str, Any], recorded: set[str], pages: Path | None) -> Iterator[str]:
    yield from unknown(str(rule["expr"]), recorded)
    if "alert" not in rule:
        return
    labels, notes = rule.get("labels", {}), rule.get("annotations", {})
    if labels.get("severity") not in SEVERITIES:
        yield f"severity must be one of {', '.join(sorted(SEVERITIES))}, got {labels.get('severity')!r}"
    for name, value in labels.items():
        if "$value" in str(value):
            yield f"label {name} changes with the value: every change would be another alert"
    summary = str(notes.get("summary", ""))
    if not re.fullmatch(r"[A-Z][^{}]*\.", summary):
        yield f"summary must be one static sentence, got {summary!r}"
    if not notes.get("description"):
        yield "has no description"
    for template in notes.values():
        for query in queries(str(template)):
            yield from unknown(query, recorded)
    url = str(notes.get("runbook_url", ""))
    page = url.rpartition("/")[2]
    if not page.endswith(".md"):
        yield f"runbook_url must lead to a page, got {url!r}"
    elif pages is not None and "{{" not in page and not (pages / page).is_file():
        yield f"there is no runbook {pages / page}"
