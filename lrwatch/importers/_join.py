"""Schedules one after another, and schedules multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lrwatch.importers._parts import Part, Schedule, part, share, tidy
from lrwatch.schedules import families


def joined(schedules: Sequence[Schedule], borders: Sequence[float]) -> Schedule:
    """Each schedule on its own time from its border on, the border included; the first one from 0.

    The base is the largest of theirs; a schedule on another base becomes a product.
    """
    base = max(one.base for one in schedules)
    starts = [0.0, *borders]
    parts: list[Part] = []
    for one, start, end in zip(schedules, starts, [*starts[1:], None], strict=True):
        own = one.parts if one.base == base else (_scaled(one, base),)
        parts += own if end is None else _within(own, end - start)
    return replace(schedules[0], base=base, parts=tuple(parts), recursive=any(one.recursive for one in schedules))


def multiplied(schedules: Sequence[Schedule], why: str) -> Schedule:
    """The product of all, on the first one's base."""
    first, *others = schedules
    if not others:
        return first
    of = [_one_or_all(first.plain())]
    of += [_one_or_all([relative(phase, one.base) for phase in one.plain()]) for one in others]
    told = " × ".join("; ".join(p.why for p in one.parts) for one in schedules)
    whole = part("product", f"{why}: {told}", of=of)
    return replace(first, parts=(whole,), recursive=any(one.recursive for one in schedules))


def _within(parts: Sequence[Part], duration: float) -> list[Part]:
    """The parts of the first ``duration`` clock units; a part that is cut or stretched keeps its time scale."""
    kept, left = [], duration
    for i, p in enumerate(parts):
        lasting = i == len(parts) - 1 or p.duration is None
        spent = left if lasting else min(p.duration or 0.0, left)
        if spent > 0:
            scale = {} if p.duration in (None, spent) or "over" in p.params else {"over": p.duration}
            kept.append(replace(p, params={**p.params, **scale, "for": tidy(spent)}))
        left -= spent
    return kept


def _scaled(one: Schedule, base: float) -> Part:
    """A schedule on another base, as one part."""
    factor = {"constant": {"at": share(one.base / base)}}
    inner = _one_or_all([relative(phase, one.base) for phase in one.plain()])
    return part("product", "; ".join(p.why for p in one.parts), of=[factor, inner])


def _one_or_all(phases: list[dict[str, Any]]) -> Any:
    return phases if len(phases) > 1 else phases[0]


def relative(phase: dict[str, Any], base: float) -> dict[str, Any]:
    """A plain phase with its absolute values as shares of ``base``, those of phases inside it too."""
    ((family, params),) = phase.items()
    kinds = {p.name: p.kind for p in families()[family].params} | {"min": "value", "max": "value"}

    def one(value: Any, kind: str) -> Any:
        if kind == "schedules":
            return [[relative(p, base) for p in v] if isinstance(v, list) else relative(v, base) for v in value]
        if kind == "values":
            return [one(v, "value") for v in value]
        return share(value / base) if kind == "value" and isinstance(value, (int, float)) else value

    return {family: {key: one(value, kinds.get(key, "")) for key, value in params.items()}}
