"""What a stretch of a trace is compared with: families with what is unknown in them, and where to begin searching."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from lrwatch.schedules import families
from lrwatch.schedules.base import FloatArray

_FAMILIES = families()
_COUNTED = frozenset({"every", "milestones"})
"""Given parameters that were read off the trace, too."""
_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Features:
    """What is seen at once of a stretch, in local time.

    Attributes:
        end: the last local time. tail: where it comes to rest, None where it does not. jumps: where it jumps up after
            falling, and the heights there. top, low: the highest and then the lowest place. gamma, timescale: of the
            exponential and the inverse square root that are nearest.
    """

    end: float
    tail: float | None
    jumps: tuple[float, ...]
    heights: tuple[float, ...]
    top: float
    low: float
    gamma: float
    timescale: float


@dataclass(frozen=True)
class Shape:
    """A family with unknowns.

    Attributes:
        unknown: parameters that are searched; ``length`` is the phase's. linear: those that the value is linear in.
        given: the other parameters. after: what it does past its length. scaled: whether the base is an unknown beside
            the linear ones. rank: how many numbers it takes, which decides between shapes that fit alike.
    """

    family: str
    unknown: tuple[str, ...] = ()
    linear: tuple[str, ...] = ("from", "to")
    given: Mapping[str, Any] = field(default_factory=lambda: _NO_PARAMS)
    after: str = "continue"
    scaled: bool = False

    @property
    def rank(self) -> float:
        chosen = sum(len(v) if isinstance(v, tuple) else 1 for k, v in self.given.items() if k in _COUNTED)
        choices = 0.5 * (self.given.get("multiply", 1) != 1) + 0.5 * (self.family in ("k_decay", "one_cycle"))
        return float(len(self.unknown) + len(self.linear) + self.scaled + chosen + choices)

    @property
    def endless(self) -> bool:
        """Whether its length and the value that it leads to cannot be told apart before its end is seen."""
        line = self.family == "linear" or (self.family == "k_decay" and self.given.get("shape") == "polynomial")
        return line and self.unknown[:1] == ("length",)

    @property
    def whole(self) -> tuple[str, ...]:
        """The values in the order of the columns; ``base`` is the family's own level."""
        return (*(("base",) if self.scaled else ()), *self.linear)

    def columns(self, t: FloatArray, x: FloatArray) -> FloatArray:
        """float64[n, m] at local times ``t``: what each value of ``whole`` is multiplied by."""
        params: dict[str, Any] = {**_DEFAULTS.get(self.family, {}), **self.given, "after": self.after}
        params |= dict(zip(self.unknown, x.tolist(), strict=True))
        evaluate, nothing = _FAMILIES[self.family].evaluate, dict.fromkeys(self.linear, 0.0)
        zero = evaluate(t, {**params, **nothing})
        parts = [evaluate(t, {**params, **nothing, name: 1.0}) - zero for name in self.linear]
        return np.stack([zero, *parts] if self.scaled else parts, axis=1)

    def guesses(self, seen: Features) -> Iterator[FloatArray]:
        """Where to begin searching, the likeliest first; each > 0."""
        for values in itertools.product(*(_guess(name, self, seen) for name in self.unknown)):
            yield np.array(values)


_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "cosine_restarts": {"multiply": 1, "decay": 1.0, "decays": "peak"},
    "triangular": {"down": None},
    "triangular2": {"down": None},
    "exp_range": {"down": None},
    "exponential": {"every": 1.0},
    "k_decay": {"k": 1.0, "power": 1.0, "ratio": 0.5},
    "tanh": {"lower": -7.0, "upper": 3.0},
}


def _guess(name: str, shape: Shape, seen: Features) -> list[float]:
    end = max(seen.end, 2.0)
    if name == "length":
        if shape.family == "one_cycle":
            return [seen.tail + 1.0] if seen.tail else [end + 1.0, 1.2 * end]
        if shape.after == "mirror":
            return [max(seen.low, 1.0)]
        if shape.after == "restart":
            return [seen.jumps[0]] if seen.jumps else []
        return [seen.tail] if seen.tail else [end + 1.0, 1.5 * end, 4.0 * end]
    if name == "period":
        return [seen.jumps[0]] if seen.jumps else []
    if name == "decay":
        return [seen.heights[1] / seen.heights[0]] if len(seen.heights) > 1 and seen.heights[0] > 0 else []
    if name == "up":
        return [seen.top] if 0 < seen.top < seen.low else []
    if name == "down":
        return [seen.low - seen.top] if 0 < seen.top < seen.low else []
    if name == "gamma":
        return [seen.gamma] if shape.family == "exponential" else [1.0 - 1.0 / end]
    if name == "timescale":
        return [seen.timescale, end] if shape.family == "inverse_sqrt" else [0.1 * end, end]
    if name == "peak_at":
        return [(seen.top + 1.0) / ((seen.tail or end) + 1.0)] if seen.top > 0 else []
    return {"power": [0.7, 2.0], "k": [0.6, 1.5]}[name]


def _of(family: str, *unknown: str, **rest: Any) -> Shape:
    return Shape(family, unknown, **rest)


def _all() -> Iterator[Shape]:
    for after in ("hold", "mirror", "restart"):
        yield _of("cosine", "length", after=after)
    yield _of("exponential", "gamma", linear=(), scaled=True)
    yield _of("inverse_sqrt", "timescale", linear=(), scaled=True)
    yield _of("inverse_power", "timescale", "power", linear=(), scaled=True)
    yield _of("tanh", "length", after="hold")
    yield _of("polynomial", "length", "power", after="hold")
    yield _of("k_decay", "length", given={"shape": "exponential"}, after="hold")
    for shape in ("polynomial", "cosine"):
        yield _of("k_decay", "length", "k", given={"shape": shape}, after="hold")
    for multiply in (1, 2, 3, 4):
        yield _of("cosine_restarts", "period", given={"multiply": multiply})
    for decays in ("peak", "amplitude", "whole"):
        for multiply in (1, 2, 3):
            yield _of("cosine_restarts", "period", "decay", given={"multiply": multiply, "decays": decays})
    for family in ("triangular", "triangular2"):
        yield _of(family, "up")
        yield _of(family, "up", "down")
    yield _of("exp_range", "up", "gamma")
    yield _of("exp_range", "up", "down", "gamma")
    for three in (False, True):
        for anneal in ("cos", "linear"):
            yield _of("one_cycle", "length", "peak_at", given={"anneal": anneal, "three_phase": three}, after="hold",
                      scaled=True)  # fmt: skip


SHAPES: Final = tuple(sorted(_all(), key=lambda shape: shape.rank))
LOGARITHMIC: Final = _of("logarithmic", "length", after="hold")
