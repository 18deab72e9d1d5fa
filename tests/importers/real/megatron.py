from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.importers.real import execute, grid, source_file, stub, version

VERSION = version("megatron-core")
STEPS = 2400
PEAK = 3e-4
SPAN = {"max_lr": PEAK, "init_lr": [0.0, 1e-5], "lr_warmup_steps": [0, 1, 300]}
OUTSIDE = {"megatron.core.utils": stub("megatron.core.utils", log_single_rank=lambda *_: None)}
SCHEDULER = execute(
    source_file("megatron-core", "megatron/core/optimizer_param_scheduler.py"), "megatron_scheduler", OUTSIDE
).OptimizerParamScheduler

CASES = [
    *grid("constant", **SPAN),
    *grid("linear", **SPAN, min_lr=[0.0, 3e-5], lr_decay_steps=[2000, 4000]),
    *grid("cosine", **SPAN, min_lr=[0.0, 3e-5], lr_decay_steps=[2000, 4000]),
    *grid("inverse-square-root", **SPAN, min_lr=[0.0, 1.5e-4], lr_decay_steps=[2000, 4000]),
    *grid("inverse-square-root", max_lr=PEAK, lr_warmup_steps=[0, 1, 300], min_lr=1e-6,
          lr_decay_steps=[2000.5, 1999.25], unit=8),
    *grid("WSD", **SPAN, min_lr=[0.0, 3e-5], lr_decay_steps=2000, wsd_decay_steps=[1, 400, 1900],
          lr_wsd_decay_style=["linear", "cosine", "exponential", "minus_sqrt"]),
    *grid("weight decay", start_wd=0.01, end_wd=0.1, wd_incr_steps=[2000, 4000], wd_incr_style=["linear", "cosine"]),
    *grid("weight decay", start_wd=[0.0, 0.1], end_wd=0.1, wd_incr_steps=2000, wd_incr_style="linear"),
    *grid("weight decay", start_wd=0.1, end_wd=0.1, wd_incr_steps=2000, wd_incr_style="constant"),
]  # fmt: skip
IDLE = {"init_lr": 0.0, "max_lr": PEAK, "min_lr": 0.0, "lr_warmup_steps": 0, "lr_decay_steps": 2000,
        "lr_decay_style": "constant", "start_wd": 0.1, "end_wd": 0.1, "wd_incr_steps": 2000,
        "wd_incr_style": "constant"}  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    """One sample per update; with ``unit``, so many, and times in updates."""
    unit = params.get("unit", 1)
    own = {k: v * unit if k in ("lr_warmup_steps", "lr_decay_steps") else v for k, v in params.items() if k != "unit"}
    what = "weight_decay" if name == "weight decay" else "lr"
    style = {} if what == "weight_decay" else {"lr_decay_style": name}
    optimizer = SimpleNamespace(param_groups=[{}])
    scheduler = SCHEDULER(optimizer, **(IDLE | style | own))
    found = np.empty(steps)
    for t in range(steps):
        found[t] = optimizer.param_groups[0][what]
        scheduler.step(unit)
    return found
