"""torchtitan's LRSchedulersContainer (torchtitan 0.3.0). t counts updates; T = total_steps, else training_steps."""

from __future__ import annotations

from lrwatch.errors import ContractError
from lrwatch.importers._parts import Schedule, part, positive, sequence, share


def warmup_stable_decay(
    *,
    lr: float,
    training_steps: int,
    warmup_steps: int = 200,
    total_steps: int | None = None,
    decay_ratio: float | None = None,
    decay_type: str = "linear",
    min_lr_factor: float = 0.0,
) -> Schedule:
    """Warm-up (t + 1)/W, full from t = W - 1, then down at p = (t + 1 - (T + 1 - D))/D: 1 - p, 1 - √p or a cosine.
    First value: lr/W. Past the end: linear and sqrt go below 0, the cosine climbs back.
    """
    total = training_steps if total_steps is None else total_steps
    warmup = min(int(warmup_steps), total)
    decay = total - warmup if decay_ratio is None else min(round(total * decay_ratio), total - warmup)
    low = share(min_lr_factor)
    why = f"{decay_type} over {decay} steps, one ahead: the step after the last would be at min_lr_factor"
    shapes = {
        "linear": part("linear", why, to=low, for_=decay, offset=1, after="continue"),
        "sqrt": part("k_decay", why, shape="polynomial", k=0.5, to=low, for_=decay, offset=1, after="continue"),
        "cosine": part("cosine", why, to=low, for_=decay, offset=1, after="mirror"),
    }
    if decay_type not in shapes:
        problem = f"must be one of {', '.join(shapes)}; got {decay_type!r}"
        raise ContractError(problem, source="torchtitan", path="decay_type")
    up = part("linear", f"warm-up (t + 1)/{warmup}", from_=0, offset=1, for_=warmup)
    stable = part("constant", "stable, at least one step", for_=total + 1 - warmup - decay)
    parts = sequence(up, stable, shapes[decay_type] if decay else part("constant", "no decay"))
    return Schedule(positive(lr, "torchtitan", "lr"), parts)


SCHEDULES = {"warmup_stable_decay": warmup_stable_decay}
