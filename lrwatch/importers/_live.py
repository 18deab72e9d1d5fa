"""Live torch schedulers, read: attributes of an object → the schedule of one of its parameter groups.

Classes are known by name, along their ancestry, so nothing of torch is imported. Whether an object really computes
what its class says is for ``_replay`` to find out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from lrwatch.errors import ContractError
from lrwatch.importers._frameworks import torch as of
from lrwatch.importers._frameworks import torchtitan, transformers
from lrwatch.importers._parts import Schedule


class Unreadable(Exception):
    """The object's class, or the function in it, has no description: it can only be sampled."""


def read(scheduler: Any, group: int, metric: str | None = None) -> Schedule:
    """The schedule of parameter group number ``group``.

    Raises:
        Unreadable: says what cannot be described. ContractError: something is missing, or impossible.
    """
    for kind in type(scheduler).__mro__:
        if kind.__name__ in _READERS and kind.__module__.startswith("torch."):
            return _READERS[kind.__name__](scheduler, group, metric)
    if type(scheduler).__name__ == "MultiplicativeLR":
        raise Unreadable("MultiplicativeLR multiplies by a function of its own")
    raise Unreadable(f"{type(scheduler).__name__} is not a class of torch.optim.lr_scheduler")


def momentum(scheduler: Any, group: int) -> Schedule | None:
    """The momentum that CyclicLR and OneCycleLR move against the learning rate, if they do."""
    if not getattr(scheduler, "cycle_momentum", False):
        return None
    found = scheduler.optimizer.param_groups[group]
    limits = {"base_momentum": found["base_momentum"], "max_momentum": found["max_momentum"]}
    for kind in type(scheduler).__mro__:
        if kind.__name__ == "CyclicLR":
            return of.cyclic_momentum(**limits, **_cycle(scheduler))
        if kind.__name__ == "OneCycleLR":
            return of.one_cycle_momentum(**limits, **_one_cycle(scheduler))
    return None


def _lr(scheduler: Any, group: int) -> float:
    return float(scheduler.base_lrs[group])


def _given(maker: Callable[..., Schedule], *names: str) -> Callable[[Any, int, str | None], Schedule]:
    """A reader for a class that keeps its parameters as attributes."""

    def reader(scheduler: Any, group: int, metric: str | None) -> Schedule:
        return maker(lr=_lr(scheduler, group), **{name: getattr(scheduler, name) for name in names})

    return reader


def _multi_step(scheduler: Any, group: int, metric: str | None) -> Schedule:
    milestones = sorted(scheduler.milestones.elements())
    return of.multi_step(lr=_lr(scheduler, group), milestones=milestones, gamma=scheduler.gamma)


def _cyclic(scheduler: Any, group: int, metric: str | None) -> Schedule:
    low, high = float(scheduler.base_lrs[group]), float(scheduler.max_lrs[group])
    return of.cyclic(base_lr=low, max_lr=high, **_cycle(scheduler))


def _cycle(scheduler: Any) -> dict[str, Any]:
    if getattr(scheduler, "_scale_fn_custom", None) is not None:
        raise Unreadable("CyclicLR scales by a function of its own")
    up = round(scheduler.total_size * scheduler.step_ratio)
    return {"step_size_up": up, "step_size_down": scheduler.total_size - up, "mode": scheduler.mode,
            "gamma": scheduler.gamma}  # fmt: skip


def _one_cycle_lr(scheduler: Any, group: int, metric: str | None) -> Schedule:
    found = scheduler.optimizer.param_groups[group]
    first, peak, last = (float(found[key]) for key in ("initial_lr", "max_lr", "min_lr"))
    return of.one_cycle(max_lr=peak, div_factor=peak / first, final_div_factor=first / last, **_one_cycle(scheduler))


def _one_cycle(scheduler: Any) -> dict[str, Any]:
    phases, total = scheduler._schedule_phases, scheduler.total_steps
    return {"total_steps": total, "pct_start": (phases[0]["end_step"] + 1.0) / total,
            "anneal_strategy": scheduler._anneal_func_type, "three_phase": len(phases) == 3}  # fmt: skip


def _swa(scheduler: Any, group: int, metric: str | None) -> Schedule:
    return of.swa(
        lr=_lr(scheduler, group),
        swa_lr=float(scheduler.optimizer.param_groups[group]["swa_lr"]),
        anneal_epochs=scheduler.anneal_epochs,
        anneal_strategy=scheduler._anneal_strategy,
    )


def _sequential(scheduler: Any, group: int, metric: str | None) -> Schedule:
    parts = [read(part, group, metric) for part in scheduler._schedulers]
    return of.sequential(schedules=parts, milestones=scheduler._milestones)


def _chained(scheduler: Any, group: int, metric: str | None) -> Schedule:
    return of.chained(schedules=[read(part, group, metric) for part in scheduler._schedulers])


