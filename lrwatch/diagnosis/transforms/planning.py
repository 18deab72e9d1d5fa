"""A wrong plan: another horizon, another warm-up, or what a scheduler does past its end.

horizon              the last phase ends at T', what comes before it is right
warmup_length        the warm-up takes W' (``warmup_scale`` when W'/W is a number of the run)
warmup_missing       no warm-up at all
warmup_origin        t/W, (t+1)/W, (t+1)/(W+1) or t/(W-1): another convention of the same warm-up
warmup_shape         logarithmic instead of linear
mirror_past_horizon  O(T + d) = E(T - d); past_horizon: restarts, or goes on along its formula
shape_param          the milestones of a multi-step decay, all at the same multiple of their places
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from lrwatch.contract.model import Phase
from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Hypothesis, Rows
from lrwatch.diagnosis.search import minimise
from lrwatch.diagnosis.transforms.base import (
    SEARCH_ROWS,
    Transform,
    behaviours,
    differs,
    following,
    loss,
    resumed,
    settled,
    tidy,
)
from lrwatch.schedules.base import FloatArray

Change = Callable[[tuple[Phase, ...]], tuple[Phase, ...]]


def horizon(case: Case) -> Iterator[Hypothesis]:
    """O(t) = E with the last phase ending at T' instead of T; what comes before it is right."""
    last = case.curve.phases[-1]
    if last.length is None:
        return
    thin = case.rows.thin(SEARCH_ROWS)
    planned = last.start + last.length
    if len(case.curve.phases) > (2 if warmup(case) else 1):
        yield from _all_stretched(case, planned, thin)
    if last.family == "warmup_stable_decay":
        yield from _share_of_decay(case, planned, thin)
    grid = (last.start + last.length * np.geomspace(1.0 / 64.0, 64.0, 129)).tolist()
    for after in behaviours(case.curve):
        found = minimise(_loss_of_end(case.curve, after, thin), grid)
        *_, found = settled(case, lambda end, after=after: ending(case.curve, end, after), found)  # type: ignore[misc]
        endless = bool(np.all(case.rows.match(ending(case.curve, grid[-1], after).at(case.rows.t))))
        for end in dict.fromkeys((float(round(found)), found)):
            if end > last.start and differs(end, planned):
                extra = {"after": after} if after != last.after else {}
                extra |= {"bound": "at least"} if endless else {}
                yield Hypothesis(
                    resumed(case, "horizon"),
                    {"horizon": tidy(end), "planned": tidy(planned), **extra},
                    following(ending(case.curve, end, after)),
                )


def _share_of_decay(case: Case, planned: float, thin: Rows) -> Iterator[Hypothesis]:
    """The decay at the end is a share of the horizon, so it grows with it."""
    last = case.curve.phases[-1]
    decay = last.params["decay"]

    def at(end: float, late: float = 0.0) -> Curve:
        params = MappingProxyType({**last.params, "decay": max(float(round(decay * end / planned)) + late, 1.0)})
        return case.curve.with_last_phase(length=end - last.start, params=params)

    grid = (last.start + (planned - last.start) * np.geomspace(1.0 / 16.0, 16.0, 129)).tolist()
    found = minimise(lambda end: loss(at(end).at(thin.t), thin), grid)
    for end in dict.fromkeys((float(round(found)), found)):
        if end > last.start and differs(end, planned):
            params = {"horizon": tidy(end), "planned": tidy(planned), "moves": "every phase after the warm-up"}
            for late in (0.0, 1.0, -1.0):
                yield Hypothesis(resumed(case, "horizon"), params, following(at(end, late)))


def _all_stretched(case: Case, planned: float, thin: Rows) -> Iterator[Hypothesis]:
    """The phases after the warm-up grow with the horizon, as when their lengths are shares of it."""
    since = warmup(case) or 0.0
    grid = (since + (planned - since) * np.geomspace(1.0 / 16.0, 16.0, 129)).tolist()
    for origin in dict.fromkeys((0.0, since)):

        def at(end: float, late: float = 0.0, origin: float = origin) -> Curve:
            return case.curve.with_phases(_stretched(since, origin, end, end / planned, late))

        def of(end: float, at: Callable[[float], Curve] = at) -> float:
            return loss(at(end).at(thin.t), thin)

        found = minimise(of, grid)
        for end in dict.fromkeys((float(round(found)), found)):
            if end > since and differs(end, planned):
                params = {"horizon": tidy(end), "planned": tidy(planned), "moves": "every phase after the warm-up"}
                for late in (0.0, 1.0, -1.0):  # shares are rounded to whole steps, by everybody in another way
                    yield Hypothesis(resumed(case, "horizon"), params, following(at(end, late)))


