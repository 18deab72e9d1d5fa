"""A schedule as data with reasons: what every importer makes, and the few moves they share.

A ``Part`` is one phase as a contract spells it, with the sentence that becomes its comment. Times are in clock
units, values absolute or shares of the base (``share``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from lrwatch.contract import Contract, from_document
from lrwatch.curve import Curve
from lrwatch.errors import ContractError

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One phase: a family, its parameters as the contract spells them, and why."""

    family: str
    params: Params
    why: str = ""

    @property
    def duration(self) -> float | None:
        """Clock units until the next part; None when it lasts for ever."""
        return self.params.get("for")

    def plain(self) -> dict[str, Any]:
        """The phase as the contract's grammar has it."""
        return {self.family: dict(self.params)}


@dataclass(frozen=True)
class Schedule:
    """One signal of one parameter group.

    Attributes:
        base: what shares are shares of, in the signal's unit, > 0. parts: the phases in order; the last one lasts.
        why: where the base is from. dtype: what the framework computes in. recursive: each value from the last one.
    """

    base: float
    parts: tuple[Part, ...]
    why: str = ""
    dtype: str = "float64"
    recursive: bool = False

    def plain(self) -> list[dict[str, Any]]:
        """The phases as the contract's grammar has them."""
        return [part.plain() for part in self.parts]

    def contract(self, horizon: float | None = None) -> Contract:
        """A contract of nothing but this schedule."""
        lr = {"base": self.base, "schedule": self.plain(), "dtype": self.dtype, "recursive": self.recursive}
        return from_document({"lrwatch": 1, "experiment": "", "clock": {"horizon": horizon}, "lr": lr})

    def value(self, t: float) -> float:
        """The value at clock position ``t``, absolute."""
        return float(Curve(self.contract()).at(np.array([float(t)]))[0])


def part(family: str, why: str = "", /, **params: Any) -> Part:
    """A part; ``from_`` is ``from``, ``for_`` is ``for``; what is None is left out.

    >>> part("linear", "warm-up", from_=0, for_=200).plain()
    {'linear': {'from': 0, 'for': 200}}
    """
    return Part(family, {key.rstrip("_"): tidy(value) for key, value in params.items() if value is not None}, why)


def tidy(value: Any) -> Any:
    """Whole floats as whole numbers, which read better; everything else as it is."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def share(ratio: float) -> str:
    """A multiple of the base, as a contract writes it: 15 digits, so that 1/(1/0.04) is 4%.

    >>> share(0.07), share(1), share(1e-7), share(0.039999999999999994)
    ('7%', '100%', '0.00001%', '4%')
    """
    return f"{(Decimal(f'{ratio:.15g}') * 100).normalize():f}%"


def sequence(*parts: Part | None) -> tuple[Part, ...]:
    """The parts that last: without those of no duration, except the last, and without None."""
    given = [p for p in parts if p is not None]
    return tuple(p for i, p in enumerate(given) if p.duration != 0 or i == len(given) - 1)


def positive(base: float, source: str, name: str) -> float:
    """The base, which everything is a multiple of; refused where it is none."""
    if not isinstance(base, (int, float)) or not math.isfinite(base) or base <= 0:
        raise ContractError(f"must be more than 0 to promise anything, got {base!r}", source=source, path=name)
    return float(base)


def cut(parts: Iterable[Part], start: float) -> tuple[Part, ...]:
    """The parts from clock position ``start`` on, as if that were 0."""
    left, result = start, []
    for p in parts:
        if left <= 0 or p.duration is None:
            result.append(p if left <= 0 else _into(p, left))
            left = 0.0
        elif p.duration > left:
            result.append(_into(p, left))
            left = 0.0
        else:
            left -= p.duration
            last = p
    return tuple(result) or (_into(last, left + (last.duration or 0.0)),)


def _into(p: Part, local: float) -> Part:
    """A part from its own time ``local`` on."""
    params = {**p.params, "offset": tidy(p.params.get("offset", 0) + local)}
    if p.duration is not None:
        params |= {"over": p.params.get("over", p.duration), "for": tidy(max(p.duration - local, 1e-9))}
    return replace(p, params=params)


@dataclass(frozen=True)
class Cycle:
    """One cycle of a schedule that restarts: number, first whole step in it, where it really begins, its length."""

    number: int
    first: int
    begins: float
    length: float


def geometric(length: float, multiply: float, which: Callable[[int], int], until: float) -> Iterator[Cycle]:
    """Cycles of lengths L, L·m, L·m², …, from step 0 until a clock position.

    ``which`` is the framework's own arithmetic, whole step → number of its cycle: it decides a step that a rounded
    logarithm puts a cycle too early.
    """
    number, begins, first = 0, 0.0, 0
    while first < until:
        yield Cycle(number, first, begins, length)
        begins, length, number = begins + length, length * multiply, number + 1
        first = max(math.ceil(begins), first + 1)
        while which(first) < number:
            first += 1


def in_cycles(cycles: Iterable[Cycle], make: Callable[[Cycle], Part], end: int | None = None) -> Iterator[Part]:
    """One part for each cycle, which ends where the next one begins; the last at ``end``, else with its length."""
    cycles = list(cycles)
    ends = [*(cycle.first for cycle in cycles[1:]), end]
    for cycle, stop in zip(cycles, ends, strict=True):
        made, offset = make(cycle), cycle.first - cycle.begins
        stop = math.ceil(cycle.begins + cycle.length) if stop is None else stop
        params = {**made.params, "over": tidy(cycle.length), "for": stop - cycle.first}
        if offset:
            params["offset"] = tidy(offset)
        elif params["over"] == params["for"]:
            del params["over"]
        yield replace(made, params=params)
