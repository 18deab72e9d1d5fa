"""torchtitan's TOML configuration → a contract.

Only the warm-up (t + 1)/W of torchtitan 0.2 and later is known; files of before, with ``lr_min``, are refused.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace

from lrwatch.errors import ContractError
from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import torchtitan
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

DEFAULTS = {"warmup_steps": 200, "decay_type": "linear", "min_lr_factor": 0.0}
_OLD = "its warm-up was (t + 1)/(W + 1), which is not known here"


def _detect(source: Source) -> float:
    words = ("[lr_scheduler]", "[optimizer]", "[training]", "[parallelism]", "[activation_checkpoint]", "[job]")
    return min(1.0, sum(word in source.text for word in words) / 4)


def _convert(source: Source, options: Options) -> Imported:
    try:
        tree = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as e:
        raise ContractError(f"is not TOML: {e}", source=source.name) from None
    config = Config(tree, source, options.values)
    scheduler, training = config.sub("lr_scheduler"), config.sub("training")
    if scheduler.has("lr_min"):
        raise source.error(f"is a key of torchtitan before 0.2: {_OLD}", "lr_scheduler.lr_min")
    if not (scheduler.has("min_lr_factor") or scheduler.has("total_steps")):
        why = f"nothing here says that it is for torchtitan 0.2 or later; before, {_OLD}"
        version = float(source.need(options.values.get("version"), "--set version=0.3", why))
        if version < 0.2:
            raise source.error(f"is {version:g}: {_OLD}", "version")
    steps = training.whole("steps")
    defaults = [f"{key} {value}" for key, value in DEFAULTS.items() if not scheduler.has(key)]
    ratio = scheduler.get("decay_ratio")
    made = torchtitan.warmup_stable_decay(
        lr=options.lr if options.lr is not None else config.sub("optimizer").number("lr"),
        training_steps=steps,
        warmup_steps=scheduler.whole("warmup_steps", 200),
        total_steps=scheduler.whole("total_steps") if scheduler.has("total_steps") else None,
        decay_ratio=None if ratio is None else float(ratio),
        decay_type=scheduler.text("decay_type", "linear"),
        min_lr_factor=scheduler.number("min_lr_factor", 0.0),
    )
    notes = [f"Not given, so torchtitan's defaults: {', '.join(defaults)}."] if defaults else []
    title = experiment(options, config.sub("job").get("description"), "job.description")
    clock = Clock(horizon=Noted(steps, "training.steps"))
    signals = {"lr": replace(made, why="optimizer.lr")}
    return document(f"{source.name} (torchtitan)", clock, signals, experiment=title, notes=tuple(notes))


IMPORTER = Importer("torchtitan", "its TOML configuration, 0.2 and later", _detect, _convert)
