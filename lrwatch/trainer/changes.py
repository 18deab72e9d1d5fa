"""What each fault changes in a worker's behaviour; ``faults`` has their names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lrwatch.errors import LrwatchError
from lrwatch.trainer.behaviour import Behaviour, Deed
from lrwatch.trainer.rewrite import from_tree, phase_of, rewritten, with_phase

if TYPE_CHECKING:
    from lrwatch.contract import Contract
    from lrwatch.trainer.job import Job

Params = Mapping[str, float]


@dataclass(frozen=True)
class Worker:
    """Whose behaviour it is."""

    rank: int
    world: int


def step_per_worker(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return replace(b, steps_per_update=w.world)


def step_per_micro(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return replace(b, steps_per_micro=1)


def off_by_one(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    offset = int(p["offset"])
    return replace(b, ahead=max(offset, 0), behind=max(-offset, 0))


def stale_contract(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    if "base" not in p and "horizon" not in p:
        raise LrwatchError("--inject stale_contract: say what is stale: base=… or horizon=… (or both)")
    old = {"lr.base": p.get("base"), "clock.horizon": p.get("horizon")}

    def stale(contract: Contract) -> Contract:
        return rewritten(contract, {path: value for path, value in old.items() if value is not None})

    return of_rank(b, p, w, "stale_contract", built_from=stale, told=stale)


def of_rank(b: Behaviour, p: Params, w: Worker, name: str, **changes: Any) -> Behaviour:
    """The changed behaviour on worker ``rank``, the same one on the others."""
    if p["rank"] >= w.world:
        raise LrwatchError(f"--inject {name}: there is no rank {p['rank']:g}; ranks are 0 to {w.world - 1}")
    return replace(b, **changes) if p["rank"] == w.rank else b


def rank_offset(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return of_rank(b, p, w, "rank_offset", ahead=max(int(p["offset"]), 0), behind=max(-int(p["offset"]), 0))


def rank_base(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return of_rank(b, p, w, "rank_base", built_from=wrong_base(b, p, w).built_from)


def rank_pace(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    return of_rank(b, p, w, "rank_pace", steps_per_update=int(p["steps"]))


def horizon(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        if contract.clock.horizon is None:
            raise LrwatchError("--inject horizon: the contract has no clock.horizon to be wrong about; set one")
        return rewritten(contract, {"clock.horizon": contract.clock.horizon * p["factor"]})

    return replace(b, built_from=wrong)


def wrong_base(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        return rewritten(contract, {"lr.base": contract.signals["lr"].base * p["factor"]})

    return replace(b, built_from=wrong)


def warmup(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        family, first = phase_of(contract, 0, "warmup")
        if first.get("for") is None:
            raise LrwatchError("--inject warmup: the contract's first phase has no length (`for`); there is no warm-up")
        return with_phase(contract, 0, {family: {**first, "for": first["for"] * p["factor"]}})

    return replace(b, built_from=wrong)


def no_floor(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        family, last = phase_of(contract, -1, "no_floor")
        if not last.get("to"):
            raise LrwatchError("--inject no_floor: the contract's last phase ends at 0 already; give it a `to`")
        return with_phase(contract, -1, {family: {**last, "to": 0}})

    return replace(b, built_from=wrong)


def scale_lost(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def wrong(contract: Contract) -> Contract:
        groups = contract.document["lr"].get("groups") or {}
        if p["group"] >= len(groups):
            raise LrwatchError(f"--inject group_scale_lost: there is no group {p['group']:g} in lr.groups")
        document = copy.deepcopy(dict(contract.document))
        own = document["lr"]["groups"][list(groups)[int(p["group"])]]
        for key in ("scale", "base"):
            own.pop(key, None)
        return from_tree(document, contract)

    return replace(b, built_from=wrong)


def groups_swapped(b: Behaviour, p: Params, w: Worker) -> Behaviour:
    def swap(job: Job, contract: Contract) -> None:
        if len(job.optimizer.param_groups) < 2:
            raise LrwatchError("--inject groups_swapped: the contract has one parameter group; name more in lr.groups")
        deed("groups_swapped")(job, contract)

    return replace(b, once_built=(*b.once_built, swap))


def at_resume(name: str, change: Callable[[Contract, Params], Contract] | None = None) -> Any:
    """A fault that does ``misdeeds.<name>`` to a resumed job, with a changed contract."""

    def apply(b: Behaviour, p: Params, w: Worker) -> Behaviour:
        def done(job: Job, contract: Contract) -> None:
            deed(name)(job, change(contract, p) if change is not None else contract)

        return replace(b, once_resumed=(*b.once_resumed, done))

    return apply


def deed(name: str) -> Deed:
    def done(job: Job, contract: Contract) -> None:
        from lrwatch.trainer import misdeeds  # imports torch

        getattr(misdeeds, name)(job, contract)

    return done


def longer(contract: Contract, p: Params) -> Contract:
    return rewritten(contract, {"clock.horizon": (contract.clock.horizon or 0.0) * p["factor"]})


def scaled(contract: Contract, p: Params) -> Contract:
    return rewritten(contract, {"lr.base": contract.signals["lr"].base * p["factor"]})
