from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.importers.real import grid, version

VERSION = version("optax")
STEPS = 2400
LR = 0.02
UP = {"init_value": [0.0, 0.002], "peak_value": LR, "warmup_steps": [0, 1, 300]}
CYCLES = [
    {"init_value": 0.0, "peak_value": 0.02, "warmup_steps": 100, "decay_steps": 500, "end_value": 0.001},
    {"init_value": 0.001, "peak_value": 0.01, "warmup_steps": 50, "decay_steps": 900},
]

CASES = [
    *grid("constant_schedule", value=LR),
    *grid("polynomial_schedule", init_value=[LR, 0.001], end_value=[0.0, 0.005], power=[1, 0.5, 2],
          transition_steps=[1500, 1], transition_begin=[0, 200]),
    *grid("linear_schedule", init_value=[LR, 0.0], end_value=0.005, transition_steps=[1500, 1]),
    *grid("piecewise_constant_schedule", init_value=LR, boundaries_and_scales=[None, {400: 0.5, 1200: 3.0}, {1: 0.1}]),
    *grid("piecewise_interpolate_schedule", interpolate_type=["linear", "cosine"], init_value=LR,
          boundaries_and_scales={400: 0.5, 1200: 3.0, 2000: 0.01}),
    *grid("exponential_decay", init_value=LR, transition_steps=[1, 300], decay_rate=[0.96, 1.1],
          transition_begin=[0, 200], staircase=[False, True], end_value=[None, 0.01, 0.03]),
    *grid("cosine_decay_schedule", init_value=LR, decay_steps=[1500, 7], alpha=[0.0, 0.1], exponent=[1.0, 2.0, 1.5]),
    *grid("linear_onecycle_schedule", transition_steps=[2000, 1001], peak_value=LR, pct_start=0.3, pct_final=0.85),
    *grid("cosine_onecycle_schedule", transition_steps=[2000, 1001], peak_value=LR, pct_start=[0.3, 0.123]),
    *grid("warmup_constant_schedule", **(UP | {"warmup_steps": [1, 300]})),
    *grid("warmup_cosine_decay_schedule", **UP, decay_steps=[2000, 301], end_value=[0.0, 0.001], exponent=[1.0, 2.0]),
    *grid("warmup_exponential_decay_schedule", **UP, transition_steps=300, decay_rate=0.5, transition_begin=[0, 50],
          staircase=[False, True], end_value=[None, 0.005]),
    *grid("sgdr_schedule", cosine_kwargs=[[c] for c in CYCLES] + [CYCLES, CYCLES[::-1]]),
    ("join_schedules", {
        "schedules": [("constant_schedule", {"value": 0.5}),
                      ("exponential_decay", {"init_value": LR, "transition_steps": 9, "decay_rate": 0.9}),
                      ("cosine_decay_schedule", {"init_value": 1.0, "decay_steps": 500})],
        "boundaries": [100, 900]}),
]  # fmt: skip


def _real(name: str, params: dict[str, Any]) -> Any:
    if name == "join_schedules":
        return optax.join_schedules([_real(*one) for one in params["schedules"]], params["boundaries"])
    return getattr(optax, name)(**params)


def values(name: str, params: dict[str, Any], steps: int) -> np.ndarray:
    schedule = _real(name, params)
    counts = jnp.arange(steps, dtype=jnp.int32)
    return np.asarray(jax.vmap(lambda t: jnp.asarray(schedule(t), jnp.float32))(counts), dtype=np.float64)
