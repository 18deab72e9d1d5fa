"""Live schedulers: import, write, load again, and the curve is what the real one does at every step."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

from lrwatch.contract import load
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.importers.torch import contract_of

STEPS = 2200
Make = Callable[[Optimizer], Any]


def optimizer(*lrs_: float, kind: type[Optimizer] = SGD, **extra: Any) -> Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs_]
    return kind(groups, lr=lrs_[0], **extra)


def stepped(opt: Optimizer, scheduler: Any, steps: int = STEPS, what: str = "lr") -> np.ndarray:
    """float64[steps, groups]: what each update uses, by the real scheduler."""
    found = np.empty((steps, len(opt.param_groups)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for t in range(steps):
            found[t] = [g["betas"][0] if what == "beta1" else float(g[what]) for g in opt.param_groups]
            if t < steps - 1:
                scheduler.step()
    return found


def agree(make: Make, opt: Optimizer, tmp_path: Path, **arguments: Any) -> Any:
    """The contract, after it was compared with the scheduler in every group at every step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # schedulers in a sequence step each other when they are made
        scheduler = make(opt)
    imported = contract_of(opt, scheduler, **{"stepped": "update", "total_steps": STEPS, **arguments})
    path = tmp_path / "contract.yaml"
    path.write_text(imported.yaml())
    contract = load(path)
    assert contract.document == imported.contract().document
    observed = stepped(opt, scheduler)
    t = np.arange(float(STEPS))
    for i, group in enumerate(opt.param_groups):
        curve = Curve(contract, "lr", str(group.get("name", i)))
        allowed = (1e-9 + curve.slack(t)) * np.abs(observed[:, i]) + 1e-15
        wrong = np.flatnonzero(np.abs(curve.at(t) - observed[:, i]) > allowed)
        assert not len(wrong), (i, wrong[0], curve.at(t)[wrong[0]], observed[wrong[0], i])
    return imported


def families(imported: Any) -> list[str]:
    return [next(iter(phase)) for phase in imported.plain()["lr"]["schedule"]]


