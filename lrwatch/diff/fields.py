"""In what two runs differ besides their numbers: their contracts, what they recorded of themselves, what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lrwatch.contract.hash import canonical
from lrwatch.contract.model import Contract
from lrwatch.diff.survey import DETAILS, FACTS, MOST_EVENTS, Survey

ABSENT: Final = None
"""The value of a field that one of the two does not have."""
KINDS: Final = ("resume", "restart", "intervention", "oom", "stale", "skip", "checkpoint", "validation", "end")


@dataclass(frozen=True)
class Field:
    """Something that two runs have different values for; None where one has none."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Happened:
    """A kind of event that happened otherwise in the two runs.

    ``a``, ``b``: how often. ``update``: where they first differ; ``said_a``, ``said_b``: what happened there, empty for
    nothing.
    """

    kind: str
    a: int
    b: int
    update: int
    said_a: str
    said_b: str


def contracts(a: Contract | None, b: Contract | None) -> tuple[Field, ...]:
    """The fields of two contracts that differ, by their paths; nothing where one is missing.

    >>> list(_fields({"lr": {"base": 3e-4}}, {"lr": {"base": 0.0006}}, ""))
    [Field(name='lr.base', a=0.0003, b=0.0006)]
    """
    return () if a is None or b is None else tuple(_fields(a.document, b.document, ""))


def _fields(a: Any, b: Any, path: str) -> Iterator[Field]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys((*a, *b)):
            yield from _fields(a.get(key, ABSENT), b.get(key, ABSENT), f"{path}.{key}" if path else str(key))
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        for i in range(max(len(a), len(b))):
            yield from _fields(a[i] if i < len(a) else ABSENT, b[i] if i < len(b) else ABSENT, f"{path}[{i}]")
    elif canonical(a) != canonical(b):
        yield Field(path, a, b)


def facts(a: Survey, b: Survey) -> tuple[Field, ...]:
    """What the runs recorded of themselves and do not have in common; only what both recorded can differ."""
    found = [
        Field(name, a.facts[name], b.facts[name])
        for name in FACTS
        if name in a.facts and name in b.facts and a.facts[name] != b.facts[name]
    ]
    if a.ranks != b.ranks:
        found.append(Field("workers with rows", len(a.ranks), len(b.ranks)))
    if a.steps != b.steps:
        found.append(Field("steps", _steps(a), _steps(b)))
    if a.skipped != b.skipped:
        found.append(Field("skipped updates", a.skipped, b.skipped))
    return tuple(found)


def _steps(survey: Survey) -> str:
    return "none" if survey.steps is None else f"{survey.steps[0]:,}–{survey.steps[1]:,}"


def happened(a: Survey, b: Survey) -> tuple[Happened, ...]:
    """The kinds of events that differ, and where first; of very many events the first ``MOST_EVENTS`` are compared."""
    found = []
    for kind in KINDS:
        left, right = a.events.get(kind, {}), b.events.get(kind, {})
        last = min((max(e) for e in (left, right) if len(e) >= MOST_EVENTS), default=None)
        for update in sorted(left.keys() | right.keys()):
            if last is not None and update > last:
                break
            if left.get(update) != right.get(update):
                said = [_said(kind, e, update) for e in (left, right)]
                found.append(Happened(kind, a.counts[kind], b.counts[kind], update, *said))
                break
    return tuple(found)


def _said(kind: str, events: Mapping[int, Mapping[str, Any]], update: int) -> str:
    """One event in words."""
    if update not in events:
        return ""
    fields = events[update]
    said = [f"{name.replace('_', ' ')} {fields[name]}" for name in DETAILS if name in fields]
    return ", ".join([kind, *said])
