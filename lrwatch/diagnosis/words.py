"""Hypotheses as sentences that a researcher understands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lrwatch.diagnosis.case import Facts, Hypothesis
from lrwatch.diagnosis.causes import CAUSES


def owners(h: Hypothesis, facts: Facts) -> list[str]:
    """Which numbers of the run are equal to the factor of a rate, or to its inverse."""
    if h.name != "rate":
        return []
    k = float(h.params["k"])
    names = [name for name, value in facts.owners().items() if np.isclose(k, value)]
    names += [f"1/{name}" for name, value in facts.owners().items() if np.isclose(k, 1.0 / value)]
    return [*names, "two owners of the scheduler"] if k == 2.0 else names


def sentence(h: Hypothesis, facts: Facts) -> str:
    """The hypothesis in words, without a full stop."""
    p = h.params
    about = " about" if p.get("bound") == "about" else ""
    when = f" from{about} step {p['since']:g} on" if "since" in p and h.name not in ("frozen", "restart") else ""
    return _sentence(h, facts) + when + (f", until step {p['ended']:g}" if "ended" in p and not h.parts else "")


def _sentence(h: Hypothesis, facts: Facts) -> str:
    if h.name == "rate":
        return _rate(h, facts)
    if h.parts:
        first, second = (sentence(part, facts) for part in h.parts)
        later = "since" in h.parts[1].params
        return f"two bugs, one after the other: {first}; then {second}" if later else f"two bugs: {first}; and {second}"
    words = _WORDS.get(h.name)
    return words(dict(h.params), facts) if words else CAUSES[h.name].title


def _rate(h: Hypothesis, facts: Facts) -> str:
    k, names = float(h.params["k"]), owners(h, facts)
    since = f" since step {h.params['from']}" if "from" in h.params else ""
    equal = f" = {names[0]}" if len(names) == 1 else ""
    listed = f", which equals {' and '.join(names)}" if len(names) > 1 else ""
    if k < 1:
        return f"the scheduler runs {1 / k:g} times too slow (k = 1/{1 / k:g}{equal}){since}{listed}"
    each = {"world size": "once per worker", "accumulation": "once per micro-batch", "batches per epoch": "per batch"}
    how = each.get(names[0], "") if len(names) == 1 else ""
    return f"the scheduler was stepped {how or f'{k:g} times per update'} (k = {k:g}{equal}){since}{listed}"


def _offset(p: dict[str, Any], facts: Facts) -> str:
    d = p["d"]
    return f"the scheduler is {abs(d):g} step{'s' if abs(d) != 1 else ''} {'ahead' if d > 0 else 'behind'}"


def _factor(p: dict[str, Any], facts: Facts) -> str:
    c = float(p["c"])
    same = [
        form.format(name)
        for name, value in ({} if "since" in p else facts.owners()).items()
        for form, x in (("{}", value), ("1/{}", 1.0 / value), ("√{}", value**0.5), ("1/√{}", value**-0.5))
        if np.isclose(c, x, rtol=1e-4)
    ]
    kept = ", the floor is not" if p.get("floor") == "kept" else ""
    above = f" above the floor {p['above']:g}" if "above" in p else ""
    return f"the learning rate{above} is multiplied by {c:.6g}{kept}" + (f" ({' or '.join(same)})" if same else "")


def _horizon(p: dict[str, Any], facts: Facts) -> str:
    later = " or later" if "bound" in p else ""
    return f"the schedule was planned to end at {p['horizon']:g}{later}, the contract says {p['planned']:g}"


def _warmup(p: dict[str, Any], facts: Facts) -> str:
    ratio = p["warmup"] / p["planned"]
    same = [n for n, v in facts.owners().items() if np.isclose(ratio, v) or np.isclose(ratio, 1.0 / v)]
    by = f" (scaled by {same[0]})" if same else ""
    return f"the warm-up takes {p['warmup']:g} steps, the contract says {p['planned']:g}{by}"


def _staircase(p: dict[str, Any], facts: Facts) -> str:
    same = [f"the {name}" for name, value in facts.owners().items() if value == p["width"]]
    epoch = f" ({' or '.join(same)})" if same else ""
    if p["stepped"] == "held":
        return f"the learning rate is renewed only every {p['width']:g} updates{epoch}"
    return f"the scheduler is stepped once every {p['width']:g} updates{epoch}"


def _progress(p: dict[str, Any], facts: Facts) -> str:
    if "k" in p:
        return f"the schedule of this worker alone runs at {float(p['k']):.6g} times the promised pace"
    lead = abs(float(p["lead"]))
    return f"this worker's schedule follows its own progress, up to {lead:.4g} steps {_side(p)} the others"


def _side(p: dict[str, Any]) -> str:
    return "ahead of" if float(p["lead"]) > 0 else "behind"


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


_WORDS: dict[str, Callable[[dict[str, Any], Facts], str]] = {
    "offset": _offset,
    "offset_at_resume": lambda p, f: (
        _offset(p, f)
        + " after the resume"
        + (f": its position was divided by the {p['divided_by']}" if "divided_by" in p else "")
    ),
    "rank_offset": lambda p, f: _offset(p, f) + " on this worker only",
    "factor": _factor,
    "factor_at_resume": lambda p, f: _factor(p, f) + " after the resume",
    "rank_factor": lambda p, f: _factor(p, f) + " on this worker only",
    "group_factor": lambda p, f: _factor(p, f) + " in this group only",
    "horizon": _horizon,
    "horizon_at_resume": lambda p, f: "after the resume " + _horizon(p, f),
    "frozen": lambda p, f: (
        f"the learning rate stands still after step {p['at']:g}{' at the latest' if 'bound' in p else ''}, though the "
        "scheduler goes on: it moves another optimizer"
        if "scheduler" in p
        else f"the scheduler was not stepped any more after step {p['at']:g}{' at the latest' if 'bound' in p else ''}"
    ),
    "frozen_at_resume": lambda p, f: f"after the resume at step {p['at']:g} the learning rate does not move",
    "restart_at_resume": lambda p, f: (
        f"the schedule began again at the resume at step {p['at']:g}: the scheduler's state was not restored"
    ),
    "restart": lambda p, f: (
        f"the schedule began again{' about' if p.get('bound') == 'about' else ''} at step {p['at']:g}, where no resume "
        "is recorded: the scheduler was built anew"
    ),
    "single_sample_at_resume": lambda p, f: (
        f"only the first update after the resume, {p['at']:g}, used {p['value']:.6g}: the scheduler was built "
        "after the optimizer's state was loaded"
    ),
    "skipped_updates": lambda p, f: (
        f"the scheduler counts {p['follows']} updates, the contract the other kind; {p['skipped']} were skipped"
    ),
    "staircase": _staircase,
    "extra_per_epoch": lambda p, f: f"the scheduler is stepped once more every {p['every']:g} updates",
    "modulo": lambda p, f: f"the schedule begins again every {p['period']:g} updates",
    "quantised": lambda p, f: f"the learning rate is rounded to {p['dtype']}",
    "mirror_past_horizon": lambda p, f: "past the horizon the learning rate climbs back up the way it came",
    "past_horizon": lambda p, f: (
        "past the horizon the schedule begins again"
        if p["after"] == "restart"
        else f"past the horizon the scheduler does not {'go on' if p['after'] == 'hold' else 'stop'}"
    ),
    "warmup_missing": lambda p, f: f"there is no warm-up; in its place: {p['instead']}",
    "warmup_length": _warmup,
    "warmup_scale": _warmup,
    "warmup_origin": lambda p, f: f"the warm-up follows {p['convention']}, not the promised convention",
    "floor": lambda p, f: (
        "the floor is missing: the decay goes to zero"
        if p["floor"] == 0
        else f"the decay ends at {p['floor']:.6g}, the contract says {p['promised']:.6g}"
    ),
    "clamp": lambda p, f: f"the decay goes to zero and is cut off at {p['floor']:.6g} instead of ending there",
    "reversed": lambda p, f: f"the schedule is reversed {p['how']}",
    "shape_param": lambda p, f: (
        f"{p['param']} {'are' if p['param'] == 'milestones' else 'is'} {_number(p['value'])}"
        f"{' or later' if 'bound' in p else ''}, the contract says {_number(p['promised'])}"
    ),
    "wrong_family": lambda p, f: f"the decay is {p['family']}, the contract says {p['promised']}",
    "affine": lambda p, f: f"the learning rate is {p['a']:.6g} + {p['b']:.6g} × the promised one",
    "group_unscheduled": lambda p, f: "this group keeps its first value: the scheduler does not know it",
    "group_swapped": lambda p, f: f"this group follows the curve of group {p['with']}",
    "group_ratio": lambda p, f: f"this group follows group {p['with']}: its scale of {p['scale']:g} is lost",
    "rank_local_metric": lambda p, f: (
        f"the plateau scheduler of this worker made other reductions by {p['factor']:g} than the others: it steps on "
        "a metric of its own"
    ),
    "rank_progress": _progress,
    "companion_broken": lambda p, f: (
        f"{p['signal'].replace('_', ' ')} does not follow the learning rate, which is right: "
        + (p["then"] if "then" in p else f"it stays at {p['value']:g}")
    ),
    "rank_stale_contract": lambda p, f: f"this worker runs another contract; on it {p['then']}",
}
