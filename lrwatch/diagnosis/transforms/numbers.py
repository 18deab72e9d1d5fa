"""A wrong number: the right curve on another base, another group's curve, or stored in a narrow type.

factor     O(t) = c·E(t), or E on c times the base with its floors kept
sibling    O(t) = the curve of another group (two groups swapped, or one ratio lost)
quantised  O(t) = E(t) rounded to float32, float16 or bfloat16
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import numpy as np

from lrwatch.curve import EPS, Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.search import minimise, simple_fraction, slopes
from lrwatch.diagnosis.transforms.base import SEARCH_ROWS, Predict, Transform, following, loss, resumed, tidy
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import EXACT_DIGITS, rounding

PRINTED_FLOAT32 = 8
"""Digits from which on a float32 is printed as itself."""


def factor(case: Case) -> Iterator[Hypothesis]:
    """O(t) = c·E(t)."""
    for value in ratios(case, 0.0):
        if value != 1.0:
            yield Hypothesis(resumed(case, "factor"), {"c": tidy(value)}, _times(case, value))


def ratios(case: Case, above: float) -> list[float]:
    """Candidates for c in O - above = c·(E - above), the likeliest first.

    Every row allows an interval of c. Where all have some c in common, it is the simplest fraction among those, or the
    middle: no other estimate of rounded rows is sure to lie inside. Where they have none, the median and the best in
    squares show how near a factor comes.
    """
    observed, expected = case.rows.observed - above, case.expected - above
    rows = np.abs(expected) > 0.05 * np.max(np.abs(expected), initial=0.0)
    if not rows.any():
        return []
    found = slopes(observed, np.zeros(len(observed)), expected, case.rows.allowed(case.rows.observed))
    o, e = observed[rows], expected[rows]
    return found or list(dict.fromkeys((float(np.median(o / e)), float(np.dot(o, e) / np.dot(e, e)))))


def _times(case: Case, c: float) -> Predict:
    return lambda rows: c * case.curve.at(rows.t)


def base(case: Case) -> Iterator[Hypothesis]:
    """E on c times the base, floors that are given absolutely staying where they are."""
    end, relative = case.curve.phases[-1].params.get("to", (0.0, False))

    def kept(c: float) -> Curve:  # the contract gives the floor as a share; the trainer may have it as a number
        params = MappingProxyType({**case.curve.phases[-1].params, "to": (end / c, True)})
        return case.curve.with_base(c).with_last_phase(params=params)

    observed, t = case.rows.observed, case.rows.t
    for on in (case.curve.with_base, *([kept] if relative and end else [])):
        low = on(1e-9).at(t)  # values are linear in c: solved for, row by row
        for c in slopes(observed, low, on(1.0).at(t) - low, case.rows.allowed(observed)):
            if c > 0 and abs(c - 1.0) > 1e-12:
                yield Hypothesis(resumed(case, "factor"), {"c": tidy(c), "floor": "kept"}, following(on(c)))
    thin = case.rows.thin(SEARCH_ROWS)
    top = int(np.argmax(thin.observed))
    peak = float(np.max(case.curve.at(thin.t)))
    grid = np.geomspace(1e-3, 1e3, 129).tolist()
    searched = minimise(lambda c: loss(case.curve.with_base(c).at(thin.t), thin), grid)
    for guess in (float(thin.observed[top]) / peak if peak > 0 else 1.0, searched):
        c = simple_fraction(guess, limit=1000, rtol=max(case.rows.resolution(), 1e-6))
        if c > 0 and abs(c - 1.0) > 1e-12:
            params = {"c": tidy(c), "floor": "kept"}
            other = case.curve.with_base(c)
            yield Hypothesis(resumed(case, "factor"), params, following(other))
            if relative and end:
                yield Hypothesis(resumed(case, "factor"), params, following(kept(c)))


def sibling(case: Case) -> Iterator[Hypothesis]:
    """O(t) is what another group should have."""
    for name, curve in case.siblings.items():
        if not np.allclose(curve.at(case.rows.t), case.expected, rtol=1e-9, atol=0.0):
            yield Hypothesis("group_swapped", {"with": name}, following(curve))


def quantised(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E(t), each value rounded to a narrower type."""
    for dtype in ("float32", "float16", "bfloat16"):
        yield Hypothesis("quantised", {"dtype": dtype}, _rounded(case, dtype))


def _rounded(case: Case, dtype: str) -> Predict:
    """E(t), except where O is a number of the narrow type within four roundings of it: then O itself.

    The trainer rounds the base, the factor and their product, so its last bits cannot be predicted. A recursive
    scheduler rounds at every step: float32 may then be off by that much more, where the record is exact. Where the
    record is rounded too, O may be any number that a number of the narrow type is stored as.
    """
    grows = dtype == "float32" and case.facts.recursive is not False

    def predict(rows: Rows) -> FloatArray:
        expected = case.curve.at(rows.t)
        steps = np.where((rows.digits >= EXACT_DIGITS) & grows, np.maximum(rows.t, 1.0), 1.0)
        lost = np.where(rows.digits < PRINTED_FLOAT32, rounding(np.abs(rows.observed), rows.digits), 0.0)
        near = np.abs(rows.observed - expected) <= 4.0 * EPS[dtype] * steps * np.abs(expected) + lost
        stored = np.abs(narrow(rows.observed, dtype) - rows.observed) <= lost
        return np.where(near & stored, rows.observed, expected)

    return predict


def narrow(values: FloatArray, dtype: str) -> FloatArray:
    """Values rounded to ``dtype``, as float64[n]; bfloat16 keeps the upper half of a float32's bits."""
    if dtype == "bfloat16":
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)
    return values.astype(dtype).astype(np.float64)


TRANSFORMS: tuple[Transform, ...] = (sibling, quantised, factor, base)
