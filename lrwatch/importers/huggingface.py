"""transformers' TrainingArguments (JSON or YAML) and trainer_state.json → a contract.

The Trainer steps its scheduler once per applied update, whatever the number of processes. How many updates a number of
epochs is depends on the data and on the processes, which the arguments do not name. ``trainer_state.json`` knows the
number of updates, but neither the learning rate nor the schedule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import schedule, schedules
from lrwatch.importers._parts import Schedule
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_ARGUMENTS = {"learning_rate", "lr_scheduler_type", "per_device_train_batch_size", "num_train_epochs", "max_steps",
              "warmup_steps", "gradient_accumulation_steps", "output_dir"}  # fmt: skip
_STATE = {"log_history", "max_steps", "global_step"}


def _detect(source: Source) -> float:
    if not any(word in source.text for word in ("learning_rate", "log_history")):
        return 0.0
    tree = _tree(source)
    if tree.keys() >= _STATE:
        return 1.0
    return min(0.9, len(_ARGUMENTS & tree.keys()) / 4) if "learning_rate" in tree else 0.0


def _tree(source: Source) -> Mapping[str, Any]:
    try:
        tree = source.yaml()
    except Exception:
        return {}
    return tree if isinstance(tree, dict) else {}


def _convert(source: Source, options: Options) -> Imported:
    config = Config(source.yaml(), source, options.values)
    state = config.tree.keys() >= _STATE
    lr = _lr(config, options)
    name = options.scheduler or config.text("lr_scheduler_type", "" if state else None)
    name = source.need(name or None, "--scheduler", "the state of a Trainer does not say which schedule it follows")
    if name not in schedules("transformers") and name != "reduce_lr_on_plateau":
        raise source.error(f"is {name!r}, which no contract can promise", "lr_scheduler_type")
    _refuse_deepspeed(config)
    steps, batch = _steps(config, options)
    made = _schedule(config, name, lr, _warmup(config, options, steps, state), steps)
    title = experiment(options, config.get("run_name") or _last(config.get("output_dir")), "run_name, or output_dir")
    notes = ("The Trainer steps the scheduler once per applied update, on any number of processes.",)
    return document(f"{source.name} (transformers)", Clock(horizon=steps, batch=batch), {"lr": made},
                    experiment=title, notes=notes)  # fmt: skip


def _lr(config: Config, options: Options) -> float:
    if options.lr is not None:
        return options.lr
    if not config.has("learning_rate"):
        config.source.need(None, "--lr", "learning_rate is not there, and its default differs between trainers")
    return config.number("learning_rate")


def _refuse_deepspeed(config: Config) -> None:
    given = config.get("deepspeed")
    if (isinstance(given, Mapping) and "scheduler" not in given) or not given or given == "none":
        return
    what = "names a DeepSpeed configuration, whose scheduler would replace the Trainer's; import that one"
    raise config.source.error(f"{what}, or pass --set deepspeed=none if it has none", "deepspeed")


def _steps(config: Config, options: Options) -> tuple[Noted, dict[str, Noted]]:
    """The horizon, and what was needed for it."""
    batch: dict[str, Noted] = {}
    accumulate = options.accumulate or config.get("gradient_accumulation_steps")
    if accumulate is not None:
        batch["accumulate"] = Noted(int(accumulate), "gradient_accumulation_steps")
    if options.steps is not None:
        return Noted(options.steps, "--steps"), batch
    if config.number("max_steps", -1) > 0:
        return Noted(config.whole("max_steps"), "max_steps"), batch
    if not config.has("num_train_epochs"):
        config.source.need(None, "--steps", "neither max_steps nor num_train_epochs says how long the run is")
    epochs = config.number("num_train_epochs")
    per_epoch, why = options.steps_per_epoch, "--steps-per-epoch"
    if per_epoch is None:
        per_epoch, why = _per_epoch(config, options, accumulate)
    batch["steps_per_epoch"] = Noted(per_epoch, why)
    return Noted(math.ceil(epochs * per_epoch), f"num_train_epochs {epochs:g} of {per_epoch} updates"), batch


def _per_epoch(config: Config, options: Options, accumulate: Any) -> tuple[int, str]:
    """Updates of an epoch: the batches of one process, divided by the accumulation, rounded up."""
    need, epochs = config.source.need, config.number("num_train_epochs")
    what = f"num_train_epochs {epochs:g} is a number of updates only with"
    samples = need(options.dataset_size, "--dataset-size N", f"{what} the size of the training set")
    world = need(options.world_size, "--world-size N", f"{what} the number of processes")
    accumulate = need(accumulate, "--accumulate N", f"{what} gradient_accumulation_steps")
    size = config.whole("per_device_train_batch_size")
    if config.flag("dataloader_drop_last"):
        batches = samples // size // world
    else:
        batches = _ceil(_ceil(samples, size), world)
    why = f"{samples} samples in batches of {size}, {world} processes, accumulated {accumulate} times"
    return max(_ceil(batches, int(accumulate)), 1), why


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _warmup(config: Config, options: Options, steps: Noted, state: bool) -> int:
    if options.warmup is not None:
        return int(options.warmup)
    if config.has("warmup_steps") and config.number("warmup_steps") > 0:
        given = config.number("warmup_steps")
        return int(given) if given >= 1 else math.ceil(float(steps.value) * given)
    if config.has("warmup_ratio") and config.number("warmup_ratio") > 0:
        return math.ceil(float(steps.value) * config.number("warmup_ratio"))
    if state or not (config.has("warmup_steps") or config.has("warmup_ratio")):
        config.source.need(None, "--warmup N", "the length of the warm-up is not there")
    return 0


def _schedule(config: Config, name: str, lr: float, warmup: int, steps: Noted) -> Schedule:
    kwargs = config.get("lr_scheduler_kwargs", {})
    kwargs = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
    kwargs = Config(kwargs, config.source, config.values, "lr_scheduler_kwargs").given()
    if name == "reduce_lr_on_plateau":
        metric = config.text("metric_for_best_model")
        metric = metric if metric.startswith("eval_") else f"eval_{metric}"
        mode = "max" if config.flag("greater_is_better") else "min"
        return schedule("torch", "ReduceLROnPlateau", lr=lr, metric=metric, **{"mode": mode, **kwargs})
    if name != "constant":
        kwargs["num_warmup_steps"] = warmup
    if name not in ("constant", "constant_with_warmup", "inverse_sqrt"):
        kwargs["num_training_steps"] = steps.value
    made = schedule("transformers", name, lr=lr, **kwargs)
    return Schedule(made.base, made.parts, "learning_rate")


def _last(path: Any) -> str | None:
    """The last name of a path."""
    return str(path).rstrip("/").rpartition("/")[2] or None if path else None


IMPORTER = Importer("huggingface", "TrainingArguments as JSON or YAML, trainer_state.json", _detect, _convert)
