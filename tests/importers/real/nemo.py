"""Needs NeMo's source: a directory with nemo/core/optim/lr_scheduler.py, named by NEMO_SOURCE."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.importers.real import execute, grid, stub
from tests.importers.real.torch import applied

if "NEMO_SOURCE" not in os.environ:
    raise ImportError("NEMO_SOURCE names no directory with NeMo's source")

VERSION = "nemo-toolkit 3.0.0"
STEPS = 2300
LR = 2e-3
NAMES = ("nemo", "nemo.core", "nemo.core.classes", "nemo.core.config", "nemo.utils")
OUTSIDE = {name: stub(name) for name in NAMES} | {
    "omegaconf": stub("omegaconf", DictConfig=dict, OmegaConf=object),
    "nemo.core.classes.common": stub("common", safe_instantiate=None),
    "nemo.core.config.schedulers": stub("schedulers", SchedulerParams=object, get_scheduler_config=None,
                                        register_scheduler_params=None),
    "nemo.utils.model_utils": stub("model_utils", maybe_update_config_version=None),
}  # fmt: skip
OUTSIDE["nemo.utils"].__dict__["logging"] = None


def _source() -> Any:
    path = Path(os.environ["NEMO_SOURCE"]) / "nemo/core/optim/lr_scheduler.py"
    text = path.read_text().replace("import _LRScheduler", "import LRScheduler as _LRScheduler")
    with tempfile.TemporaryDirectory() as folder:
        patched = Path(folder) / "nemo_lr_scheduler.py"
        patched.write_text(text)
        return execute(patched, "nemo_lr_scheduler", OUTSIDE)


SOURCE = _source()
SPAN = {"lr": LR, "max_steps": [2000, 1500], "warmup_steps": [0, 1, 200], "min_lr": [0.0, 1e-4]}
HOLD = SPAN | {"hold_steps": [1, 300]}

CASES = [
    *grid("WarmupPolicy", lr=LR, warmup_steps=[0, 1, 200], max_steps=[None, 2000], min_lr=1e-4),
    *grid("WarmupHoldPolicy", **HOLD),
    *(case for name in ("SquareAnnealing", "SquareRootAnnealing", "CosineAnnealing", "WarmupAnnealing",
                        "InverseSquareRootAnnealing") for case in grid(name, **SPAN)),
    *grid("CosineAnnealing", **SPAN, constant_steps=300),
    *grid("NoamAnnealing", lr=2.0, d_model=512, warmup_steps=[0, 1, 200], max_steps=2000, min_lr=[0.0, 1e-3]),
    *grid("NoamHoldAnnealing", **(SPAN | {"warmup_steps": [1, 200]}), hold_steps=[0, 1, 300], decay_rate=[0.5, 1.0]),
    *grid("WarmupHoldAnnealOneMinusSquareRoot", **HOLD),
    *grid("WarmupHoldAnnealLinear", **HOLD),
    *grid("T5InverseSquareRootAnnealing", max_steps=2000, constant_steps=[1, 300], min_lr=[0.0, 1e-4]),
    *grid("PolynomialDecayAnnealing", **SPAN, power=[1.0, 2.0, 0.5]),
    *grid("PolynomialHoldDecayAnnealing", **HOLD, power=[1.0, 2.0]),
]  # fmt: skip


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    own = {k: v for k, v in params.items() if k != "lr"}
    return applied(lambda o: getattr(SOURCE, name)(o, **own), steps, params.get("lr", LR))
