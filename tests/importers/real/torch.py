from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

from tests.importers.real import grid, version

VERSION = version("torch")
STEPS = 2500
LR = 0.3
KINDS = {name: getattr(lrs, name) for name in (
    "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "LambdaLR", "MultiplicativeLR",
)} | {"SWALR": SWALR}  # fmt: skip

CASES = [
    *grid("StepLR", lr=LR, step_size=[1, 7, 900], gamma=[0.1, 0.99]),
    *grid("MultiStepLR", lr=LR, milestones=[[], [1, 400, 400, 1300], [900, 20], [9000]], gamma=0.3),
    *grid("ConstantLR", lr=LR, factor=[1 / 3, 0.07, 1.0], total_iters=[0, 1, 900]),
    *grid("LinearLR", lr=LR, start_factor=[1 / 3, 1e-4], end_factor=[1.0, 0.2, 0.0], total_iters=[1, 900, 4000]),
    *grid("ExponentialLR", lr=LR, gamma=[0.9, 0.9997]),
    *grid("PolynomialLR", lr=LR, total_iters=[5, 2000], power=[0.5, 1.0, 3.0]),
    *grid("CosineAnnealingLR", lr=LR, T_max=[3, 500, 2000, 9000], eta_min=[0.0, 0.01]),
    *grid("CosineAnnealingWarmRestarts", lr=LR, T_0=[1, 7, 300], T_mult=[1, 2, 3], eta_min=[0.0, 0.01]),
    *grid("CyclicLR", base_lr=[0.05, 0.0], max_lr=0.6, step_size_up=[10, 300], step_size_down=[None, 25],
          mode=["triangular", "triangular2"]),
    *grid("CyclicLR", base_lr=0.05, max_lr=0.6, step_size_up=300, mode="exp_range", gamma=0.999),
    *grid("CyclicLR momentum", base_momentum=[0.8, 0.5], max_momentum=0.9, step_size_up=[10, 300], step_size_down=70,
          mode=["triangular", "triangular2"]),
    *grid("OneCycleLR", max_lr=LR, total_steps=STEPS, pct_start=[0.3, 0.1234], anneal_strategy=["cos", "linear"],
          div_factor=[25.0, 4.0], final_div_factor=1e4, three_phase=[False, True]),
    *grid("OneCycleLR momentum", total_steps=STEPS, base_momentum=[0.85, 0.7], max_momentum=0.95, pct_start=[0.3, 0.45],
          anneal_strategy=["cos", "linear"], three_phase=[False, True]),
    *grid("SWALR", lr=LR, swa_lr=[0.05, 0.9], anneal_epochs=[0, 1, 10, 2000], anneal_strategy=["cos", "linear"]),
    *grid("LambdaLR", lr=LR, lr_lambda=[lambda t: 0.9 ** (t // 50), lambda t: 1 / (1 + t)], steps=STEPS),
    *grid("MultiplicativeLR", lr=LR, lr_lambda=[lambda t: 0.999, lambda t: 1 + (-1) ** t / (t + 2)], steps=STEPS),
]  # fmt: skip


def applied(make: Callable[[Optimizer], Any], steps: int, lr: float = LR, what: str = "lr") -> np.ndarray:
    """The value that each update uses, stepping the real scheduler after it."""
    parameter = [torch.nn.Parameter(torch.zeros(1))]
    optimizer: Optimizer = Adam(parameter, lr=lr) if what == "beta1" else SGD(parameter, lr=lr, momentum=0.9)
    found = np.empty(steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer.step(): nothing is trained here
        scheduler = make(optimizer)
        for t in range(steps):
            group = optimizer.param_groups[0]
            found[t] = group["betas"][0] if what == "beta1" else group[what]
            if t < steps - 1:
                scheduler.step()
    return found


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    kind, _, what = name.partition(" ")
    given = {k: v for k, v in params.items() if k not in ("lr", "steps")}
    if kind in ("CyclicLR", "OneCycleLR"):
        if what:
            given |= {"base_lr": 0.1, "max_lr": 0.2} if kind == "CyclicLR" else {"max_lr": 0.2}
            return applied(lambda o: KINDS[kind](o, **given), steps, what="beta1")
        given["cycle_momentum"] = False
    return applied(lambda o: KINDS[kind](o, **given), steps, params.get("lr", LR))
