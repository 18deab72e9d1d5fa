"""YAML → Contract. Everything that can be wrong is found here, with its place and the remedy."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lrwatch.contract import document, model, phases
from lrwatch.contract.document import Lines
from lrwatch.contract.fields import Fields
from lrwatch.contract.hash import identify
from lrwatch.errors import ContractError

VERSION = 1
SIGNALS = ("lr", "weight_decay", "momentum")
_TOP = ("lrwatch", "experiment", "clock", "batch", *SIGNALS, "goal", "cost", "trace", "tolerance", "amendments")


def load(path: str | Path) -> model.Contract:
    """Read a contract file.

    Raises:
        ContractError: the file, the place in it, what is wrong and what would be right.

    Example:
        >>> load("contract.yaml").clock.horizon       # doctest: +SKIP
        20000.0
    """
    source = str(path)
    tree, lines = document.parse(document.read(path), source)
    return _contract(tree, lines, source)


def from_document(tree: Mapping[str, Any], source: str = "contract") -> model.Contract:
    """A contract from plain data, e.g. an importer's result. Raises ContractError as ``load`` does."""
    value = document.plain(tree, source)
    if not isinstance(value, dict):
        raise ContractError("must be a mapping with lrwatch, experiment, clock and lr", source=source)
    return _contract(value, {}, source)


def _contract(tree: dict[str, Any], lines: Lines, source: str) -> model.Contract:
    top = Fields(tree, "", lines, source)
    version = top.raw("lrwatch")
    if version != VERSION or isinstance(version, bool):
        raise top.error(f"must be {VERSION}, the version of the contract grammar, got {version!r}", "lrwatch")
    experiment = top.text("experiment")
    batch = _batch(top)
    clock, signals = _promise(tree, lines, source)
    goal, cost, recording, tolerance = _goal(top), _cost(top), _recording(top), _tolerance(top)
    top.known.extend(_TOP)
    top.done()
    amendments = tuple(_amendment(v, path, lines, source, signals) for v, path in top.items("amendments"))
    _need_steps_per_epoch(clock, batch, top)
    return model.Contract(
        experiment=experiment,
        clock=clock,
        signals=signals,
        batch=batch,
        goal=goal,
        cost=cost,
        recording=recording,
        tolerance=tolerance,
        amendments=amendments,
        versions=_versions(tree, amendments, lines, source, model.Version(0.0, clock, signals)),
        identity=identify(tree),
        document=MappingProxyType(tree),
        source=source,
    )


def _promise(tree: Mapping[str, Any], lines: Lines, source: str) -> tuple[model.Clock, Mapping[str, model.Signal]]:
    """The part that amendments can change: clock and signals."""
    top = Fields(tree, "", lines, source)
    f = top.sub("clock", {})
    clock = model.Clock(
        axis=f.choice("axis", ("update", "attempt", "epoch", "sample", "token", "round"), "update"),
        counts=f.choice("counts", ("applied", "attempted"), "applied"),
        horizon=f.number("horizon", None, gt=0),
        ticks=f.count("ticks", 1),
    )
    f.done()
    if "lr" not in tree:
        top.raw("lr")
    signals = {name: _signal(name, top.sub(name), clock) for name in SIGNALS if name in tree}
    return clock, MappingProxyType(signals)


def _signal(name: str, f: Fields, clock: model.Clock) -> model.Signal:
    base = f.number("base", gt=0)
    schedule = phases.parse(f, "schedule", clock.horizon)
    groups: dict[str, model.Group] = {}
    listed = f.sub("groups", {})
    for key in listed.value:
        g = listed.sub(key)
        groups[key] = model.Group(
            key,
            base=g.number("base", None, gt=0),
            scale=g.number("scale", 1.0, gt=0),
            schedule=phases.parse(g, "schedule", clock.horizon) if "schedule" in g.value else None,
        )
        if groups[key].base is not None and groups[key].scale != 1.0:
            raise g.error("give base or scale, not both: scale multiplies the whole curve, base only the base", "scale")
        g.done()
    signal = model.Signal(
        name,
        base,
        schedule,
        MappingProxyType(groups),
        dtype=f.choice("dtype", ("float64", "float32", "bfloat16", "float16"), "float64"),
        recursive=f.flag("recursive", False),
        shift=_shift(f.sub("ranks", {})),
    )
    f.done()
    return signal


def _shift(f: Fields) -> float | tuple[float, ...]:
    """``ranks: {shift: 50}``: each worker 50 steps ahead of the one before; ``shift: [0, 50, 75]``: by rank."""
    raw = f.raw("shift", 0)
    if isinstance(raw, list):
        shift: float | tuple[float, ...] = tuple(
            f.check_number(v, f"shift[{i}]", ge=0) for i, (v, _) in enumerate(f.items("shift"))
        )
    else:
        shift = f.number("shift", 0.0, ge=0)
    f.done()
    return shift


