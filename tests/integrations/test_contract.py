"""What every integration promises, in a real training with the real framework.

A framework that is not installed is skipped: ``pip install lrwatch[frameworks]`` has them.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrwatch import contract as contracts
from lrwatch.agent import process
from lrwatch.agent.phases import Phases
from lrwatch.errors import ContractError, LrwatchError
from lrwatch.readers import open_trace
from lrwatch.verify import verify
from tests.integrations.tiny import CONTRACT, LRS, UPDATES, Crash

pytestmark = pytest.mark.filterwarnings("default")  # frameworks have warnings of their own

os.environ.setdefault("KERAS_BACKEND", "torch")  # before anything imports it
FRAMEWORKS = (
    "huggingface",
    "accelerate",
    "lightning",
    "keras",
    pytest.param("deepspeed", marks=[pytest.mark.long, pytest.mark.timeout(600)]),  # compiles when first used
)


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Any:
    """The module that trains with a framework."""
    library = {"huggingface": "transformers"}.get(request.param, request.param)
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return importlib.import_module(f"tests.integrations.{request.param}_run")


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    left = process.members()
    for watch in left:
        watch._close("stopped")
    assert not left, "a test left a watch running"


def promise(framework: Any, **changes: Any) -> dict[str, Any]:
    return copy.deepcopy({**CONTRACT, **getattr(framework, "CHANGES", {}), **changes})


def lines(run: Path, segment: int = 0) -> list[dict[str, Any]]:
    path = run / "trace" / f"rank00000-seg{segment:04d}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def rate(row: dict[str, Any]) -> float:
    """Of the only group, or of all: they are to be the same."""
    (lr,) = {value for key, value in row.items() if key.partition("/")[0] == "lr"}
    return float(lr)


def verdict(contract: dict[str, Any], run: Path) -> str:
    return verify(contracts.from_document(contract), open_trace([run])).result.verdict()


def test_a_kept_promise(framework: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, contract = tmp_path / "run", promise(framework)
    phases: list[str] = []
    enter, leave = Phases.enter, Phases.leave
    monkeypatch.setattr(Phases, "enter", lambda self, state: phases.append(state) or enter(self, state))
    monkeypatch.setattr(Phases, "leave", lambda self, before: phases.append("left") or leave(self, before))
    weights, watch = framework.train(tmp_path, {"contract": contract, "run_dir": run})
    assert watch.findings == ()
    validations = [kind for kind, _ in getattr(framework, "EVENTS", []) if kind == "validation"]
    assert phases == ["validating", "left"] * len(validations)

    start, *rest = lines(run)
    assert (start["event"], start["lr_read"], start.get("accumulate")) == ("start", "used", framework.ACCUMULATE)
    rows = [line for line in rest if "event" not in line]
    assert [row["update"] for row in rows] == list(range(UPDATES))
    assert {n: rate(rows[n]) for n in LRS} == pytest.approx(LRS, rel=getattr(framework, "RTOL", 1e-12))
    assert all(row.keys() >= framework.GIVEN for row in rows)
    assert (rest[-1]["event"], rest[-1]["outcome"], rest[-1]["update"]) == ("end", "finished", UPDATES)
    events = [(line["event"], line["update"]) for line in rest[:-1] if "event" in line]
    assert events == getattr(framework, "EVENTS", [])
    assert verdict(contract, run) == "pass"

    without, _ = framework.train(tmp_path / "again", None)
    assert weights == without, "training noticed that it was watched"


def test_a_broken_promise(framework: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    contract = promise(framework, lr={"base": 0.1, "schedule": [{"linear": {"to": 0.01, "until": "horizon"}}]})
    _, watch = framework.train(tmp_path, {"contract": contract, "run_dir": run})
    assert [f.slug for f in watch.findings] == ["drift"]
    assert verdict(contract, run) == "fail"
    assert json.loads((run / "summary.json").read_text())["verdict"] == "fail"


def test_a_crash_and_the_resumed_rest(framework: Any, tmp_path: Path) -> None:
    run, contract = tmp_path / "run", promise(framework)
    with pytest.raises(Crash):
        framework.train(tmp_path, {"contract": contract, "run_dir": run}, crash_at=8)
    *before, end = lines(run)
    assert (end["event"], end["outcome"], end["update"]) == ("end", "failed", 8)
    assert [line["update"] for line in before if "event" not in line] == [0, 1, 2, 3, 4, 5, 6, 7]

    _, watch = framework.train(tmp_path, {"contract": contract, "run_dir": run}, resume=True)
    start, *rest = lines(run, 1)
    assert (start["event"], start["segment"], start["update"]) == ("resume", 1, 6)
    rows = [line for line in rest if "event" not in line]
    assert [row["update"] for row in rows] == [6, 7, 8, 9, 10, 11]
    assert rate(rows[2]) == pytest.approx(LRS[8], rel=getattr(framework, "RTOL", 1e-12))
    assert rest[-1]["outcome"] == "finished"
    assert watch.findings == ()
    assert verdict(contract, run) == "pass"


def test_a_bad_contract_is_found_before_training(framework: Any, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="lrwatch: is missing"):
        framework.train(tmp_path, {"contract": {}, "run_dir": tmp_path / "run"})
    with pytest.raises(LrwatchError, match=r"rundir=\): no such option; did you mean 'run_dir'"):
        framework.train(tmp_path, {"contract": promise(framework), "rundir": tmp_path / "run"})
    assert not (tmp_path / "run").exists()
