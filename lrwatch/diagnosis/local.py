"""The same transform means another bug when only one worker or one group shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lrwatch.diagnosis import words
from lrwatch.diagnosis.case import Case, Hypothesis

_ON_ONE_RANK = {
    "factor": "rank_factor",
    "offset": "rank_offset",
    "offset_at_resume": "rank_offset",
    "rate": "rank_progress",
}
_IN_ONE_GROUP = {"factor": "group_factor"}


def localised(h: Hypothesis, case: Case) -> Hypothesis:
    """The hypothesis under the name that fits where the deviation shows."""
    place = case.place
    if h.name == "group_swapped":
        return _ratio_or_swap(h, case)
    if place.stale:
        return replace(h, name="rank_stale_contract", params={"then": words.sentence(h, case.facts), **h.params})
    if place.companion and h.name != "companion_broken":
        params = {"signal": case.curve.signal, "then": words.sentence(h, case.facts), **h.params}
        return replace(h, name="companion_broken", params=params)
    if place.rank_alone and h.name in _ON_ONE_RANK:
        return replace(h, name=_ON_ONE_RANK[h.name])
    if place.group_alone and not place.rank_alone:
        if h.name == "frozen" and h.params["at"] == 0:
            return replace(h, name="group_unscheduled", params={})
        if h.name in _IN_ONE_GROUP:
            return replace(h, name=_IN_ONE_GROUP[h.name])
    return h


def _ratio_or_swap(h: Hypothesis, case: Case) -> Hypothesis:
    """A group on another's curve: swapped if that one is off too, else its constant ratio to it was lost."""
    other = str(h.params["with"])
    theirs, ours = case.siblings[other].at(case.rows.t), case.expected
    ratio = float(np.median(ours[theirs > 0] / theirs[theirs > 0])) if np.any(theirs > 0) else 1.0
    if other not in case.place.drifting and np.allclose(ours, ratio * theirs, rtol=1e-9, atol=0.0):
        return replace(h, name="group_ratio", params={"with": other, "scale": ratio})
    return h
