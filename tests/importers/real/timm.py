from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.optim import SGD

from tests.importers.real import grid, source_file, version


def _schedulers() -> ModuleType:
    """timm.scheduler without timm itself, whose models need torchvision."""
    if "timm" not in sys.modules:
        package = ModuleType("timm")
        package.__path__ = [str(source_file("timm", "timm"))]
        sys.modules["timm"] = package
    return importlib.import_module("timm.scheduler")


timm = _schedulers()
VERSION = version("timm")
STEPS = 2200
LR = 0.4
KINDS = {"cosine": "CosineLRScheduler", "tanh": "TanhLRScheduler", "poly": "PolyLRScheduler", "step": "StepLRScheduler",
         "multistep": "MultiStepLRScheduler", "wsd": "WSDLRScheduler"}  # fmt: skip
WARMUPS = {"warmup_t": [0, 130], "warmup_lr_init": [0.0, 1e-3], "warmup_prefix": [False, True]}

CASES = [
    *(case for name in ("cosine", "tanh", "poly") for case in [
        *grid(name, lr=LR, t_initial=[1500, 7], lr_min=[0.0, 0.01], **WARMUPS),
        *grid(name, lr=LR, t_initial=[100, 96, 3], lr_min=0.01, cycle_mul=[1.0, 2.0, 1.5, 3.0], cycle_decay=[1.0, 0.4],
              cycle_limit=[1, 3, 5], warmup_t=[0, 130], warmup_lr_init=1e-3),
    ]),
    *(case for name in ("cosine", "poly") for case in
      grid(name, lr=LR, t_initial=[1500, 300], lr_min=[0.0, 0.01], k_decay=[0.5, 2.0], cycle_limit=[1, 4],
           warmup_t=[0, 9])),
    *grid("tanh", lr=LR, t_initial=1500, lb=[-7.0, -2.0], ub=[3.0, 1.0], lr_min=0.01),
    *grid("poly", lr=LR, t_initial=1500, power=[0.1, 1.0, 2.0], lr_min=0.01),
    *grid("step", lr=LR, decay_t=[1, 30, 700, 2.5], decay_rate=[0.9, 1.0], **WARMUPS),
    *grid("multistep", lr=LR, decay_t=[[1, 30, 30, 900], [0], [1500]], decay_rate=0.5, **WARMUPS),
    *grid("wsd", lr=LR, t_initial=1700, decay_t=[1, 400, 1700], lr_min=[0.0, 0.01],
          decay_fn=["linear", "1-sqrt", "cosine", "power", "exp"], warmup_t=[0, 130], warmup_lr_init=1e-3),
    *grid("wsd", lr=LR, t_initial=1700, decay_t=400, lr_min=[0.0, 0.1], stable_fn=["rsqrt", "power"], stable_power=0.8,
          decay_fn=["linear", "exp"], decay_ratio=0.3, stable_timescale=[None, 200], warmup_t=130),
    *grid("wsd", lr=LR, t_initial=1700, decay_t=400, decay_fn="power", decay_power=[0.2, 3.0]),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=params["lr"])
    own = {k: v for k, v in params.items() if k != "lr"}
    scheduler = getattr(timm, KINDS[name])(optimizer, **own)
    found = np.empty(steps)
    for t in range(steps):
        found[t] = optimizer.param_groups[0]["lr"]
        scheduler.step(t + 1)
    return found
