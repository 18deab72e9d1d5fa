"""LightningCLI's config.yaml → a contract of its ``lr_scheduler``.

Lightning steps it once per epoch unless the module configures it otherwise, which the file does not show: say it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import schedule, schedules
from lrwatch.importers._parts import Schedule
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_IGNORED = ("optimizer", "last_epoch", "verbose", "monitor", "cycle_momentum", "base_momentum", "max_momentum")


def _detect(source: Source) -> float:
    words = ("\ntrainer:", "class_path:", "\nlr_scheduler:", "\noptimizer:", "max_epochs:", "init_args:")
    return min(1.0, sum(word in f"\n{source.text}" for word in words) / 5)


def _convert(source: Source, options: Options) -> Imported:
    config = Config(source.yaml(), source, options.values)
    block = config.sub("lr_scheduler")
    if not block.has("class_path"):
        what = "is missing: the module makes its own; import it live, lrwatch.importers.torch.contract_of"
        raise source.error(what, "lr_scheduler")
    why = "Lightning steps per epoch unless the module says otherwise, which is not in the file"
    stepped = source.need(options.stepped, "--stepped epoch (or update, attempt)", why)
    name = block.text("class_path").rpartition(".")[2]
    if name not in schedules("torch") or name in ("LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"):
        raise source.error(f"{name} cannot be read from a file; import it live", "lr_scheduler.class_path")
    args = block.sub("init_args").given()
    lr = options.lr if options.lr is not None else config.sub("optimizer").sub("init_args").number("lr")
    signals = _signals(source, name, args, lr)
    trainer = config.sub("trainer")
    notes = (f"Lightning's trainer; {name} stepped once per {stepped}.",)
    return document(f"{source.name} (Lightning)", _clock(trainer, options, stepped), signals,
                    experiment=experiment(options, None, ""), notes=notes)  # fmt: skip


def _signals(source: Source, name: str, args: dict[str, Any], lr: float) -> dict[str, Schedule]:
    given = {k: v for k, v in args.items() if k not in _IGNORED}
    why = "optimizer.init_args.lr"
    if name == "ReduceLROnPlateau":
        given["metric"] = source.need(args.get("monitor"), "--set", "lr_scheduler.init_args.monitor is missing")
    if name == "OneCycleLR" and "total_steps" not in given:
        given["total_steps"] = int(given.pop("epochs", 0)) * int(given.pop("steps_per_epoch", 0))
    if name in ("OneCycleLR", "CyclicLR"):
        moved = {k: v for k, v in args.items() if k in ("base_momentum", "max_momentum")}
        shape = {k: v for k, v in given.items() if k not in ("base_lr", "max_lr", "div_factor", "final_div_factor")}
        made = {"lr": replace(schedule("torch", name, **given), why=f"{name}'s own, in place of the optimizer's")}
        if args.get("cycle_momentum", True):
            made["momentum"] = schedule("torch", f"{name} momentum", **shape, **moved)
        return made
    return {"lr": replace(schedule("torch", name, lr=lr, **given), why=why)}


def _clock(trainer: Config, options: Options, stepped: str) -> Clock:
    """The horizon in what the scheduler counts."""
    batch, per_epoch = {}, options.steps_per_epoch
    accumulate = options.accumulate or trainer.get("accumulate_grad_batches")
    if accumulate is not None:
        batch["accumulate"] = Noted(int(accumulate), "trainer.accumulate_grad_batches")
    if per_epoch is not None:
        batch["steps_per_epoch"] = Noted(per_epoch, "--steps-per-epoch")
    horizon = None
    if stepped == "epoch":
        if trainer.number("max_epochs", -1) > 0:
            horizon = Noted(trainer.whole("max_epochs"), "trainer.max_epochs")
        return Clock(axis=Noted("epoch", "--stepped epoch"), horizon=horizon, batch=batch)
    if options.steps is not None:
        horizon = Noted(options.steps, "--steps")
    elif trainer.number("max_steps", -1) > 0:
        horizon = Noted(trainer.whole("max_steps"), "trainer.max_steps")
    elif trainer.number("max_epochs", -1) > 0:
        why = "trainer.max_epochs is a number of updates only with the length of an epoch"
        length = trainer.source.need(per_epoch, "--steps-per-epoch N", why)
        horizon = Noted(trainer.whole("max_epochs") * length, "trainer.max_epochs, times --steps-per-epoch")
    counts = Noted("attempted", "--stepped attempt") if stepped == "attempt" else None
    return Clock(axis=Noted("update", f"--stepped {stepped}"), counts=counts, horizon=horizon, batch=batch)


IMPORTER = Importer("lightning", "LightningCLI's config.yaml", _detect, _convert)
