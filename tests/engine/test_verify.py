"""Files (here: lists) through a session: read twice where that helps, refused where they are of something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lrwatch.errors import TraceError
from lrwatch.trace.model import Item, TraceInfo
from lrwatch.verify import Report, verify
from tests.checks.play import contract_of, items

COSINE = {"clock": {"horizon": 4000}, "lr": {"base": 1, "schedule": {"cosine": {"until": "horizon"}}}}


class Recorded:
    """A trace in a list; counts how often it was read."""

    info = TraceInfo(("run.jsonl",), "list")

    def __init__(self, case: dict[str, Any], rereadable: bool = True, size: int = 500):
        self.all, self.rereadable, self.readings = list(items(case, size)), rereadable, 0

    def __iter__(self) -> Iterator[Item]:
        self.readings += 1
        return iter(self.all)


def run(case: dict[str, Any], **source: Any) -> tuple[Report, int]:
    recorded = Recorded(case, **source)
    return verify(contract_of(case), recorded), recorded.readings


def test_a_clean_trace_is_read_once() -> None:
    report, readings = run({"contract": COSINE, "trace": [{"rows": "0..3999", "lr": "E(t)"}]})
    assert (report.result.verdict(), readings, report.info.format) == ("pass", 1, "list")


@pytest.mark.parametrize(("rereadable", "readings"), [(True, 2), (False, 1)])
def test_a_named_cause_is_confirmed_on_all_rows(rereadable: bool, readings: int) -> None:
    case = {"contract": COSINE, "trace": [{"rows": "0..3999", "lr": "E(minimum(2 * t, 4000))", "sched": "2 * t"}]}
    report, read = run(case, rereadable=rereadable)
    drift = report.result.findings[0]
    assert drift.cause is not None
    assert (drift.slug, drift.cause.name, drift.cause.params["k"], read) == ("drift", "rate", 2, readings)


def test_a_cause_that_a_row_contradicts_is_withdrawn() -> None:
    """Row 1003 is as promised although every other runs twice as fast: the kept rows do not show it, the whole does."""
    case = {"contract": COSINE, "trace": [{"rows": "0..3999", "lr": "where(t == 1003, E(t), E(minimum(2 * t, 4000)))"}]}
    once, _ = run(case, rereadable=False)
    twice, readings = run(case)
    causes = [report.result.findings[0].cause for report in (once, twice)]
    assert [cause and cause.name for cause in causes] == ["rate", "unexplained"]
    assert readings == 2


def test_progress_is_told_in_rows() -> None:
    seen: list[int] = []
    verify(None, Recorded({"trace": [{"rows": "0..1199", "loss": 1}]}), progress=seen.append)
    assert seen == [500, 1000, 1200]


def test_no_rows() -> None:
    with pytest.raises(TraceError, match=r"^run\.jsonl: has no rows; nothing to check$"):
        verify(None, Recorded({"trace": [{"event": "start"}]}))


def test_a_trace_of_another_experiment() -> None:
    case = {"contract": COSINE, "trace": [{"event": "start", "experiment": "y"}, {"rows": "0..9", "lr": 1}]}
    with pytest.raises(TraceError) as caught:
        run(case)
    said = "run.jsonl: is a trace of experiment 'y', the contract contract is for 'x'; give the contract of that run"
    assert str(caught.value) == said
    case["trace"][0]["experiment"] = "x"
    assert run(case)[0].result.stats.rows == 10


# -- plateau: its metrics are collected first --------------------------------------------------------------

PLATEAU = {"lr": {"base": 1, "schedule": {"plateau": {"metric": "loss", "patience": 0, "factor": 0.5}}}}


def validation(update: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"event": "validation", "update": update, "metrics": {"loss": loss}, **more}


@pytest.mark.parametrize("rereadable", [True, False])
@pytest.mark.parametrize("size", [3, 500])
def test_plateau(rereadable: bool, size: int) -> None:
    trace = [
        {"rows": "0..9", "lr": 1},
        validation(10, 2.0),
        {"rows": "10..19", "lr": 1},
        validation(20, 2.0),
        {"rows": "20..29", "lr": 0.5},
        validation(30, 2.0),
        {"rows": "30..39", "lr": 0.25},
    ]
    report, _ = run({"contract": PLATEAU, "trace": trace}, rereadable=rereadable, size=size)
    assert (report.result.findings, report.result.verdict()) == ((), "pass")


def test_plateau_of_workers_that_do_not_validate() -> None:
    trace = [
        {"rows": "0..19", "ranks": [1], "lr": "where(t < 10, 1, 0.5)"},
        {"rows": "0..4", "lr": 1},
        validation(5, 2.0),
        {"rows": "5..9", "lr": 1},
        validation(10, 2.0),
        {"rows": "10..19", "lr": 0.5},
    ]
    report, _ = run({"contract": PLATEAU, "trace": trace})
    assert (report.result.findings, report.result.verdict()) == ((), "pass")


def test_plateau_that_was_rolled_back() -> None:
    trace = [
        {"rows": "0..9", "lr": 1},
        validation(10, 2.0),
        {"rows": "10..19", "lr": 1},
        validation(20, 1.0),
        {"rows": "20..24", "lr": 1},
        {"event": "resume", "segment": 1, "update": 15},
        {"rows": "15..19", "segment": 1, "lr": 1},
        validation(20, 2.0, segment=1),
        {"rows": "20..29", "segment": 1, "lr": 0.5},
    ]
    live, _ = run({"contract": PLATEAU, "trace": trace}, rereadable=False)
    assert live.result.findings == ()


def test_a_plateau_scheduler_that_did_not_react_is_found() -> None:
    trace = [
        {"rows": "0..9", "lr": 1},
        validation(10, 2.0),
        {"rows": "10..19", "lr": 1},
        validation(20, 2.0),
        {"rows": "20..29", "lr": 1},
    ]
    report, _ = run({"contract": PLATEAU, "trace": trace})
    assert [(f.slug, f.first_step, f.last_step) for f in report.result.findings] == [("drift", 20, 29)]
