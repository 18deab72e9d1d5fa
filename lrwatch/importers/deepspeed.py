"""DeepSpeed's ds_config.json → a contract of its scheduler.

The engine steps it once per applied update. A value that says "auto" is filled in by the Trainer when it starts, from
arguments that are not in this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import schedule, schedules
from lrwatch.importers._parts import Schedule
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_FILLED = {
    "warmup_min_lr": ("0", "--set scheduler.params.warmup_min_lr=0"),
    "warmup_max_lr": ("its learning_rate", "--lr"),
    "warmup_num_steps": ("its warmup_steps", "--warmup"),
    "total_num_steps": ("its number of updates", "--steps"),
}
"""Parameter → what the Trainer puts in place of "auto", and the flag that gives it here."""
_MOMENTUM = ("cycle_momentum", "cycle_min_mom", "cycle_max_mom", "decay_mom_rate")


def _detect(source: Source) -> float:
    words = (
        "zero_optimization",
        "train_micro_batch_size_per_gpu",
        "train_batch_size",
        "scheduler",
        "gradient_clipping",
    )
    if not source.text.lstrip().startswith("{"):
        return 0.0
    return min(1.0, sum(f'"{word}"' in source.text for word in words) / 3)


def _convert(source: Source, options: Options) -> Imported:
    config = Config(source.json(), source, options.values)
    block = config.sub("scheduler")
    if not block.has("type"):
        what = "has no scheduler: the trainer brings its own, so import from there (for the Trainer: its arguments)"
        raise source.error(what, "scheduler")
    name = block.text("type")
    known = [key for key in schedules("deepspeed") if " " not in key]
    if name not in known:
        raise source.error(f"must be one of {', '.join(known)}; got {name!r}", "scheduler.type")
    params = _params(block.sub("params"), options)
    lr, why = _optimizer_lr(config, options)
    made = _schedule(source, name, params, lr)
    signals = {"lr": replace(made, why=_why_base(name, block.sub("params").given(), why))}
    if name == "OneCycle" and params.get("cycle_momentum", True):
        moved = {k: v for k, v in params.items() if k in (*_MOMENTUM[1:], "cycle_first_step_size",
                                                          "cycle_second_step_size", "decay_step_size")}  # fmt: skip
        signals["momentum"] = replace(schedule("deepspeed", "OneCycle momentum", **moved), why="cycle_max_mom")
    horizon = options.steps if options.steps is not None else params.get("total_num_steps")
    flag = "--steps" if options.steps is not None else "scheduler.params.total_num_steps"
    clock = Clock(horizon=None if horizon is None else Noted(horizon, flag), batch=_batch(config))
    notes = (f"DeepSpeed's {name}: stepped once per applied update, one update late.",)
    return document(f"{source.name} (DeepSpeed)", clock, signals, experiment=experiment(options, None, ""), notes=notes)


def _params(config: Config, options: Options) -> dict[str, Any]:
    """The scheduler's parameters; what is "auto" must be given by its flag."""
    flags = {"warmup_max_lr": options.lr, "warmup_num_steps": options.warmup, "total_num_steps": options.steps}
    result: dict[str, Any] = {}
    for key, value in config.given().items():
        if value == "auto":
            filled, flag = _FILLED.get(key, ("one of its arguments", f"--set {config.path}.{key}=…"))
            what = f'is "auto", which the Trainer replaces by {filled} when it starts; import the Trainer\'s arguments'
            value = config.source.need(flags.get(key), flag, f"{config.path}.{key}: {what}, or say it here")
        result[key] = int(value) if key.endswith("_steps") else value
    return result


def _optimizer_lr(config: Config, options: Options) -> tuple[float | None, str]:
    if options.lr is not None:
        return options.lr, "--lr"
    lr = config.sub("optimizer").sub("params").get("lr")
    if lr == "auto":
        return None, ""
    return lr, "optimizer.params.lr" if lr is not None else ""


_BASES = {
    "WarmupLR": "warmup_max_lr",
    "WarmupDecayLR": "warmup_max_lr",
    "LRRangeTest": "lr_range_test_min_lr",
    "OneCycle": "cycle_max_lr",
}
"""Scheduler → the parameter of its own that sets the learning rate; the others multiply the optimizer's."""


def _why_base(name: str, given: Mapping[str, Any], optimizer: str) -> str:
    """Where the base comes from; ``optimizer``: where the optimizer's learning rate does."""
    key = _BASES.get(name)
    if key is None or (name == "WarmupLR" and given.get(key) is None):
        return optimizer
    if key not in given:
        return f"DeepSpeed's default of scheduler.params.{key}"
    return optimizer if given[key] == "auto" else f"scheduler.params.{key}"


def _schedule(source: Source, name: str, params: Mapping[str, Any], lr: float | None) -> Schedule:
    params = {k: v for k, v in params.items() if k not in ("last_batch_iteration", *_MOMENTUM)}
    why = "the optimizer's learning rate, which the scheduler multiplies"
    if name == "WarmupCosineLR":
        params["lr"] = source.need(lr, "--lr", f"WarmupCosineLR: {why}, is not there")
    if name == "WarmupLR" and params.get("warmup_max_lr") is None:
        params["warmup_max_lr"] = source.need(
            lr, "--lr", "WarmupLR without warmup_max_lr: the optimizer's lr is not there"
        )
    listed = [key for key, value in params.items() if isinstance(value, list)]
    if listed:
        raise source.error("is a list, one for each parameter group; give one", f"scheduler.params.{listed[0]}")
    return schedule("deepspeed", name, **params)


def _batch(config: Config) -> dict[str, Noted]:
    found = {"global": "train_batch_size", "accumulate": "gradient_accumulation_steps"}
    return {ours: Noted(config.whole(theirs), theirs) for ours, theirs in found.items()
            if isinstance(config.get(theirs), int)}  # fmt: skip


IMPORTER = Importer("deepspeed", "ds_config.json", _detect, _convert)
