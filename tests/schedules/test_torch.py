"""Every family against the real torch scheduler, 10,000 updates and more, past the horizon where it goes on.

|E - O| ≤ 1e-9·|E| + 1e-10·peak, and where torch's own recursion is known to be worse, the stated bound of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrwatch.curve import Curve, Metric

torch = pytest.importorskip("torch")
from torch.optim import SGD, Optimizer  # noqa: E402
from torch.optim import lr_scheduler as torch_lr  # noqa: E402

STEPS = 10_000
BASE = 0.3


def optimizer(base: float = BASE) -> Optimizer:
    return SGD([torch.zeros(1, requires_grad=True)], lr=base)


def applied(make: Callable[[Optimizer], Any], steps: int = STEPS, base: float = BASE) -> np.ndarray:
    """The learning rate that each of ``steps`` updates uses, float64[steps], the scheduler stepped after each."""
    opt = optimizer(base)
    scheduler = make(opt)
    opt.step()
    group, values = opt.param_groups[0], np.empty(steps)
    for i in range(steps):
        values[i] = group["lr"]
        if i < steps - 1:
            scheduler.step()
    return values


def agree(expected: Curve, observed: np.ndarray, rtol: np.ndarray | float = 1e-9) -> None:
    values = expected.at(np.arange(float(len(observed))))
    allowed = rtol * np.abs(values) + 1e-10 * observed.max()
    bad = np.flatnonzero(~(np.abs(values - observed) <= allowed))
    assert not len(bad), f"first at t = {bad[0]}: expected {values[bad[0]]!r}, torch has {observed[bad[0]]!r}"


def grid(**axes: tuple[Any, ...]) -> Any:
    """Every combination; in the quick suite so many that each value of each axis is among them."""
    quick = [tuple(axis[i % len(axis)] for axis in axes.values()) for i in range(max(map(len, axes.values())))]
    whole = itertools.product(*axes.values())
    return pytest.mark.parametrize(
        tuple(axes), [c if c in quick else pytest.param(*c, marks=pytest.mark.long) for c in whole]
    )


@grid(factor=(1 / 3, 0.01), total=(1, 5, 4000))
def test_constant(factor: float, total: int, curve: Callable[..., Curve]) -> None:
    schedule = [{"constant": {"at": f"{100 * factor!r}%", "for": total}}, {"constant": {}}]
    agree(curve(schedule, BASE), applied(lambda o: torch_lr.ConstantLR(o, factor, total)))


@grid(start=(1e-3, 1.0), end=(1.0, 0.1, 0.0), total=(1, 500, 7000))
def test_linear(start: float, end: float, total: int, curve: Callable[..., Curve]) -> None:
    schedule = {"linear": {"from": BASE * start, "to": BASE * end, "for": total}}
    agree(curve(schedule, BASE), applied(lambda o: torch_lr.LinearLR(o, start, end, total)))


@grid(t_max=(3, 100, 3000, 20_000), eta_min=(0.0, 0.1 * BASE, 0.5 * BASE))
def test_cosine(t_max: int, eta_min: float, curve: Callable[..., Curve]) -> None:
    expected = curve({"cosine": {"to": eta_min, "for": t_max, "after": "mirror"}}, BASE)
    past = np.arange(STEPS) > t_max
    known = 2.0**-53 * eta_min / (BASE - eta_min) * (2 * t_max / math.pi) ** 2  # torch's recursion, past T_max
    observed = applied(lambda o: torch_lr.CosineAnnealingLR(o, t_max, eta_min))
    agree(expected, observed, 1e-9 + np.where(past, known, 0.0))


@grid(period=(1, 7, 3000), multiply=(1, 2, 3), eta_min=(0.0, 0.01))
def test_cosine_restarts(period: int, multiply: int, eta_min: float, curve: Callable[..., Curve]) -> None:
    expected = curve({"cosine_restarts": {"period": period, "multiply": multiply, "to": eta_min}}, BASE)
    agree(expected, applied(lambda o: torch_lr.CosineAnnealingWarmRestarts(o, period, multiply, eta_min)))


@grid(every=(1, 30, 2500), gamma=(0.1, 0.97))
def test_step(every: int, gamma: float, curve: Callable[..., Curve]) -> None:
    expected = curve({"step": {"every": every, "gamma": gamma}}, BASE)
    agree(expected, applied(lambda o: torch_lr.StepLR(o, every, gamma)))


@grid(milestones=([30, 80], [1], [5, 5, 900, 900, 900, 9999], [0, 100], [20_000]), gamma=(0.1, 0.5))
def test_multi_step(milestones: list[int], gamma: float, curve: Callable[..., Curve]) -> None:
    expected = curve({"multi_step": {"milestones": milestones, "gamma": gamma}}, BASE)
    agree(expected, applied(lambda o: torch_lr.MultiStepLR(o, milestones, gamma)))


@grid(gamma=(0.5, 0.99, 0.9999, 1.0, 1.0003))
def test_exponential(gamma: float, curve: Callable[..., Curve]) -> None:
    agree(curve({"exponential": {"gamma": gamma}}, BASE), applied(lambda o: torch_lr.ExponentialLR(o, gamma)))


@grid(power=(0.5, 1.0, 3.7), total=(5, 9000, 30_000))
def test_polynomial(power: float, total: int, curve: Callable[..., Curve]) -> None:
    expected = curve({"polynomial": {"power": power, "for": total}}, BASE)
    agree(expected, applied(lambda o: torch_lr.PolynomialLR(o, total, power)))


@grid(
    total=(7, STEPS),
    pct_start=(0.3, 0.5, 0.0, 1.0, 0.123),
    anneal=("cos", "linear"),
    three_phase=(False, True),
)
def test_one_cycle(total: int, pct_start: float, anneal: str, three_phase: bool, curve: Callable[..., Curve]) -> None:
    params = {"peak_at": pct_start, "anneal": anneal, "three_phase": three_phase, "for": total}
    observed = applied(
        lambda o: torch_lr.OneCycleLR(
            o, BASE, total_steps=total, pct_start=pct_start, anneal_strategy=anneal, three_phase=three_phase,
            cycle_momentum=False,
        ),
        steps=total,
    )  # fmt: skip
    agree(curve({"one_cycle": params}, BASE), observed)


@grid(div=(25.0, 4.0), final_div=(1e4, 1.0))
def test_one_cycle_from_and_to(div: float, final_div: float, curve: Callable[..., Curve]) -> None:
    expected = curve({"one_cycle": {"from": BASE / div, "to": BASE / div / final_div, "for": STEPS}}, BASE)
    agree(
        expected,
        applied(
            lambda o: torch_lr.OneCycleLR(
                o, BASE, total_steps=STEPS, div_factor=div, final_div_factor=final_div, cycle_momentum=False
            )
        ),
    )


@grid(family=("triangular", "triangular2", "exp_range"), up=(10, 2000), down=(None, 7, 5000))
def test_cyclic(family: str, up: int, down: int | None, curve: Callable[..., Curve]) -> None:
    gamma = {"gamma": 0.9997} if family == "exp_range" else {}
    expected = curve({family: {"to": 1.7, "up": up, "down": down, **gamma}}, BASE)
    observed = applied(
        lambda o: torch_lr.CyclicLR(o, BASE, 1.7, up, down, mode=family, cycle_momentum=False, **gamma)
    )
    agree(expected, observed)


@grid(warm_up=(1, 500), horizon=(2000, 12_000), eta_min=(0.0, 0.03))
def test_sequential_linear_and_cosine(warm_up: int, horizon: int, eta_min: float, curve: Callable[..., Curve]) -> None:
    schedule = [
        {"linear": {"from": "1%", "for": warm_up}},
        {"cosine": {"to": eta_min, "until": "horizon", "after": "mirror"}},
    ]
    t_max = horizon - warm_up
    known = 2.0**-53 * eta_min / (BASE - eta_min) * (2 * t_max / math.pi) ** 2
    observed = applied(
        lambda o: torch_lr.SequentialLR(
            o,
            [torch_lr.LinearLR(o, 0.01, 1.0, warm_up), torch_lr.CosineAnnealingLR(o, t_max, eta_min)],
            milestones=[warm_up],
        )
    )
    agree(curve(schedule, BASE, horizon), observed, 1e-9 + known)


def test_sequential_of_four(curve: Callable[..., Curve]) -> None:
    schedule = [
        {"linear": {"from": "10%", "for": 300}},
        {"constant": {"for": 1000}},
        {"cosine_restarts": {"period": 100, "multiply": 2, "for": 5000}},
        {"exponential": {"gamma": 0.999}},
    ]
    observed = applied(
        lambda o: torch_lr.SequentialLR(
            o,
            [
                torch_lr.LinearLR(o, 0.1, 1.0, 300),
                torch_lr.ConstantLR(o, 1.0, 1),
                torch_lr.CosineAnnealingWarmRestarts(o, 100, 2),
                torch_lr.ExponentialLR(o, 0.999),
            ],
            milestones=[300, 1300, 6300],
        )
    )
    agree(curve(schedule, BASE), observed)


def restless(seed: int) -> np.ndarray:
    """A validation metric that improves, stalls and breaks: float64[STEPS] with NaN and infinities in it."""
    random = np.random.default_rng(seed)
    values = 5.0 * 0.9995 ** np.arange(STEPS) * (1.0 + 0.02 * random.standard_normal(STEPS))
    values[random.integers(0, STEPS, 100)] = math.nan
    values[random.integers(0, STEPS, 50)] = math.inf
    return values


@grid(mode=("min", "max"), threshold_mode=("rel", "abs"), waits=((0, 0), (10, 5)))
def test_plateau(mode: str, threshold_mode: str, waits: tuple[int, int], curve: Callable[..., Curve]) -> None:
    (patience, cooldown), floor = waits, 0.002 * waits[1]
    params = {"mode": mode, "factor": 0.97, "patience": patience, "threshold": 1e-3, "threshold_mode": threshold_mode}
    params["cooldown"] = cooldown
    metric = restless(seed=patience)
    if mode == "max":
        metric = 6.0 - metric
    opt = optimizer()
    scheduler = torch_lr.ReduceLROnPlateau(opt, min_lr=floor, **params)
    observed = np.empty(STEPS)
    for i, value in enumerate(metric):  # row i uses the rate that the metrics before it have led to
        observed[i] = opt.param_groups[0]["lr"]
        scheduler.step(value)
    assert len(np.unique(observed)) > 20, "the comparison needs reductions"
    expected = curve({"plateau": {"metric": "val_loss", "floor": floor, **params}}, BASE)
    expected.next(np.empty(0), [Metric(i + 1.0, "val_loss", float(v)) for i, v in enumerate(metric)])
    agree(expected, observed)


@grid(base=(0.3, 1e-5), factor=(0.1, 0.5))
def test_plateau_stops_where_torch_does(base: float, factor: float, curve: Callable[..., Curve]) -> None:
    """The default eps, 1e-8, ends the reductions long before zero."""
    opt = optimizer(base)
    scheduler = torch_lr.ReduceLROnPlateau(opt, factor=factor, patience=0)
    observed = np.empty(60)
    for i in range(60):
        observed[i] = opt.param_groups[0]["lr"]
        scheduler.step(1.0)
    expected = curve({"plateau": {"metric": "loss", "factor": factor, "patience": 0}}, base)
    expected.next(np.empty(0), [Metric(i + 1.0, "loss", 1.0) for i in range(60)])
    assert expected.at(np.arange(60.0)) == pytest.approx(observed, rel=1e-12, abs=0)
    assert 0 < observed[-1] < 2.1e-8

