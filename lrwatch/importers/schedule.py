"""A framework's schedule by name, with its own parameters → a contract.

    lrwatch contract import optax.warmup_cosine_decay_schedule --set init_value=0 --set peak_value=1e-3 …

For what has no configuration file of its own: optax, fairseq, NeMo, torchtune, or a scheduler in one's own loop.
"""

from __future__ import annotations

from dataclasses import replace

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import names, schedule, schedules
from lrwatch.importers.base import Importer, Options, Source, experiment

_ASK = ("torch", "timm", "nemo")
"""Frameworks whose scheduler is stepped by somebody else's loop."""
_UNITS = {"megatron": "sample"}


def _split(source: Source) -> tuple[str, str]:
    framework, _, name = source.name.partition(".")
    return framework, name


def _detect(source: Source) -> float:
    framework, name = _split(source)
    return 1.0 if not source.text and framework in names() and name else 0.0


def _convert(source: Source, options: Options) -> Imported:
    framework, name = _split(source)
    known = schedules(framework)
    params = dict(options.values)
    if options.lr is not None:
        params.setdefault("lr", options.lr)
    axis, why = _UNITS.get(framework, "update"), f"what {framework}'s scheduler counts"
    counts = None
    if framework in _ASK or options.stepped:
        flag = "--stepped update (or attempt, epoch)"
        stepped = source.need(options.stepped, flag, f"{framework} does not say who steps the scheduler")
        axis, why = ("epoch" if stepped == "epoch" else "update"), f"--stepped {stepped}"
        counts = Noted("attempted", why) if stepped == "attempt" else None
    made = schedule(framework, name, **params)
    signal = "momentum" if name.endswith(" momentum") else "weight_decay" if name == "weight decay" else "lr"
    signals = {signal: replace(made, why=", ".join(f"{k}={v}" for k, v in params.items()))}
    if signal != "lr":
        raise source.error(f"is no learning rate; name one of {', '.join(k for k in known if ' ' not in k)}")
    horizon = None if options.steps is None else Noted(options.steps, "--steps")
    clock = Clock(axis=Noted(axis, why), counts=counts, horizon=horizon)
    return document(source.name, clock, signals, experiment=experiment(options, None, ""))


IMPORTER = Importer("schedule", "FRAMEWORK.NAME and its parameters by --set", _detect, _convert)