def sequential(o: Optimizer, parts: list[Any], milestones: list[int]) -> Any:
    return lrs.SequentialLR(o, parts, milestones)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: lrs.StepLR(o, 30, 0.9), ["step"]),
        (lambda o: lrs.MultiStepLR(o, [900, 30, 30], 0.5), ["multi_step"]),
        (lambda o: lrs.ConstantLR(o, 0.25, 100), ["constant", "constant"]),
        (lambda o: lrs.LinearLR(o, 0.01, 0.8, 700), ["linear"]),
        (lambda o: lrs.ExponentialLR(o, 0.999), ["exponential"]),
        (lambda o: lrs.PolynomialLR(o, 2000, 2.0), ["polynomial"]),
        (lambda o: lrs.CosineAnnealingLR(o, 1000, 0.01), ["cosine"]),
        (lambda o: lrs.CosineAnnealingWarmRestarts(o, 100, 2, 0.01), ["cosine_restarts"]),
        (lambda o: lrs.CyclicLR(o, 0.1, 0.9, 300, 50, "triangular2", cycle_momentum=False), ["triangular2"]),
        (lambda o: lrs.CyclicLR(o, 0.1, 0.9, 300, None, "exp_range", 0.999, cycle_momentum=False), ["exp_range"]),
        (lambda o: lrs.OneCycleLR(o, 0.9, STEPS, three_phase=True, cycle_momentum=False), ["one_cycle"]),
        (lambda o: SWALR(o, 0.05, 40), ["cosine"]),
        (lambda o: sequential(o, [lrs.LinearLR(o, 0.01, 1.0, 200), lrs.CosineAnnealingLR(o, 1800, 0.01)], [200]),
         ["linear", "cosine"]),
        (lambda o: sequential(o, [lrs.LinearLR(o, 0.01, 1.0, 300), lrs.ExponentialLR(o, 0.999)], [100]),
         ["linear", "exponential"]),  # the warm-up is cut off
        (lambda o: sequential(o, [lrs.ConstantLR(o, 0.1, 50), lrs.CosineAnnealingWarmRestarts(o, 100, 2),
                                  lrs.PolynomialLR(o, 500), lrs.StepLR(o, 100)], [200, 700, 1000]),
         ["constant", "constant", "cosine_restarts", "polynomial", "step"]),
        (lambda o: lrs.ChainedScheduler([lrs.LinearLR(o, 0.1, 1.0, 300), lrs.ExponentialLR(o, 0.999),
                                         lrs.MultiStepLR(o, [400, 1500], 0.5)]), ["product"]),
        (lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, 0.1, 300), lrs.CosineAnnealingLR(o, STEPS)]), ["product"]),
        (lambda o: sequential(o, [lrs.ChainedScheduler([lrs.LinearLR(o, 0.1, 1.0, 300), lrs.ExponentialLR(o, 0.999)]),
                                  lrs.CosineAnnealingLR(o, 1500)], [500]), ["table"]),  # the sequence undoes too much
        (lambda o: sequential(o, [sequential(o, [lrs.ConstantLR(o, 0.5, 9), lrs.LinearLR(o, 0.5, 1.0, 90)], [100]),
                                  lrs.StepLR(o, 500, 0.5)], [700]), ["table"]),  # here too
    ],
)  # fmt: skip
def test_what_torch_has(make: Make, expected: list[str], tmp_path: Path) -> None:
    assert families(agree(make, optimizer(0.3, momentum=0.9), tmp_path)) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lrs.LambdaLR(o, lambda t: 0.5 ** (t // 100)),
        lambda o: lrs.LambdaLR(o, lambda t: 1.0 / (1.0 + t)),
        lambda o: lrs.MultiplicativeLR(o, lambda t: 0.998 if t % 3 else 1.001),
        lambda o: lrs.CyclicLR(o, 0.1, 0.9, 300, scale_fn=lambda x: 1 / 2**x, cycle_momentum=False),
        # absolute schedulers in a chain overwrite what the others did, one with eta_min is no factor
        lambda o: lrs.ChainedScheduler([lrs.ExponentialLR(o, 0.999), lrs.CosineAnnealingWarmRestarts(o, 100)]),
        lambda o: lrs.ChainedScheduler([lrs.ExponentialLR(o, 0.999), lrs.CosineAnnealingLR(o, 9000, 0.01)]),
        lambda o: sequential(o, [lrs.ConstantLR(o, 0.1, 50), lrs.MultiplicativeLR(o, lambda t: 0.999)], [100]),
        lambda o: sequential(o, [lrs.ConstantLR(o, 0.1, 50), SWALR(o, 0.05, 40)], [30]),  # starts where it finds it
    ],
)
def test_what_has_no_formula_is_sampled(make: Make, tmp_path: Path) -> None:
    assert families(agree(make, optimizer(0.3, momentum=0.9), tmp_path)) == ["table"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda o: lrs.MultiplicativeLR(o, lambda t: 0.99), "MultiplicativeLR multiplies by a function of its own: "),
        (lambda o: lrs.LambdaLR(o, lambda t: 0.99**t), "LambdaLR computes by a function of its own, "),
    ],
)
def test_a_table_says_why_it_is_one(make: Make, said: str) -> None:
    opt = optimizer(0.3)
    assert f"# {said}" in contract_of(opt, make(opt), stepped="update", total_steps=30).yaml()


class Halved(lrs.CosineAnnealingLR):
    """A subclass that does not compute what its name promises."""

    def get_lr(self) -> list[Any]:
        return [0.5 * base for base in self.base_lrs]


def test_a_subclass_that_computes_otherwise_is_sampled(tmp_path: Path) -> None:
    imported = agree(lambda o: Halved(o, 500), optimizer(0.3), tmp_path)
    assert families(imported) == ["table"]
    assert "# Halved does not compute what its parts say (step 0: 0.15, not 0.3): 2200 samples" in imported.yaml()


