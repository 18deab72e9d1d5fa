"""Bugs that say the same on some shapes are all named; what always fits is no evidence. Values by plain formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrwatch.contract import from_document
from lrwatch.engine import Session
from lrwatch.findings import Cause
from lrwatch.trace.model import Chunk, Event

T, BASE = 600, 2e-3


def named(
    schedule: Any, rate: Callable[[int], float], *, digits: int = 17, every: int = 1, steps: int = T, **chunk: Any
) -> Cause:
    """The cause of one worker's rates ``rate(t)`` (shares of the base) under a promise of T updates."""
    document = {"lrwatch": 1, "experiment": "x", "clock": {"horizon": T}, "lr": {"base": BASE, "schedule": schedule}}
    session = Session(from_document(document), only=["drift"])
    session.feed(Event("start", 0, fields={"world": 3, "accumulate": 4, "steps_per_epoch": 37}))
    steps_seen = np.arange(0, steps, every)
    values = [float(f"{BASE * rate(int(t)):.{digits - 1}e}") for t in steps_seen]
    session.feed(Chunk({"update": steps_seen, "lr/0": np.array(values)}, digits={"lr/0": digits}, **chunk))
    (finding,) = session.finish().findings
    assert finding.cause is not None
    return finding.cause


def names(cause: Cause) -> set[str]:
    return {cause.name, *(other.partition(":")[0] for other in cause.also_consistent)}


def warm(t: float, width: float, after: Callable[[float], float]) -> float:
    return t / width if t < width else after(t)


def stable(t: float, width: float = 50, decay: float = 150) -> float:
    return warm(t, width, lambda t: min(1.0, max(0.0, (T - t) / decay)))


WSD = {"warmup_stable_decay": {"warmup": 50, "decay": 150, "until": "horizon"}}
ROOT = [{"linear": {"from": 0, "for": 50}}, {"inverse_sqrt": {"timescale": 50}}]
LINE = {"linear": {"to": 0, "until": "horizon"}}
DROPS = [{"linear": {"from": 0, "for": 50}}, {"multi_step": {"milestones": [100, 300]}}]


def test_the_warm_up_inside_a_stable_decay_is_a_warm_up() -> None:
    cause = named(WSD, lambda t: stable(t, width=61))
    assert (cause.name, cause.params["warmup"], cause.confidence) == ("warmup_length", 61, "high")
    cause = named(WSD, lambda t: stable(t, width=150))
    assert (cause.name, cause.params["warmup"]) == ("warmup_scale", 150)


def test_a_decay_that_is_a_share_of_the_horizon_grows_with_it() -> None:
    cause = named(WSD, lambda t: warm(t, 50, lambda t: min(1.0, (900 - t) / 225)), digits=4, steps=800)
    assert (cause.name, cause.params["horizon"]) == ("horizon", 900)


def test_on_a_square_root_a_rate_and_another_warm_up_are_the_same() -> None:
    cause = named(ROOT, lambda t: warm(t, 62.5, lambda t: math.sqrt(62.5 / t)))
    assert names(cause) == {"rate", "warmup_length"}
    assert cause.confidence == "ambiguous"
    cause = named(ROOT, lambda t: warm(t, 150, lambda t: math.sqrt(150 / t)))  # three workers
    assert names(cause) == {"rate", "warmup_scale"}


@pytest.mark.parametrize("floor", [0.05, 0.5])
def test_on_a_line_another_floor_another_horizon_and_a_rate_are_the_same(floor: float) -> None:
    cause = named(LINE, lambda t: 1.0 - (1.0 - floor) * t / T)
    assert names(cause) == {"floor", "horizon", "rate"}
    assert cause.confidence == "ambiguous"


def test_a_line_on_another_line_is_not_called_scaled_and_shifted() -> None:
    assert named(LINE, lambda t: 0.9 - 0.37 * t / T).name == "unexplained"


def test_milestones_in_other_steps() -> None:
    cause = named(DROPS, lambda t: warm(t, 50, lambda t: 0.1 ** ((t >= 50 + 25) + (t >= 50 + 75))))
    assert (cause.name, cause.params["value"]) == ("shape_param", "25, 75")
    assert cause.sentence == "milestones are 25, 75, the contract says 100, 300"


def test_milestones_never_met_and_a_scheduler_that_stopped_are_the_same() -> None:
    cause = named(DROPS, lambda t: warm(t, 50, lambda t: 1.0))
    assert {"frozen", "shape_param"} <= names(cause)
    assert cause.confidence == "ambiguous"


def test_a_small_offset_on_a_curve_that_repeats_itself() -> None:
    def triangle(t: float) -> float:
        return 0.1 + 0.9 * (1.0 - abs(t % 80 - 40) / 40)

    cause = named({"triangular": {"from": "10%", "to": "100%", "up": 40}}, lambda t: triangle(max(t - 5, 0)))
    assert (cause.name, cause.params["d"]) == ("offset", -5)


def test_a_parameter_is_found_in_rounded_rows() -> None:
    promise = {"exponential": {"gamma": 0.995}}
    cause = named(promise, lambda t: 0.9985**t, digits=5, steps=250)
    assert cause.name in ("rate", "shape_param")
    assert "shape_param" in names(cause)


def test_an_offset_of_one_is_not_certain_in_a_trace_that_does_not_say_when_it_was_read() -> None:
    cause = named(WSD, lambda t: stable(max(t - 3, 0)), lr_read="unknown")
    assert (cause.name, cause.confidence) == ("offset", "ambiguous")
    assert cause.missing_evidence[-1] == "when the learning rate was read (--lr-read, --first-step)"


def test_a_run_that_stands_still_from_its_first_row_on_under_every_convention() -> None:
    assert named({"cosine": {"until": "horizon"}}, lambda t: 1.0, lr_read="unknown").name == "frozen"


def test_steps_of_another_length() -> None:
    cause = named({"step": {"every": 150, "gamma": 0.5}}, lambda t: 0.5 ** (t // 107))
    assert "shape_param" in names(cause)
    assert "every is 107, the contract says 150" in " ".join((cause.sentence, *cause.also_consistent))
