"""Composer's and LLM Foundry's YAML → a contract.

Times are strings: ``100ba``, ``1ep``, ``2e9tok``, ``0.1dur``. The contract's clock counts what the schedule's times are
in: batches (updates), samples or tokens; epochs are batches once their length is known.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, replace
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import schedule, schedules
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_TIME = re.compile(r"([\d_.]+(?:e[+-]?\d+)?)\s*(ep|ba|sp|tok|dur|iter|sec)")
_AXES = {"ba": "update", "sp": "sample", "tok": "token"}
_TIMES = ("t_max", "t_warmup", "t_0", "step_size", "decay_period", "milestones")
NAMES = {
    "cosine_with_warmup": "CosineAnnealingWithWarmupScheduler",
    "constant_with_warmup": "ConstantWithWarmupScheduler",
    "linear_decay_with_warmup": "LinearWithWarmupScheduler",
}
"""LLM Foundry's name → Composer's."""


@dataclass(frozen=True)
class _Time:
    value: float
    unit: str


def _detect(source: Source) -> float:
    words = ("\nmax_duration:", "\nscheduler:", "global_train_batch_size:", "t_warmup:", "alpha_f:")
    return min(1.0, sum(word in f"\n{source.text}" for word in words) / 4)


def _convert(source: Source, options: Options) -> Imported:
    config = Config(source.yaml(), source, options.values)
    block = config.sub("scheduler")
    name = block.text("name")
    name = NAMES.get(name, name)
    if name not in schedules("composer") or " " in name:
        known = ", ".join([*NAMES, *(key for key in schedules("composer") if " " not in key)])
        raise source.error(f"must be one of {known}; got {name!r}", "scheduler.name")
    if config.number("scale_schedule_ratio", 1.0) != 1.0:
        raise source.error("stretches the times; write them stretched, and leave it out", "scale_schedule_ratio")
    whole = _time(config, "max_duration", config.text("max_duration"))
    params = {k: v for k, v in block.given().items() if k not in ("name", "scale_warmup")}
    if "t_max" in inspect.signature(schedules("composer")[name]).parameters:
        params.setdefault("t_max", "1dur")  # Composer's default
    units = set()
    for key in [k for k in _TIMES if k in params]:
        several = isinstance(params[key], list)
        times = [
            _units(config, options, f"scheduler.{key}", t, whole) for t in (params[key] if several else [params[key]])
        ]
        units |= {t.unit for t in times}
        params[key] = [t.value for t in times] if several else times[0].value
    if len(units) > 1:
        raise source.error(f"has times in {' and '.join(sorted(units))}, which one clock cannot count", "scheduler")
    unit = units.pop() if units else "ba"
    horizon = _horizon(config, options, whole, unit)
    lr = options.lr if options.lr is not None else config.sub("optimizer").number("lr")
    made = replace(schedule("composer", name, lr=lr, **params), why="optimizer.lr")
    size = "global_train_batch_size"
    batch = {"global": Noted(config.whole(size), size)} if config.has(size) else {}
    clock = Clock(axis=Noted(_AXES[unit], f"the schedule's times are in {unit}"), horizon=horizon, batch=batch)
    title = experiment(options, config.get("run_name"), "run_name")
    return document(f"{source.name} (Composer)", clock, {"lr": made}, experiment=title)


def _time(config: Config, key: str, text: Any) -> _Time:
    found = _TIME.fullmatch(str(text).strip())
    if not found:
        raise config.source.error(f"must be a time like 100ba, 1ep, 2e9tok, 0.1dur; got {text!r}", key)
    return _Time(float(found[1].replace("_", "")), found[2])


def _units(config: Config, options: Options, key: str, text: Any, whole: _Time) -> _Time:
    """A time in batches, samples or tokens, rounded down as Composer does."""
    time = _time(config, key, text)
    if time.unit == "dur":
        if whole.unit == "ep":
            return _Time(int(time.value * _length(config, options, key) * whole.value), "ba")
        return _Time(int(time.value * whole.value), whole.unit)
    if time.unit == "ep":
        return _Time(int(time.value * _length(config, options, key)), "ba")
    if time.unit not in _AXES:
        raise config.source.error(f"is in {time.unit}, which no contract's clock counts", key)
    return _Time(int(time.value), time.unit)


def _length(config: Config, options: Options, key: str) -> int:
    why = f"{key}: an epoch is a number of batches only with the length of the data"
    return int(config.source.need(options.steps_per_epoch, "--steps-per-epoch N", why))


def _horizon(config: Config, options: Options, whole: _Time, unit: str) -> Noted | None:
    if options.steps is not None and unit == "ba":
        return Noted(options.steps, "--steps")
    if whole.unit == "ep" and unit == "ba":
        length = _length(config, options, "max_duration")
        return Noted(int(whole.value * length), "max_duration, times --steps-per-epoch")
    return Noted(int(whole.value), "max_duration") if whole.unit == unit else None


IMPORTER = Importer("composer", "Composer's or LLM Foundry's YAML", _detect, _convert)
