"""The expected curve against what real torch schedulers do to a real optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, ReduceLROnPlateau, SequentialLR

from lrwatch.contract import from_document
from lrwatch.curve import Curve, Metric


def optimizer(*rates: float) -> Optimizer:
    return SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates])


def used(opt: Optimizer, scheduler: Any, steps: int, before: Callable[[int], None] = lambda t: None) -> np.ndarray:
    """The learning rates that the updates use, float64[steps, groups]."""
    rows = []
    for t in range(steps):
        before(t)
        rows.append([group["lr"] for group in opt.param_groups])
        opt.step()
        scheduler.step()
    return np.array(rows)


def promised(tree: dict[str, Any], t: np.ndarray, group: str = "0") -> np.ndarray:
    return Curve(from_document({"lrwatch": 1, "experiment": "x", **tree}), group=group).at(t)


def test_warm_up_and_cosine_over_two_groups() -> None:
    opt = optimizer(1e-3, 1e-2)
    warm_up = LinearLR(opt, start_factor=0.01, total_iters=50)
    cosine = CosineAnnealingLR(opt, T_max=250, eta_min=1e-4)
    rows = used(opt, SequentialLR(opt, [warm_up, cosine], milestones=[50]), 500)
    schedule = [{"linear": {"from": "1%", "for": 50}}, {"cosine": {"to": 1e-4, "for": 250, "after": "mirror"}}]
    lr = {"base": 1e-3, "schedule": schedule, "groups": {"head": {"base": 1e-2}}}
    t = np.arange(500.0)
    assert promised({"lr": lr}, t) == pytest.approx(rows[:, 0], rel=1e-10)
    assert promised({"lr": lr}, t, "head") == pytest.approx(rows[:, 1], rel=1e-10)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_recursive_cosine_whose_horizon_is_changed_joins_continuously(floor: float) -> None:
    opt = optimizer(1.0)
    scheduler = CosineAnnealingLR(opt, T_max=100, eta_min=floor)

    def extend(t: int) -> None:
        if t == 60:
            scheduler.T_max = 180

    rows = used(opt, scheduler, 180, extend)
    amendment = {"at": 60, "set": {"clock.horizon": 180}, "join": "continuous"}
    lr = {"base": 1.0, "schedule": {"cosine": {"to": floor, "until": "horizon"}}}
    expected = promised({"clock": {"horizon": 100}, "lr": lr, "amendments": [amendment]}, np.arange(180.0))
    assert expected == pytest.approx(rows[:, 0], rel=1e-10)


def test_a_closed_form_schedule_whose_horizon_is_changed_jumps() -> None:
    opt, horizon = optimizer(1.0), [100]
    scheduler = LambdaLR(opt, lambda t: 0.5 * (1 + math.cos(math.pi * t / horizon[0])))
    rows = used(opt, scheduler, 180, lambda t: horizon.__setitem__(0, 180) if t == 59 else None)
    amendment = {"at": 60, "set": {"clock.horizon": 180}}
    lr = {"base": 1.0, "schedule": {"cosine": {"until": "horizon"}}}
    expected = promised({"clock": {"horizon": 100}, "lr": lr, "amendments": [amendment]}, np.arange(180.0))
    assert expected == pytest.approx(rows[:, 0], rel=1e-12, abs=1e-16)


PLATEAUS = {
    "plain": {"patience": 2},
    "cooldown": {"patience": 1, "cooldown": 3, "factor": 0.5},
    "absolute": {"patience": 1, "threshold": 0.05, "threshold_mode": "abs", "factor": 0.3},
    "upwards": {"mode": "max", "patience": 1, "factor": 0.7},
    "floor": {"patience": 0, "factor": 0.2, "min_lr": 0.01},
    "eps": {"patience": 0, "factor": 0.5, "eps": 0.06},
}


@pytest.mark.parametrize("name", PLATEAUS)
def test_plateau_with_a_rollback(name: str) -> None:
    """Validations every 5 updates, at 60 back to the checkpoint of 40, with other metrics the second time."""
    given = PLATEAUS[name]
    opt = optimizer(1.0)
    scheduler = ReduceLROnPlateau(opt, **given)
    random = np.random.default_rng(7)
    params = {"floor" if k == "min_lr" else k: v for k, v in given.items()}
    lr = {"base": 1.0, "schedule": {"plateau": {"metric": "loss", **params}}}
    curve = Curve(from_document({"lrwatch": 1, "experiment": "x", "lr": lr}))
    saved: dict[str, Any] = {}
    waiting: list[Metric] = []
    for seen, start in enumerate([*range(0, 60, 5), *range(40, 120, 5)], 1):
        if start == 40 and saved:  # the second time
            opt.load_state_dict(saved["optimizer"])
            scheduler.load_state_dict(saved["scheduler"])
            waiting = []
        if start == 40 and not saved:
            saved = {"optimizer": opt.state_dict(), "scheduler": dict(scheduler.state_dict())}
        expected = curve.next(np.arange(start, start + 5.0), waiting)
        assert expected.tolist() == pytest.approx([opt.param_groups[0]["lr"]] * 5, rel=1e-12)
        metric = math.nan if seen == 9 else float(random.uniform(0.5, 1.5) / (1 + 0.05 * seen))
        scheduler.step(metric)
        waiting = [Metric(start + 5.0, "loss", metric)]
    assert opt.param_groups[0]["lr"] < 1.0
