"""The verdict, and the same trouble of several workers, groups or segments as one finding."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from lrwatch.contract import from_document
from lrwatch.findings import Cause, Finding, Severity
from lrwatch.result import CheckRun, Result, Stats, merged

CONTRACT = from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": "constant"}})
DRIFT, STEPPING = CheckRun("drift", "LR101", "ran"), CheckRun("stepping", "LR102", "ran")
NO_DRIFT = CheckRun("drift", "LR101", "not_checked", "no contract was given")
NO_STEPPING = CheckRun("stepping", "LR102", "not_checked", "no position")
PART = replace(DRIFT, why="segment 1: nobody knows at which update it started; pass start_step")


def finding(severity: Severity = Severity.error, **fields: Any) -> Finding:
    details = MappingProxyType(fields.pop("details", {}))
    return Finding("LR101", "drift", severity, fields.pop("message", "m"), signal="lr", details=details, **fields)


@pytest.mark.parametrize(
    ("checks", "severities", "contract", "fail_on", "verdict"),
    [
        ([DRIFT, STEPPING], [], True, "error", "pass"),
        ([DRIFT, NO_STEPPING], [], True, "error", "pass"),
        ([DRIFT], ["info", "warning"], True, "error", "pass"),
        ([DRIFT], ["info", "warning"], True, "warning", "fail"),
        ([DRIFT], ["info"], True, "warning", "pass"),
        ([DRIFT], ["info"], True, "info", "fail"),
        ([DRIFT], ["error"], True, "error", "fail"),
        ([NO_DRIFT, STEPPING], ["error"], True, "error", "fail"),  # what was found counts, whatever was not checked
        ([NO_DRIFT, STEPPING], [], True, "error", "inconclusive"),
        ([NO_DRIFT, STEPPING], ["warning"], True, "error", "inconclusive"),
        ([PART, STEPPING], [], True, "error", "inconclusive"),
        ([NO_DRIFT, NO_STEPPING], [], True, "error", "inconclusive"),
        ([], [], True, "error", "inconclusive"),
        ([STEPPING], [], True, "error", "pass"),  # drift was not asked for
        ([NO_STEPPING], [], True, "error", "inconclusive"),
        ([NO_DRIFT, STEPPING], [], False, "error", "pass"),
        ([NO_DRIFT, NO_STEPPING], [], False, "error", "inconclusive"),
    ],
)
def test_verdict(checks: list[CheckRun], severities: list[str], contract: bool, fail_on: str, verdict: str) -> None:
    findings = tuple(finding(Severity[s]) for s in severities)
    result = Result(CONTRACT if contract else None, tuple(checks), findings, Stats())
    assert result.verdict(Severity[fail_on]) == verdict


def test_the_default_is_to_fail_on_errors() -> None:
    assert Result(CONTRACT, (DRIFT,), (finding(Severity.warning),), Stats()).verdict() == "pass"
    assert Result(CONTRACT, (DRIFT,), (finding(Severity.error),), Stats()).verdict() == "fail"


# -- one finding of many ------------------------------------------------------------------------------

RATE = Cause("rate", {"k": 4})
UNEXPLAINED = Cause("unexplained", confidence="low")


def short(f: Finding) -> tuple[Any, ...]:
    groups = ",".join(f.details.get("groups", ())) or f.group
    return (f.ranks, f"{f.optimizer}/{groups}" if f.optimizer else groups, f.first_step, f.last_step, f.state)


def test_the_same_on_several_workers() -> None:
    found = [
        finding(rank=2, group="0", first_step=5, last_step=9, state="resolved"),
        finding(rank=0, group="0", first_step=5, last_step=7),
        finding(rank=1, group="0", first_step=6, last_step=7),
    ]
    assert [short(f) for f in merged(found)] == [((0, 2), "0", 5, 9, "active"), ((1,), "0", 6, 7, "active")]
    assert [f.rank for f in merged(found)] == [None, 1]


def test_what_concerns_the_run_has_no_ranks() -> None:
    assert [(f.rank, f.ranks) for f in merged([finding(rank=None)])] == [(None, ())]


@pytest.mark.parametrize(
    "change",
    [
        {"group": "1"},
        {"optimizer": "gen"},
        {"severity": Severity.warning},
        {"first_step": 6},
        {"cause": RATE},
        {"details": {"kind": "gap"}},
    ],
)
def test_workers_with_different_troubles_stay_apart(change: dict[str, Any]) -> None:
    one = {"rank": 0, "group": "0", "first_step": 5, "severity": Severity.error}
    assert len(merged([finding(**one), finding(**{**one, "rank": 1})])) == 1
    assert len(merged([finding(**one), finding(**{**one, "rank": 1, **change})])) == 2


def test_groups_with_one_cause() -> None:
    found = [
        finding(rank=0, group="body", first_step=1, last_step=9, cause=RATE, details={"segment": 0}),
        finding(rank=0, group="head", first_step=3, last_step=12, cause=RATE, details={"segment": 0}),
        finding(
            rank=0, group="tail", first_step=3, last_step=12, cause=Cause("rate", {"k": 2}), details={"segment": 0}
        ),
        finding(rank=0, group="neck", first_step=3, last_step=12, details={"segment": 0}),
    ]
    expected = [((0,), "body,head", 1, 12, "active"), ((0,), "neck", 3, 12, "active"), ((0,), "tail", 3, 12, "active")]
    assert sorted(map(short, merged(found)), key=str) == sorted(expected, key=str)


def test_groups_of_two_optimizers() -> None:
    found = [finding(rank=0, optimizer=o, group=g, first_step=1, cause=RATE) for o in ("gen", "disc") for g in "01"]
    one, *others = merged(found)
    assert (one.optimizer, one.group, one.details["groups"], others) == (
        None,
        None,
        ["gen/0", "gen/1", "disc/0", "disc/1"],
        [],
    )
    same, *others = merged(found[:2])
    assert (same.optimizer, same.group, same.details["groups"], others) == ("gen", None, ["gen/0", "gen/1"], [])


def test_what_nobody_can_explain_is_one_trouble_only_where_it_begins_at_one_step() -> None:
    found = [finding(rank=0, group=g, first_step=at, cause=UNEXPLAINED) for g, at in (("a", 1), ("b", 1), ("c", 7))]
    assert [short(f)[1:3] for f in merged(found)] == [("a,b", 1), ("c", 7)]


def test_segments_with_one_cause() -> None:
    found = [
        finding(rank=0, group="0", first_step=1, last_step=9, state="resolved", cause=RATE, details={"segment": 0}),
        finding(rank=0, group="0", first_step=5, last_step=30, state="active", cause=RATE, details={"segment": 1}),
        finding(rank=0, group="0", first_step=31, last_step=40, cause=UNEXPLAINED, details={"segment": 2}),
    ]
    assert [short(f)[2:] for f in merged(found)] == [(1, 30, "active"), (31, 40, "active")]


def test_worst_first_then_earliest() -> None:
    found = [finding(Severity.info, first_step=0), finding(first_step=9), finding(Severity.warning, first_step=1),
             finding(first_step=2), finding(first_step=None)]  # fmt: skip
    assert [(str(f.severity), f.first_step) for f in merged(found)] == [
        ("error", None), ("error", 2), ("error", 9), ("warning", 1), ("info", 0),
    ]  # fmt: skip
