"""Faults that the trainer commits on request: each makes the loop do the wrong thing, none edits the record.

``--inject NAME[:key=value[,key=value…]]``. The loop follows a ``Behaviour``, whose defaults are right; a fault
replaces some of it. A new fault is one row of ``FAULTS``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from lrwatch.errors import LrwatchError, did_you_mean

if TYPE_CHECKING:
    from lrwatch.contract import Contract
    from lrwatch.trainer.job import Job

Deed: TypeAlias = "Callable[[Job, Contract], None]"
Rewrite: TypeAlias = "Callable[[Contract], Contract]"
Params = Mapping[str, float]


def _unchanged(contract: Contract) -> Contract:
    return contract


@dataclass(frozen=True)
class Behaviour:
    """What one worker's loop does.

    Attributes:
        steps_per_update: calls of ``scheduler.step()`` after an update. steps_per_micro: after a micro-batch that
            no update follows.
        ahead: calls before the first update; behind: so many first updates are followed by no call.
        every: calls follow only every so many updates; also_every: one more call follows every so many updates.
        frozen_from: update from which on no call follows. nan_at: update whose loss is NaN.
        overflow_every: every so many attempts the loss overflows; steps_on_skips: the scheduler moves all the same.
        local_metric: a plateau scheduler is given the worker's own validation, not the mean over the workers.
        restores_scheduler: whether a resume loads the scheduler's state.
        saves_first: a checkpoint is written before the scheduler's step that belongs to the same update.
        once_built, once_resumed: what else is done to optimizer and scheduler then.
        built_from: the contract that optimizer and scheduler are built from. told: the one the watch is given.
    """

    steps_per_update: int = 1
    steps_per_micro: int = 0
    ahead: int = 0
    behind: int = 0
    every: int = 1
    also_every: float = math.inf
    frozen_from: float = math.inf
    overflow_every: float = math.inf
    steps_on_skips: bool = False
    local_metric: bool = False
    saves_first: bool = False
    nan_at: float | None = None
    restores_scheduler: bool = True
    built_from: Rewrite = _unchanged
    told: Rewrite = _unchanged
    once_built: tuple[Deed, ...] = ()
    once_resumed: tuple[Deed, ...] = ()

    def scheduler_steps(self, update: int) -> int:
        """Calls of ``scheduler.step()`` that follow update number ``update`` (0-based)."""
        if not self.behind <= update < self.frozen_from or (update + 1) % self.every:
            return 0
        return self.steps_per_update + ((update + 1) % self.also_every == 0)

    def overflows(self, attempt: int) -> bool:
        """Whether the loss of this attempt (0-based) is infinite."""
        return (attempt + 1) % self.overflow_every == 0

    def micro_steps(self, update: int) -> int:
        """Calls of ``scheduler.step()`` that follow each micro-batch but the last of update number ``update``."""
        return self.steps_per_micro if self.behind <= update < self.frozen_from else 0


@dataclass(frozen=True)
class Worker:
    """Whose behaviour it is."""

    rank: int
    world: int


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


def _step_per_worker(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return replace(b, steps_per_update=w.world)


def _step_per_micro(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return replace(b, steps_per_micro=1)


def _off_by_one(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    offset = int(p["offset"])
    return replace(b, ahead=max(offset, 0), behind=max(-offset, 0))


def _stale_contract(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    if "base" not in p and "horizon" not in p:
        raise LrwatchError("--inject stale_contract: say what is stale: base=… or horizon=… (or both)")
    old = {"lr.base": p.get("base"), "clock.horizon": p.get("horizon")}

    def stale(contract: Contract) -> Contract:
        return _rewritten(contract, {path: value for path, value in old.items() if value is not None})

    return _of_rank(b, p, w, "stale_contract", built_from=stale, told=stale)


def _of_rank(b: Behaviour, p: Params, w: Worker, name: str, **changes: Any) -> Behaviour:
    """The changed behaviour on worker ``rank``, the same one on the others."""
    if p["rank"] >= w.world:
        raise LrwatchError(f"--inject {name}: there is no rank {p['rank']:g}; ranks are 0 to {w.world - 1}")
    return replace(b, **changes) if p["rank"] == w.rank else b


def _rank_offset(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return _of_rank(b, p, w, "rank_offset", ahead=max(int(p["offset"]), 0), behind=max(-int(p["offset"]), 0))


def _rank_base(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return _of_rank(b, p, w, "rank_base", built_from=_wrong_base(b, p, w).built_from)


def _rank_pace(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return _of_rank(b, p, w, "rank_pace", steps_per_update=int(p["steps"]))


def _horizon(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        if contract.clock.horizon is None:
            raise LrwatchError("--inject horizon: the contract has no clock.horizon to be wrong about; set one")
        return _rewritten(contract, {"clock.horizon": contract.clock.horizon * p["factor"]})

    return replace(b, built_from=wrong)


def _wrong_base(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        return _rewritten(contract, {"lr.base": contract.signals["lr"].base * p["factor"]})

    return replace(b, built_from=wrong)


def _warmup(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        family, first = _phase(contract, 0, "warmup")
        if first.get("for") is None:
            raise LrwatchError("--inject warmup: the contract's first phase has no length (`for`); there is no warm-up")
        return _with_phase(contract, 0, {family: {**first, "for": first["for"] * p["factor"]}})

    return replace(b, built_from=wrong)


def _no_floor(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        family, last = _phase(contract, -1, "no_floor")
        if not last.get("to"):
            raise LrwatchError("--inject no_floor: the contract's last phase ends at 0 already; give it a `to`")
        return _with_phase(contract, -1, {family: {**last, "to": 0}})

    return replace(b, built_from=wrong)


def _scale_lost(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        groups = contract.document["lr"].get("groups") or {}
        if p["group"] >= len(groups):
            raise LrwatchError(f"--inject group_scale_lost: there is no group {p['group']:g} in lr.groups")
        document = copy.deepcopy(dict(contract.document))
        own = document["lr"]["groups"][list(groups)[int(p["group"])]]
        for key in ("scale", "base"):
            own.pop(key, None)
        return _from(document, contract)

    return replace(b, built_from=wrong)


def _groups_swapped(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def swap(job: Job, contract: Contract) -> None:
        if len(job.optimizer.param_groups) < 2:
            raise LrwatchError("--inject groups_swapped: the contract has one parameter group; name more in lr.groups")
        _deed("groups_swapped")(job, contract)

    return replace(b, once_built=(*b.once_built, swap))


def _at_resume(name: str, change: Callable[[Contract, Params], Contract] | None = None) -> Any:
    """A fault that does ``misdeeds.<name>`` to a resumed job, with a changed contract."""

    def apply(b: Behaviour, p: Params, w: Worker) -> Behaviour:
        def done(job: Job, contract: Contract) -> None:
            _deed(name)(job, change(contract, p) if change is not None else contract)

        return replace(b, once_resumed=(*b.once_resumed, done))

    return apply


def _deed(name: str) -> Deed:
    def done(job: Job, contract: Contract) -> None:
        from lrwatch.trainer import misdeeds  # imports torch

        getattr(misdeeds, name)(job, contract)

    return done


def _longer(contract: Contract, p: Params) -> Contract:
    return _rewritten(contract, {"clock.horizon": (contract.clock.horizon or 0.0) * p["factor"]})


def _scaled(contract: Contract, p: Params) -> Contract:
    return _rewritten(contract, {"lr.base": contract.signals["lr"].base * p["factor"]})


def _phase(contract: Contract, at: int, fault: str) -> tuple[str, dict[str, Any]]:
    """Family and parameters of a phase as the contract's document has it."""
    schedule = contract.document["lr"]["schedule"]
    phase = schedule[at] if isinstance(schedule, list) else schedule
    if not isinstance(phase, dict):
        raise LrwatchError(f"--inject {fault}: the contract's {phase} schedule has nothing to be wrong about")
    family, params = next(iter(phase.items()))
    return str(family), dict(params or {})


