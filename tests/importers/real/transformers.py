from __future__ import annotations

from typing import Any

import numpy as np
from transformers.optimization import get_scheduler

from tests.importers.real import grid, version
from tests.importers.real.torch import applied

VERSION = version("transformers")
STEPS = 2600
LR = 5e-4
SPAN = {"lr": LR, "num_warmup_steps": [0, 1, 200], "num_training_steps": [2000, 1237]}

CASES = [
    *grid("constant", lr=LR),
    *grid("constant_with_warmup", lr=LR, num_warmup_steps=[0, 1, 300]),
    *grid("linear", **SPAN),
    *grid("linear", lr=LR, num_warmup_steps=[500, 700], num_training_steps=500),
    *grid("cosine", **SPAN, num_cycles=[0.5, 1, 2.75]),
    *grid("cosine", lr=LR, num_warmup_steps=500, num_training_steps=500),
    *grid("cosine_with_restarts", **SPAN, num_cycles=[1, 3, 7]),
    *grid("cosine_with_restarts", lr=LR, num_warmup_steps=10, num_training_steps=[2020, 1480],
          num_cycles=[49, 98, 1.5]),
    *grid("polynomial", **SPAN, lr_end=[1e-7, 1e-5], power=[1.0, 0.5, 2.0]),
    *grid("inverse_sqrt", lr=LR, num_warmup_steps=[0, 1, 200], timescale=[None, 50, 3000]),
    *grid("cosine_with_min_lr", **SPAN, min_lr=5e-5, num_cycles=[0.5, 1.3]),
    *grid("cosine_with_min_lr", **SPAN, min_lr_rate=[0.0, 0.3]),
    *grid("cosine_warmup_with_min_lr", **SPAN, min_lr=5e-5, warmup_lr_rate=[None, 0.2]),
    *grid("cosine_warmup_with_min_lr", **SPAN, min_lr_rate=0.3, num_cycles=[0.5, 1.3]),
    *grid("warmup_stable_decay", **SPAN, num_decay_steps=[1, 300], warmup_type=["linear", "cosine", "1-sqrt"],
          decay_type=["linear", "cosine", "1-sqrt"], min_lr_ratio=[0, 0.1]),
    *grid("warmup_stable_decay", lr=LR, num_warmup_steps=100, num_decay_steps=500, num_stable_steps=[0, 700],
          decay_type="cosine", num_cycles=[0.5, 1.7]),
    *grid("warmup_stable_decay", lr=LR, num_warmup_steps=900, num_decay_steps=500, num_training_steps=1000,
          decay_type=["linear", "cosine", "1-sqrt"]),
]  # fmt: skip
COMMON = ("num_warmup_steps", "num_training_steps")


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    common = {k: params.get(k) for k in COMMON}
    own = {k: v for k, v in params.items() if k not in (*COMMON, "lr") and v is not None}
    return applied(lambda o: get_scheduler(name, o, **common, scheduler_specific_kwargs=own), steps, params["lr"])
