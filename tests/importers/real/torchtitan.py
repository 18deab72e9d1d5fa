from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch.optim import SGD

from tests.importers.real import execute, grid, source_file, stub, version

VERSION = version("torchtitan")
STEPS = 2400
LR = 8e-4


class Configurable:
    class Config:
        __slots__ = ()


OUTSIDE = {
    "torchtitan": stub("torchtitan"),
    "torchtitan.config": stub("torchtitan.config", Configurable=Configurable),
    "torchtitan.tools": stub("torchtitan.tools"),
    "torchtitan.tools.logging": stub("torchtitan.tools.logging", logger=logging.getLogger("torchtitan")),
    "torchtitan.components": stub("torchtitan.components"),
    "torchtitan.components.optimizer": stub("torchtitan.components.optimizer"),
    "torchtitan.components.optimizer.optimizer": stub("optimizer", OptimizersContainer=list),
}
logging.getLogger("torchtitan").setLevel(logging.ERROR)
SCHEDULERS = execute(
    source_file("torchtitan", "torchtitan/components/optimizer/lr_scheduler.py"),
    "torchtitan.components.optimizer.lr_scheduler",
    OUTSIDE,
).LRSchedulersContainer

CASES = [
    *grid("warmup_stable_decay", lr=LR, training_steps=[2000, 1501], warmup_steps=[0, 1, 200],
          decay_ratio=[None, 0.1, 0.35], decay_type=["linear", "sqrt", "cosine"], min_lr_factor=[0.0, 0.1]),
    *grid("warmup_stable_decay", lr=LR, training_steps=500, total_steps=1000, warmup_steps=[700, 3000],
          decay_ratio=[0.5, None], decay_type=["linear", "cosine"]),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=params["lr"])
    own = {k: v for k, v in params.items() if k not in ("lr", "training_steps")}
    container = SCHEDULERS.Config(**own).build(optimizers=[optimizer], training_steps=params["training_steps"])
    found = np.empty(steps)
    optimizer.step()
    for t in range(steps):
        found[t] = optimizer.param_groups[0]["lr"]
        try:
            container.step()
        except AssertionError:  # no decay and past the end: torchtitan has no value there
            return found[: t + 1]
    return found