def _plateau(scheduler: Any, group: int, metric: str | None) -> Schedule:
    if metric is None:
        what = "reacts to a metric, whose name in the trace is not known; pass metric=, e.g. metric='val_loss'"
        raise ContractError(what, source="ReduceLROnPlateau")
    if scheduler.last_epoch > 0:
        what = f"has seen {scheduler.last_epoch} metrics already, and does not remember where it began"
        raise ContractError(f"{what}; import it before training", source="ReduceLROnPlateau")
    floors = scheduler.min_lrs
    rule = {name: getattr(scheduler, name) for name in
            ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")}  # fmt: skip
    lr = float(scheduler.optimizer.param_groups[group]["lr"])
    return of.plateau(lr=lr, metric=metric, min_lr=float(floors[min(group, len(floors) - 1)]), **rule)


def _lambda(scheduler: Any, group: int, metric: str | None) -> Schedule:
    function = scheduler.lr_lambdas[group]
    inner = function.func if isinstance(function, functools.partial) else function
    module, name = getattr(inner, "__module__", ""), getattr(inner, "__name__", type(inner).__name__)
    described = _LAMBDAS.get((module.partition(".")[0], name))
    if described is None:
        raise Unreadable(f"LambdaLR computes by a function of its own, {name}")
    keywords = dict(function.keywords) if isinstance(function, functools.partial) else {}
    return described(_lr(scheduler, group), keywords)


def _transformers(maker: Callable[..., Schedule], rename: Mapping[str, str] | None = None) -> Callable[..., Schedule]:
    def described(lr: float, keywords: dict[str, Any]) -> Schedule:
        return maker(lr=lr, **{(rename or {}).get(key, key): value for key, value in keywords.items()})

    return described


def _cosine(lr: float, keywords: dict[str, Any]) -> Schedule:
    """transformers has one function for ``cosine`` and ``cosine_with_min_lr``."""
    return (transformers.cosine_with_min_lr if "min_lr_rate" in keywords else transformers.cosine)(lr=lr, **keywords)


def _polynomial(lr: float, keywords: dict[str, Any]) -> Schedule:
    """``lr_end`` is relative to the optimizer's default learning rate, not to the group's."""
    keywords = dict(keywords)
    end = keywords.pop("lr_end") / keywords.pop("lr_init") * lr
    return transformers.polynomial(lr=lr, lr_end=end, **keywords)


def _torchtitan(lr: float, keywords: dict[str, Any]) -> Schedule:
    warmup, stable, decay = (keywords[key] for key in ("warmup_steps", "stable_steps", "decay_steps"))
    total = warmup + stable + decay - 1
    return torchtitan.warmup_stable_decay(
        lr=lr,
        training_steps=total,
        warmup_steps=warmup,
        decay_ratio=decay / total,
        decay_type=keywords["lr_decay_type"],
        min_lr_factor=keywords["min_lr_factor"],
    )


_LAMBDAS: Mapping[tuple[str, str], Callable[[float, dict[str, Any]], Schedule]] = {
    ("transformers", "_get_constant_lambda"): lambda lr, keywords: transformers.constant(lr=lr),
    ("transformers", "_get_constant_schedule_with_warmup_lr_lambda"): _transformers(transformers.constant_with_warmup),
    ("transformers", "_get_linear_schedule_with_warmup_lr_lambda"): _transformers(transformers.linear),
    ("transformers", "_get_cosine_schedule_with_warmup_lr_lambda"): _cosine,
    ("transformers", "_get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda"): _transformers(
        transformers.cosine_with_restarts
    ),
    ("transformers", "_get_polynomial_decay_schedule_with_warmup_lr_lambda"): _polynomial,
    ("transformers", "_get_inverse_sqrt_schedule_lr_lambda"): _transformers(transformers.inverse_sqrt),
    ("transformers", "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda"): _transformers(
        transformers.cosine_warmup_with_min_lr
    ),
    ("transformers", "_get_wsd_scheduler_lambda"): _transformers(transformers.warmup_stable_decay),
    ("torchtitan", "linear_warmup_stable_decay"): _torchtitan,
}
"""(package, function) that a LambdaLR computes by → its description."""

_READERS: Mapping[str, Callable[[Any, int, str | None], Schedule]] = {
    "StepLR": _given(of.step, "step_size", "gamma"),
    "MultiStepLR": _multi_step,
    "ConstantLR": _given(of.constant, "factor", "total_iters"),
    "LinearLR": _given(of.linear, "start_factor", "end_factor", "total_iters"),
    "ExponentialLR": _given(of.exponential, "gamma"),
    "PolynomialLR": _given(of.polynomial, "total_iters", "power"),
    "CosineAnnealingLR": _given(of.cosine, "T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": _given(of.cosine_restarts, "T_0", "T_mult", "eta_min"),
    "CyclicLR": _cyclic,
    "OneCycleLR": _one_cycle_lr,
    "SWALR": _swa,
    "SequentialLR": _sequential,
    "ChainedScheduler": _chained,
    "ReduceLROnPlateau": _plateau,
    "LambdaLR": _lambda,
}
