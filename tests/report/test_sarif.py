"""The report for code-scanning services: the parts of SARIF 2.1.0 that they require."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lrwatch import __version__
from lrwatch.checks import checks
from lrwatch.contract import from_document
from lrwatch.findings import Finding, Severity
from lrwatch.readers import open_trace
from lrwatch.report import render
from lrwatch.report.base import Look
from lrwatch.report.sarif import uri
from lrwatch.result import CheckRun
from lrwatch.trace.model import TraceInfo
from lrwatch.verify import verify
from tests.report.conftest import Make

LEVELS = {"none", "note", "warning", "error"}


def run(text: str) -> Any:
    """The only run of a log that has what the standard requires, in the types it requires."""
    log = json.loads(text, parse_constant=lambda token: pytest.fail(f"{token} is not JSON"))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    assert set(log) == {"$schema", "version", "runs"}
    [found] = log["runs"]
    driver = found["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("lrwatch", __version__)
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] and rule["help"]["text"] and rule["name"].isidentifier()
        assert rule.get("defaultConfiguration", {"level": "none"})["level"] in LEVELS
    for result in found["results"]:
        assert result["message"]["text"] and result["level"] in LEVELS
        assert ids[result["ruleIndex"]] == result["ruleId"]
        for location in result["locations"]:
            place = location["physicalLocation"]
            assert place.get("region", {"startLine": 1})["startLine"] >= 1
            assert not set(place["artifactLocation"]["uri"]) & set(' <>"{}|\\^`')
        assert all(isinstance(v, str) for v in result["partialFingerprints"].values())
    for invocation in found["invocations"]:
        assert isinstance(invocation["executionSuccessful"], bool)
        for note in invocation["toolExecutionNotifications"]:
            assert note["message"]["text"] and note["level"] in LEVELS
            assert ids[note["associatedRule"]["index"]] == note["associatedRule"]["id"]
    return found


def test_a_finding_is_a_result(report: Make, drift: Finding) -> None:
    found = run(render("sarif", report(findings=(drift,)), Look()))
    [result] = found["results"]
    assert (result["ruleId"], result["level"]) == ("LR101", "error")
    assert result["message"]["text"] == (
        "Group 0 used 0.0002 at step 1 where the contract says 0.0001; 3 of 8 rows differ, by up to 50.00% of the "
        "peak. Cause: The scheduler advances 2 times per update. It explains 100% of the deviation; confidence: "
        "ambiguous. Or: Every value is multiplied by 2. Fix: Call scheduler.step() once per optimizer update."
    )
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "runs/7"
    properties = result["properties"]
    assert (properties["firstStep"], properties["lastStep"], properties["ranks"]) == (1, 3, [0, 1, 2, 3])
    assert properties["cause"]["name"] == "rate" and properties["cause"]["params"] == {"k": 2}
    assert found["properties"] == {"verdict": "fail", "run": "run-7"}


def test_checks_are_rules_and_their_gaps_are_notes(report: Make) -> None:
    found = run(render("sarif", report(), Look()))
    rules = {rule["id"]: rule for rule in found["tool"]["driver"]["rules"]}
    assert list(rules) == ["LR201", "LR101", "LR301"]
    assert rules["LR101"]["shortDescription"]["text"] == "learning rate differs from the contract"
    assert rules["LR101"]["help"]["text"].startswith("The learning rate differs from what the contract promises.")
    assert rules["LR301"]["name"] == "NonFinite"
    [invocation] = found["invocations"]
    assert invocation["executionSuccessful"] is True
    assert [n["message"]["text"] for n in invocation["toolExecutionNotifications"]] == [
        "desync not checked: the trace has one worker"
    ]


def test_every_check_is_a_rule(report: Make) -> None:
    runs = tuple(CheckRun(slug, check.code, "ran") for slug, check in checks().items())
    assert len(run(render("sarif", report(checks=runs), Look()))["tool"]["driver"]["rules"]) == len(checks())


def test_an_open_verdict_is_no_success(report: Make) -> None:
    open_ = report(checks=(CheckRun("drift", "LR101", "not_checked", "no column"),))
    assert run(render("sarif", open_, Look()))["invocations"][0]["executionSuccessful"] is False
    assert run(render("sarif", open_, Look(allow_inconclusive=True)))["invocations"][0]["executionSuccessful"] is True


def test_severities(report: Make, drift: Finding) -> None:
    findings = tuple(replace(drift, severity=severity) for severity in Severity)
    levels = [r["level"] for r in run(render("sarif", report(findings=findings), Look()))["results"]]
    assert levels == ["error", "warning", "note"]


def test_a_result_points_at_the_file_of_its_worker(report: Make, drift: Finding) -> None:
    info = TraceInfo(tuple(f"runs/my run/rank{rank:05d}-seg0000.jsonl" for rank in range(12)), "lrwatch")
    findings = (replace(drift, rank=None, ranks=(2, 3)), replace(drift, rank=11, ranks=()))
    found = run(render("sarif", report(info=info, findings=findings), Look()))
    places = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in found["results"]]
    assert places == ["runs/my%20run/rank00002-seg0000.jsonl", "runs/my%20run/rank00011-seg0000.jsonl"]
    assert len(found["artifacts"]) == 12


def test_the_same_trouble_of_another_run_has_the_same_fingerprint(report: Make, drift: Finding) -> None:
    later = replace(drift, first_step=900, last_step=2000, message="other numbers")
    other = replace(drift, group="head")
    prints = [
        run(render("sarif", report(findings=(f,)), Look()))["results"][0]["partialFingerprints"]["lrwatch/v1"]
        for f in (drift, later, other)
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b.csv", "a/b.csv"), ("/a b/c", "file:///a%20b/c"), ("ü%", "%C3%BC%25"), ("\udcff", "%FF"), ("-", "-")],
)
def test_uri(path: str, expected: str) -> None:
    assert uri(path) == expected


def test_ascii_where_nothing_else_can_be_shown(report: Make, drift: Finding) -> None:
    text = render("sarif", report(findings=(drift,)), Look(unicode=False))
    assert text.isascii()
    assert "ranks 0–3" in run(text)["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]


def test_a_drift_points_at_its_first_wrong_row(tmp_path: Path) -> None:
    contract = from_document(
        {"lrwatch": 1, "experiment": "x", "clock": {"horizon": 100}, "lr": {"base": 1.0, "schedule": "constant"}}
    )
    trace = tmp_path / "log.csv"
    trace.write_text("step,lr\n0,1.0\n1,1.0\n2,0.5\n3,0.5\n")
    found = run(render("sarif", verify(contract, open_trace([trace])), Look()))
    place = next(r for r in found["results"] if r["ruleId"] == "LR101")["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": f"file://{trace}"}, "region": {"startLine": 4}}
