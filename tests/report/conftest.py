"""Reports made by hand: what a verification could have found, without running one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lrwatch.contract import Contract, from_document
from lrwatch.findings import Cause, Finding, Severity
from lrwatch.result import CheckRun, Result, Sensitivity, Series, Stats
from lrwatch.trace.model import TraceInfo
from lrwatch.verify import Report

CONTRACT = from_document(
    {
        "lrwatch": 1,
        "experiment": "gpt-small",
        "clock": {"horizon": 8},
        "lr": {
            "base": 4e-4,
            "schedule": [{"linear": {"from": 0, "for": 4}}, {"constant": {}}],
            "groups": {"head": {"scale": 10}},
        },
    },
    "contract.yaml",
)

DRIFT = Finding(
    code="LR101",
    slug="drift",
    severity=Severity.error,
    message="group 0 used 0.0002 at step 1 where the contract says 0.0001; 3 of 8 rows differ, by up to 50.00% of "
    "the peak",
    signal="lr",
    group="0",
    ranks=(0, 1, 2, 3),
    first_step=1,
    last_step=3,
    state="resolved",
    fix="call scheduler.step() once per optimizer update",
    cause=Cause(
        "rate",
        {"k": 2},
        "ambiguous",
        1.0,
        "the scheduler advances 2 times per update",
        ("every value is multiplied by 2",),
        ("a row after the warm-up",),
    ),
)

RESULT = Result(
    contract=CONTRACT,
    checks=(
        CheckRun("desync", "LR201", "not_checked", "the trace has one worker"),
        CheckRun("drift", "LR101", "ran"),
        CheckRun("non-finite", "LR301", "ran"),
    ),
    findings=(),
    stats=Stats(
        rows=32, ranks=(0, 1, 2, 3), groups=("0",), segments=1, first_step=0, last_step=7, damage={"torn": 1},
        assumed=("steps were taken as counted from 0",), run="run-7",
    ),
    sensitivity=Sensitivity(1e-9, 4e-13, "a constant factor off by 1.0e-09 would have been seen"),
    series=(
        Series(
            "lr", "0", 0,
            t=np.arange(8.0),
            observed=np.array([0, 2, 4, 4, 4, 4, 4, 4]) * 1e-4,
            expected=np.array([0, 1, 2, 3, 4, 4, 4, 4]) * 1e-4,
            first_bad=1,
        ),
    ),
)  # fmt: skip

Make = Callable[..., Report]


@pytest.fixture
def report() -> Make:
    """``report(findings=…, …)``: a report on four workers and eight steps, with fields of its result replaced."""

    def make(info: TraceInfo | None = None, contract: Contract | None = CONTRACT, **fields: Any) -> Report:
        info = info or TraceInfo(("runs/7",), "jsonl", assumed=("the rate is the one used",))
        return Report(replace(RESULT, contract=contract, **fields), info, contract)

    return make


@pytest.fixture
def drift() -> Finding:
    """An error: the scheduler was too fast during the warm-up, on every worker."""
    return DRIFT
