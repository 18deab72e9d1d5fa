"""Needs fairseq's source: a directory with fairseq/optim/lr_scheduler, named by FAIRSEQ_SOURCE."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.importers.real import execute, grid, stub

if "FAIRSEQ_SOURCE" not in os.environ:
    raise ImportError("FAIRSEQ_SOURCE names no directory with fairseq's source")

VERSION = "fairseq 0.12.2"
STEPS = 2300
LR = 5e-4
FILES = {"cosine": "cosine_lr_scheduler", "polynomial_decay": "polynomial_decay_schedule",
         "inverse_sqrt": "inverse_square_root_schedule", "tri_stage": "tri_stage_lr_scheduler",
         "triangular": "triangular_lr_scheduler", "fixed": "fixed_schedule", "step": "step_lr_scheduler"}  # fmt: skip
KINDS: dict[str, Any] = {}
RAMP = {"warmup_updates": [0, 1, 200], "warmup_init_lr": [-1, 1e-5], "min_lr": [0.0, 2e-5]}


class Base:
    def __init__(self, cfg: Any, optimizer: Any) -> None:
        self.cfg, self.optimizer, self.best = cfg, optimizer, None


def _register(name: str, dataclass: Any) -> Any:
    def keep(kind: Any) -> Any:
        KINDS[name] = kind
        return kind

    return keep


def _load() -> None:
    """Each scheduler's file: its defaults are references into fairseq's configuration, so every case gives them all."""
    outside = {
        "omegaconf": stub("omegaconf", II=str),
        "fairseq": stub("fairseq"),
        "fairseq.dataclass": stub("fairseq.dataclass", FairseqDataclass=object),
        "fairseq.optim": stub("fairseq.optim"),
        "fairseq.optim.lr_scheduler": stub("s", FairseqLRScheduler=Base, register_lr_scheduler=_register),
    }
    for file in FILES.values():
        path = Path(os.environ["FAIRSEQ_SOURCE"]) / f"fairseq/optim/lr_scheduler/{file}.py"
        execute(path, f"fairseq_{file}", outside)


_load()
DEFAULTS: dict[str, dict[str, Any]] = {
    "cosine": {"warmup_init_lr": -1, "t_mult": 1.0, "lr_period_updates": -1, "lr_shrink": 0.1, "max_update": 0},
    "polynomial_decay": {"end_learning_rate": 0.0, "power": 1.0, "force_anneal": None},
    "inverse_sqrt": {"warmup_init_lr": -1},
    "tri_stage": {"phase_ratio": None, "max_update": 0, "init_lr_scale": 0.01, "final_lr_scale": 0.01},
    "triangular": {},
    "fixed": {"force_anneal": None, "lr_shrink": 0.1},
    "step": {},
}

CASES = [
    *grid("cosine", lr=LR, **RAMP, max_update=[2000, 1003], lr_shrink=[0.1, 1.0]),
    *grid("cosine", lr=LR, warmup_updates=[0, 200], min_lr=2e-5, lr_period_updates=[300, 96.5], t_mult=[1.0, 2.0, 1.5],
          lr_shrink=[0.5, 1.0], max_update=2400),
    *grid("polynomial_decay", lr=LR, warmup_updates=[0, 1, 200], total_num_update=[2000, 1003],
          end_learning_rate=[0.0, 1e-5], power=[1.0, 2.0]),
    *grid("inverse_sqrt", lr=LR, warmup_updates=[1, 200], warmup_init_lr=[-1, 1e-7]),
    *grid("tri_stage", lr=LR, warmup_steps=[0, 200], hold_steps=[0, 700], decay_steps=[1, 900]),
    *grid("tri_stage", lr=LR, phase_ratio=[(0.1, 0.4, 0.5)], max_update=2000, init_lr_scale=0.2, final_lr_scale=0.05),
    *grid("triangular", lr=1e-5, max_lr=LR, lr_period_updates=[500, 501, 40], lr_shrink=[0.5, 1.0],
          shrink_min=[False, True]),
    *grid("fixed", lr=LR, warmup_updates=[0, 1, 200]),
    *grid("step", lr=LR, **RAMP, lr_deacy_period=[300, 1], lr_decay=0.8),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    """As fairseq's trainer does: ``step_update(0)`` once, ``step_update(n)`` after update n."""
    held = {"lr": float("nan")}
    optimizer = SimpleNamespace(set_lr=lambda lr: held.update(lr=lr), get_lr=lambda: held["lr"])
    scheduler = KINDS[name](SimpleNamespace(**(DEFAULTS[name] | params | {"lr": [params["lr"]]})), optimizer)
    found = np.empty(steps)
    for n in range(steps):
        scheduler.step_update(n)
        found[n] = held["lr"]
    return found
