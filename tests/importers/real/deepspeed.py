from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from deepspeed.runtime import lr_schedules
from torch.optim import Adam

from tests.importers.real import grid, version

VERSION = version("deepspeed")
STEPS = 2400
LR = 3e-3
RAMP = {"warmup_num_steps": [1, 2, 300], "warmup_type": ["log", "linear"]}
ROUND = {"cycle_first_step_size": 500, "cycle_second_step_size": [None, 900]}

CASES = [
    *grid("WarmupLR", warmup_max_lr=LR, warmup_min_lr=[0.0, 1e-4], **RAMP),
    *grid("WarmupDecayLR", total_num_steps=[1800, 200], warmup_max_lr=LR, warmup_min_lr=[0.0, 1e-4], **RAMP),
    *grid("WarmupCosineLR", lr=LR, total_num_steps=[1800, 200], warmup_min_ratio=[0.0, 0.2], cos_min_ratio=[1e-4, 0.1],
          **RAMP),
    *grid("LRRangeTest", lr_range_test_min_lr=LR, lr_range_test_step_size=[1, 300], lr_range_test_step_rate=[1.0, 0.2],
          lr_range_test_staircase=[False, True]),
    *grid("OneCycle", cycle_min_lr=1e-4, cycle_max_lr=LR, **ROUND, cycle_first_stair_count=[0, 5, 50],
          decay_step_size=[0, 70], decay_lr_rate=[0.0, 0.5]),
    *grid("OneCycle", cycle_min_lr=1e-4, cycle_max_lr=LR, **ROUND, cycle_first_stair_count=10,
          cycle_second_stair_count=[0, 4, 50]),
    *grid("OneCycle momentum", cycle_min_mom=[0.8, 0.5], cycle_max_mom=0.9, **ROUND, decay_step_size=[0, 700],
          decay_mom_rate=[0.0, 0.02]),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    """What each update uses: the engine steps the scheduler after it."""
    kind, _, what = name.partition(" ")
    optimizer = Adam([torch.nn.Parameter(torch.zeros(1))], lr=params.get("lr", LR))
    own = {k: v for k, v in params.items() if k != "lr"}
    if kind == "OneCycle":
        own |= {"cycle_min_lr": 1e-4, "cycle_max_lr": LR} if what else {"cycle_momentum": False}
    found = np.empty(steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = getattr(lr_schedules, kind)(optimizer, **own)
        for t in range(steps):
            group = optimizer.param_groups[0]
            found[t] = group["betas"][0] if what else group["lr"]
            scheduler.step()
    return found
