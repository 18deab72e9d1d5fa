"""Single families: restarts at large t, landmarks, what a contract refuses, the plateau's memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.schedules import families
from lrwatch.schedules.base import cycles
from lrwatch.schedules.plateau import PlateauState, replay


@pytest.mark.parametrize("period", [1, 3, 10, 1000])
@pytest.mark.parametrize("multiply", [1, 2, 3, 5, 7])
def test_restarts_are_exact_for_whole_numbers(period: int, multiply: int, curve: Callable[..., Curve]) -> None:
    start, length, starts, lengths = 0, period, [], []
    while start + length < 2**52 and len(starts) < 2000:
        starts.append(start)
        lengths.append(length)
        start, length = start + length, length * multiply
    if multiply == 1:  # far out as well
        starts += [period * (2**40), period * (2**41 + 1)]
        lengths += [period, period]
    expected = curve({"cosine_restarts": {"period": period, "multiply": multiply}})
    assert (expected.at(np.array(starts, dtype=np.float64)) == 1.0).all()
    last = np.array([s + n - 1 for s, n in zip(starts, lengths, strict=True)], dtype=np.float64)
    by_hand = [(1.0 + math.cos(math.pi * ((n - 1) / n))) / 2.0 for n in lengths]
    assert expected.at(last) == pytest.approx(by_hand, rel=0, abs=1e-15)


def test_a_cycle_that_is_a_fraction_of_the_run_begins_on_its_step(curve: Callable[..., Curve]) -> None:
    """period L/c, as transformers' num_cycles has it, is rarely a float; its multiples still are steps."""
    for length in range(2, 120):
        for num_cycles in range(2, 12):
            starts = [float(k * length // num_cycles) for k in range(num_cycles) if (k * length) % num_cycles == 0]
            expected = curve({"cosine_restarts": {"period": length / num_cycles, "for": length, "after": "hold"}})
            assert (expected.at(np.array(starts)) > 0.999999).all(), (length, num_cycles)
            assert expected.at(np.array([float(length)]))[0] == 0.0


@pytest.mark.parametrize("period", [0.1, 1 / 3, 0.7, 123.4567, 1000 / 3])
def test_the_rest_stays_within_the_period(period: float) -> None:
    number = np.concatenate([np.arange(1000.0), 2.0 ** np.arange(10, 40)])
    t = np.concatenate([np.nextafter(number * period, np.inf), np.nextafter(number[1:] * period, 0.0)])
    whole, rest = cycles(t, period)
    assert (rest >= 0.0).all() and (rest <= period).all()
    assert whole * period + rest == pytest.approx(t, rel=1e-15)


def landmarks(name: str, **params: object) -> dict[str, float]:
    return families()[name].landmarks({"length": None, "after": "continue", **params})


def test_landmarks() -> None:
    assert landmarks("cosine_restarts", period=10.0, multiply=2, length=100.0) == {
        "restart 1": 10.0,
        "restart 2": 30.0,
        "restart 3": 70.0,
    }
    assert len(landmarks("cosine_restarts", period=10.0, multiply=1)) == 8
    assert landmarks("step", every=30.0) == {"first drop": 30.0}
    assert landmarks("multi_step", milestones=(3.0, 7.0)) == {"milestone 1": 3.0, "milestone 2": 7.0}
    assert landmarks("inverse_sqrt", timescale=100.0) == {"half": 300.0}
    assert landmarks("one_cycle", peak_at=0.3, length=20.0, three_phase=False) == {"peak": 5.0, "last value": 19.0}
    assert landmarks("one_cycle", peak_at=0.3, length=20.0, three_phase=True) == {
        "peak": 5.0,
        "back at the start value": 10.0,
        "last value": 19.0,
    }
    late = landmarks("one_cycle", peak_at=0.6, length=20.0, three_phase=True)  # it never gets back
    assert late == {"peak": 11.0, "last value": 19.0}
    assert landmarks("triangular", up=2.0, down=None) == {"first peak": 2.0, "second cycle": 4.0}
    assert landmarks("warmup_stable_decay", warmup=4.0, decay=5.0, length=20.0) == {
        "end of warm-up": 4.0,
        "decay begins": 15.0,
    }


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"warmup_stable_decay": {"warmup": 300, "decay": 800, "for": 1000}},
            "lr.schedule.warmup_stable_decay: warmup (300) and decay (800) do not fit into the length (1000); "
            "shorten one of them",
        ),
        ({"warmup_stable_decay": {"decay": 10}}, "lr.schedule.warmup_stable_decay: needs a length: give `for: N` or"),
        ({"warmup_stable_decay": {"warmup": -1, "decay": 1, "for": 9}}, "warmup: must be >= 0, got -1"),
        ({"cosine_restarts": {"period": 10, "multiply": 1.5}}, "multiply: must be a whole number, got 1.5"),
        ({"cosine_restarts": {"period": 10, "multiply": 0}}, "multiply: must be >= 1, got 0"),
        ({"cosine_restarts": {}}, "lr.schedule.cosine_restarts.period: is missing"),
        ({"plateau": {"metric": "loss", "patience": 2.5}}, "patience: must be a whole number, got 2.5"),
        ({"plateau": {"metric": "loss", "cooldown": -1}}, "cooldown: must be >= 0, got -1"),
        ({"plateau": {}}, "lr.schedule.plateau.metric: is missing"),
        ({"multi_step": {"milestones": [5, 3]}}, "milestones: must not decrease, got [5.0, 3.0]"),
        ({"one_cycle": {"peak_at": 1.5, "for": 9}}, "peak_at: must be <= 1, got 1.5"),
        ({"exp_range": {"to": 2, "up": 2, "gamma": 1.1}}, "gamma: must be <= 1, got 1.1"),
        ({"polynomial": {"power": 0, "for": 9}}, "power: must be > 0, got 0"),
        ({"logarithmic": {"for": 1}}, "lr.schedule.logarithmic: needs a length of at least 2"),
        (
            {"k_decay": {"shape": "polynomial", "power": 0.5, "for": 9, "after": "continue"}},
            "k_decay: power (0.5) has no value past the length; make it whole, or `after: hold`",
        ),
        (
            {"k_decay": {"shape": "exponential", "ratio": 3, "for": 9, "after": "continue"}},
            "k_decay: ratio (3) falls without end past the length; make it less than 1, or `after: hold`",
        ),
        ({"k_decay": {"shape": "exponential", "ratio": 1, "for": 9}}, "k_decay: ratio must not be 1, which does not"),
        ({"table": {"values": [1, 2], "at": [0]}}, "lr.schedule.table: has 2 values at 1 points; give as many of both"),
        ({"table": {"values": [1, -2]}}, "lr.schedule.table.values[1]: must be >= 0, got -2"),
        ({"table": {"values": []}}, "lr.schedule.table.values: must list at least one value, and no empty one"),
        ({"table": {"values": [1, None]}}, "lr.schedule.table.values: must list at least one value, and no empty one"),
        ({"product": {"of": []}}, "lr.schedule.product.of: must list at least one schedule, e.g. [{cosine"),
        ({"product": {"of": [[]]}}, "lr.schedule.product.of[0]: must not be empty"),
        ({"product": {"of": [{"cosin": {"for": 9}}]}}, "product.of[0].cosin: is not a schedule family; did you mean"),
        (
            {"product": {"of": [{"constant": {}}, [{"plateau": {"metric": "loss"}}]]}},
            "lr.schedule.product.of[1]: plateau reacts to metrics and cannot stand inside another family",
        ),
        (
            {"product": {"of": [{"cosine": {"until": "horizon"}}]}},
            "lr.schedule.product.of[0].cosine.until: names the horizon, but clock.horizon is not set",
        ),
        ({"step": {"every": 5, "min": -1}}, "lr.schedule.step.min: must be >= 0, got -1"),
        ({"step": {"every": 5, "max": "10 %x"}}, "lr.schedule.step.max: must be a number, got '10 %x'"),
        ({"step": {"every": 5, "stairs": 0}}, "lr.schedule.step.stairs: must be > 0, got 0"),
        ({"polynomial": {"for": 9, "after": "mirror"}}, "after: must be one of hold; got 'mirror'"),
    ],
)
def test_refused(schedule: dict[str, object], message: str, curve: Callable[..., Curve]) -> None:
    with pytest.raises(ContractError) as error:
        curve(schedule)
    assert message in str(error.value)


