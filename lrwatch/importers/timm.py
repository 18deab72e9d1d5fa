"""timm's args.yaml, as its train.py writes it beside the checkpoints → a contract.

train.py works the learning rate out from the global batch size unless it is given, and steps the scheduler per epoch
unless ``sched_on_updates`` says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import schedule, timm
from lrwatch.importers._parts import Schedule
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_WORDS = ("sched", "warmup_epochs", "warmup_lr", "cooldown_epochs", "decay_epochs", "lr_cycle_mul", "min_lr")


def _detect(source: Source) -> float:
    return min(1.0, sum(f"\n{word}:" in f"\n{source.text}" for word in _WORDS) / 5)


def _convert(source: Source, options: Options) -> Imported:
    config = Config(source.yaml(), source, options.values)
    on_updates = config.flag("sched_on_updates")
    per_epoch = options.steps_per_epoch
    if on_updates:
        per_epoch = source.need(
            per_epoch, "--steps-per-epoch N", "sched_on_updates counts updates, epochs times their length"
        )
    unit = per_epoch if on_updates and per_epoch else 1
    lr, why = _lr(config, options)
    made, total = _schedule(config, lr, unit)
    batch = {"steps_per_epoch": Noted(per_epoch, "--steps-per-epoch")} if per_epoch else {}
    clock = Clock(
        axis=Noted("update" if on_updates else "epoch", "sched_on_updates" if on_updates else "stepped once per epoch"),
        horizon=Noted(total, "epochs, with what warm-up prefix, cycles and cooldown add"),
        batch=batch,
    )
    notes = ("Parameter groups with an lr_scale (layer decay) are not in the file: add them as groups with a scale.",)
    title = experiment(options, config.get("experiment"), "experiment")
    return document(f"{source.name} (timm)", clock, {"lr": replace(made, why=why)}, experiment=title, notes=notes)


def _lr(config: Config, options: Options) -> tuple[float, str]:
    """The learning rate: given, or lr_base scaled by the global batch size, as train.py does."""
    if options.lr is not None:
        return options.lr, "--lr"
    if config.has("lr"):
        return config.number("lr"), "lr"
    need = config.source.need
    world = need(options.world_size, "--world-size N", "lr is null, and lr_base is scaled by the global batch size")
    size = config.whole("batch_size") * world * config.whole("grad_accum_steps", 1)
    ratio = size / config.number("lr_base_size")
    scale = config.get("lr_base_scale")
    if not scale:
        known = config.text("opt").lower()
        scale = "sqrt" if any(word in known for word in ("ada", "lamb")) else "linear"
    ratio = ratio**0.5 if scale == "sqrt" else ratio
    return config.number(
        "lr_base"
    ) * ratio, f"lr_base times the {scale} ratio of the global batch {size} to lr_base_size"


def _schedule(config: Config, lr: float, unit: int) -> tuple[Schedule, float]:
    """The schedule as ``create_scheduler_v2`` makes it, and the length of the run, both in clock units."""
    if config.has("lr_noise"):
        raise config.source.error("is random noise, which cannot be promised", "lr_noise")
    name, epochs = config.text("sched"), config.number("epochs")
    prefix, cooldown = config.flag("warmup_prefix"), config.number("cooldown_epochs", 0) * unit
    length, warmup = int(epochs * unit), int(config.number("warmup_epochs", 0) * unit)
    common: dict[str, Any] = {"lr": lr, "warmup_t": warmup, "warmup_lr_init": config.number("warmup_lr", 1e-5)}
    prefixed = common | {"warmup_prefix": prefix}
    rate, low = config.number("decay_rate", 0.1), config.number("min_lr", 0.0)
    total = length + (warmup if prefix else 0)
    if name in ("cosine", "tanh", "poly"):
        cycles = {"cycle_mul": config.number("lr_cycle_mul", 1.0), "cycle_decay": config.number("lr_cycle_decay", 0.1),
                  "cycle_limit": config.whole("lr_cycle_limit", 1)}  # fmt: skip
        extra: dict[str, Any] = {} if name == "tanh" else {"k_decay": config.number("lr_k_decay", 1.0)}
        if name == "poly":
            extra["power"] = rate
        made = schedule("timm", name, t_initial=length, lr_min=low, **prefixed, **cycles, **extra)
        mul, limit = cycles["cycle_mul"], max(1, cycles["cycle_limit"])
        spent = length * limit if mul == 1.0 else math.floor(-length * (mul**limit - 1) / (1 - mul))
        return made, spent + (warmup if prefix else 0) + cooldown
    if name == "step":
        return timm.step(decay_t=config.number("decay_epochs") * unit, decay_rate=rate, **prefixed), total
    if name == "constant":
        return timm.step(decay_t=1, decay_rate=1.0, **prefixed), total
    if name == "multistep":
        milestones = [m * unit for m in config.get("decay_milestones", [])]
        return timm.multistep(decay_t=milestones, decay_rate=rate, **prefixed), total
    if name in ("wsd", "rsqrt"):
        span = length if prefix else length - warmup
        share = config.number("decay_epochs", 0.2)
        decay = round(share * span) if 0 < share < 1 else round(share * unit)
        scale = config.get("lr_stable_timescale")
        made = timm.wsd(
            t_initial=span,
            decay_t=decay,
            lr_min=low,
            stable_fn="rsqrt" if name == "rsqrt" else "constant",
            stable_timescale=None if scale is None else scale * unit,
            decay_fn=config.get("lr_decay_fn") or ("linear" if name == "rsqrt" else "1-sqrt"),
            **common,
        )
        return made, warmup + span + cooldown
    if name == "plateau":
        metric = config.text("eval_metric", "top1")
        mode = "min" if "loss" in metric else "max"
        rule = {"decay_rate": rate, "patience_t": config.whole("patience_epochs", 10), "lr_min": low, "mode": mode}
        return schedule("timm", "plateau", lr=lr, warmup_t=warmup, metric=metric, **rule), total
    known = ", ".join(("cosine", "tanh", "poly", "step", "multistep", "wsd", "rsqrt", "constant", "plateau"))
    raise config.source.error(f"must be one of {known}; got {name!r}", "sched")


IMPORTER = Importer("timm", "args.yaml of timm's train.py", _detect, _convert)
