from __future__ import annotations

from typing import Any

import numpy as np

from tests.importers.real import execute, grid, source_file, stub, version
from tests.importers.real.torch import applied

VERSION = version("torchtune")
STEPS = 2400
OUTSIDE = {
    "torchtune": stub("torchtune"),
    "torchtune.training": stub("torchtune.training"),
    "torchtune.training.memory": stub("torchtune.training.memory", OptimizerInBackwardWrapper=object),
}
SOURCE = execute(source_file("torchtune", "torchtune/training/lr_schedulers.py"), "torchtune_schedulers", OUTSIDE)

CASES = [
    *grid("get_cosine_schedule_with_warmup", lr=2e-5, num_warmup_steps=[0, 1, 200], num_training_steps=[2000, 1001],
          num_cycles=[0.5, 1.0, 1.7]),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    own = {k: v for k, v in params.items() if k != "lr"}
    return applied(lambda o: getattr(SOURCE, name)(o, **own), steps, params["lr"])