def _batch(top: Fields) -> model.Batch:
    f = top.sub("batch", {})
    ramp: list[tuple[float, int]] = []
    for pair, path in f.items("ramp"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ContractError(
                "must be [first sample, batch size]", source=f.source, path=path, line=f.lines.get(path)
            )
        sub = Fields({"sample": pair[0], "size": pair[1]}, path, f.lines, f.source)
        ramp.append((sub.number("sample", ge=0), sub.count("size")))
    if ramp and (ramp[0][0] != 0 or any(b[0] <= a[0] for a, b in zip(ramp, ramp[1:], strict=False))):
        raise f.error("must begin at sample 0 and increase", "ramp")
    batch = model.Batch(
        size=f.count("global", None),
        accumulate=f.count("accumulate", None),
        steps_per_epoch=f.count("steps_per_epoch", None),
        ramp=tuple(ramp),
    )
    f.done()
    return batch


def _goal(top: Fields) -> model.Goal | None:
    if top.raw("goal", None) is None:
        return None
    f = top.sub("goal")
    goal = model.Goal(f.text("metric"), f.number("target"), f.choice("mode", ("min", "max"), "min"))
    f.done()
    return goal


def _cost(top: Fields) -> model.Cost | None:
    if top.raw("cost", None) is None:
        return None
    f = top.sub("cost")
    cost = model.Cost(f.number("per_gpu_hour", ge=0), f.text("currency", "USD"), f.number("budget", None, gt=0))
    f.done()
    return cost


def _recording(top: Fields) -> model.Recording:
    f = top.sub("trace", {})
    recording = model.Recording(
        ranks=f.choice("ranks", ("all", "rank0", "changes"), None),
        step_deadline=f.number("step_deadline", None, gt=0),
    )
    f.done()
    return recording


def _tolerance(top: Fields) -> model.Tolerance:
    f = top.sub("tolerance", {})
    tolerance = model.Tolerance(f.number("rtol", 1e-9, ge=0, le=0.1), f.number("atol", 1e-10, ge=0, le=0.1))
    f.done()
    return tolerance


def _need_steps_per_epoch(clock: model.Clock, batch: model.Batch, top: Fields) -> None:
    if clock.counts == "attempted" and clock.axis != "update":
        raise top.sub("clock").error("attempted only makes sense for axis update", "counts")


def _amendment(
    value: Any, path: str, lines: Lines, source: str, signals: Mapping[str, model.Signal]
) -> model.Amendment:
    f = Fields(value, path, lines, source)
    kinds = [k for k in ("set", "multiply", "rewind") if k in f.value]
    if len(kinds) != 1:
        raise f.error(f"must have exactly one of set, multiply, rewind; has {', '.join(kinds) or 'none'}")
    if kinds == ["rewind"]:
        r = f.sub("rewind")
        start, to = r.number("from", ge=0), r.number("to", ge=0)
        if to >= start:
            raise r.error(f"must be less than from ({start:g}), got {to:g}", "to")
        r.done()
        amendment = model.Amendment(rewind=(start, to), skip_data=f.number("skip_data", 0.0, ge=0))
        f.done()
        return amendment
    at = f.number("at", ge=0)
    if kinds == ["set"]:
        settings = f.sub("set").value
        for key in settings:
            top = re.split(r"[.\[]", key)[0]
            if top in SIGNALS and top not in signals:
                raise f.sub("set").error(f"is not a signal of this contract; those are {', '.join(signals)}", key)
            if top not in ("clock", *signals):
                raise f.sub("set").error(
                    f"cannot be amended; what can: clock.horizon, lr.base, lr.schedule, lr.groups, {SIGNALS[1]}…", key
                )
        amendment = model.Amendment(
            at=at, set=MappingProxyType(dict(settings)), join=f.choice("join", ("jump", "continuous"), "jump")
        )
    else:
        m = f.sub("multiply")
        for key in m.value:
            if key not in signals:
                raise m.error(f"is not a signal of this contract; those are {', '.join(signals)}", key)
        factors = {key: m.number(key, ge=0) for key in m.value}
        until = f.number("until", None)
        if until is not None and until <= at:
            raise f.error(f"must be greater than at ({at:g}), got {until:g}", "until")
        amendment = model.Amendment(at=at, until=until, multiply=MappingProxyType(factors))
    f.done()
    return amendment


def _versions(
    tree: dict[str, Any],
    amendments: tuple[model.Amendment, ...],
    lines: Lines,
    source: str,
    first: model.Version,
) -> tuple[model.Version, ...]:
    """The base promise and one more per ``set`` amendment, each built on the one before."""
    versions = [first]
    working = copy.deepcopy(tree)
    for i, amendment in enumerate(amendments):
        if not amendment.set or amendment.at is None:
            continue
        for path, value in amendment.set.items():
            _assign(working, path, value, f"amendments[{i}].set.{path}", lines, source)
        try:
            clock, signals = _promise(working, {}, source)
        except ContractError as e:
            raise ContractError(
                f"leads to a contract where {e.path} {e.problem}",
                source=source,
                path=f"amendments[{i}].set",
                line=lines.get(f"amendments[{i}].set"),
            ) from None
        if replace(clock, horizon=None) != replace(first.clock, horizon=None):
            raise ContractError(
                "changes what the clock counts; of the clock only the horizon can be amended",
                source=source,
                path=f"amendments[{i}].set",
                line=lines.get(f"amendments[{i}].set"),
            )
        if amendment.at < versions[-1].at:
            raise ContractError(
                f"must not come before an earlier amendment at {versions[-1].at:g}; the list is append-only",
                source=source,
                path=f"amendments[{i}].at",
                line=lines.get(f"amendments[{i}].at"),
            )
        versions.append(model.Version(amendment.at, clock, signals, amendment.join))
    return tuple(versions)


def _assign(tree: dict[str, Any], path: str, value: Any, where: str, lines: Lines, source: str) -> None:
    """Set ``tree[a][b][0]…`` for a path ``a.b[0]``; every part but the last must exist."""
    *parents, last = re.findall(r"[^.\[\]]+", path)
    at: Any = tree
    part = last
    try:
        for part in parents:
            at = at[_key(at, part)]
        part = last
        at[_key(at, part)] = copy.deepcopy(value)
    except (KeyError, IndexError, TypeError):
        raise ContractError(
            f"names {part!r}, which the contract does not have", source=source, path=where, line=lines.get(where)
        ) from None


def _key(container: Any, part: str) -> str | int:
    """A part of a path as the key that it is: a group may be called 0, an element of a list is numbered."""
    return int(part) if isinstance(container, list) and part.isdecimal() else part
