"""From hypotheses to a named cause: only what reproduces every row, and everything that does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from lrwatch.diagnosis import words
from lrwatch.diagnosis.case import Case, Hypothesis
from lrwatch.diagnosis.causes import CAUSES
from lrwatch.diagnosis.local import localised
from lrwatch.diagnosis.pairs import pairs
from lrwatch.diagnosis.spans import since, spans
from lrwatch.diagnosis.transforms import BY_STEPS, FIRST, SECOND, THIRD
from lrwatch.diagnosis.transforms.base import Transform, at_position
from lrwatch.findings import Cause, Confidence

FAR = 16
"""Steps ahead that nobody makes before a run begins."""

ENOUGH = 32
"""Different values with which a curve that repeats a bug of the run is as certain as the first."""


@dataclass(frozen=True)
class Diagnosis:
    """A cause and the hypothesis behind it, which later rows are tested against (None: unexplained).

    ``shift`` is the reading convention under which it holds, ``nearest`` what came closest, ``by`` the transform that
    gave the hypothesis, ``resumed`` whether a resume is what went wrong.
    """

    cause: Cause
    hypothesis: Hypothesis | None
    nearest: Hypothesis | None = None
    shift: int = 0
    by: Transform | None = None
    resumed: bool = False

    @property
    def fix(self) -> str:
        """What to change; for two causes, both."""
        parts = () if self.hypothesis is None else self.hypothesis.parts
        names = dict.fromkeys(part.name for part in parts) if self.cause.name == "two_causes" else [self.cause.name]
        return "; and ".join(dict.fromkeys(CAUSES[name].fix for name in names))


def diagnose(case: Case, *, pairing: bool = True) -> Diagnosis:
    """Name the cause of a curve that differs from its promise.

    A cause is named only if its transform reproduces every row of the segment within tolerance and, where the
    scheduler's own position was recorded, that position too. When several do, the first by the documented order is
    named with confidence ``ambiguous`` and the others are listed. Two causes at once are searched only when no single
    one fits, and with ``pairing``.
    """
    by = {transform: list(transform(case)) for transform in FIRST}
    tried = [h for hypotheses in by.values() for h in hypotheses]
    fitting = _fitting(tried, case)
    if not any(_owned(h, case) for h in fitting):  # then a change of shape may say the same, or more simply
        known = {h.name for h in fitting}
        more = [h for transform in SECOND for h in transform(case)]
        tried += more
        fitting += [h for h in _fitting(more, case) if h.name not in known and (not fitting or is_simple(h, case))]
    if not fitting:
        tried += (last := [h for transform in THIRD for h in transform(case)])
        fitting = _fitting(last, case)
    if not fitting:
        fitting = _one_per_meaning(since(case))
    elif any(h.name == "modulo" and 2.0 * h.params["period"] > case.rows.t[-1] for h in fitting):
        fitting = [*(h for h in since(case) if h.name == "restart"), *fitting]  # begun again once: for another reason?
    fitting = _without_superfluous(sorted(fitting, key=is_odd))
    if not fitting and pairing:
        fitting = _one_per_pair([h for h in (*pairs(case, tried), *spans(case, tried)) if _proven(h, case)])
    source = next((t for t, hypotheses in by.items() if fitting and fitting[0] in hypotheses), None)
    fitting = [localised(h, case) for h in fitting]
    if not fitting:
        return unexplained(case, min(tried, key=lambda h: h.residual(case.rows), default=None))
    return replace(_named(case, fitting, _explains(fitting[0], case)), by=source, resumed=case.place.since_resume)


def repeated(case: Case, known: Diagnosis) -> Diagnosis | None:
    """A bug that was named elsewhere in the run once more; None where its transform does not reproduce this curve.

    With the same numbers it is the same cause, as certain as there. With numbers of its own it is that too, if there
    was no doubt there and there are rows enough.
    """
    h = known.hypothesis
    if known.by is None or h is None:
        return None
    if h.position is not None and case.place.since_resume == known.resumed:  # no search is needed
        same = replace(h, predict=at_position(case.curve, h.position))
        if same.agrees_with_counters(case.rows) and same.fits(case.rows):
            return replace(known, cause=replace(known.cause, explains=_explains(same, case)), hypothesis=same)
    fitting = [localised(h, case) for h in _fitting(list(known.by(case)), case)]
    fitting = [h for h in fitting if h.name == known.cause.name]
    if not fitting or fitting[0].notes.get("others"):
        return None
    if fitting[0].params == dict(known.cause.params):
        return replace(known, cause=replace(known.cause, explains=_explains(fitting[0], case)), hypothesis=fitting[0])
    found = replace(_named(case, fitting[:1], _explains(fitting[0], case)), by=known.by, resumed=known.resumed)
    if known.cause.confidence == "high" and len(np.unique(case.rows.observed)) >= ENOUGH:
        return found
    missing = "it is named because it happened elsewhere in this run; what else fits was not searched"
    return replace(found, cause=replace(found.cause, confidence="low", missing_evidence=(missing,)))


def _fitting(tried: list[Hypothesis], case: Case) -> list[Hypothesis]:
    return _one_per_meaning([h for h in tried if h.agrees_with_counters(case.rows) and h.fits(case.rows)])


def _owned(h: Hypothesis, case: Case) -> bool:
    """Whether a number of the run, or the scheduler's recorded position, speaks for it: then it needs no rival."""
    counted = h.position is not None and bool(np.isfinite(case.rows.sched).any())
    never_stepped = h.name == "frozen" and h.params["at"] == 0
    return counted or never_stepped or h.name == "warmup_scale" or bool(words.owners(h, case.facts))


