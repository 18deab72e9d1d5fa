"""Schedules with random numbers: what the contract promises, and the real torch scheduler that keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_lr

Document = dict[str, Any]
Plan = dict[str, float]


@dataclass(frozen=True)
class Shape:
    """One kind of schedule.

    Attributes:
        plan: random numbers for a run of T updates: rng, T → {name: number}; always has ``T``.
        promise: plan → the contract's ``schedule``. build: optimizer, plan → the scheduler that keeps the promise.
        recursive: the scheduler computes each value from the last one.
        tells: what changes of plan it can show; ``horizon`` (has an end), ``warmup``, ``floor``.
    """

    name: str
    plan: Callable[[np.random.Generator, int], Plan]
    promise: Callable[[Plan], Any]
    build: Callable[[Optimizer, Plan], Any]
    recursive: bool = False
    tells: frozenset[str] = field(default_factory=frozenset)


def _lambda(f: Callable[[int, Plan], float]) -> Callable[[Optimizer, Plan], Any]:
    return lambda optimizer, plan: torch_lr.LambdaLR(optimizer, lambda t: f(t, plan))


def _hf_cosine(t: int, p: Plan) -> float:
    """transformers' cosine with warm-up, with a rescaled floor, held at the end."""
    if t < p["W"]:
        return t / p["W"]
    x = min((t - p["W"]) / (p["T"] - p["W"]), 1.0)
    return p["floor"] + (1.0 - p["floor"]) * 0.5 * (1.0 + math.cos(math.pi * x))


def _hf_linear(t: int, p: Plan) -> float:
    return t / p["W"] if t < p["W"] else max(0.0, (p["T"] - t) / (p["T"] - p["W"]))


def _wsd(t: int, p: Plan) -> float:
    if t < p["W"]:
        return t / p["W"]
    begin = p["T"] - p["D"]
    return 1.0 if t < begin else max(0.0, 1.0 - (t - begin) / p["D"])


def _inverse_sqrt(t: int, p: Plan) -> float:
    return t / p["W"] if t < p["W"] else 1.0 / math.sqrt((t - p["W"] + p["W"]) / p["W"])


def _sequential(optimizer: Optimizer, p: Plan) -> Any:
    warm, base = int(p["W"]), optimizer.param_groups[0].get("initial_lr", optimizer.param_groups[0]["lr"])
    return torch_lr.SequentialLR(
        optimizer,
        [
            torch_lr.LinearLR(optimizer, 0.01, 1.0, warm),
            torch_lr.CosineAnnealingLR(optimizer, int(p["T"]) - warm, eta_min=p["floor"] * p.get("base", base)),
        ],
        milestones=[warm],
    )


def _warm(rng: np.random.Generator, T: int) -> Plan:
    return {"T": T, "W": int(rng.integers(T // 40, T // 8)), "floor": float(rng.choice([0.0, 0.1, 0.05]))}


def _steps(rng: np.random.Generator, T: int) -> Plan:
    """Drops that end at a thousandth of the base or above, as people plan them."""
    every = int(rng.integers(T // 12, T // 4))
    return {"T": T, "every": every, "gamma": max(float(rng.choice([0.1, 0.3, 0.5])), 0.001 ** (every / T))}


def _percent(x: float) -> str:
    return f"{100 * x:.12g}%"


SHAPES: tuple[Shape, ...] = (
    Shape(
        "hf_cosine",
        _warm,
        lambda p: [
            {"linear": {"from": 0, "for": p["W"]}},
            {"cosine": {"to": _percent(p["floor"]), "until": "horizon"}},
        ],
        _lambda(_hf_cosine),
        tells=frozenset({"horizon", "warmup", "floor"}),
    ),
    Shape(
        "sequential_cosine",
        _warm,
        lambda p: [
            {"linear": {"from": "1%", "for": p["W"]}},
            {"cosine": {"to": _percent(p["floor"]), "until": "horizon"}},
        ],
        _sequential,
        recursive=True,
        tells=frozenset({"horizon", "warmup", "floor"}),
    ),
    Shape(
        "hf_linear",
        _warm,
        lambda p: [{"linear": {"from": 0, "for": p["W"]}}, {"linear": {"to": 0, "until": "horizon"}}],
        _lambda(_hf_linear),
        tells=frozenset({"horizon", "warmup"}),
    ),
    Shape(
        "wsd",
        lambda rng, T: {**_warm(rng, T), "D": int(rng.integers(T // 8, T // 3))},
        lambda p: {"warmup_stable_decay": {"warmup": p["W"], "decay": p["D"], "until": "horizon"}},
        _lambda(_wsd),
        tells=frozenset({"horizon"}),
    ),
    Shape(
        "inverse_sqrt",
        _warm,
        lambda p: [{"linear": {"from": 0, "for": p["W"]}}, {"inverse_sqrt": {"timescale": p["W"]}}],
        _lambda(_inverse_sqrt),
    ),
    Shape(
        "cosine",
        lambda rng, T: {"T": T, "floor": 0.0},
        lambda p: {"cosine": {"to": 0, "until": "horizon"}},
        lambda o, p: torch_lr.CosineAnnealingLR(o, int(p["T"])),
        recursive=True,
        tells=frozenset({"horizon"}),
    ),
    Shape(
        "step",
        _steps,
        lambda p: {"step": {"every": p["every"], "gamma": p["gamma"]}},
        lambda o, p: torch_lr.StepLR(o, int(p["every"]), p["gamma"]),
        recursive=True,
    ),
    Shape(
        "multi_step",
        lambda rng, T: {"T": T, "a": int(rng.integers(T // 8, T // 3)), "b": int(rng.integers(T // 2, T - T // 8))},
        lambda p: {"multi_step": {"milestones": [p["a"], p["b"]], "gamma": 0.1}},
        lambda o, p: torch_lr.MultiStepLR(o, [int(p["a"]), int(p["b"])], 0.1),
        recursive=True,
    ),
    Shape(
        "exponential",
        lambda rng, T: {"T": T, "gamma": float(1.0 - rng.uniform(1.0, 4.0) / T)},
        lambda p: {"exponential": {"gamma": p["gamma"]}},
        lambda o, p: torch_lr.ExponentialLR(o, p["gamma"]),
        recursive=True,
    ),
    Shape(
        "restarts",
        lambda rng, T: {"T": T, "T_0": int(rng.integers(T // 12, T // 5)), "T_mult": int(rng.integers(1, 3))},
        lambda p: {"cosine_restarts": {"period": p["T_0"], "multiply": p["T_mult"], "to": 0}},
        lambda o, p: torch_lr.CosineAnnealingWarmRestarts(o, int(p["T_0"]), int(p["T_mult"])),
    ),
    Shape(
        "one_cycle",
        lambda rng, T: {"T": T, "pct": float(rng.choice([0.1, 0.3, 0.45]))},
        lambda p: {"one_cycle": {"peak_at": p["pct"], "until": "horizon"}},
        lambda o, p: torch_lr.OneCycleLR(
            o, [p["base"] * p["factor"] for _ in o.param_groups], int(p["T"]), pct_start=p["pct"], cycle_momentum=False
        ),
    ),
    Shape("constant", lambda rng, T: {"T": T}, lambda p: "constant", _lambda(lambda t, p: 1.0)),
)
BY_NAME = {s.name: s for s in SHAPES}
