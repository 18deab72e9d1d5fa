"""What a resume got wrong; r is the position at which the segment began.

    restart_at_resume        O(t) = E(t - r) (closed form), E(t - r)·E(r)/E(0) (recursive, optimizer restored)
    single_sample_at_resume  O(r) = E(0), then right
    factor_at_resume         O(t) = F + (E(t) - F)·c, F the final value: the optimizer's rate was not restored

Offsets, factors, horizons and freezes of the other modules get ``_at_resume`` when they begin with the segment.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.transforms.base import Position, Predict, Transform, moved, tidy
from lrwatch.diagnosis.transforms.numbers import ratios
from lrwatch.schedules.base import FloatArray


def restart(case: Case) -> Iterator[Hypothesis]:
    """The schedule began again: closed-form schedulers at E(0), recursive ones from the restored value."""
    r = case.resumed_at
    if r is None:
        return

    def position(rows: Rows) -> FloatArray:
        return np.maximum(rows.t - r, 0.0)

    def mixed(rows: Rows) -> FloatArray:
        tau = position(rows)
        return case.curve.at(tau) * np.where(tau < (border or 0.0), scale, 1.0)

    def later(rows: Rows) -> FloatArray:
        return np.where(rows.t == r, at_resume, case.curve.at(position(rows)))

    yield from moved(case, "restart_at_resume", {"at": tidy(r)}, position)
    at_resume, first = (float(v) for v in case.curve.at(np.array([r, 0.0])))
    # A scheduler built before the optimizer is loaded: the loaded value is used once, then its own.
    yield Hypothesis("restart_at_resume", {"at": tidy(r), "first": at_resume}, later, position)
    if first <= 0:
        return
    for low in dict.fromkeys((0.0, final(case.curve))):
        if first != low:
            scale = (at_resume - low) / (first - low)
            bent = _scaled_above(case.curve, position, low, scale)
            yield Hypothesis("restart_at_resume", {"at": tidy(r), "scale": scale}, bent, position)
    # The first phase runs on from the restored value; at the next one SequentialLR starts from the base again.
    border, scale = case.curve.phases[0].end, at_resume / first
    if border is not None:
        yield Hypothesis("restart_at_resume", {"at": tidy(r), "scale": scale, "until": border}, mixed, position)


def single_sample(case: Case) -> Iterator[Hypothesis]:
    """Only the first update after the resume is wrong: a scheduler built after the optimizer was loaded."""
    r = case.resumed_at
    if r is not None:
        first = float(case.curve.at(np.array([0.0]))[0])
        yield Hypothesis(
            "single_sample_at_resume",
            {"at": tidy(r), "value": first},
            lambda rows: np.where(rows.t == r, first, case.curve.at(rows.t)),
        )


def factor_above_floor(case: Case) -> Iterator[Hypothesis]:
    """What lies above the final value is scaled: recursive schedulers restored without their optimizer."""
    low = final(case.curve)
    if case.resumed_at is None or low <= 0:
        return
    for value in ratios(case, low):
        if value != 1.0:
            bent = _scaled_above(case.curve, lambda rows: rows.t, low, value)
            yield Hypothesis("factor_at_resume", {"c": tidy(value), "above": low}, bent)


def _scaled_above(curve: Curve, position: Position, low: float, scale: float) -> Predict:
    return lambda rows: low + (curve.at(position(rows)) - low) * scale


def final(curve: Curve) -> float:
    """The value at the horizon, 0 without one."""
    return float(curve.at(np.array([curve.horizon]))[0]) if curve.horizon else 0.0


TRANSFORMS: tuple[Transform, ...] = (restart, single_sample, factor_above_floor)