def _stretched(since: float, origin: float, last: float, factor: float, late: float) -> Change:
    """The last phase ends at ``last``, borders between ``since`` and it at ``factor`` times the distance from
    ``origin``, to whole steps and ``late`` more."""

    def change(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        def at(t: float) -> float:
            if t <= since:
                return t
            return min(float(round(origin + factor * (t - origin))) + late, last - 1.0)

        result = []
        for i, phase in enumerate(phases):
            start, end = at(phase.start), None if phase.end is None else at(phase.end)
            stop = last if i == len(phases) - 1 else end
            length = None if phase.length is None or stop is None else max(stop - start, 1.0)
            result.append(replace(phase, start=start, end=end, length=length))
        return tuple(result)

    return change


def milestones(case: Case) -> Iterator[Hypothesis]:
    """All drops of a multi-step decay at the same multiple of their places: counted in other steps, or never met."""
    last = case.curve.phases[-1]
    if last.family != "multi_step":
        return
    places = np.array(last.params["milestones"])
    drops = case.rows.t[1:][np.diff(case.rows.observed) < 0]
    after = drops[drops > last.start + 1.0] - last.start
    guesses = {k for v in case.facts.owners().values() for k in (float(v), 1.0 / v)} | {0.5, 2.0}
    if len(after):
        guesses |= {float(after[0] / places[0])} if places[0] else set()
    if case.rows.t[-1] > last.start:
        guesses.add(float((case.rows.t[-1] + 1.0 - last.start) / max(places[0], 1.0)))
    for factor in sorted(guesses):
        for rounded in (np.floor, np.ceil):
            moved_to = tuple(rounded(places * factor).tolist())
            if factor > 0 and moved_to != tuple(places):
                never = {"bound": "or later"} if moved_to[0] + last.start > case.rows.t[-1] else {}
                params = {"param": "milestones", "value": _listed(moved_to), "promised": _listed(places), **never}
                curve = case.curve.with_last_phase(params=MappingProxyType({**last.params, "milestones": moved_to}))
                yield Hypothesis("shape_param", params, following(curve))


def _listed(places: Iterable[float]) -> str:
    return ", ".join(f"{p:g}" for p in places)


def ending(curve: Curve, end: float, after: str) -> Curve:
    return curve.with_last_phase(length=end - curve.phases[-1].start, after=after)


def _loss_of_end(curve: Curve, after: str, rows: Rows) -> Callable[[float], float]:
    return lambda end: loss(ending(curve, end, after).at(rows.t), rows)


def past_horizon(case: Case) -> Iterator[Hypothesis]:
    """Right up to the horizon; past it the scheduler does something else than the contract says."""
    last = case.curve.phases[-1]
    if last.length is None or case.first_bad < last.start + last.length:
        return
    for after in behaviours(case.curve)[1:]:
        name = "mirror_past_horizon" if after == "mirror" else "past_horizon"
        yield Hypothesis(name, {"after": after}, following(case.curve.with_last_phase(after=after)))


def warmup_length(case: Case) -> Iterator[Hypothesis]:
    """The warm-up takes W' instead of W; the decay after it keeps its end, or its length."""
    case = replace(case, curve=split(case.curve))
    width = warmup(case)
    if width is None:
        return
    thin = case.rows.thin(SEARCH_ROWS)
    limit = case.curve.horizon or 64.0 * width
    grid = np.geomspace(max(width / 128.0, 0.5), max(limit, 2.0 * width), 129).tolist()
    for keeps in ("end", "length", "horizon")[: 3 if len(case.curve.phases) > 2 else 2]:
        found = minimise(_loss_of_warmup(case.curve, keeps, thin), grid)
        for new in dict.fromkeys((float(round(found)), found)):
            if new > 0 and differs(new, width):
                ratio = new / width
                scaled = any(np.isclose(ratio, k) or np.isclose(ratio, 1.0 / k) for k in case.facts.owners().values())
                yield Hypothesis(
                    "warmup_scale" if scaled else "warmup_length",
                    {"warmup": tidy(new), "planned": tidy(width), "decay_keeps": keeps},
                    following(case.curve.with_phases(warmed(new, keeps))),
                )


def _loss_of_warmup(curve: Curve, keeps: str, rows: Rows) -> Callable[[float], float]:
    return lambda new: loss(curve.with_phases(warmed(new, keeps)).at(rows.t), rows)


def warmed(new: float, keeps: str) -> Change:
    """The phases with a warm-up of ``new``. The next one keeps its end, or all are moved as they are (``length``),
    or all but the last, which keeps its end (``horizon``)."""

    def change(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        first, *rest = phases
        by = new - (first.end or 0.0)
        result = [replace(first, end=new, length=new)]
        for i, phase in enumerate(rest):
            squeezed = {"end": i == 0, "length": False, "horizon": i == len(rest) - 1}[keeps]
            moves = i == 0 or keeps != "end"
            start = phase.start + by if moves else phase.start
            end = phase.end + by if phase.end is not None and keeps != "end" else phase.end
            length = phase.length
            if squeezed and length is not None and length - by > 0:
                length = length - by
            result.append(replace(phase, start=start, end=end, length=length))
        return tuple(result)

    return change


def warmup_missing(case: Case) -> Iterator[Hypothesis]:
    """No warm-up: its steps at the peak, or the decay from step 0 on (over its own length, or up to the end)."""
    case = replace(case, curve=split(case.curve))
    width = warmup(case)
    if width is None:
        return
    peak = float(case.curve.at(np.array([width]))[0])
    yield Hypothesis(
        "warmup_missing",
        {"instead": "peak"},
        lambda rows: np.where(rows.t < width, peak, case.curve.at(rows.t)),
    )
    yield Hypothesis("warmup_missing", {"instead": "decay"}, lambda rows: case.curve.at(rows.t + width))

    longer = case.curve.with_phases(_from_the_start(width))
    yield Hypothesis("warmup_missing", {"instead": "longer decay"}, following(longer))


def _from_the_start(width: float) -> Change:
    """The phases without the first; the next begins in its place and keeps its end."""

    def change(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        second, *rest = phases[1:]
        length = None if second.length is None else second.length + width
        return (replace(second, start=0.0, length=length), *rest)

    return change


def unwarmed(curve: Curve, width: float) -> dict[str, Curve]:
    """The curve without its warm-up, by what stands in its place."""
    peak = MappingProxyType({"from": (1.0, True), "to": (1.0, True)})
    return {
        "longer decay": curve.with_phases(_from_the_start(width)),
        "peak": curve.with_phases(lambda phases: (replace(phases[0], family="linear", params=peak), *phases[1:])),
    }


def warmup_origin(case: Case) -> Iterator[Hypothesis]:
    """Another of the usual conventions for the first and last value of a linear warm-up."""
    case = replace(case, curve=split(case.curve))
    width = warmup(case)
    if width is None or case.curve.phases[0].family != "linear":
        return
    first = case.curve.phases[0]
    for offset, over, word in (
        (0.0, width, "t/W"),
        (1.0, width, "(t+1)/W"),
        (1.0, width + 1, "(t+1)/(W+1)"),
        (0.0, width + 1, "t/(W+1)"),
        (0.0, width - 1, "t/(W-1)"),
    ):
        if over > 0 and (offset, over) != (first.offset, first.length):
            changed = replace(first, offset=offset, length=over)
            curve = case.curve.with_phases(_first_becomes(changed))
            yield Hypothesis("warmup_origin", {"convention": word}, following(curve))


def _first_becomes(phase: Phase) -> Change:
    return lambda phases: (phase, *phases[1:])


def warmup_shape(case: Case) -> Iterator[Hypothesis]:
    """A logarithmic warm-up, ln(1+t)/ln(W), where a linear one is promised."""
    case = replace(case, curve=split(case.curve))
    width = warmup(case)
    if width is None or width < 2:
        return
    low, peak = (float(v) for v in case.curve.at(np.array([0.0, width])))

    def predict(rows: Rows) -> FloatArray:
        share = np.minimum(np.log1p(np.maximum(rows.t, 0.0)) / np.log(width), 1.0)
        return np.where(rows.t < width, low + (peak - low) * share, case.curve.at(rows.t))

    yield Hypothesis("warmup_shape", {"shape": "logarithmic"}, predict)


def split(curve: Curve) -> Curve:
    """The same curve with the warm-up of a ``warmup_stable_decay`` as a phase of its own."""
    first = curve.phases[0]
    width = first.params["warmup"] if first.family == "warmup_stable_decay" else 0.0
    if not width or first.length is None or first.offset or len(curve.phases) > 1:
        return curve
    rising = MappingProxyType({"from": first.params["from"], "to": (1.0, True)})
    warm = replace(first, family="linear", params=rising, length=width, end=width, after="hold")
    flat = MappingProxyType({**first.params, "warmup": 0.0})
    rest = replace(first, params=flat, start=width, length=first.length - width)
    return curve.with_phases(lambda _: (warm, rest))


def warmup(case: Case) -> float | None:
    """Length of the warm-up, a first phase that ends higher than it begins, if any row lies in it."""
    curve, first = case.curve, case.curve.phases[0]
    if first.end is None or len(curve.phases) < 2 or case.rows.t[0] >= first.end:
        return None
    begin, end = curve.at(np.array([0.0, first.end]))
    return float(first.end) if end > begin else None


TRANSFORMS: tuple[Transform, ...] = (
    horizon,
    milestones,
    past_horizon,
    warmup_missing,
    warmup_origin,
    warmup_shape,
    warmup_length,
)
