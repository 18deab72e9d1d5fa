"""The points of a planned curve worth knowing, read off its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from lrwatch.lint.base import Plan

MOST: Final = 6
"""Restarts and drops that are listed one by one; of more the first, the last and how many."""


@dataclass(frozen=True)
class Landmark:
    """A point of a curve: what it is, its position on the clock, the learning rate there."""

    name: str
    t: float
    value: float


def landmarks(plan: Plan) -> list[Landmark]:
    """First value, end of the warm-up, peak, drops, restarts, floor, last value and the one after it, by position.

    With a plateau, those before any metric.
    """
    t, values, turns = plan.t, plan.values, plan.turns
    if not np.isfinite(values).all():
        return [Landmark("first", 0.0, float(values[0]))]
    found = [Landmark("first", 0.0, float(values[0]))]
    top = int(np.argmax(values))
    rises_first = len(turns) > 1 and turns[1].value > turns[0].value
    if rises_first and turns[1].first < len(t) - 1:  # a warm-up that goes on at the last update has no end here
        at = turns[1].first
        found.append(Landmark("end of warm-up", float(t[at]), float(values[at])))
        if turns[1].last > at and turns[1].last < len(t) - 1:
            found.append(Landmark("decay begins", float(t[turns[1].last]), turns[1].value))
    found.append(Landmark("peak", float(t[top]), float(values[top])))
    found += _several("drop", list(_drops(plan)))
    found += _several("restart", list(_restarts(plan)))
    if turns[-1].value != plan.peak and not plan.curve.stateful:
        low = top + int(np.argmin(values[top:]))
        found.append(Landmark("floor", float(t[low]), float(values[low])))
    if plan.horizon is not None:
        found.append(Landmark("last", float(t[-1]), plan.last))
        after = float(plan.curve.at(np.array([plan.horizon]))[0])
        found.append(Landmark("after the run", plan.horizon, after))
    order = {mark.name: i for i, mark in enumerate(found)}
    return sorted(found, key=lambda m: (m.t, order[m.name]))


def _restarts(plan: Plan) -> Iterator[tuple[float, float]]:
    """Where the curve rises again after it has come down."""
    turns = plan.turns
    for i in range(2, len(turns)):
        low, top = turns[i - 1], turns[i]
        if top.value > low.value:
            sharp = top.first == low.last + 1
            at = top.first if sharp else low.last
            yield float(plan.t[at]), float(plan.values[at])


def _drops(plan: Plan) -> Iterator[tuple[float, float]]:
    """Where the curve, level before, falls by more than a twentieth from one update to the next."""
    t, values = plan.t, plan.values
    falls = np.flatnonzero(values[1:] < 0.95 * values[:-1]) + 1
    for i in falls[falls > 1].tolist():
        level = values[i - 2] == values[i - 1] and values[min(i + 1, len(values) - 1)] == values[i]
        if level and t[i] - t[i - 1] <= 2.0 * plan.stride:
            yield float(t[i]), float(values[i])


def _several(word: str, points: list[tuple[float, float]]) -> list[Landmark]:
    if len(points) == 1:
        return [Landmark(word, *points[0])]
    named = [Landmark(f"{word} {i}", *point) for i, point in enumerate(points, 1)]
    return named if len(named) <= MOST else [*named[:3], named[-1]]
