"""One number of a plan, turned: the curves that a wrong horizon, warm-up, floor or shape may have given.

A line is a number that the values are linear in, so that it needs no search: O = A + x·B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case
from lrwatch.diagnosis.transforms.base import behaviours, resumed, tidy
from lrwatch.diagnosis.transforms.planning import ending, split, warmed, warmup
from lrwatch.diagnosis.transforms.resume import final
from lrwatch.schedules import families
from lrwatch.schedules.base import FloatArray

POINTS = 49
"""Values of a number that are tried before the search closes in."""


@dataclass(frozen=True)
class Knob:
    """A number of the plan.

    Attributes:
        name: the cause that a wrong one is. grid: where to look, increasing. promised: what the contract says.
        curve: number → the curve it gives. params: number → what is said of it.
    """

    name: str
    grid: tuple[float, ...]
    promised: float
    curve: Callable[[float], Curve]
    params: Callable[[float], Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """A number that the values are linear in; ``ends`` are a curve's variants for x = 0 (None: all zero) and x = 1."""

    name: str
    ends: Callable[[Curve], tuple[Curve | None, Curve]]
    params: Callable[[float], Mapping[str, Any]]

    def values(self, curve: Curve, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """A and B of O = A + x·B at ``t`` float64[n]."""
        low, high = self.ends(curve)
        a = np.zeros(len(t)) if low is None else low.at(t)
        return a, high.at(t) - a


def knobs(case: Case) -> Iterator[Knob]:
    """Every number of the plan that may be wrong beside something else."""
    yield from horizons(case)
    yield from warmups(case)
    yield from numbers(case)


def horizons(case: Case) -> Iterator[Knob]:
    """The end of the last phase, with each behaviour past it."""
    curve, last = case.curve, case.curve.phases[-1]
    if last.length is None:
        return
    planned = last.start + last.length
    for after in behaviours(curve):
        extra = {"after": after} if after != last.after else {}
        yield Knob(
            resumed(case, "horizon"),
            tuple((last.start + last.length * np.geomspace(1.0 / 16.0, 16.0, POINTS)).tolist()),
            planned,
            partial(_ending, curve, after),
            partial(_said, "horizon", {"planned": tidy(planned), **extra}),
        )


def warmups(case: Case) -> Iterator[Knob]:
    """The length of the warm-up; what comes after it keeps its end, or its length."""
    curve = split(case.curve)
    width = warmup(replace(case, curve=curve))
    if width is None:
        return
    limit = min(curve.horizon or 16.0 * width, 16.0 * width)
    for keeps in ("end", "length"):
        yield Knob(
            "warmup_length",
            tuple(np.geomspace(max(width / 32.0, 0.5), max(limit, 2.0 * width), POINTS).tolist()),
            width,
            partial(_warmed, curve, keeps),
            partial(_said, "warmup", {"planned": tidy(width), "decay_keeps": keeps}),
        )


def numbers(case: Case) -> Iterator[Knob]:
    """The numbers of the last family: gamma, power, period, …"""
    curve, last = case.curve, case.curve.phases[-1]
    for param in families()[last.family].params:
        value = last.params[param.name]
        if param.name == "warmup" or param.kind not in ("number", "count") or not isinstance(value, (int, float)):
            continue
        if not value:
            continue
        share = param.kind == "number" and ((param.le is not None and param.le <= 1.0) or 0.0 < value < 1.0)
        grid = np.linspace(1e-3, 1.0, POINTS) if share else value * np.geomspace(1.0 / 8.0, 8.0, POINTS)
        yield Knob(
            "shape_param",
            tuple(grid.tolist()),
            float(value),
            partial(_reshaped, curve, param.name),
            partial(_said, "value", {"param": param.name, "promised": tidy(float(value))}),
        )


def _ending(curve: Curve, after: str, end: float) -> Curve:
    return ending(curve, end, after)


def _warmed(curve: Curve, keeps: str, width: float) -> Curve:
    return curve.with_phases(warmed(width, keeps))


def _reshaped(curve: Curve, name: str, x: float) -> Curve:
    return curve.with_last_phase(params=MappingProxyType({**curve.phases[-1].params, name: x}))


def _said(name: str, others: Mapping[str, Any], x: float) -> dict[str, Any]:
    return {name: tidy(x), **others}


def lines(case: Case) -> Iterator[Line]:
    """The base, with floors that scale or stay, and the floor."""
    curve, factor = case.curve, resumed(case, "factor")
    yield Line(factor, lambda c: (None, c), lambda x: {"c": tidy(x)})
    t = case.rows.t[:: max(len(case.rows) // 16, 1)]
    twice = curve.with_base(2.0)
    if not np.allclose(twice.at(t), 2.0 * curve.at(t), rtol=1e-9, atol=0.0):

        def ends(c: Curve) -> tuple[Curve | None, Curve]:
            return c.with_base(1e-9), c.with_base(1.0)

        yield Line(factor, ends, lambda x: {"c": tidy(x), "floor": "kept"})
    end, relative = curve.phases[-1].params.get("to", (0.0, False))
    if relative and end:  # the contract gives the floor as a share; the trainer may have it as a number

        def kept(c: Curve, x: float) -> Curve:
            params = MappingProxyType({**c.phases[-1].params, "to": (end / x, True)})
            return c.with_base(x).with_last_phase(params=params)

        yield Line(factor, lambda c: (kept(c, 1e-9), kept(c, 1.0)), lambda x: {"c": tidy(x), "floor": "kept"})
    if "to" in curve.phases[-1].params:
        peak, promised = curve.peak(), final(curve)

        def to(c: Curve, share: float) -> Curve:
            return c.with_last_phase(params=MappingProxyType({**c.phases[-1].params, "to": (share, True)}))

        yield Line("floor", lambda c: (to(c, 0.0), to(c, 1.0)), lambda x: {"floor": x * peak, "promised": promised})
