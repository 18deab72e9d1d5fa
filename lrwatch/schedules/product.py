r"""Several schedules at once, multiplied.

    f(t) = to + (f₁(t) - to) · f₂(t) · f₃(t) · …          t ≥ 0

Each fᵢ is a family or a list of phases on this phase's local time. Values in f₂, f₃, … are factors: write them as
shares, 50%. With ``to: 0``, the default, it is the plain product.

First value: the product of the first values.
Past L: each goes on in its own way; the length plays no part.

Example:
    ``{product: {of: [{cosine: {until: horizon}}, {linear: {from: 10%, to: 100%, for: 500}}]}}``

Source: torch.optim.lr_scheduler.ChainedScheduler over schedulers that multiply the last value; Composer with several
schedulers; timm WSDLRScheduler, whose decay multiplies what is above ``to`` of its stable function.
"""

from __future__ import annotations

from lrwatch.schedules.base import Family, FloatArray, Param, Params


def product(t: FloatArray, p: Params) -> FloatArray:
    """Multiplier of the base, float64[n], at local times ``t`` float64[n]."""
    first, *others = p["of"]
    above: FloatArray = first(t) - p["to"]
    for other in others:
        above = above * other(t)
    value: FloatArray = p["to"] + above
    return value


FAMILY = Family(
    "product",
    product,
    (
        Param("of", "schedules", "the schedules that are multiplied"),
        Param("to", "value", "what is left when a factor is 0", default=0.0, ge=0),
    ),
)
