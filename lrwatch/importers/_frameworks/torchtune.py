"""torchtune.training.lr_schedulers (torchtune 0.6.1). t counts updates."""

from __future__ import annotations

from lrwatch.importers._parts import Schedule, part, positive, sequence


def cosine(*, lr: float, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> Schedule:
    """Warm-up t/w, then (1 + cos(2π·c·p))/2, p = (t - w)/(T - w). First value: 0. Past the end: climbs back."""
    up = part("linear", f"num_warmup_steps {num_warmup_steps}", from_=0, for_=num_warmup_steps)
    steps = max(1, num_training_steps - num_warmup_steps)
    wave = part("constant", "no cycles")
    if num_cycles:
        why = "cosine: past num_training_steps it climbs back"
        wave = part("cosine", why, for_=steps / (2 * num_cycles), after="mirror")
    return Schedule(positive(lr, "torchtune", "lr"), sequence(up, wave))


SCHEDULES = {"get_cosine_schedule_with_warmup": cosine}
