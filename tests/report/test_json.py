"""The report for programs: keys and types that other people's scripts depend on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import NoneType
from typing import Any

import numpy as np
import pytest

from lrwatch import __version__
from lrwatch.findings import Finding, Severity
from lrwatch.report import render
from lrwatch.report.base import Look, plain
from lrwatch.result import Sensitivity
from tests.report.conftest import Make

NUMBER, TEXT = (int, float, str), (str,)  # a number may be the text "nan", "inf" or "-inf"
MAYBE_TEXT, MAYBE_WHOLE = (str, NoneType), (int, NoneType)

SCHEMA: dict[str, Any] = {
    "lrwatch": TEXT,
    "verdict": {"pass", "fail", "inconclusive"},
    "run": MAYBE_TEXT,
    "contract": {"path": TEXT, "sha256": TEXT},
    "trace": {
        "paths": [TEXT],
        "format": TEXT,
        "rows": (int,),
        "ranks": [(int,)],
        "groups": [TEXT],
        "first_step": MAYBE_WHOLE,
        "last_step": MAYBE_WHOLE,
        "damage": {"torn": (int,)},
    },
    "checks": [{"slug": TEXT, "status": {"ran", "not_checked"}, "why": MAYBE_TEXT}],
    "findings": [
        {
            "code": TEXT,
            "slug": TEXT,
            "severity": {"error", "warning", "info"},
            "signal": MAYBE_TEXT,
            "optimizer": MAYBE_TEXT,
            "group": MAYBE_TEXT,
            "rank": MAYBE_WHOLE,
            "first_step": MAYBE_WHOLE,
            "last_step": MAYBE_WHOLE,
            "state": {"active", "resolved"},
            "message": TEXT,
            "cause": {
                "name": TEXT,
                "params": {"k": NUMBER},
                "confidence": {"high", "ambiguous", "low"},
                "explains": NUMBER,
                "also_consistent": [TEXT],
                "missing_evidence": [TEXT],
                "sentence": TEXT,
            },
            "fix": TEXT,
            "runbook": TEXT,
        }
    ],
    "sensitivity": {"relative": NUMBER, "absolute": NUMBER, "sentence": TEXT},
    "stats": {"segments": (int,), "assumed": [TEXT]},
}


def against(schema: Any, value: Any, where: str = "") -> None:
    """Keys in exactly this order, values of these types."""
    if isinstance(schema, dict):
        assert list(value) == list(schema), where
        for key, inner in schema.items():
            against(inner, value[key], f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            against(schema[0], item, f"{where}[{i}]")
    elif isinstance(schema, set):
        assert value in schema, where
    else:
        assert isinstance(value, schema) and not isinstance(value, bool), f"{where}: {value!r}"


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


def parsed(text: str) -> Any:
    """Strict: NaN, Infinity and -Infinity are refused."""
    return json.loads(text, parse_constant=refuse)


def test_keys_types_and_their_order(report: Make, drift: Finding) -> None:
    against(SCHEMA, parsed(render("json", report(findings=(drift,)), Look())))


def test_values(report: Make, drift: Finding) -> None:
    document = parsed(render("json", report(findings=(drift,)), Look()))
    assert document["lrwatch"] == __version__
    assert (document["verdict"], document["run"]) == ("fail", "run-7")
    assert document["contract"]["path"] == "contract.yaml"
    assert document["contract"]["sha256"].startswith("31eb1f6bb6e1") and len(document["contract"]["sha256"]) == 64
    assert document["trace"] == {
        "paths": ["runs/7"], "format": "jsonl", "rows": 32, "ranks": [0, 1, 2, 3], "groups": ["0"],
        "first_step": 0, "last_step": 7, "damage": {"torn": 1},
    }  # fmt: skip
    assert document["checks"] == [
        {"slug": "desync", "status": "not_checked", "why": "the trace has one worker"},
        {"slug": "drift", "status": "ran", "why": None},
        {"slug": "non-finite", "status": "ran", "why": None},
    ]
    finding = document["findings"][0]
    assert (finding["code"], finding["severity"], finding["rank"], finding["first_step"]) == ("LR101", "error", None, 1)
    assert finding["cause"]["params"] == {"k": 2}
    assert finding["runbook"] == "checks/drift.md"
    assert document["sensitivity"]["relative"] == 1e-9
    assert document["stats"]["assumed"] == ["the rate is the one used", "steps were taken as counted from 0"]


def test_what_is_missing_is_null(report: Make, drift: Finding) -> None:
    bare = replace(drift, cause=None, group=None, first_step=None, last_step=None)
    document = parsed(render("json", report(contract=None, findings=(bare,), sensitivity=None), Look()))
    assert document["contract"] is None and document["sensitivity"] is None
    assert document["findings"][0]["cause"] is None and document["findings"][0]["group"] is None


def test_numbers_that_json_cannot_hold_are_text(report: Make, drift: Finding) -> None:
    assert drift.cause is not None
    odd = replace(drift, cause=replace(drift.cause, params={"k": math.inf}, explains=math.nan))
    document = parsed(render("json", report(findings=(odd,), sensitivity=Sensitivity(math.inf, -math.inf, "")), Look()))
    against(SCHEMA, document)
    assert document["findings"][0]["cause"]["params"] == {"k": "inf"}
    assert document["findings"][0]["cause"]["explains"] == "nan"
    assert (document["sensitivity"]["relative"], document["sensitivity"]["absolute"]) == ("inf", "-inf")


def test_the_verdict_follows_fail_on(report: Make, drift: Finding) -> None:
    warned = report(findings=(replace(drift, severity=Severity.warning),))
    assert parsed(render("json", warned, Look()))["verdict"] == "pass"
    assert parsed(render("json", warned, Look(Severity.warning)))["verdict"] == "fail"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.array([1.0, np.nan]), [1.0, "nan"]),
        (True, True),
        (None, None),
        ((1, "a"), [1, "a"]),
        ({1: np.bool_(False)}, {"1": False}),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_text_stays_readable_where_it_can(report: Make, drift: Finding) -> None:
    said = report(findings=(replace(drift, message="0–3 ≥ µ"),))
    assert "0–3 ≥ µ" in render("json", said, Look())
    ascii_only = render("json", said, Look(unicode=False))
    assert ascii_only.isascii()
    assert parsed(ascii_only)["findings"][0]["message"] == "0–3 ≥ µ"
