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
        frozen_from: update from which on no call follows. nan_at: update whose loss is NaN.
        restores_scheduler: whether a resume loads the scheduler's state.
        built_from: the contract that optimizer and scheduler are built from. told: the one the watch is given.
    """

    steps_per_update: int = 1
    steps_per_micro: int = 0
    ahead: int = 0
    behind: int = 0
    frozen_from: float = math.inf
    nan_at: float | None = None
    restores_scheduler: bool = True
    built_from: Rewrite = _unchanged
    told: Rewrite = _unchanged

    def scheduler_steps(self, update: int) -> int:
        """Calls of ``scheduler.step()`` that follow update number ``update`` (0-based)."""
        return self.steps_per_update if self.behind <= update < self.frozen_from else 0

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
    whole: frozenset[str] = frozenset({"at", "rank", "offset"})


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
    if p["rank"] >= w.world:
        raise LrwatchError(f"--inject stale_contract: there is no rank {p['rank']:g}; ranks are 0 to {w.world - 1}")
    if p["rank"] != w.rank:
        return b
    old = {"lr.base": p.get("base"), "clock.horizon": p.get("horizon")}

    def stale(contract: Contract) -> Contract:
        return _rewritten(contract, {path: value for path, value in old.items() if value is not None})

    return replace(b, built_from=stale, told=stale)


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


def _rewritten(contract: Contract, values: Mapping[str, float]) -> Contract:
    """The contract as it would read with other values at ``section.key``."""
    from lrwatch.contract import from_document

    document: dict[str, Any] = copy.deepcopy(dict(contract.document))
    for path, value in values.items():
        section, _, key = path.partition(".")
        document.setdefault(section, {})[key] = value
    return from_document(document, f"{contract.source} (rewritten by --inject)")


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