def test_groups_by_base_by_name_and_by_schedule(tmp_path: Path) -> None:
    opt = optimizer(0.3, 0.03, 0.0, 0.3)
    opt.param_groups[1]["name"] = "head"
    plain = agree(lambda o: lrs.CosineAnnealingLR(o, 1000), opt, tmp_path).plain()["lr"]
    assert plain["groups"] == {
        "head": {"base": 0.03},
        "2": {"base": 1, "schedule": [{"constant": {"at": 0}}]},  # frozen
    }
    made = agree(lambda o: lrs.OneCycleLR(o, [0.1, 0.2], STEPS, cycle_momentum=False), optimizer(0.3, 0.3), tmp_path)
    assert made.plain()["lr"]["groups"] == {"1": {"base": 0.2}}
    halves = [lambda t: 0.5 ** (t // 100), lambda t: 0.5 ** (t // 700)]
    made = agree(lambda o: lrs.LambdaLR(o, halves), optimizer(0.4, 0.4), tmp_path)
    assert made.plain()["lr"]["groups"]["1"]["schedule"][0]["table"]["at"] == [0, 700, 1400, 2100]


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lrs.OneCycleLR(o, 0.9, STEPS),
        lambda o: lrs.OneCycleLR(o, 0.9, STEPS, three_phase=True, anneal_strategy="linear", base_momentum=0.5),
        lambda o: lrs.CyclicLR(o, 0.1, 0.9, 300, 70, "triangular2"),
    ],
)
def test_momentum_that_moves_with_it(make: Make) -> None:
    opt = optimizer(0.3, kind=Adam)
    scheduler = make(opt)
    contract = contract_of(opt, scheduler, stepped="update", total_steps=STEPS).contract()
    expected = Curve(contract, "momentum").at(np.arange(float(STEPS)))
    assert expected == pytest.approx(stepped(opt, scheduler, what="beta1")[:, 0], rel=1e-9)


def test_the_yaml_says_where_everything_is_from() -> None:
    opt = optimizer(3e-4, 1e-3)
    opt.param_groups[1]["name"] = "head"
    parts = [lrs.LinearLR(opt, 0.01, 1.0, 200), lrs.CosineAnnealingLR(opt, 1800, 3e-5)]
    made = contract_of(opt, lrs.SequentialLR(opt, parts, [200]), stepped="attempt", total_steps=2000, experiment="gpt")
    assert made.yaml() == """\
# Imported from a live SequentialLR.
# A contract taken from a live scheduler proves that it is stepped rightly, not that it is the right one.
lrwatch: 1
experiment: gpt
clock:
  axis: update  # stepped once per attempt
  counts: attempted  # stepped even when the update was skipped
  horizon: 2000  # total_steps
lr:
  base: 0.0003  # initial learning rate of the first group
  schedule:
  - {linear: {from: 1%, to: 100%, for: 200}}  # LinearLR
  - {cosine: {to: 3.0e-05, after: mirror, until: horizon}}  # CosineAnnealingLR: past T_max it climbs back
  groups:
    head:
      base: 0.001  # that of this group
"""


def test_an_epoch_clock() -> None:
    opt = optimizer(0.1)
    made = contract_of(opt, lrs.StepLR(opt, 30), stepped="epoch", total_steps=1001, steps_per_epoch=100).contract()
    assert (made.clock.axis, made.horizon, made.batch.steps_per_epoch) == ("epoch", 11.0, 100)


def accelerated(scheduler: Any, split_batches: bool = False, step_with_optimizer: bool = True) -> Any:
    kind = type("AcceleratedScheduler", (SimpleNamespace,), {})
    return kind(scheduler=scheduler, split_batches=split_batches, step_with_optimizer=step_with_optimizer)


def test_accelerate_steps_once_per_process() -> None:
    opt = optimizer(0.1)
    scheduler = lrs.CosineAnnealingLR(opt, 8000)
    wrapped = SimpleNamespace(optimizer=opt)
    made = contract_of(wrapped, accelerated(scheduler), stepped="update", total_steps=2000, world_size=4).contract()
    assert (made.clock.ticks, made.horizon) == (4, 8000.0)
    for once in ({"split_batches": True}, {"step_with_optimizer": False}):
        made = contract_of(opt, accelerated(scheduler, **once), stepped="update", total_steps=2000).contract()
        assert (made.clock.ticks, made.horizon) == (1, 2000.0)
    with pytest.raises(ContractError, match=r"^AcceleratedScheduler: steps once per process, .*; pass world_size=$"):
        contract_of(opt, accelerated(scheduler), stepped="update")