PLATEAU = {
    "mode": "min", "factor": 0.5, "patience": 1, "threshold": 0.0, "threshold_mode": "abs",
    "cooldown": 3, "floor": 0.1, "eps": 1e-8,
}  # fmt: skip


def test_the_plateau_s_state_step_by_step() -> None:
    state = PlateauState()
    assert state == PlateauState(factor=1.0, best=None, bad=0, cooldown=0)
    for metric, after in [
        (5.0, PlateauState(1.0, 5.0, 0, 0)),
        (6.0, PlateauState(1.0, 5.0, 1, 0)),
        (6.0, PlateauState(0.5, 5.0, 0, 3)),  # reduced; the cooldown starts
        (6.0, PlateauState(0.5, 5.0, 0, 2)),
        (4.0, PlateauState(0.5, 4.0, 0, 1)),  # the best is followed during the cooldown
        (6.0, PlateauState(0.5, 4.0, 0, 0)),
        (6.0, PlateauState(0.5, 4.0, 1, 0)),
        (math.nan, PlateauState(0.25, 4.0, 0, 3)),
    ]:
        state = replay(state, PLATEAU, metric, base=1.0)
        assert state == after


def test_the_plateau_compares_eps_in_the_signal_s_own_unit() -> None:
    tired = PlateauState(factor=0.4, best=1.0, bad=1, cooldown=0)
    assert replay(tired, PLATEAU, 2.0, base=1.0).factor == 0.2
    assert replay(tired, PLATEAU, 2.0, base=4e-8).factor == 0.4  # 8e-9 less is not worth it
    assert replay(tired, PLATEAU, 2.0, base=5e-8).factor == 0.4  # 1e-8 is not more than 1e-8
    assert replay(tired, PLATEAU, 2.0, base=4e-8).cooldown == 3  # but the cooldown starts, as in torch


