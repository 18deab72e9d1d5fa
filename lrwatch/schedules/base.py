"""What a schedule family is: a pure, vectorised function with described parameters.

A family maps *local time* (clock units since its phase began, plus ``offset``) to a *multiplier of the
base value*. It never sees the base itself: ``curve`` is the only place where base, scale and schedule
are multiplied, so every parameter of kind ``value`` reaches the function already divided by the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Params = Mapping[str, Any]

REQUIRED: Final = object()

Kind = Literal["value", "values", "number", "whole", "count", "counts", "choice", "flag", "text", "schedules"]
"""``value``: absolute, in the signal's unit, or a share of the base written ``10%`` ·
``number``: a plain number · ``whole``: a whole number · ``count``: clock units, > 0 unless ``ge`` says
otherwise · ``counts``: a list of them that never decreases, each ≥ 0 · ``choice``: one of ``choices`` ·
``flag``: true or false · ``text``: a name · ``values``: a list of values · ``schedules``: a list of schedules, each
one family or phases, which reach the function as functions of local time."""

After = Literal["hold", "mirror", "restart", "continue"]
"""What a family does past its length: ``hold`` the last value · ``mirror`` back up the way it came ·
``restart`` from the beginning · ``continue`` along its formula."""


@dataclass(frozen=True)
class Param:
    """One parameter of a family as the contract spells it."""

    name: str
    kind: Kind
    doc: str
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    gt: float | None = None
    ge: float | None = None
    le: float | None = None


@dataclass(frozen=True)
class Family:
    """A schedule family.

    Attributes:
        name: the word used in contracts; equals the module's name.
        evaluate: ``f(t, p) -> multiplier``; ``t`` float64[n] local time ≥ 0, result float64[n].
            ``p`` holds every parameter by name, ``p["length"]`` (clock units, absent when the phase has
            none) and ``p["after"]``.
        params: its parameters, beyond those common to all phases (``for until over offset stairs min max after``).
        length: whether the phase must have a length (``for``, ``until`` or ``over``).
        after: the behaviours past the length that it can do, the default first.
        stateful: the value depends on recorded metrics; ``evaluate`` is then given ``p["factors"]``,
            float64[n], the replayed factor of each row (see ``plateau``).
        landmarks: ``p -> {word: local time}``, points worth showing (peak, restarts).
        check: ``p -> what is wrong between the parameters``, with the remedy, or None; it sees the
            length, and only what does not depend on the base.
    """

    name: str
    evaluate: Callable[[FloatArray, Params], FloatArray]
    params: tuple[Param, ...] = ()
    length: Literal["required", "optional"] = "optional"
    after: tuple[After, ...] = ("continue",)
    stateful: bool = False
    landmarks: Callable[[Params], dict[str, float]] = field(default=lambda p: {})
    check: Callable[[Params], str | None] = field(default=lambda p: None)


def cycles(t: FloatArray, period: float) -> tuple[FloatArray, FloatArray]:
    """How many whole periods ``t`` has behind it, and the rest, in ``[0, period]``, float64[n] each.

    Exact for whole numbers below 2⁵³. By division, not by the remainder of the rounded period: 1000/3 cut
    into thirds begins a new one at t = 1000, although three times the rounded 333.3… is a little less.

    >>> [x.tolist() for x in cycles(np.array([0.0, 333.0, 1000.0]), 1000 / 3)]
    [[0.0, 0.0, 3.0], [0.0, 333.0, 0.0]]
    """
    number = np.floor(t / period)
    return number, np.clip(t - number * period, 0.0, period)


def fold(t: FloatArray, length: float, after: str) -> FloatArray:
    """Local time brought back into ``[0, length]`` by the behaviour past the length.

    ``hold``: min(t, L) · ``mirror``: the triangle wave of period 2L · ``restart``: t mod L ·
    ``continue``: t itself.

    >>> fold(np.array([5.0, 12.0, 25.0]), 10.0, "mirror").tolist()
    [5.0, 8.0, 5.0]
    """
    if after == "continue" or t.max(initial=0.0) < length:
        return t
    if after == "hold":
        return np.minimum(t, length)
    if after == "restart":
        return cycles(t, length)[1]
    phase = cycles(t, 2.0 * length)[1]
    return np.where(phase > length, 2.0 * length - phase, phase)


def half_cosine(x: FloatArray, start: float | FloatArray, end: float | FloatArray) -> FloatArray:
    """end + (start - end)·(1 + cos(π·x))/2, float64[n]; in place, which is what its speed hangs on.

    >>> half_cosine(np.array([0.0, 1.0]), 3.0, 1.0).tolist()
    [3.0, 1.0]
    """
    value: FloatArray = np.cos(np.pi * x)
    value += 1.0
    value *= (start - end) / 2.0
    value += end
    return value


def triangle(t: FloatArray, up: float, down: float) -> tuple[FloatArray, FloatArray]:
    """Which cycle of the triangle wave ``t`` is in (0, 1, …) and how high it is there (0 … 1), float64[n] each.

    A cycle is ``up`` long to the top and ``down`` long back.

    >>> [x.tolist() for x in triangle(np.array([0.0, 1.0, 2.0, 4.0, 6.0]), 2.0, 4.0)]
    [[0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 0.5, 0.0]]
    """
    cycle, at = cycles(t, up + down)
    return cycle, np.where(at <= up, at / up, (up + down - at) / down)
