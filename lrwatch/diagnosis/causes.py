"""The catalogue of causes: what each means, its formula and what to change; pure data.

E is the promised curve, O the observed one, t the position on the contract's clock, r the position of a resume.
"""

from __future__ import annotations

from dataclasses import dataclass

from lrwatch.findings import Severity


@dataclass(frozen=True)
class CauseInfo:
    """The catalogue entry of a cause; ``severity`` where it makes a deviation less than an error."""

    name: str
    title: str
    formula: str
    fix: str
    severity: Severity | None = None


_ONCE = "call scheduler.step() once per optimizer update, from one place; count the horizon in the same unit"
_RESTORE = "restore the scheduler's state: scheduler.load_state_dict(checkpoint['scheduler'])"
_LOAD_ORDER = "build the scheduler before loading the optimizer's state, then load both"
_BASE = "give the optimizer the contract's base learning rate; look for a hidden scaling by workers or batch"
_HORIZON = "give the scheduler the planned number of updates, or declare the change as an amendment"
_WARMUP = "give the scheduler the contract's warm-up, counted in the same unit as its horizon"
_SHAPE = "give the scheduler the contract's family and parameters, or correct the contract"
_GROUPS = "check the order and the base rates of the parameter groups where the optimizer is built"

CAUSES: dict[str, CauseInfo] = {
    c.name: c
    for c in (
        # the scheduler's steps
        CauseInfo("rate", "the scheduler advances k times per step of the clock", "O(t) = E(k·t)", _ONCE),
        CauseInfo(
            "offset",
            "the scheduler is d steps ahead (d > 0) or behind",
            "O(t) = E(t + d)",
            "step the scheduler after the optimizer, once per update, from the first one on",
        ),
        CauseInfo(
            "frozen",
            "the scheduler was not stepped any more",
            "O(t) = E(min(t, s))",
            "call scheduler.step() after every update, on the scheduler of the optimizer in use",
        ),
        CauseInfo(
            "skipped_updates",
            "the scheduler counts skipped updates differently than the contract",
            "O(t) = E(attempted) where applied is promised, or the reverse",
            "step the scheduler only when the scaler did (its scale did not fall), or set clock.counts: attempted",
        ),
        CauseInfo(
            "staircase",
            "the scheduler moves only every B updates",
            "O(t) = E(⌊t/B⌋) or E(B·⌊t/B⌋)",
            "step it per update (Lightning: interval: step), or count its horizon in epochs",
        ),
        CauseInfo(
            "extra_per_epoch",
            "the scheduler is stepped per update and once more per epoch",
            "O(t) = E(t + ⌊t/B⌋)",
            "remove one of the two calls of scheduler.step()",
        ),
        CauseInfo(
            "modulo",
            "the schedule begins again every B updates",
            "O(t) = E(t mod B)",
            "pass the global step, not the batch's index in its epoch",
        ),
        CauseInfo(
            "restart",
            "the schedule began again in mid-run, where no resume is recorded",
            "O(t) = E(t - s), t ≥ s",
            "build the scheduler once; when layers are unfrozen or a round begins, keep it, or restore its state",
        ),
        # resumes
        CauseInfo("restart_at_resume", "the schedule began again at the resume", "O(t) = E(t - r), t ≥ r", _RESTORE),
        CauseInfo(
            "offset_at_resume",
            "after a resume the scheduler is ahead or behind",
            "O(t) = E(t + d), t ≥ r",
            "save the scheduler's state after its step, and restore it exactly once",
        ),
        CauseInfo("factor_at_resume", "after a resume every value is scaled", "O(t) = c·E(t), t ≥ r", _LOAD_ORDER),
        CauseInfo(
            "horizon_at_resume",
            "after a resume the schedule ends elsewhere",
            "O(t) = E(t) with T' for T, t ≥ r",
            _HORIZON,
        ),
        CauseInfo(
            "frozen_at_resume",
            "after a resume the learning rate does not move",
            "O(t) = E(r), t ≥ r",
            "bind the scheduler (and every nested one) to the optimizer that is used after the resume",
        ),
        CauseInfo(
            "single_sample_at_resume",
            "only the first update after the resume used another value",
            "O(r) = E(0), then right",
            _LOAD_ORDER,
        ),
        # numbers
        CauseInfo("factor", "every value is multiplied by c", "O(t) = c·E(t)", _BASE),
        CauseInfo(
            "quantised",
            "values are rounded to a narrow type",
            "O(t) = round(E(t))",
            "keep the learning rate in float64 or float32, or declare lr.dtype in the contract",
            Severity.warning,
        ),
        CauseInfo("affine", "every value is scaled and shifted", "O(t) = a + b·E(t)", _SHAPE),
        # plans
        CauseInfo("horizon", "the schedule ends at another step", "O(t) = E(t) with T' for T", _HORIZON),
        CauseInfo(
            "mirror_past_horizon",
            "past the horizon the learning rate climbs back up",
            "O(T + d) = E(T - d)",
            "stop at the horizon, or hold the floor past it",
        ),
        CauseInfo(
            "past_horizon",
            "past the horizon the scheduler restarts or goes on along its formula",
            "O(T + d) = E(d), or f(T + d)",
            "stop at the horizon, or hold the floor past it",
        ),
        CauseInfo("warmup_missing", "there is no warm-up", "O(t) = peak, or E(t + W), for t < W", _WARMUP),
        CauseInfo("warmup_length", "the warm-up has another length", "O(t) = E with W' for W", _WARMUP),
        CauseInfo("warmup_scale", "the warm-up is scaled by a number of the run", "O(t) = E with k·W for W", _WARMUP),
        CauseInfo(
            "warmup_origin",
            "the warm-up counts from another first value",
            "t/W, (t+1)/W, (t+1)/(W+1)",
            "state the framework's convention in the contract (linear: offset, over)",
        ),
        CauseInfo(
            "warmup_shape",
            "the warm-up is logarithmic",
            "O(t) = ln(1+t)/ln(W) for t < W",
            "DeepSpeed: set warmup_type to linear, which is not its default",
        ),
        # shapes
        CauseInfo("floor", "the decay ends at another value", "O(t) = E with another final value", _SHAPE),
        CauseInfo(
            "clamp",
            "the floor cuts the curve off instead of rescaling it",
            "O(t) = max(E to zero, floor)",
            "rescale the decay to end at the floor, or write what the trainer does into the contract",
        ),
        CauseInfo("reversed", "the schedule runs backwards", "O(t) = E(T - t), or max + min - E(t)", _SHAPE),
        CauseInfo("shape_param", "one parameter of the family differs", "O(t) = f with another number", _SHAPE),
        CauseInfo("wrong_family", "the decay is of another family", "O(t) = g(t) between the same ends", _SHAPE),
        # one worker, one group
        CauseInfo(
            "rank_stale_contract",
            "one worker runs an older contract",
            "O_i(t) = E'(t)",
            "ship one contract to all workers, and restart the one that differs",
        ),
        CauseInfo(
            "rank_offset",
            "one worker is some steps ahead or behind",
            "O_i(t) = E(t + d)",
            "resume all workers from the same checkpoint",
        ),
        CauseInfo(
            "rank_factor",
            "one worker scales the learning rate",
            "O_i(t) = c·E(t)",
            "give every worker the same base learning rate",
        ),
        CauseInfo(
            "rank_progress",
            "the workers' schedules follow their own progress",
            "O_i(t) = E(τ_i(t))",
            "count steps, or reduce the consumed samples over the workers before using them",
        ),
        CauseInfo(
            "rank_local_metric",
            "a plateau scheduler reacts to a metric of its own worker",
            "O_i/O_j = factor^n",
            "reduce the metric over the workers before scheduler.step(metric)",
        ),
        CauseInfo(
            "group_unscheduled",
            "a parameter group is not scheduled",
            "O_g(t) = E_g(0)",
            "add the group before building the scheduler, or give the scheduler a rate for it",
        ),
        CauseInfo("group_swapped", "a group follows another group's curve", "O_g(t) = E_h(t)", _GROUPS),
        CauseInfo("group_factor", "one group is multiplied by c, the others are right", "O_g(t) = c·E_g(t)", _GROUPS),
        CauseInfo(
            "group_ratio",
            "a group lost its ratio to the others",
            "O_g(t)/O_h(t) = 1",
            "apply the group's scale to its base rate, and to its floor",
        ),
        CauseInfo(
            "companion_broken",
            "a value tied to the learning rate does not follow it",
            "w(t) ≠ its own schedule",
            "schedule it with the learning rate, by the same counter",
        ),
        CauseInfo(
            "two_causes",
            "two bugs at once, or one on top of the other from some step on",
            "O(t) = A(B(t)), A and B two of the causes on this page",
            "mend both: `lrwatch explain` shows what to change for each",
        ),
        CauseInfo(
            "unexplained",
            "no known transform reproduces the curve",
            "—",
            "compare the expected and the observed curve from the first bad step on",
        ),
    )
}
