"""What a run is said to do while it makes no updates."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

import lrwatch
from lrwatch.agent.meters import Meters
from lrwatch.agent.phases import Phases
from lrwatch.contract import from_document
from tests.agent.helpers import COSINE, Training
from tests.agent.test_watch import cosine, train, wait_for


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def phases(clock: list[float]) -> Phases:
    return Phases(lambda: clock[0])


def test_a_phase_is_shown_until_the_next_update(phases: Phases, clock: list[float]) -> None:
    assert phases.state("running", 60.0) == "running"
    before = phases.enter("validating")
    phases.moved()  # rows from before it are taken in late
    clock[0] += 5000.0
    assert phases.state("running", 60.0) == "validating"
    phases.leave(before)
    clock[0] += 59.0
    assert phases.state("running", 60.0) == "validating"
    phases.moved()
    assert phases.state("running", 60.0) == "running"


def test_a_training_that_hangs_after_a_phase_has_stalled(phases: Phases, clock: list[float]) -> None:
    phases.leave(phases.enter("checkpointing"))
    clock[0] += 60.0
    assert phases.state("running", 60.0) == "running"


def test_a_checkpoint_inside_a_validation(phases: Phases, clock: list[float]) -> None:
    outer = phases.enter("validating")
    inner = phases.enter("checkpointing")
    assert phases.state("running", 60.0) == "checkpointing"
    phases.leave(inner)
    assert phases.state("running", 60.0) == "validating"
    phases.leave(outer)
    clock[0] += 61.0
    assert phases.state("running", 60.0) == "running"


@pytest.mark.parametrize(("deadline", "patience"), [(30.0, 30.0), (None, 600.0)])
def test_the_deadline_is_the_contracts(clock: list[float], deadline: float | None, patience: float) -> None:
    promise = from_document(COSINE | ({"trace": {"step_deadline": deadline}} if deadline else {}))
    meters = Meters(rank=0, world=1, attempt=1, contract=promise, monotonic=lambda: clock[0])
    meters.phases.leave(meters.phases.enter("validating"))
    clock[0] += patience - 1
    assert state(meters) == "validating"
    clock[0] += 2
    assert state(meters) == "starting"


def state(meters: Meters) -> str:
    (now,) = [labels[0] for labels, value in meters.snapshot(None, 0, 0).samples["lrwatch_run_state"] if value]
    return now


def test_a_loop_that_validates(tmp_path: Path, training: Training) -> None:
    def shown() -> str:
        text = urllib.request.urlopen(str(watch.url), timeout=60).read().decode()
        return next(x for x in text.splitlines() if x.startswith("lrwatch_run_state") and x.endswith(" 1.0"))

    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=2)
        wait_for(lambda: 'state="running"' in shown())
        with watch.validating():
            wait_for(lambda: 'state="validating"' in shown())
        with pytest.raises(ZeroDivisionError), watch.checkpointing():
            raise ZeroDivisionError
        wait_for(lambda: 'state="checkpointing"' in shown())
        train(watch, training, cosine(training.optimizer), updates=1)
        wait_for(lambda: 'state="running"' in shown())
    assert json.loads((tmp_path / "summary.json").read_text())["outcome"] == "finished"
