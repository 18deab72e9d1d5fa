"""The ``schedule`` of a signal: one family, or phases one after another.

    schedule: [{linear: {from: 0, for: 200}}, {cosine: {to: 3.0e-5, until: horizon}}]

Every phase may say ``for`` (its duration) or ``until`` (its end: a number or ``horizon``), ``over`` (the
family's time scale, when it is not the duration), ``offset`` (added to local time), ``stairs`` (local time is
rounded down to a multiple of it), ``min`` and ``max`` (values that clamp the result) and ``after`` (what it does
past its length). The last phase may leave its end out; then it lasts for ever.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from lrwatch.contract.fields import MISSING, Fields
from lrwatch.contract.model import Phase
from lrwatch.errors import ContractError, did_you_mean
from lrwatch.schedules import families
from lrwatch.schedules.base import REQUIRED, Family, Param

_BOUND = {key: Param(key, "value", "clamps the result", default=None, ge=0) for key in ("min", "max")}


def parse(f: Fields, key: str, horizon: float | None) -> tuple[Phase, ...]:
    """The phases under ``key``; each starts where the one before it ends."""
    items = f.items(key)
    if not items:
        raise f.error("is missing; give a family, e.g. {cosine: {to: 0, until: horizon}}", key)
    return _phases(items, f, horizon)


def _phases(items: list[tuple[Any, str]], f: Fields, horizon: float | None) -> tuple[Phase, ...]:
    result: list[Phase] = []
    for i, (value, path) in enumerate(items):
        last = i == len(items) - 1
        previous = result[-1].end if result else 0.0
        if previous is None:
            raise ContractError(
                "comes after a phase that never ends; give that one `for` or `until`",
                source=f.source,
                path=path,
                line=f.lines.get(path),
            )
        result.append(_phase(value, path, f, previous, horizon, last))
    return tuple(result)


def _phase(value: Any, path: str, f: Fields, start: float, horizon: float | None, last: bool) -> Phase:
    if isinstance(value, str):
        value = {value: {}}
    one = Fields(value, path, f.lines, f.source)
    if len(one.value) != 1:
        raise one.error(f"must be one family with its parameters, has {', '.join(one.value) or 'nothing'}")
    name = next(iter(one.value))
    known = families()
    if name not in known:
        raise one.error(f"is not a schedule family{did_you_mean(name, known)}", name)
    return _family(known[name], one.sub(name, {}), start, horizon, last)


def _family(family: Family, p: Fields, start: float, horizon: float | None, last: bool) -> Phase:
    end = _end(p, start, horizon)
    if end is None and not last:
        raise p.error("must say `for` or `until`, because another phase follows")
    over = p.number("over", None, gt=0)
    length = over if over is not None else (None if end is None else end - start)
    if length is None and family.length == "required":
        raise p.error(f"needs a length: give `for: N` or `until: {'horizon' if horizon else 'N'}`")
    left = horizon - start if horizon is not None and horizon > start else None
    params = {
        param.name: _schedules(p, param, left) if param.kind == "schedules" else _param(p, param, horizon)
        for param in family.params
    }
    after = p.choice("after", tuple(family.after), family.after[0])
    problem = family.check({**params, "length": length, "after": after})
    if problem:
        raise p.error(problem)
    phase = Phase(
        family=family.name,
        params=MappingProxyType(params),
        start=start,
        end=None if last else end,
        length=length,
        offset=p.number("offset", 0.0, ge=0),
        after=after,
        low=_value(p, _BOUND["min"], p.raw("min", None)),
        high=_value(p, _BOUND["max"], p.raw("max", None)),
        stairs=p.number("stairs", None, gt=0),
    )
    p.done()
    return phase


def _end(p: Fields, start: float, horizon: float | None) -> float | None:
    duration = p.number("for", None, gt=0)
    until = p.raw("until", None)
    if duration is not None and until is not None:
        raise p.error("give `for` or `until`, not both", "until")
    if duration is not None:
        return start + float(duration)
    if until is None:
        return None
    if until == "horizon":
        if horizon is None:
            raise p.error("names the horizon, but clock.horizon is not set", "until")
        until = horizon
    end = p.check_number(until, "until", gt=0)
    if end <= start:
        raise p.error(f"must be > {start:g}, where the phase begins, got {end:g}", "until")
    return end


def _param(p: Fields, param: Param, horizon: float | None) -> Any:
    required = param.default is REQUIRED
    default = MISSING if required else param.default
    if param.kind == "choice":
        return p.choice(param.name, param.choices, default)
    if param.kind == "flag":
        return p.flag(param.name, default)
    if param.kind == "text":
        return p.text(param.name, default)
    if param.kind == "whole":
        return p.count(param.name, default, ge=int(param.ge or 0))
    if param.kind == "counts":
        return _counts(p, param) if required or param.name in p.value else p.raw(param.name, default)
    if param.kind == "values":
        return _values(p, param)
    raw = p.raw(param.name, default)
    if param.kind == "value":
        return _value(p, param, raw)
    if raw is None:
        return None
    if param.kind == "count":
        if raw == "horizon" and horizon is not None:
            raw = horizon
        return p.check_number(raw, param.name, gt=0 if param.ge is None else None, ge=param.ge)
    return p.check_number(raw, param.name, gt=param.gt, ge=param.ge, le=param.le)


def _value(p: Fields, param: Param, raw: Any, place: str = "") -> tuple[float, bool] | None:
    """``(number, relative)``: ``3e-5`` is absolute, ``10%`` a share of the base."""
    place = place or param.name
    if raw is None:
        return None
    if isinstance(raw, str) and raw.endswith("%"):
        try:
            share = float(raw[:-1]) / 100.0
        except ValueError:
            raise p.error(f"must be a number or a share like 10%, got {raw!r}", place) from None
        return p.check_number(share, place, gt=param.gt, ge=param.ge, le=param.le), True
    return p.check_number(raw, place, gt=param.gt, ge=param.ge, le=param.le), False


def _values(p: Fields, param: Param) -> tuple[tuple[float, bool], ...]:
    """One ``(number, relative)`` for each value of a list."""
    listed = [(v, f"{param.name}[{i}]") for i, (v, _) in enumerate(p.items(param.name))]
    found = [_value(p, param, v, place) for v, place in listed]
    if not found or None in found:
        raise p.error("must list at least one value, and no empty one", param.name)
    return tuple(v for v in found if v is not None)


def _schedules(p: Fields, param: Param, horizon: float | None) -> tuple[tuple[Phase, ...], ...]:
    """The schedules of a list, each one family or a list of phases, on the local time of the phase they stand in."""
    items = p.items(param.name)
    if not items:
        raise p.error("must list at least one schedule, e.g. [{cosine: {for: 100}}, {step: {every: 10}}]", param.name)
    result = []
    for value, path in items:
        parts = [(v, f"{path}[{i}]") for i, v in enumerate(value)] if isinstance(value, list) else [(value, path)]
        if not parts:
            raise ContractError("must not be empty", source=p.source, path=path, line=p.lines.get(path))
        phases = _phases(parts, p, horizon)
        for phase in phases:
            if families()[phase.family].stateful:
                what = f"{phase.family} reacts to metrics and cannot stand inside another family"
                raise ContractError(what, source=p.source, path=path, line=p.lines.get(path))
        result.append(phases)
    return tuple(result)


def _counts(p: Fields, param: Param) -> tuple[float, ...]:
    values = [p.check_number(v, f"{param.name}[{i}]", ge=0) for i, (v, _) in enumerate(p.items(param.name))]
    if not values:
        raise p.error("must list at least one number", param.name)
    if any(b < a for a, b in zip(values, values[1:], strict=False)):
        raise p.error(f"must not decrease, got {values}", param.name)
    return tuple(values)
