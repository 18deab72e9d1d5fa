"""Megatron-LM's argument list → a contract of learning rate and weight decay.

Read from a shell script, a file of arguments or the list that Megatron prints at the start of a log. The scheduler is
stepped by samples; with one batch size all the way the contract counts updates, which is the same, and with a ramp it
counts samples.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrwatch.importers._document import Clock, Imported, Noted, document
from lrwatch.importers._frameworks import megatron
from lrwatch.importers._parts import Schedule
from lrwatch.importers.base import Config, Importer, Options, Source, experiment

_WORDS = ("--lr-decay-style", "--train-iters", "--train-samples", "--lr-warmup-fraction", "--lr-warmup-iters",
          "--lr-decay-iters", "--micro-batch-size", "--tensor-model-parallel-size")  # fmt: skip
_PRINTED = re.compile(r"^\s*(?:\d+:\s*)?([a-z][a-z0-9_]+) \.{2,} (.+)$", re.MULTILINE)
_LISTS = ("rampup_batch_size",)
DEFAULTS = {"lr_decay_style": "linear", "min_lr": "0.0", "lr_warmup_init": "0.0"}


def _detect(source: Source) -> float:
    printed = sum(f" {word[2:].replace('-', '_')} ." in source.text for word in _WORDS)
    return min(1.0, max(sum(word in source.text for word in _WORDS), printed) / 3)


def arguments(source: Source) -> dict[str, Any]:
    """``{"train_iters": "500000", …}`` of a script, an argument file or a log.

    A shell variable is looked up among the assignments of the same file.
    """
    printed = {key: value.strip() for key, value in _PRINTED.findall(source.text)}
    if len(printed) > 5:
        return {key: value for key, value in printed.items() if value != "None"}
    variables = dict(re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=([^\s(]+)\s*$", source.text, re.MULTILINE))
    text = re.sub(r"\\\r?\n", " ", source.text)
    try:
        tokens = shlex.split(text, comments=True)
    except ValueError as e:
        raise source.error(f"is no argument list: {e}") from None
    found: dict[str, Any] = {}
    name = ""
    for token in tokens:
        if token.startswith("--"):
            name, _, value = token[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = value or True
        elif name and found[name] is True:
            found[name] = _expanded(source, name, token, variables)
        elif name and isinstance(found[name], str) and name in _LISTS:
            found[name] += f" {_expanded(source, name, token, variables)}"
    return found


def _expanded(source: Source, name: str, token: str, variables: Mapping[str, str]) -> str:
    match = re.fullmatch(r"\$\{?(\w+)\}?", token)
    if match and match[1] in variables:
        return variables[match[1]].strip("\"'")
    if "$" in token and name in _NEEDED:
        key = name.replace("_", "-")
        raise source.error(f"is {token}, which the file does not assign; pass --set {name}=…", f"--{key}")
    return token


_NEEDED = {"lr", "min_lr", "lr_decay_style", "train_iters", "train_samples", "lr_decay_iters", "lr_decay_samples",
           "lr_warmup_iters", "lr_warmup_samples", "lr_warmup_fraction", "lr_warmup_init", "global_batch_size",
           "rampup_batch_size", "weight_decay", "start_weight_decay", "end_weight_decay", "weight_decay_incr_style",
           "lr_wsd_decay_iters", "lr_wsd_decay_samples", "lr_wsd_decay_style"}  # fmt: skip


def _convert(source: Source, options: Options) -> Imported:
    config = Config(arguments(source), source, options.values)
    by_samples = config.has("train_samples")
    if not by_samples and not config.has("train_iters"):
        source.need(None, "--set train_iters=N", "neither --train-iters nor --train-samples says how long the run is")
    size = options.batch_size or config.get("global_batch_size")
    size = int(source.need(size, "--batch-size N", "--global-batch-size is not there, and the data-parallel size, "
                                                   "which it would be made of, neither"))  # fmt: skip
    ramp = _ramp(config, size)
    unit = 1 if ramp else size
    times = _times(config, by_samples, size, unit, bool(ramp))
    lr = _lr(config, options, times, unit)
    decay = _weight_decay(config, times["train"])
    batch = {"ramp": Noted(ramp, "--rampup-batch-size")} if ramp else {"global": Noted(size, "--global-batch-size")}
    clock = Clock(
        axis=Noted("sample" if ramp else "update", "the batch size grows" if ramp else "one batch size all the way"),
        horizon=Noted(int(times["train"]), "--train-samples" if by_samples else "--train-iters"),
        batch=batch,
    )
    signals = {"lr": lr, "weight_decay": decay} if decay else {"lr": lr}
    defaults = [f"--{key.replace('_', '-')} {value}" for key, value in DEFAULTS.items() if not config.has(key)]
    notes = ["Megatron steps its scheduler by the samples of each applied update."]
    if defaults:
        notes.append(f"Not given, so Megatron's defaults: {', '.join(defaults)}.")
    title = experiment(options, config.get("wandb_exp_name"), "--wandb-exp-name")
    return document(f"{source.name} (Megatron-LM)", clock, signals, experiment=title, notes=tuple(notes))


def _times(config: Config, by_samples: bool, size: int, unit: int, ramp: bool) -> dict[str, float]:
    """Train, decay, warm-up and WSD lengths in clock units (samples divided by ``unit``), as Megatron derives them."""
    kind, scale = ("samples", 1.0 / unit) if by_samples else ("iters", size / unit)
    if ramp and not by_samples:
        what = "with --rampup-batch-size Megatron trains by samples; give --train-samples"
        raise config.source.error(what, "--train-iters")
    train = config.number(f"train_{kind}") * scale
    decay = config.number(f"lr_decay_{kind}") * scale if config.has(f"lr_decay_{kind}") else train
    if config.has("lr_warmup_fraction"):
        warmup = config.number("lr_warmup_fraction") * decay
    else:
        warmup = config.number(f"lr_warmup_{kind}", 0) * scale
    wsd = config.number(f"lr_wsd_decay_{kind}", 0) * scale
    return {"train": train, "decay": decay, "warmup": warmup, "wsd": wsd}


def _lr(config: Config, options: Options, times: Mapping[str, float], unit: int) -> Schedule:
    peak = options.lr if options.lr is not None else config.number("lr")
    style = config.text("lr_decay_style", DEFAULTS["lr_decay_style"])
    low = config.number("min_lr", float(DEFAULTS["min_lr"]))
    init = config.number("lr_warmup_init", float(DEFAULTS["lr_warmup_init"]))
    common = {"max_lr": peak, "init_lr": init, "lr_warmup_steps": times["warmup"]}
    span = {**common, "min_lr": low, "lr_decay_steps": times["decay"]}
    if style == "constant":
        made = megatron.constant(**common)
    elif style == "linear":
        made = megatron.linear(**span)
    elif style == "cosine":
        made = megatron.cosine(**span)
    elif style == "inverse-square-root":
        made = megatron.inverse_square_root(**span, unit=unit)
    elif style == "WSD":
        if not times["wsd"]:
            config.source.need(None, "--set lr_wsd_decay_iters=N", "WSD without the length of its decay")
        shape = config.text("lr_wsd_decay_style", "exponential")
        made = megatron.wsd(**span, wsd_decay_steps=times["wsd"], lr_wsd_decay_style=shape, unit=unit)
    else:
        known = ", ".join(key for key in megatron.SCHEDULES if " " not in key)
        raise config.source.error(f"must be one of {known}; got {style!r}", "--lr-decay-style")
    return replace(made, why="--lr")


def _weight_decay(config: Config, train: float) -> Schedule | None:
    style = config.text("weight_decay_incr_style", "constant")
    if style == "constant":
        if not config.has("weight_decay"):
            return None
        both = config.number("weight_decay")
        return replace(megatron.weight_decay(start_wd=both, end_wd=both, wd_incr_steps=train), why="--weight-decay")
    start, end = config.number("start_weight_decay"), config.number("end_weight_decay")
    made = megatron.weight_decay(start_wd=start, end_wd=end, wd_incr_steps=train, wd_incr_style=style)
    return replace(made, why="--end-weight-decay")


def _ramp(config: Config, size: int) -> list[list[int]]:
    """``start increment samples`` → [[first sample, batch size], …]."""
    if not config.has("rampup_batch_size"):
        return []
    numbers = re.findall(r"\d+", str(config.get("rampup_batch_size")))
    if len(numbers) != 3:
        raise config.source.error("must be three numbers: start, increment, samples", "--rampup-batch-size")
    start, increment, samples = map(int, numbers)
    rises = (size - start) // increment
    if rises <= 0 or (size - start) % increment:
        what = f"must lead from {start} to the batch size {size} in whole steps of {increment}"
        raise config.source.error(what, "--rampup-batch-size")
    return [[-(-i * samples // rises), start + i * increment] for i in range(rises + 1)]  # rounded up


IMPORTER = Importer("megatron", "Megatron-LM's arguments: a script, a list, the head of a log", _detect, _convert)
