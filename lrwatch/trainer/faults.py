"""Faults that the trainer commits on request: each makes the loop do the wrong thing, none edits the record.

``--inject NAME[:key=value[,key=value…]]``. The loop follows a ``Behaviour``, whose defaults are right; a fault
replaces some of it, as ``changes`` says. A new fault is one row of ``FAULTS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.trainer import changes as change
from lrwatch.trainer.behaviour import Behaviour
from lrwatch.trainer.changes import Params, Worker


@dataclass(frozen=True)
class Fault:
    """One line of documentation, the parameters (all numbers; ``required`` ones first) and what changes.

    ``whole`` parameters must be whole numbers.
    """

    doc: str
    apply: Callable[[Behaviour, Params, Worker], Behaviour]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset({"at", "rank", "offset", "every", "steps", "group"})


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "step_per_worker": Fault(
            "scheduler.step() is called once per worker after each update: the curve runs world times too fast",
            change.step_per_worker,
        ),
        "step_per_micro": Fault(
            "scheduler.step() is called after every micro-batch, not only after the one that completes an update",
            change.step_per_micro,
        ),
        "scheduler_not_restored": Fault(
            "a resume restores model and optimizer, and the scheduler starts again from its beginning",
            lambda b, p, w: replace(b, restores_scheduler=False),
        ),
        "stale_contract": Fault(
            "worker `rank` has an old contract file, with another `base` or `horizon`, and its watch has it too",
            change.stale_contract,
            required=("rank",),
            optional=("base", "horizon"),
        ),
        "nan_loss": Fault(
            "the loss of update `at` is NaN on every worker, and so is all that follows from it",
            lambda b, p, w: replace(b, nan_at=p["at"]),
            required=("at",),
        ),
        "horizon": Fault("the scheduler is built for `factor` times the horizon", change.horizon, required=("factor",)),
        "wrong_base": Fault(
            "the optimizer is built with `factor` times the base LR", change.wrong_base, required=("factor",)
        ),
        "frozen": Fault(
            "from update `at` on, scheduler.step() is not called any more",
            lambda b, p, w: replace(b, frozen_from=p["at"]),
            required=("at",),
        ),
        "off_by_one": Fault(
            "the scheduler is `offset` steps ahead of the updates (negative: behind)",
            change.off_by_one,
            required=("offset",),
        ),
        "step_per_epoch": Fault(
            "scheduler.step() is called once every `every` updates, as at the end of an epoch",
            lambda b, p, w: replace(b, every=int(p["every"])),
            required=("every",),
        ),
        "step_also_per_epoch": Fault(
            "scheduler.step() is called after each update and once more every `every` updates",
            lambda b, p, w: replace(b, also_every=int(p["every"])),
            required=("every",),
        ),
        "warmup": Fault("the scheduler is built with `factor` times the warm-up", change.warmup, required=("factor",)),
        "no_floor": Fault("the scheduler is built without the promised final value: it decays to 0", change.no_floor),
        "float32_lr": Fault(
            "the optimizer keeps its learning rates as float32 tensors",
            lambda b, p, w: replace(b, once_built=(*b.once_built, change.deed("float32_lr"))),
        ),
        "group_scale_lost": Fault(
            "parameter group number `group` of the contract gets the base LR without its own scale",
            change.scale_lost,
            required=("group",),
        ),
        "groups_swapped": Fault("the first two parameter groups get each other's LR", change.groups_swapped),
        "steps_on_skips": Fault(
            "the loss overflows every `every` attempts (fp16: the update is skipped), the scheduler is stepped anyway",
            lambda b, p, w: replace(b, overflow_every=int(p["every"]), steps_on_skips=True),
            required=("every",),
        ),
        "optimizer_not_restored": Fault(
            "a resume restores model and scheduler, and the optimizer is as new",
            change.at_resume("optimizer_not_restored"),
        ),
        "built_after_loading": Fault(
            "a resume builds the scheduler after the optimizer was loaded, then loads its state",
            change.at_resume("built_after_loading"),
        ),
        "saved_before_step": Fault(
            "checkpoints are written before the scheduler's step: a resume is one step behind",
            lambda b, p, w: replace(b, saves_first=True),
        ),
        "fast_forwarded_twice": Fault(
            "a resume restores the scheduler and then steps it to where it already is",
            change.at_resume("fast_forwarded"),
        ),
        "orphaned_at_resume": Fault(
            "after a resume the scheduler moves an optimizer that nobody uses", change.at_resume("orphaned")
        ),
        "horizon_at_resume": Fault(
            "a resume rebuilds the schedule for `factor` times the horizon",
            change.at_resume("rebuilt", change.longer),
            required=("factor",),
        ),
        "base_at_resume": Fault(
            "a resume rebuilds the schedule on `factor` times the base LR",
            change.at_resume("rebuilt", change.scaled),
            required=("factor",),
        ),
        "rank_offset": Fault(
            "on worker `rank` the scheduler is `offset` steps ahead (negative: behind)",
            change.rank_offset,
            required=("rank", "offset"),
        ),
        "rank_base": Fault(
            "worker `rank` builds its optimizer with `factor` times the base LR", change.rank_base, ("rank", "factor")
        ),
        "rank_pace": Fault(
            "on worker `rank` the scheduler makes `steps` steps per update",
            change.rank_pace,
            required=("rank", "steps"),
        ),
        "local_metric": Fault(
            "each worker's plateau scheduler is given its own validation, not the mean over the workers",
            lambda b, p, w: replace(b, local_metric=True),
        ),
    }
)


def behaviour(inject: Iterable[str], rank: int, world: int) -> Behaviour:
    """What worker ``rank`` of ``world`` does under these faults.

    Raises LrwatchError: an unknown fault or parameter (with did-you-mean), a missing or bad value.

    Example:
        >>> behaviour(["frozen:at=100"], rank=0, world=4).scheduler_steps(update=100)
        0
    """
    result = Behaviour()
    for text in inject:
        name, _, rest = text.partition(":")
        if name not in FAULTS:
            raise LrwatchError(f"--inject {name}: no such fault{did_you_mean(name, FAULTS)}")
        result = FAULTS[name].apply(result, _params(name, FAULTS[name], rest), Worker(rank, world))
    return result


def _params(name: str, fault: Fault, text: str) -> Params:
    known = (*fault.required, *fault.optional)
    result: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key not in known:
            hint = did_you_mean(key, known) if known else "; it takes no parameter"
            raise LrwatchError(f"--inject {name}: {key!r} is not one of its parameters{hint}")
        result[key] = _number(name, key, value, fault)
    for key in fault.required:
        if key not in result:
            raise LrwatchError(f"--inject {name}: needs {key}=…, as in {name}:{key}=1")
    return result


def _number(name: str, key: str, value: str, fault: Fault) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    whole = key in fault.whole
    if not math.isfinite(number) or (whole and not number.is_integer()):
        raise LrwatchError(f"--inject {name}: {key} must be a {'whole ' if whole else ''}number, got {value!r}")
    if (number < 0 and key != "offset") or (number == 0 and not whole):
        raise LrwatchError(f"--inject {name}: {key} must be {'at least 0' if whole else 'above 0'}, got {value}")
    return number
