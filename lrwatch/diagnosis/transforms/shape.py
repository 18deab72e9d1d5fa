"""A curve of another shape: floors, clamps, other parameters, another family. Tried only when nothing simpler fits.

floor         the decay ends at another value      clamp        O(t) = max(E to zero, floor)
reversed      O(t) = E(T - t), or max + min - E    shape_param  one number of the last family differs
wrong_family  another family between the same ends  affine      O(t) = a + b·E(t)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from lrwatch.contract.model import Phase
from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.search import minimise, simple_fraction
from lrwatch.diagnosis.transforms.base import SEARCH_ROWS, Transform, differs, following, loss, settled, tidy
from lrwatch.diagnosis.transforms.resume import final
from lrwatch.schedules import families

DECAYS = ("linear", "cosine", "polynomial")
"""Families that go from one value to another within a length, and can stand for each other."""

POWERS = (2.0, 0.5, 3.0)
"""Powers of a polynomial decay in use; 1 is linear."""


def floor(case: Case) -> Iterator[Hypothesis]:
    """The last phase decays to another value, or is cut off at the promised one."""
    if "to" not in case.curve.phases[-1].params:
        return
    thin = case.rows.thin(SEARCH_ROWS)
    promised, peak = final(case.curve), case.curve.peak()

    def ending_at(value: float) -> Curve:
        return case.curve.with_last_phase(params=_with(case.curve.phases[-1], "to", (value / peak, True)))

    found = minimise(lambda v: loss(ending_at(v).at(thin.t), thin), np.linspace(0.0, peak, 65).tolist())
    share = found / peak if peak else 0.0
    simple = [
        simple_fraction(share, limit=n, rtol=r) for n, r in ((1000, max(case.rows.resolution(), 1e-6)), (200, 0.02))
    ]
    near_zero = [0.0] if found < 0.01 * peak else []
    for value in dict.fromkeys((*near_zero, *(peak * x for x in simple), *settled(case, ending_at, found))):
        if differs(value, promised):
            yield Hypothesis("floor", {"floor": value, "promised": promised}, following(ending_at(value)))
    to_zero = ending_at(0.0)
    if promised > 0:
        yield Hypothesis(
            "clamp",
            {"floor": promised},
            lambda rows: np.maximum(to_zero.at(rows.t), np.minimum(promised, _up(case, rows))),
        )


def _up(case: Case, rows: Rows) -> Any:
    """The promise itself inside a warm-up, where a clamp at the floor would not show; infinite after it."""
    return np.where(rows.t < case.curve.phases[-1].start, case.curve.at(rows.t), np.inf)


def reverse(case: Case) -> Iterator[Hypothesis]:
    """The schedule runs backwards, or upside down."""
    end = case.curve.horizon
    if end is None:
        return
    both = float(case.curve.peak()) + float(np.min(case.curve.at(np.linspace(0.0, end, 513))))
    yield Hypothesis("reversed", {"how": "in time"}, lambda rows: case.curve.at(end - rows.t))
    yield Hypothesis("reversed", {"how": "in time, one step late"}, lambda rows: case.curve.at(end - 1.0 - rows.t))
    yield Hypothesis("reversed", {"how": "in value"}, lambda rows: both - case.curve.at(rows.t))


def shape_param(case: Case) -> Iterator[Hypothesis]:
    """One number of the last family (gamma, power, period, …) differs."""
    last = case.curve.phases[-1]
    thin = case.rows.thin(SEARCH_ROWS)
    for param in families()[last.family].params:
        value = last.params[param.name]
        if param.name == "warmup":  # a matter of planning
            continue
        if param.kind not in ("number", "count") or not isinstance(value, (int, float)) or not value:
            continue
        inside = (param.le is not None and param.le <= 1.0) or 0.0 < value < 1.0
        grid = (
            np.linspace(1e-3, 1.0, 257) if inside and param.kind == "number" else value * np.geomspace(1 / 64, 64, 257)
        )
        found = minimise(_loss_of_param(case.curve, param.name, thin), grid.tolist())
        rounded = float(round(found)) if param.kind == "count" else simple_fraction(found, limit=1000)

        def changed(value: float, name: str = param.name) -> Curve:
            return _with_param(case.curve, name, value)

        seen = _first_changes(case) if param.kind == "count" else []
        for new in dict.fromkeys((rounded, *seen, *settled(case, changed, found))):
            if new > 0 and differs(new, float(value)):
                yield Hypothesis(
                    "shape_param",
                    {"param": param.name, "value": tidy(new), "promised": tidy(float(value))},
                    following(_with_param(case.curve, param.name, new)),
                )


def _first_changes(case: Case) -> list[float]:
    """How long after the last phase began its first two changes came: what a staircase's period would be."""
    rows, start = case.rows, case.curve.phases[-1].start
    at = np.flatnonzero((np.diff(rows.observed) != 0.0) & (np.diff(rows.t) == 1.0) & (rows.t[:-1] >= start))[:2]
    return [*(rows.t[at + 1] - start).tolist(), *np.diff(rows.t[at + 1]).tolist()]


def _loss_of_param(curve: Curve, name: str, rows: Rows) -> Callable[[float], float]:
    return lambda value: loss(_with_param(curve, name, value).at(rows.t), rows)


def _with_param(curve: Curve, name: str, value: float) -> Curve:
    return curve.with_last_phase(params=_with(curve.phases[-1], name, value))


def wrong_family(case: Case) -> Iterator[Hypothesis]:
    """Another family from and to the same values over the same length, or none at all."""
    last = case.curve.phases[-1]
    for name in (*DECAYS, "constant"):
        if name == last.family or (name != "constant" and (last.length is None or "to" not in last.params)):
            continue
        family = families()[name]
        params: dict[str, Any] = {p.name: _default(p.default) for p in family.params}
        params |= {k: last.params[k] for k in ("from", "to") if k in last.params and k in params}
        for power in POWERS if "power" in params else (None,):
            params |= {"power": power} if power else {}
            curve = case.curve.with_last_phase(
                family=name, params=MappingProxyType(dict(params)), after=family.after[0]
            )
            shown = {"family": name, "promised": last.family} | ({"power": power} if power else {})
            yield Hypothesis("wrong_family", shown, following(curve))


def affine(case: Case) -> Iterator[Hypothesis]:
    """O(t) = a + b·E(t), by least squares."""
    expected = case.expected
    if np.ptp(expected) > 0 and not _too_plain(case):
        b, a = np.polyfit(expected, case.rows.observed, 1)
        if b <= 1e-6:  # a flat curve is not the promised one, shifted
            return
        yield Hypothesis("affine", {"a": float(a), "b": float(b)}, lambda rows: a + b * case.curve.at(rows.t))


def _too_plain(case: Case) -> bool:
    """Whether the rows lie on a straight line or on a few levels: then a + b·E is no evidence, it always fits."""
    t, expected = case.rows.t, case.expected
    if len(np.unique(expected)) < 5:
        return True
    line = np.polyval(np.polyfit(t, expected, 1), t) if np.ptp(t) > 0 else expected
    return bool(np.max(np.abs(line - expected)) <= 1e-6 * np.max(np.abs(expected)))


def _default(value: Any) -> Any:
    """A family's default as the contract's model holds it: a share of the base is (number, True)."""
    if isinstance(value, str) and value.endswith("%"):
        return (float(value[:-1]) / 100.0, True)
    return value


def _with(phase: Phase, name: str, value: Any) -> MappingProxyType[str, Any]:
    return MappingProxyType({**phase.params, name: value})


TRANSFORMS: tuple[Transform, ...] = (floor, reverse, wrong_family, shape_param, affine)
