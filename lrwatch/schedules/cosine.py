r"""Cosine decay from one value to another.

    f(t) = to + (from - to) · (1 + cos(π·t/L)) / 2          0 ≤ t ≤ L

First value: ``from`` (default the base). At t = L: ``to``.
Past L: ``hold`` keeps ``to`` (transformers' restarts, Keras, optax, Megatron);
``mirror`` climbs back with period 2L (torch ``CosineAnnealingLR``, transformers ``cosine``);
``restart`` jumps back to ``from`` at t = L, 2L, … (``cosine_restarts`` where the cycles differ).

Example:
    ``{cosine: {to: 3.0e-5, until: horizon}}``

Source: Loshchilov and Hutter, SGDR, 2016, eq. 5; torch.optim.lr_scheduler.CosineAnnealingLR.
"""

from __future__ import annotations

from lrwatch.schedules.base import Family, FloatArray, Param, Params, fold, half_cosine


def cosine(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    x = fold(t, p["length"], p["after"]) / p["length"]
    return half_cosine(x, p["from"], p["to"])


FAMILY = Family(
    "cosine",
    cosine,
    (
        Param("from", "value", "value at the start", default="100%", ge=0),
        Param("to", "value", "value at the end", default=0.0, ge=0),
    ),
    length="required",
    after=("hold", "mirror", "restart"),
)
