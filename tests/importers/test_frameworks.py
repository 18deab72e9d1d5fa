"""Every schedule of every framework: against its own scheduler where that is installed, and against recorded tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrwatch.curve import Curve
from lrwatch.importers import _frameworks, importers
from lrwatch.importers._page import explained, page
from lrwatch.importers._parts import Schedule
from tests.importers import real

RECORDED = Path(__file__).parent / "recorded"


def made(framework: str, name: str, params: dict[str, Any]) -> Schedule:
    """The schedule; parameters that are schedules are described by name and parameters."""
    described = params.get("schedules")
    if described:
        params = {**params, "schedules": [made(framework, *one) for one in described]}
    return _frameworks.schedule(framework, name, **params)


def agree(schedule: Schedule, t: np.ndarray, observed: np.ndarray) -> None:
    """Within 1e-9 of each value, and what a framework that computes in float32 may lose, as ``verify`` allows it."""
    curve = Curve(schedule.contract())
    expected = curve.at(t)
    peak = float(np.max(np.abs(observed)))
    allowed = 1e-9 * np.abs(observed) + 1e-15 * peak
    allowed += curve.slack(t) * np.abs(expected) * (schedule.dtype == "float32") + curve.blur(t, expected, peak)
    wrong = np.flatnonzero(np.abs(observed - expected) > allowed)
    assert not len(wrong), f"t = {t[wrong[0]]:g}: {expected[wrong[0]]!r}, really {observed[wrong[0]]!r}"


@pytest.mark.timeout(900)  # Composer's and JAX's take a minute of processor time
@pytest.mark.parametrize("framework", real.FRAMEWORKS)
def test_every_step_of_the_real_scheduler(framework: str) -> None:
    module = pytest.importorskip(f"tests.importers.real.{framework}", exc_type=ImportError)
    assert module.STEPS >= 2000
    t = np.arange(float(module.STEPS))
    for name, params in module.CASES:
        try:
            observed = module.values(name, params, module.STEPS)
            agree(made(framework, name, params), t[: len(observed)], observed)
        except Exception as e:
            raise AssertionError(f"{framework}.{name} {params}") from e


def recorded(framework: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDED / f"{framework}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("framework", sorted(path.stem for path in RECORDED.glob("*.jsonl")))
def test_recorded_values(framework: str) -> None:
    head, *runs = recorded(framework)
    assert head["framework"] == framework
    for run in runs:
        try:
            t, observed = np.array(run["points"]).T
            agree(made(framework, run["schedule"], run["params"]), t, observed)
        except Exception as e:
            raise AssertionError(f"{framework}.{run['schedule']} {run['params']}") from e


@pytest.mark.parametrize("framework", _frameworks.names())
def test_every_schedule_is_compared_with_something(framework: str) -> None:
    if framework == "torch":  # installed with every development environment
        compared = {name for name, _ in real.load("torch").CASES} | LIVE
    else:
        compared = {run["schedule"] for run in recorded(framework)[1:]} | PLATEAU
    assert compared >= set(_frameworks.schedules(framework))


LIVE = {"SequentialLR", "ChainedScheduler", "ReduceLROnPlateau"}
"""Compared with live schedulers in test_torch.py, and in tests/schedules/test_torch.py."""
PLATEAU = {"plateau"}
"""torch's own plateau under another name."""


@pytest.mark.parametrize("framework", _frameworks.names())
def test_every_schedule_says_its_value_its_first_and_what_comes_past_the_end(framework: str) -> None:
    for name, function in _frameworks.schedules(framework).items():
        said = explained(function)
        assert all(said.values()), name
        assert f"| {name} | " in page(importers())
