"""torch's schedulers, as built from a contract, against numbers and against lrwatch's own curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from lrwatch.contract import Contract, from_document
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.trainer.schedule import build, describe, fast_forward

Groups = dict[str, dict[str, Any]]
WARM = {"linear": {"from": 0.5, "for": 5}}
FROM_0 = {"linear": {"from": 0, "for": 5}}

CASES: dict[str, tuple[list[Any], str]] = {
    "constant": ([{"constant": {"at": 0.25, "for": 7}}, {"constant": {"at": 2.0}}], "LambdaLR → LambdaLR"),
    "linear from 0": ([FROM_0, {"linear": {"to": 0.2, "until": 50}}], "LambdaLR → LinearLR"),
    "cosine, held": ([WARM, {"cosine": {"to": 0.1, "until": 50}}], "LinearLR → CosineAnnealingLR → LambdaLR"),
    "cosine, mirror": ([WARM, {"cosine": {"to": 0.1, "until": 50, "after": "mirror"}}], "LinearLR → CosineAnnealingLR"),
    "cosine, restart": ([{"cosine": {"to": "10%", "for": 20, "after": "restart"}}], "CosineAnnealingWarmRestarts"),
    "cosine cut short": ([{"cosine": {"over": 90, "for": 20}}, "constant"], "CosineAnnealingLR → LambdaLR"),
    "restarts": (
        [FROM_0, {"cosine_restarts": {"period": 7, "multiply": 2, "to": 0.01}}],
        "LambdaLR → CosineAnnealingWarmRestarts",
    ),
    "restarts, held": (
        [{"cosine_restarts": {"period": 10, "to": 0.01, "for": 30, "after": "hold"}}],
        "CosineAnnealingWarmRestarts → LambdaLR",
    ),
    "step": ([WARM, {"step": {"every": 6, "gamma": 0.5}}], "LinearLR → StepLR"),
    "multi_step": ([WARM, {"multi_step": {"milestones": [3, 9, 9], "gamma": 0.5}}], "LinearLR → MultiStepLR"),
    "exponential": ([WARM, {"exponential": {"gamma": 0.9, "every": 3}}], "LinearLR → ExponentialLR"),
    "polynomial": ([WARM, {"polynomial": {"power": 2, "until": 50}}], "LinearLR → PolynomialLR"),
    "one_cycle": ([{"one_cycle": {"for": 50}}], "LambdaLR → LambdaLR"),
    "one_cycle, later": (
        [{"constant": {"for": 3}}, {"one_cycle": {"for": 50, "three_phase": True, "anneal": "linear"}}],
        "LambdaLR → LambdaLR → LambdaLR",
    ),
    "triangular": ([WARM, {"triangular": {"from": 0.3, "to": 3.0, "up": 4, "down": 6}}], "LinearLR → LambdaLR"),
    "triangular2": ([{"triangular2": {"to": 3.0, "up": 4}}], "LambdaLR"),
    "exp_range": ([{"exp_range": {"to": 3.0, "up": 4, "gamma": 0.9}}], "LambdaLR"),
    "no class: cosine from": ([{"cosine": {"from": 0.5, "to": 0.1, "for": 20}}], "CurveLR"),
    "no class: drop at 0": ([WARM, {"multi_step": {"milestones": [0, 4]}}], "LinearLR → CurveLR"),
    "no class: line on and on": ([{"linear": {"to": 0, "for": 20, "after": "continue"}}], "CurveLR"),
    "no class: offset": ([{"linear": {"from": 0, "for": 20, "offset": 1}}], "CurveLR"),
    "no class: clamped": ([{"step": {"every": 5, "gamma": 0.5, "min": 0.1}}], "CurveLR"),
    "no class: stairs": ([{"linear": {"to": 0.1, "for": 20, "stairs": 4}}], "CurveLR"),
    "no class: product": ([{"product": {"of": [{"step": {"every": 5}}, "constant"]}}], "CurveLR"),
    "no class: polynomial to": ([{"polynomial": {"to": 0.1, "until": 50}}], "CurveLR"),
    "no class: wsd": ([{"warmup_stable_decay": {"warmup": 5, "decay": 9, "until": 50}}], "CurveLR"),
    "no class: inverse_sqrt": ([FROM_0, {"inverse_sqrt": {"timescale": 5}}], "LambdaLR → CurveLR"),
    "no whole start": ([{"linear": {"from": 0.5, "for": 4.5}}, {"cosine": {"until": 50}}], "CurveLR"),
}


def promise(schedule: Any, groups: Groups | None = None, **sections: Any) -> Contract:
    lr = {"base": 1.0, "schedule": schedule, "groups": groups or {}}
    return from_document({"lrwatch": 1, "experiment": "x", "clock": {"horizon": 50}, "lr": lr, **sections})


def optimizer_for(contract: Contract) -> SGD:
    signal = contract.signals["lr"]
    groups: list[dict[str, Any]] = [
        {"params": [torch.zeros(1)], "name": g.name, "lr": (g.base or signal.base) * g.scale}
        for g in signal.groups.values()
    ]
    return SGD(groups or [torch.zeros(1)], lr=signal.base)


def run(optimizer: SGD, scheduler: LRScheduler, steps: int) -> list[list[float]]:
    """The LRs that ``steps`` updates use: float[steps][group]."""
    used = []
    for _ in range(steps):
        used.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return used


@pytest.mark.parametrize("case", CASES)
def test_torch_agrees_with_the_curve(case: str) -> None:
    schedule, classes = CASES[case]
    contract = promise(schedule)
    optimizer = optimizer_for(contract)
    scheduler = build(optimizer, contract)
    assert describe(scheduler) == classes
    used = np.array(run(optimizer, scheduler, 80))[:, 0]
    np.testing.assert_allclose(used, Curve(contract).at(np.arange(80.0)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "groups",
    [{"decay": {}, "no_decay": {"scale": 10}}, {"decay": {"base": 0.8}, "head": {}, "rest": {"schedule": "constant"}}],
    ids=["scale", "base"],
)
def test_groups_that_differ_each_get_their_own_curve(case: str, groups: Groups) -> None:
    contract = promise(CASES[case][0], groups)
    optimizer = optimizer_for(contract)
    used = np.array(run(optimizer, build(optimizer, contract), 80))
    for i, name in enumerate(groups):
        expected = Curve(contract, "lr", name).at(np.arange(80.0))
        np.testing.assert_allclose(used[:, i], expected, rtol=1e-12, atol=1e-14, err_msg=name)


def test_warm_up_and_cosine_in_numbers() -> None:
    contract = promise([{"linear": {"from": 0, "for": 2}}, {"cosine": {"to": 0.2, "until": 6}}])
    optimizer = optimizer_for(contract)
    used = [lr for (lr,) in run(optimizer, build(optimizer, contract), 9)]
    assert used == pytest.approx(
        [
            0.0,  # the warm-up starts from 0
            0.5,
            1.0,  # and has ended; the cosine begins
            0.8828427124746190,  # 0.2 + 0.8 · (1 + cos 45°)/2
            0.6,  # half-way
            0.3171572875253810,
            0.2,  # the floor
            0.2,  # is held
            0.2,
        ],
        rel=1e-12,
    )


def test_groups_that_share_a_torch_class_keep_it() -> None:
    contract = promise([{"step": {"every": 2, "gamma": 0.5}}], {"head": {"scale": 10}, "decay": {}})
    optimizer = optimizer_for(contract)
    scheduler = build(optimizer, contract)
    assert describe(scheduler) == "StepLR"
    assert run(optimizer, scheduler, 5) == [[10, 1], [10, 1], [5, 0.5], [5, 0.5], [2.5, 0.25]]


def test_a_sequence_with_lrwatchs_own_curve_in_it_says_so() -> None:
    contract = promise([FROM_0, {"inverse_sqrt": {"timescale": 5}}])
    assert type(build(optimizer_for(contract), contract)).__name__ == "SequentialCurveLR"
    contract = promise([FROM_0, {"cosine": {"until": 50}}])
    assert type(build(optimizer_for(contract), contract)).__name__ == "SequentialLR"


PLATEAU = {"plateau": {"metric": "val_loss", "factor": 0.5, "patience": 1, "floor": 0.3, "threshold": 0.0}}


def test_plateau_is_torchs_own() -> None:
    contract = promise([PLATEAU], {"decay": {}, "head": {"scale": 10}})
    optimizer = optimizer_for(contract)
    scheduler = build(optimizer, contract)
    assert describe(scheduler) == "ReduceLROnPlateau"
    used = []
    for metric in (2.0, 2.1, 2.2, 2.3, 2.4, 1.0):
        scheduler.step(metric)  # type: ignore[arg-type]
        used.append([group["lr"] for group in optimizer.param_groups])
    assert used == [[1, 10], [1, 10], [0.5, 5], [0.5, 5], [0.3, 3], [0.3, 3]]


@pytest.mark.parametrize(
    ("schedule", "groups"),
    [([WARM, PLATEAU], {}), ([PLATEAU], {"head": {"schedule": "constant"}, "decay": {}})],
    ids=["joined", "in one group only"],
)
def test_plateau_stands_alone(schedule: Any, groups: Groups) -> None:
    contract = promise(schedule, groups)
    with pytest.raises(ContractError) as refused:
        build(optimizer_for(contract), contract)
    assert str(refused.value) == (
        "contract: lr.schedule: torch's plateau cannot be joined to other schedules; make it the only phase"
    )


def test_what_torch_refuses_is_no_traceback() -> None:
    contract = promise([{"plateau": {"metric": "val_loss", "factor": 1.0}}])
    with pytest.raises(ContractError) as refused:
        build(optimizer_for(contract), contract)
    assert str(refused.value) == "contract: lr.schedule: torch does not accept it: Factor should be < 1.0."


def test_an_amended_contract_can_be_joined_in_the_middle() -> None:
    contract = promise(
        [{"linear": {"to": 0, "until": "horizon"}}],
        amendments=[{"at": 20, "set": {"clock.horizon": 100}}],
    )
    optimizer = optimizer_for(contract)
    scheduler = build(optimizer, contract)
    assert describe(scheduler) == "CurveLR"
    fast_forward(scheduler, 19)
    used = [lr for (lr,) in run(optimizer, scheduler, 4)]
    assert used == pytest.approx([0.62, 0.80, 0.79, 0.78], rel=1e-12)  # 1 - 19/50, then 1 - 20/100, …


@pytest.mark.parametrize(
    ("rank", "rates"),
    [
        (0, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        (1, [0.5, 0.25, 0.0, 0.0, 0.0, 0.0]),
        (2, [0.25, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_workers_that_are_ahead_by_contract(rank: int, rates: list[float]) -> None:
    """Past the end of the schedule they hold its last value."""
    promise = from_document(
        {
            "lrwatch": 1, "experiment": "x", "clock": {"horizon": 4},
            "lr": {"base": 1.0, "schedule": {"linear": {"to": 0, "until": "horizon"}}, "ranks": {"shift": [0, 2, 3]}},
        }
    )  # fmt: skip
    optimizer = SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "name": "0", "lr": 1.0}])
    scheduler, seen = build(optimizer, promise, rank), []
    for _ in rates:
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert describe(scheduler) == "CurveLR"
    assert seen == pytest.approx(rates, abs=1e-15)