def diagnose_position(case: Case) -> Diagnosis:
    """Name the cause of a scheduler that stands in the wrong place, from its recorded positions alone."""
    tried = [h for transform in BY_STEPS for h in transform(case) if h.position is not None]
    fitting = _one_per_meaning([h for h in tried if h.agrees_with_counters(case.rows)])
    return _named(case, fitting, 1.0) if fitting else _nothing("no known bug steps like this")


def _named(case: Case, fitting: list[Hypothesis], explains: float) -> Diagnosis:
    """The first of the fitting hypotheses, with the others beside it."""
    first, *others = fitting
    owners = words.owners(first, case.facts)
    return Diagnosis(
        Cause(
            first.name,
            MappingProxyType(dict(first.params)),
            confidence="ambiguous" if _far_on_a_level(first, case) else _confidence(first, others, owners),
            explains=explains,
            sentence=words.sentence(first, case.facts),
            also_consistent=tuple(_beside(h, case) for h in others),
            missing_evidence=_missing(case, fitting, owners),
        ),
        first,
        first,
    )


def _confidence(first: Hypothesis, others: list[Hypothesis], owners: list[str]) -> Confidence:
    if first.notes.get("looked_up"):
        return "low"
    many = bool(others) or len(owners) > 1 or bool(first.notes.get("others"))
    return "ambiguous" if many or (first.name == "rate" and is_odd(first)) else "high"


def _far_on_a_level(h: Hypothesis, case: Case) -> bool:
    """Whether an offset rests on one value: many a wrong base that does not move has a value that comes later."""
    far = h.name == "offset" and h.position is not None and abs(float(h.params["d"])) > FAR
    return far and np.ptp(case.rows.observed) == 0.0 and not np.isfinite(case.rows.sched).any()


def _beside(h: Hypothesis, case: Case) -> str:
    more = f" (or {h.notes['others']} other values)" if h.notes.get("others") else ""
    name = " + ".join(part.name for part in h.parts) or h.name
    return f"{name}: {words.sentence(h, case.facts)}{more}"


def unexplained(case: Case, nearest: Hypothesis | None) -> Diagnosis:
    """No transform fits; says which came nearest, without claiming it."""
    if nearest is None or (share := _explains(nearest, case)) < 0.5:
        return _nothing("no known bug gives this curve")
    sentence = f"no known bug gives exactly this curve; nearest, not confirmed: {words.sentence(nearest, case.facts)}"
    return Diagnosis(Cause("unexplained", confidence="low", explains=share, sentence=sentence), None, nearest)


def unsearched(searched: int) -> Diagnosis:
    """A curve that differs in another way than those that were looked at."""
    return _nothing(
        f"left undiagnosed: it is none of the causes found so far, and {searched} curves of this run were searched"
    )


def forgotten(segments: int) -> Diagnosis:
    """A curve of which no rows are kept."""
    return _nothing(f"left undiagnosed: rows are kept of the first {segments} segments of a worker only")


def _nothing(sentence: str) -> Diagnosis:
    return Diagnosis(Cause("unexplained", confidence="low", explains=0.0, sentence=sentence), None)


def _explains(h: Hypothesis, case: Case) -> float:
    total = case.deviation
    return 1.0 if total == 0 else max(0.0, 1.0 - h.residual(case.rows) / total)


def _one_per_meaning(fitting: list[Hypothesis]) -> list[Hypothesis]:
    """One hypothesis per cause, and none that a simpler one makes superfluous.

    Where many parameters of one cause fit alike, the rows do not determine it; the first stands for all of them.
    """
    kept: dict[str, Hypothesis] = {}
    for h in sorted(fitting, key=is_odd):
        if h.name in kept:
            known = kept[h.name]
            if _main(known) != _main(h):
                kept[h.name] = replace(known, notes={"others": int(known.notes.get("others", 0)) + 1})
        else:
            kept[h.name] = h
    return list(kept.values())


