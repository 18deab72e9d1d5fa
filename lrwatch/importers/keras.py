"""Keras' get_config() or serialize() of a schedule or an optimizer, as JSON → a contract.

t is ``optimizer.iterations``. With gradient_accumulation_steps G Keras counts micro-batches: update u uses the value at
G·u + G - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import schedule, schedules
from lrwatch.importers._parts import cut
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_LENGTHS = ("decay_steps", "first_decay_steps")


def _detect(source: Source) -> float:
    if not source.text.lstrip().startswith("{"):
        return 0.0
    if any(f'"{name}"' in source.text for name in _named()):
        return 1.0
    if '"initial_learning_rate"' in source.text or ('"boundaries"' in source.text and '"values"' in source.text):
        return 0.9
    return 0.8 if '"class_name"' in source.text and '"learning_rate"' in source.text else 0.0


def _named() -> list[str]:
    return [name for name in schedules("keras") if name != "constant"]


def _convert(source: Source, options: Options) -> Imported:
    config = Config(source.json(), source, options.values)
    optimizer = (
        config.sub("config") if "class_name" in config.tree and "learning_rate" in config.get("config", {}) else config
    )
    accumulate = options.accumulate or optimizer.get("gradient_accumulation_steps") or 1
    found = optimizer.get("learning_rate", config.tree)
    name, params = _schedule(source, found)
    if name in ("PolynomialDecay", "CosineDecayRestarts"):
        needs = params.get("cycle") or params.get("t_mul", 1.0) != 1.0
        if needs:
            flag = "its cycles grow, and are written out to the end of the run"
            params["steps"] = source.need(options.steps, "--steps N", f"{name}: {flag}") * accumulate
    made = schedule("keras", name, **params)
    horizon = None if options.steps is None else Noted(options.steps * accumulate, "--steps")
    batch = {}
    ticks = None
    if accumulate > 1:
        made = replace(made, parts=cut(made.parts, accumulate - 1))
        why = "gradient_accumulation_steps: Keras counts micro-batches, and update u is the last of its own"
        ticks, batch = Noted(accumulate, why), {"accumulate": Noted(accumulate, "gradient_accumulation_steps")}
    why = "the largest value of the schedule" if isinstance(found, Mapping) else "learning_rate"
    clock = Clock(horizon=horizon, ticks=ticks, batch=batch)
    title = experiment(options, None, "")
    return document(f"{source.name} (Keras)", clock, {"lr": replace(made, why=why)}, experiment=title,
                    notes=("A LearningRateScheduler or ReduceLROnPlateau callback would overwrite it.",))  # fmt: skip


def _schedule(source: Source, found: Any) -> tuple[str, dict[str, Any]]:
    """The schedule's name and parameters."""
    if isinstance(found, (int, float)):
        return "constant", {"learning_rate": float(found)}
    if not isinstance(found, Mapping):
        raise source.error("has no learning_rate; give the configuration of a schedule or of an optimizer")
    name, params = found.get("class_name"), found.get("config", found)
    if name is None:  # get_config() alone: Keras gives most schedules their class as a name
        aliases = {"PiecewiseConstant": "PiecewiseConstantDecay", "SGDRDecay": "CosineDecayRestarts"}
        name = aliases.get(str(params.get("name")), params.get("name"))
    if name not in _named():
        raise source.error(f"must be one of {', '.join(_named())}; got {name!r}", "class_name")
    return str(name), {k: v for k, v in params.items() if k != "name" and v is not None}


IMPORTER = Importer("keras", "get_config() or serialize() of a schedule or an optimizer, as JSON", _detect, _convert)