def test_the_live_objects_are_not_touched() -> None:
    opt = optimizer(0.3, kind=Adam)
    scheduler = lrs.OneCycleLR(opt, 0.9, STEPS)
    before = copy.deepcopy((opt.state_dict(), scheduler.state_dict()))
    contract_of(opt, scheduler, stepped="update", total_steps=STEPS)
    assert (opt.state_dict(), scheduler.state_dict()) == before


def test_a_scheduler_under_way_is_read_but_not_replayed() -> None:
    opt = optimizer(0.3)
    scheduler = lrs.CosineAnnealingLR(opt, 1000)
    stepped(opt, scheduler, 8)
    made = contract_of(opt, scheduler, stepped="update")
    assert made.plain()["lr"] == {"base": 0.3, "schedule": [{"cosine": {"to": 0, "for": 1000, "after": "mirror"}}]}
    assert "had been stepped 7 times: it could not be compared" in " ".join(made.notes)
    lambdas = lrs.LambdaLR(optimizer(0.3), lambda t: 1.0)
    stepped(lambdas.optimizer, lambdas, 8)
    with pytest.raises(ContractError, match="function of its own, <lambda>; import it before training, when it can be"):
        contract_of(lambdas.optimizer, lambdas, stepped="update")


def test_a_narrow_tensor_learning_rate() -> None:
    opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=torch.tensor(0.3))
    made = contract_of(opt, lrs.CosineAnnealingLR(opt, 1000, 0.01), stepped="update", total_steps=500).plain()["lr"]
    assert (made["dtype"], made["recursive"]) == ("float32", True)


def test_a_plateau_needs_the_metric_s_name() -> None:
    opt = optimizer(0.3)
    scheduler = lrs.ReduceLROnPlateau(opt, factor=0.5, patience=3, min_lr=1e-3)
    made = contract_of(opt, scheduler, stepped="update", metric="val_loss").plain()["lr"]["schedule"][0]["plateau"]
    assert (made["metric"], made["factor"], made["patience"], made["floor"]) == ("val_loss", 0.5, 3, 0.001)
    with pytest.raises(ContractError, match=r"^ReduceLROnPlateau: reacts to a metric, .*; pass metric=, e\.g\."):
        contract_of(opt, scheduler, stepped="update")


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda o: lrs.StepLR(o, 3), {"stepped": "batch"}, "StepLR: stepped: must be update, attempt or epoch, got"),
        (lambda o: lrs.LambdaLR(o, lambda t: 1.0), {},
         "LambdaLR: LambdaLR computes by a function of its own, <lambda>, so it has to be sampled; pass total_steps="),
        (lambda o: lrs.LambdaLR(o, lambda t: 1.0 - t), {"total_steps": 5}, "LambdaLR: gives -0.3 at step 2, which no"),
        (lambda o: lrs.LambdaLR(o, lambda t: 1.0), {"total_steps": 10**6}, "1000000 steps are too many to sample"),
        (lambda o: lrs.StepLR(o, 3), {"stepped": "epoch", "total_steps": 9},
         "StepLR: is stepped per epoch: total_steps needs the updates of an epoch; pass steps_per_epoch="),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(make: Make, arguments: dict[str, Any], message: str) -> None:
    opt = optimizer(0.3)
    with pytest.raises(ContractError) as error:
        contract_of(opt, make(opt), **{"stepped": "update", **arguments})
    assert message in str(error.value)


def test_where_the_scheduler_ends_is_said() -> None:
    opt = optimizer(0.3)
    made = contract_of(opt, lrs.OneCycleLR(opt, 0.9, 100, cycle_momentum=False), stepped="update", total_steps=101)
    assert made.notes[-1].startswith("The scheduler ends after 101 steps: ValueError: Tried to step 101 times.")