def _with_phase(contract: Contract, at: int, phase: Mapping[str, Any]) -> Contract:
    document = copy.deepcopy(dict(contract.document))
    schedule = document["lr"]["schedule"]
    if isinstance(schedule, list):
        schedule[at] = phase
    else:
        document["lr"]["schedule"] = phase
    return _from(document, contract)


def _from(document: Mapping[str, Any], contract: Contract) -> Contract:
    from lrwatch.contract import from_document

    return from_document(document, f"{contract.source} (rewritten by --inject)")


def _rewritten(contract: Contract, values: Mapping[str, float]) -> Contract:
    """The contract as it would read with other values at ``section.key``."""
    document: dict[str, Any] = copy.deepcopy(dict(contract.document))
    for path, value in values.items():
        section, _, key = path.partition(".")
        document.setdefault(section, {})[key] = value
    return _from(document, contract)


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "step_per_worker": Fault(
            "scheduler.step() is called once per worker after each update: the curve runs world times too fast",
            _step_per_worker,
        ),
        "step_per_micro": Fault(
            "scheduler.step() is called after every micro-batch, not only after the one that completes an update",
            _step_per_micro,
        ),
        "scheduler_not_restored": Fault(
            "a resume restores model and optimizer, and the scheduler starts again from its beginning",
            lambda b, p, w: replace(b, restores_scheduler=False),
        ),
        "stale_contract": Fault(
            "worker `rank` has an old contract file, with another `base` or `horizon`, and its watch has it too",
            _stale_contract,
            required=("rank",),
            optional=("base", "horizon"),
        ),
        "nan_loss": Fault(
            "the loss of update `at` is NaN on every worker, and so is all that follows from it",
            lambda b, p, w: replace(b, nan_at=p["at"]),
            required=("at",),
        ),
        "horizon": Fault("the scheduler is built for `factor` times the horizon", _horizon, required=("factor",)),
        "wrong_base": Fault(
            "the optimizer is built with `factor` times the base LR", _wrong_base, required=("factor",)
        ),
        "frozen": Fault(
            "from update `at` on, scheduler.step() is not called any more",
            lambda b, p, w: replace(b, frozen_from=p["at"]),
            required=("at",),
        ),
        "off_by_one": Fault(
            "the scheduler is `offset` steps ahead of the updates (negative: behind)",
            _off_by_one,
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
        "warmup": Fault("the scheduler is built with `factor` times the warm-up", _warmup, required=("factor",)),
        "no_floor": Fault("the scheduler is built without the promised final value: it decays to 0", _no_floor),
        "float32_lr": Fault(
            "the optimizer keeps its learning rates as float32 tensors",
            lambda b, p, w: replace(b, once_built=(*b.once_built, _deed("float32_lr"))),
        ),
        "group_scale_lost": Fault(
            "parameter group number `group` of the contract gets the base LR without its own scale",
            _scale_lost,
            required=("group",),
        ),
        "groups_swapped": Fault("the first two parameter groups get each other's LR", _groups_swapped),
        "steps_on_skips": Fault(
            "the loss overflows every `every` attempts (fp16: the update is skipped), the scheduler is stepped anyway",
            lambda b, p, w: replace(b, overflow_every=int(p["every"]), steps_on_skips=True),
            required=("every",),
        ),
        "optimizer_not_restored": Fault(
            "a resume restores model and scheduler, and the optimizer is as new", _at_resume("optimizer_not_restored")
        ),
        "built_after_loading": Fault(
            "a resume builds the scheduler after the optimizer was loaded, then loads its state",
            _at_resume("built_after_loading"),
        ),
        "saved_before_step": Fault(
            "checkpoints are written before the scheduler's step: a resume is one step behind",
            lambda b, p, w: replace(b, saves_first=True),
        ),
        "fast_forwarded_twice": Fault(
            "a resume restores the scheduler and then steps it to where it already is", _at_resume("fast_forwarded")
        ),
        "orphaned_at_resume": Fault(
            "after a resume the scheduler moves an optimizer that nobody uses", _at_resume("orphaned")
        ),
        "horizon_at_resume": Fault(
            "a resume rebuilds the schedule for `factor` times the horizon",
            _at_resume("rebuilt", _longer),
            required=("factor",),
        ),
        "base_at_resume": Fault(
            "a resume rebuilds the schedule on `factor` times the base LR",
            _at_resume("rebuilt", _scaled),
            required=("factor",),
        ),
        "rank_offset": Fault(
            "on worker `rank` the scheduler is `offset` steps ahead (negative: behind)",
            _rank_offset,
            required=("rank", "offset"),
        ),
        "rank_base": Fault(
            "worker `rank` builds its optimizer with `factor` times the base LR", _rank_base, ("rank", "factor")
        ),
        "rank_pace": Fault(
            "on worker `rank` the scheduler makes `steps` steps per update", _rank_pace, required=("rank", "steps")
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
