from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.importers.real import execute, grid, source_file, stub, version

VERSION = version("mosaicml")
STEPS = 2300
LR = 6e-4


def _source() -> Any:
    """composer.optim.scheduler with Composer's own time arithmetic, without its trainer."""
    packages = {name: stub(name) for name in ("composer", "composer.core", "composer.utils", "composer.optim")}
    serializable = stub("composer.core.serializable", Serializable=object)
    names = {"check_time": None, "ensure_time": None, "StringEnum": __import__("enum").Enum}
    packages["composer.utils"].__dict__.update(names)
    outside = packages | {"composer.core.serializable": serializable}
    enum = execute(source_file("mosaicml", "composer/utils/string_enum.py"), "composer_string_enum", outside)
    packages["composer.utils"].__dict__["StringEnum"] = enum.StringEnum
    outside["composer.utils.string_enum"] = enum
    time = execute(source_file("mosaicml", "composer/core/time.py"), "composer_time", outside)
    packages["composer.core"].__dict__.update(State=object, Time=time.Time, TimeUnit=time.TimeUnit)
    scheduler = execute(source_file("mosaicml", "composer/optim/scheduler.py"), "composer_scheduler", outside)
    return scheduler, time


SOURCE, TIME = _source()
WARM = {"lr": LR, "t_warmup": [1, 200], "t_max": 2300}

CASES = [
    *grid("StepScheduler", lr=LR, step_size=[1, 300], gamma=0.9),
    *grid("MultiStepScheduler", lr=LR, milestones=[[1, 400, 400, 1300], [9000]], gamma=0.3),
    *grid("ConstantScheduler", lr=LR, t_max=[1, 900], alpha=[1.0, 0.3]),
    *grid("LinearScheduler", lr=LR, t_max=[1, 2000], alpha_i=[1.0, 0.2], alpha_f=[0.0, 0.5]),
    *grid("ExponentialScheduler", lr=LR, gamma=0.7, decay_period=[1, 300]),
    *grid("CosineAnnealingScheduler", lr=LR, t_max=[7, 2000], alpha_f=[0.0, 0.1]),
    *grid("CosineAnnealingWarmRestartsScheduler", lr=LR, t_0=[7, 100], t_mult=[1.0, 2.0, 1.5], alpha_f=[0.0, 0.1]),
    *grid("PolynomialScheduler", lr=LR, power=[0.5, 2.0], t_max=2000, alpha_f=[0.0, 0.1]),
    *grid("MultiStepWithWarmupScheduler", lr=LR, t_warmup=[1, 200], milestones=[[400, 1300], [100, 900]], gamma=0.3),
    *grid("ConstantWithWarmupScheduler", **WARM, alpha=[1.0, 0.3]),
    *grid("LinearWithWarmupScheduler", **WARM, alpha_i=[1.0, 0.7], alpha_f=[0.0, 0.5]),
    *grid("CosineAnnealingWithWarmupScheduler", **WARM, alpha_f=[0.0, 0.1]),
    *grid("PolynomialWithWarmupScheduler", **WARM, power=[0.5, 2.0], alpha_f=[0.0, 0.1]),
    ("several schedulers", {"schedules": [("LinearScheduler", {"lr": LR, "t_max": 300, "alpha_i": 0.1, "alpha_f": 1.0}),
                                          ("StepScheduler", {"lr": LR, "step_size": 500, "gamma": 0.5})]}),
]  # fmt: skip
TIMES = ("step_size", "t_max", "t_warmup", "decay_period", "t_0", "milestones")


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    if name == "several schedulers":
        return LR * np.prod([values(*one, steps) / LR for one in params["schedules"]], axis=0)
    own = {k: _batches(v) if k in TIMES else v for k, v in params.items() if k != "lr"}
    scheduler = getattr(SOURCE, name)(**own)
    timestamp = TIME.Timestamp()
    found = np.empty(steps)
    for t in range(steps):
        state = SimpleNamespace(timestamp=timestamp, max_duration=TIME.Time(steps, "ba"), dataloader_len=None)
        found[t] = params["lr"] * scheduler(state)
        timestamp = timestamp.to_next_batch()
    return found


def _batches(value: Any) -> Any:
    return [_batches(v) for v in value] if isinstance(value, list) else f"{value}ba"
