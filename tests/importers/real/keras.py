from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from tests.importers.real import grid, version

VERSION = version("keras")
STEPS = 2400
LR = 0.02
KINDS = keras.optimizers.schedules

CASES = [
    *grid("constant", learning_rate=LR),
    *grid("ExponentialDecay", initial_learning_rate=LR, decay_steps=[1, 300], decay_rate=[0.96, 0.5],
          staircase=[False, True]),
    *grid("PiecewiseConstantDecay", boundaries=[[500, 1200, 2000]], values=[[0.02, 0.1, 0.001, 0.0005]]),
    *grid("PiecewiseConstantDecay", boundaries=[[1]], values=[[0.02, 0.1]]),
    *grid("PolynomialDecay", initial_learning_rate=LR, decay_steps=[1000, 1999], end_learning_rate=[1e-4, 0.0],
          power=[1.0, 0.5, 2.0]),
    *grid("PolynomialDecay", initial_learning_rate=LR, decay_steps=[300, 7], power=[1.0, 2.0], cycle=True, steps=STEPS),
    *grid("InverseTimeDecay", initial_learning_rate=LR, decay_steps=[1, 70], decay_rate=[0.0, 0.5, 3.0],
          staircase=[False, True]),
    *grid("CosineDecay", initial_learning_rate=LR, decay_steps=[1500, 7], alpha=[0.0, 0.1]),
    *grid("CosineDecay", initial_learning_rate=[0.0, 0.001], decay_steps=1500, alpha=0.1, warmup_target=LR,
          warmup_steps=[0, 300]),
    *grid("CosineDecayRestarts", initial_learning_rate=LR, first_decay_steps=[300, 7, 100], t_mul=[1.0, 2.0, 1.5],
          m_mul=[1.0, 0.7], alpha=[0.0, 0.1], steps=STEPS),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    if name == "constant":
        return np.full(steps, float(np.float32(params["learning_rate"])))
    schedule = getattr(KINDS, name)(**{k: v for k, v in params.items() if k != "steps"})
    if params.get("warmup_target") is None and name != "PiecewiseConstantDecay":  # those take one step at a time
        return np.array(schedule(keras.ops.arange(steps, dtype="int32")).tolist())
    return np.array([float(schedule(keras.ops.convert_to_tensor(t, dtype="int32"))) for t in range(steps)])
