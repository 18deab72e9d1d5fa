r"""A warm-up, a plateau at the base, and a decay that ends with the length (WSD, trapezoid).

    f(t) = from + (1 - from)·t/W          0 ≤ t < W                 W = warmup, D = decay
           1                              W ≤ t < L - D
           to + (1 - to)·g(x)             L - D ≤ t ≤ L             x = (t - (L - D))/D

    g(x) = 1 - x  linear · (1 + cos(π·x))/2  cosine · 1 - √x  sqrt · 2·2^(-x) - 1  exponential

First value: ``from`` (default 0), or the base without a warm-up. At t = W and at t = L - D: the base. At t = L: ``to``.
Past L: ``hold`` keeps ``to``, as transformers and Megatron do.

transformers starts its warm-up at ``min_lr_ratio``: write it as ``from`` and ``to``, and its ``1-sqrt`` as ``sqrt``.
Megatron counts samples and calls ``sqrt`` ``minus_sqrt``; its values at t = W and t = L - D are the same as here.
torchtitan is one step ahead, (t+1)/W and x = (t+1-(T+1-D))/D: write ``offset: 1, over: T+1``; past T it follows the
formula, ``linear`` and ``sqrt`` below zero.

Example:
    ``{warmup_stable_decay: {warmup: 500, decay: 2000, shape: sqrt, until: horizon}}``

Source: Hu et al., MiniCPM, 2024; Hägele et al., 2024, for 1 - √x; transformers.get_wsd_schedule; Megatron-LM
OptimizerParamScheduler, style ``WSD``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrwatch.schedules.base import Family, FloatArray, Param, Params

_SHAPES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "linear": lambda x: 1.0 - x,
    "cosine": lambda x: (1.0 + np.cos(np.pi * x)) / 2.0,
    "sqrt": lambda x: 1.0 - np.sqrt(x),
    "exponential": lambda x: 2.0 * np.exp2(-x) - 1.0,
}


def warmup_stable_decay(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    x = np.clip((t - (p["length"] - p["decay"])) / p["decay"], 0.0, 1.0)
    value: FloatArray = p["to"] + (1.0 - p["to"]) * _SHAPES[p["shape"]](x)
    if p["warmup"]:
        value = np.where(t < p["warmup"], p["from"] + (1.0 - p["from"]) * (t / p["warmup"]), value)
    return value


def _fits(p: Params) -> str | None:
    if p["warmup"] + p["decay"] <= p["length"]:
        return None
    return (
        f"warmup ({p['warmup']:g}) and decay ({p['decay']:g}) do not fit into the length ({p['length']:g}); "
        "shorten one of them"
    )


FAMILY = Family(
    "warmup_stable_decay",
    warmup_stable_decay,
    (
        Param("warmup", "count", "length of the warm-up; 0 for none", default=0, ge=0),
        Param("decay", "count", "length of the decay, which ends with the length"),
        Param("from", "value", "value at the start of the warm-up", default=0.0, ge=0),
        Param("to", "value", "value at the end", default=0.0, ge=0),
        Param("shape", "choice", "shape of the decay", default="linear", choices=tuple(_SHAPES)),
    ),
    length="required",
    after=("hold",),
    landmarks=lambda p: {"end of warm-up": p["warmup"], "decay begins": p["length"] - p["decay"]},
    check=_fits,
)