def _one_per_pair(fitting: list[Hypothesis]) -> list[Hypothesis]:
    """Of the same two causes the simplest, which stands for the others; the pairs with the simplest numbers first."""
    kept: dict[tuple[str, ...], Hypothesis] = {}
    for h in sorted(fitting, key=_oddness):
        kept.setdefault(tuple(sorted(part.name for part in h.parts) or [h.name]), h)
    plain = [h for h in kept.values() if not any(part.name in _SHAPES for part in h.parts)]
    return plain or list(kept.values())


_SHAPES = ("shape_param", "floor", "wrong_family", "clamp", "reversed", "warmup_shape")
"""Causes that have more freedom: of two causes none is one of these where others fit."""


_FREE = ("factor", "floor", "horizon", "offset", "shape_param", "warmup_length", "rate")


def _proven(h: Hypothesis, case: Case) -> bool:
    """Whether the curve has more to tell than the numbers of two causes take: any straight line agrees with two."""
    rows = case.rows
    numbers = sum(part.name.startswith(_FREE) and not words.owners(part, case.facts) for part in h.parts)
    if numbers < 2 or np.ptp(rows.t) == 0.0:
        return True
    line = np.polyval(np.polyfit(rows.t, rows.observed, 1), rows.t)
    return not bool(
        np.all(np.abs(line - rows.observed) <= np.maximum(rows.allowed(rows.observed), 1e-6 * np.abs(line)))
    )


def _oddness(h: Hypothesis) -> int:
    """How many numbers of two causes nobody would have written down."""
    values = [v for part in h.parts for v in part.params.values() if isinstance(v, float)]
    return sum(len(f"{v:.11e}".partition("e")[0].rstrip("0")) > 5 for v in values) + sum(is_odd(p) for p in h.parts)


def _without_superfluous(fitting: list[Hypothesis]) -> list[Hypothesis]:
    """None that a simpler one of another name makes superfluous."""
    kept = {h.name: h for h in fitting}
    for name, simpler in _SIMPLER.items():
        if name in kept and any(s in kept for s in simpler or kept.keys() - {name}):
            del kept[name]
    if "factor" in kept and "frozen" in kept and _main(kept["factor"]) == 0.0:
        del kept["factor"]  # a curve frozen at zero
    return list(kept.values())


_SIMPLER: dict[str, tuple[str, ...]] = {"affine": (), "group_ratio": ("group_swapped",)}
"""Cause → causes that make it superfluous when they fit too; an empty tuple stands for any."""


def is_odd(h: Hypothesis) -> bool:
    """A rate that is neither whole nor one over a whole number, or an end between two steps: nobody's first guess."""
    if h.name == "rate":
        k = float(h.params["k"])
        return not (k.is_integer() or abs(1.0 / k - round(1.0 / k)) < 1e-9)
    return h.name.startswith("horizon") and not float(h.params["horizon"]).is_integer()


def is_simple(h: Hypothesis, case: Case) -> bool:
    """Whether a change of shape is one that somebody may have written down: a short number, or share of the peak."""
    value = next((h.params[k] for k in ("floor", "value") if k in h.params), 0.0)
    if not isinstance(value, float):
        return True
    shown = (value, value / case.curve.peak()) if "floor" in h.params else (value,)
    return any(len(f"{x:.11e}".partition("e")[0].rstrip("0")) <= 5 for x in shown)


def _main(h: Hypothesis) -> object:
    main = next(iter(h.params.values()), None)
    return round(float(main), 6) if isinstance(main, (int, float)) else main


def _missing(case: Case, fitting: list[Hypothesis], owners: list[str]) -> tuple[str, ...]:
    missing = []
    if fitting[0].notes.get("looked_up"):
        missing.append("the scheduler's own position (pass scheduler= to lrwatch.watch) would confirm it")
    if fitting[0].notes.get("others"):
        missing.append(f"{fitting[0].notes['others']} other values fit as well; more rows would separate them")
    if len({h.name for h in fitting}) > 1 and not np.isfinite(case.rows.sched).any():
        missing.append("the scheduler's own position (pass scheduler= to lrwatch.watch) would tell them apart")
    if _far_on_a_level(fitting[0], case):
        missing.append("the values do not move, so that a wrong base that stands still would look the same")
    if len(owners) > 1:
        missing.append(f"a run with {' and '.join(owners)} different from each other would tell which one it is")
    if any(h.name == "rate" for h in fitting) and not owners:
        absent = [
            word
            for word, value in (("world size", case.facts.world), ("accumulation", case.facts.accumulate))
            if value is None
        ]
        if absent:
            missing.append(f"{' and '.join(absent)} were not recorded")
    return tuple(missing)
