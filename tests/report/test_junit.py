"""The report for CI systems, as JUnit XML: one case per check."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as xml

import pytest

from lrwatch.findings import Finding, Severity
from lrwatch.report import render
from lrwatch.report.base import Look
from lrwatch.result import CheckRun
from tests.report.conftest import Make

RAN = CheckRun("drift", "LR101", "ran")
SKIPPED = CheckRun("desync", "LR201", "not_checked", "the trace has one worker")


def suite(text: str) -> xml.Element:
    """The only suite, its counts compared with its cases."""
    root = xml.fromstring(text)
    assert root.tag == "testsuites" and [child.tag for child in root] == ["testsuite"]
    found = root[0]
    assert all(case.tag == "testcase" and case.get("classname") and case.get("name") for case in found)
    counted = {"tests": len(found), "failures": 0, "errors": 0, "skipped": 0}
    for outcome, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        counted[key] = len(found.findall(f"testcase/{outcome}"))
    assert {key: int(found.get(key, "-1")) for key in counted} == counted
    assert all(root.get(key) == found.get(key) for key in counted)
    return found


def outcomes(element: xml.Element) -> dict[str, list[str]]:
    return {case.get("name", ""): [child.tag for child in case] for case in element}


def test_one_case_per_check(report: Make, drift: Finding) -> None:
    found = suite(render("junit", report(findings=(drift,)), Look()))
    assert found.get("name") == "lrwatch run-7"
    assert outcomes(found) == {"LR201 desync": ["skipped"], "LR101 drift": ["failure"], "LR301 non-finite": []}
    assert found.find("testcase/skipped").attrib == {"message": "the trace has one worker"}  # type: ignore[union-attr]


def test_a_failure_says_everything(report: Make, drift: Finding) -> None:
    [failure] = suite(render("junit", report(findings=(drift,)), Look())).findall("testcase/failure")
    assert failure.attrib == {
        "type": "drift",
        "message": "The scheduler advances 2 times per update; first bad step 1",
    }
    assert failure.text == (
        "error LR101 drift: ranks 0–3 · lr group 0 · steps 1–3 · resolved\n"
        "Group 0 used 0.0002 at step 1 where the contract says 0.0001; 3 of 8 rows differ, by up to 50.00% of the "
        "peak.\n"
        "Cause: The scheduler advances 2 times per update. It explains 100% of the deviation; confidence: ambiguous.\n"
        "Or: Every value is multiplied by 2.\n"
        "Missing: A row after the warm-up.\n"
        "Fix: Call scheduler.step() once per optimizer update.\n"
        "Page: lrwatch explain drift\n"
    )


def test_several_findings_of_a_check_are_one_failure_and_lesser_ones_are_output(report: Make, drift: Finding) -> None:
    warned = replace(drift, severity=Severity.warning, cause=None)
    found = suite(render("junit", report(findings=(warned, drift, drift)), Look()))
    [case] = [c for c in found if c.get("name") == "LR101 drift"]
    assert [child.tag for child in case] == ["failure", "system-out"]
    assert (case[0].get("message") or "").endswith("first bad step 1 (and 1 more)")
    assert (case[0].text or "").count("error LR101") == 2
    assert (case[1].text or "").startswith("warning LR101 drift")
    strict = suite(render("junit", report(findings=(warned,)), Look(Severity.warning)))
    assert outcomes(strict)["LR101 drift"] == ["failure"]


@pytest.mark.parametrize(
    ("run", "allow", "expected"),
    [
        (replace(RAN, why="segment 1 has no origin"), False, ["error", "system-out"]),
        (replace(RAN, why="segment 1 has no origin"), True, ["system-out"]),
        (CheckRun("drift", "LR101", "not_checked", "no column"), False, ["error"]),
        (CheckRun("drift", "LR101", "not_checked", "no column"), True, ["skipped"]),
    ],
)
def test_what_leaves_the_verdict_open_is_an_error(
    report: Make, run: CheckRun, allow: bool, expected: list[str]
) -> None:
    text = render("junit", report(checks=(run, replace(RAN, slug="spike"))), Look(allow_inconclusive=allow))
    assert outcomes(suite(text)) == {"LR101 drift": expected, "LR101 spike": []}


def test_a_gap_of_another_check_is_no_error(report: Make) -> None:
    assert outcomes(suite(render("junit", report(checks=(RAN, SKIPPED)), Look()))) == {
        "LR101 drift": [],
        "LR201 desync": ["skipped"],
    }


def test_names_cannot_break_the_document(report: Make, drift: Finding) -> None:
    odd = replace(drift, message="]]><x a=\"'&\x00\x1b\ufffe", group="\ud800", fix="<b>")
    for look in (Look(), Look(unicode=False)):
        text = render("junit", report(findings=(odd,)), look)
        assert look.unicode or text.isascii()
        [failure] = suite(text.encode("utf-8" if look.unicode else "ascii").decode()).findall("testcase/failure")
        assert "]]><x a=\"'&\\x00\\x1b\\ufffe." in (failure.text or "")
        assert "\\ud800" in (failure.text or "")
