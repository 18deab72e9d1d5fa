"""The rules as data: thresholds that can work, names that exist, expressions that mean what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser
import pytest

from lrwatch.errors import LrwatchError
from lrwatch.metrics import COMMON, by_name
from lrwatch.ops import lint, render
from lrwatch.ops.rules import ALERTS, GROUPS, Alert
from lrwatch.ops.rules.base import DISCOVERY
from lrwatch.ops.thresholds import THRESHOLDS, duration, resolve, seconds
from tests.ops import rules

EXPRESSIONS = [
    pytest.param(rule["expr"], id=str(rule.get("alert") or rule.get("record")))
    for file in rules.rendered().values()
    for rule in file
]


def nodes(node: object) -> Iterator[object]:
    """A parsed expression and everything in it."""
    yield node
    for name in ("lhs", "rhs", "expr", "param"):
        if (child := getattr(node, name, None)) is not None:
            yield from nodes(child)
    for child in getattr(node, "args", None) or ():
        yield from nodes(child)
    if isinstance(node, (promql_parser.MatrixSelector, promql_parser.SubqueryExpr)):
        inner = getattr(node, "vector_selector", None)
        if inner is not None:
            yield from nodes(inner)


# ---- thresholds


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("1h30m", 5400), ("0.5s", 0.5), ("250ms", 0.25), ("7d", 604800)]
)
def test_a_duration_is_read(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "5x", "5m3", "-5m", "1 h", "5m "])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0s"), (90, "1m30s"), (5400, "1h30m"), (604800, "7d"), (0.5, "500ms"), (45, "45s")]
)
def test_a_duration_is_written(value: float, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stall_dedline=5m", "--set stall_dedline=5m: no threshold 'stall_dedline'; did you mean 'stall_deadline'?"),
        ("memory", "--set memory: memory is a duration, as in memory=5m"),
        ("restarts=many", "--set restarts=many: restarts is a count, as in restarts=3"),
        ("stall_factor=-1", "stall_factor: must be a finite number, 0 or more, got -1"),
        ("stall_factor=nan", "stall_factor: must be a finite number, 0 or more, got nan"),
        ("anomalous_share=5", "anomalous_share: must be at most 1, got 5"),
        ("scrape_gap=0", "scrape_gap: a window cannot be empty"),
        ("burn_fast=14.4",
         "burn_fast: 14.4 times the 0.2 that the objective of 0.8 allows is 2.88: no share of failures exceeds 1, so "
         "the alert could never fire; below 5 it can"),
        ("burn_slow=5",
         "burn_slow: 5 times the 0.2 that the objective of 0.8 allows is 1: no share of failures exceeds 1, so "
         "the alert could never fire; below 5 it can"),
        ("convergence_objective=0.5",
         "burn_fast: 3 times the 0.5 that the objective of 0.5 allows is 1.5: no share of failures exceeds 1, so "
         "the alert could never fire; below 2 it can"),
        ("convergence_objective=1",
         "burn_fast: times 0 is 0: a single failure would fire; burn_slow: times 0 is 0: a single failure would fire"),
        ("burn_fast_short=1d", "burn_fast_short: must be shorter than burn_fast_long"),
        ("memory=1h",
         "memory: with scrape_gap it is 1h2m; the ledger shows an ended run for 1h only, later it would look vanished"),
        ("run_down_for=45m", "run_down_for: must be shorter than memory (45m), or it never fires"),
    ],
)  # fmt: skip
def test_a_threshold_that_cannot_work_is_refused(setting: str, message: str) -> None:
    with pytest.raises(LrwatchError) as caught:
        resolve([setting])
    assert str(caught.value) == message


def test_a_threshold_is_set() -> None:
    values = resolve(["stall_deadline=30m", "convergence_objective=0.9"])
    assert (values["stall_deadline"], values["convergence_objective"]) == (1800.0, 0.9)
    text = render.files(values)["ledger.yml"]
    assert "> 0.3\n" in text  # 3 × (1 − 0.9)
    assert "the objective is that 90 % reach it" in text


def test_every_threshold_is_used() -> None:
    used = {rule.wait for rule in ALERTS}
    for group in GROUPS:
        for rule in group.rules:
            used |= set(re.findall(r"<([a-z_]+)%?>", rule.expr + getattr(rule, "description", "")))
    used |= {name.removesuffix("_limit") for name in used if name.endswith("_limit")}
    assert used - {"", "burn_fast_limit", "burn_slow_limit"} == set(THRESHOLDS)


# ---- rendering


def test_the_committed_rules_are_current() -> None:
    assert {p.name: p.read_text(encoding="utf-8") for p in (rules.ALERTS / "rules").glob("*.yml")} == render.files(
        resolve()
    ), "run `lrwatch ops rules render -o alerts --force`"


def test_the_base_of_the_runbooks_can_be_set() -> None:
    made = render.rule(next(a for a in ALERTS if a.name == "LrwatchFindingError"), resolve(), "https://wiki.example/lr/")
    assert made["annotations"]["runbook_url"] == "https://wiki.example/lr/{{ $labels.code }}.md"


def test_alerts_have_names_of_their_own() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(names) == len(set(names)) == 25
    assert all(re.fullmatch(r"Lrwatch([A-Z][a-z]+)+", name) for name in names)


# ---- expressions


def test_the_rules_pass_their_own_lint() -> None:
    assert lint.problems(rules.rendered(), rules.ALERTS / "runbooks") == []


def test_recorded_names_say_level_metric_and_operation() -> None:
    for file in rules.rendered().values():
        for rule in file:
            if "record" in rule:
                level, metric, operation = rule["record"].split(":")
                known = {re.sub("_total$", "", name) for name in by_name()}
                assert level and operation and any(metric.startswith(name) for name in known)


def known_labels(name: str) -> set[str]:
    """Labels that a series of this name can have."""
    own = {"job", "instance", *DISCOVERY}
    if ":" in name:
        return own | {*COMMON, "every", "experiment", "outcome", "sha256"}
    base = re.sub("_(sum|count|bucket)$", "", name)
    metric = by_name().get(name) or by_name().get(base)
    if metric is None:
        assert name in lint.PROMETHEUS_OWN
        return own
    return own | set(metric.labels) | (set() if metric.scope == "ledger" else set(COMMON))


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_an_expression_asks_for_labels_that_exist(expr: str) -> None:
    for node in nodes(promql_parser.parse(expr)):
        if isinstance(node, promql_parser.VectorSelector):
            assert {m.name for m in node.matchers.matchers} <= known_labels(node.name)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            below = [n for n in nodes(node.expr) if isinstance(n, promql_parser.VectorSelector)]
            assert set(node.modifier.labels) <= set.union(*(known_labels(n.name) for n in below))


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_counters_are_counted_and_gauges_are_read(expr: str) -> None:
    """``rate`` of a gauge means nothing, and a counter is read as a number only where it outlives its process."""
    for node in nodes(promql_parser.parse(expr)):
        if isinstance(node, promql_parser.Call):
            for selector in (n for n in nodes(node) if isinstance(n, promql_parser.VectorSelector)):
                metric = by_name().get(selector.name)
                if node.func.name in ("rate", "increase", "irate", "resets"):
                    assert metric is not None and metric.type == "counter", f"{node.func.name}({selector.name})"
                if node.func.name in ("delta", "deriv", "changes", "quantile_over_time"):
                    assert metric is None or metric.type == "gauge", f"{node.func.name}({selector.name})"


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_an_expression_has_no_known_trap(expr: str) -> None:
    whole = promql_parser.parse(expr)
    for node in nodes(whole):
        if isinstance(node, promql_parser.VectorSelector):
            for matcher in node.matchers.matchers:
                if "~" in str(matcher.op) or "Re" in str(matcher.op):
                    assert re.search(r"[|.*+?\[]", matcher.value), f"{matcher.value!r} is no pattern: use = "
        if isinstance(node, promql_parser.AggregateExpr):
            assert str(node.op) not in ("topk", "bottomk", "avg"), "flaps, or is poisoned by one NaN"
            assert node.modifier is not None or str(node.op) == "count", "would mix all runs"
        if isinstance(node, promql_parser.Call):
            assert node.func.name not in ("absent", "absent_over_time"), "needs labels that nobody knows beforehand"
        if isinstance(node, promql_parser.MatrixSelector):
            assert node.range.total_seconds() >= 120, "shorter than two scrapes of a minute"
    assert "NaN" not in expr


def labels_of(node: object) -> set[str]:
    """Labels that the result of an expression can have."""
    recorded = {r["record"]: r["expr"] for file in rules.rendered().values() for r in file if "record" in r}
    match node:
        case promql_parser.AggregateExpr():
            return set(node.modifier.labels) if node.modifier else set()
        case promql_parser.ParenExpr():
            return labels_of(node.expr)
        case promql_parser.BinaryExpr():
            left = labels_of(node.lhs)
            return left | labels_of(node.rhs) if str(node.op) == "or" or not left else left
        case promql_parser.Call():
            inner = [labels_of(a) for a in node.args if not isinstance(a, promql_parser.StringLiteral)]
            made = {node.args[1].val} if node.func.name == "label_replace" else set()
            return made.union(*inner)
        case promql_parser.MatrixSelector():
            return labels_of(node.vector_selector)
        case promql_parser.VectorSelector(name=name):
            return labels_of(promql_parser.parse(recorded[name])) if name in recorded else known_labels(name)
        case _:
            return set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a.name)
def test_an_alert_survives_a_change_of_pod_and_knows_the_labels_it_speaks_of(alert: Alert) -> None:
    """Nothing of a target is a label of an alert: a restarted worker is the same alert, and keeps its ``for``."""
    labels = labels_of(promql_parser.parse(render.fill(alert.expr, resolve())))
    if alert.name != "LrwatchCardinality":  # is about a target
        assert not labels & {"instance", "job", "pod", "rank"}
    assert set(re.findall(r"\$labels\.(\w+)", alert.description + alert.runbook)) <= labels


# ---- the lint itself


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("vector(1)", set()),
        ("time() - max by (run_id) (a_total) > 1e-9", {"a_total"}),
        ('label_replace(x:y:z{a=~"b|c"} offset 5m, "k", "$1 v", "", "") or on () group_left (e) f', {"x:y:z", "f"}),
        ("max_over_time(a[5m:30s]) unless b and c bool", {"a", "b", "c"}),
        ("rate(up[5m]) > bool 3 * Inf", {"up"}),
    ],
)
def test_names_are_found_in_an_expression(expr: str, names: set[str]) -> None:
    assert lint.metrics(expr) == names


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"expr": "lrwatch_lerning_rate > 1"},
         "x.yml: A: no metric 'lrwatch_lerning_rate'; did you mean 'lrwatch_learning_rate'?"),
        ({"labels": {"severity": "page"}},
         "x.yml: A: severity must be one of critical, info, none, warning, got 'page'"),
        ({"labels": {"severity": "info", "v": "{{ $value }}"}},
         "x.yml: A: label v changes with the value: every change would be another alert"),
        ({"annotations": {"summary": "Run {{ $labels.run_id }}.", "description": "d", "runbook_url": "a.md"}},
         "x.yml: A: summary must be one static sentence, got 'Run {{ $labels.run_id }}.'"),
        ({"annotations": {"summary": "A.", "runbook_url": "a.md"}}, "x.yml: A: has no description"),
        ({"annotations": {"summary": "A.", "description": "d"}}, "x.yml: A: runbook_url must lead to a page, got ''"),
        ({"annotations": {"summary": "A.", "description": '{{ printf "max(nope{a=%q})" $x | query }}',
                          "runbook_url": "a.md"}}, "x.yml: A: no metric 'nope'"),
    ],
)  # fmt: skip
def test_the_lint_finds_what_is_wrong(change: dict[str, object], problem: str) -> None:
    good = {
        "alert": "A", "expr": "lrwatch_step > 1", "labels": {"severity": "info"},
        "annotations": {"summary": "A.", "description": "d", "runbook_url": "a.md"},
    }  # fmt: skip
    assert lint.problems({"x.yml": [good]}, None) == []
    found = lint.problems({"x.yml": [{**good, **change}]}, None)
    assert len(found) == 1 and found[0].startswith(problem)