def test_min_and_max_clamp_the_result(curve: Callable[..., Curve]) -> None:
    t = np.arange(5.0)
    falling = {"exponential": {"gamma": 0.5, "min": "20%", "max": 1.5}}
    assert curve(falling, base=2.0).at(t).tolist() == [1.5, 1.0, 0.5, 0.4, 0.4]
    group = {"lr": {"base": 2.0, "schedule": falling, "groups": {"head": {"scale": 10}, "neck": {"base": 4.0}}}}
    tree = {"lrwatch": 1, "experiment": "x", **group}
    assert Curve(from_document(tree), group="head").at(t).tolist() == [15.0, 10.0, 5.0, 4.0, 4.0]  # bounds scale too
    assert Curve(from_document(tree), group="neck").at(t).tolist() == [1.5, 1.5, 1.0, 0.8, 0.8]  # 1.5 is absolute


def test_stairs_keep_the_value_of_the_step_they_stand_on(curve: Callable[..., Curve]) -> None:
    line = {"linear": {"from": 0, "for": 12, "stairs": 4}}
    assert curve(line, base=12.0).at(np.arange(14.0)).tolist() == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12]
    late = {"linear": {"from": 0, "for": 12, "stairs": 4, "offset": 3}}  # rounded up instead
    assert curve(late, base=12.0).at(np.arange(7.0)).tolist() == [0, 4, 4, 4, 4, 8, 8]
