"""From hypotheses to a named cause: only what reproduces every row, and everything that does."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lrwatch.diagnosis.case import Case, Facts, Hypothesis
from lrwatch.diagnosis.causes import CAUSES
from lrwatch.diagnosis.transforms import TRANSFORMS
from lrwatch.findings import Cause


@dataclass(frozen=True)
class Diagnosis:
    """A cause and the hypothesis behind it, which later rows are tested against (None: unexplained).

    ``shift`` is the reading convention under which it holds, ``nearest`` what came closest.
    """

    cause: Cause
    hypothesis: Hypothesis | None
    nearest: Hypothesis | None = None
    shift: int = 0


def diagnose(case: Case) -> Diagnosis:
    """Name the cause of a curve that differs from its promise.

    A cause is named only if its transform reproduces every row of the segment within tolerance and, where the
    scheduler's own position was recorded, that position too. When several do, the first by the documented order is
    named with confidence ``ambiguous`` and the others are listed.
    """
    tried = [h for transform in TRANSFORMS for h in transform(case)]
    fitting = [h for h in tried if h.agrees_with_counters(case.rows) and h.fits(case.rows)]
    fitting = _one_per_meaning(fitting)
    if not fitting:
        return unexplained(case, min(tried, key=lambda h: h.residual(case.rows), default=None))
    first, *others = fitting
    owners = _owners(first, case.facts)
    also = [*(_words(h, case.facts) for h in others)]
    missing = _missing(case, fitting, owners)
    ambiguous = bool(also) or len(owners) > 1
    return Diagnosis(
        Cause(
            first.name,
            MappingProxyType(dict(first.params)),
            confidence="ambiguous" if ambiguous else "high",
            explains=_explains(first, case),
            sentence=_words(first, case.facts),
            also_consistent=tuple(also),
            missing_evidence=missing,
        ),
        first,
        first,
    )


def diagnose_position(case: Case) -> Diagnosis:
    """Name the cause of a scheduler that stands in the wrong place, from its recorded positions alone."""
    tried = [h for transform in TRANSFORMS for h in transform(case) if h.position is not None]
    fitting = _one_per_meaning([h for h in tried if h.agrees_with_counters(case.rows)])
    if not fitting:
        return Diagnosis(
            Cause("unexplained", confidence="low", explains=0.0, sentence="no known bug steps like this"), None
        )
    first, *others = fitting
    owners, also = _owners(first, case.facts), tuple(_words(h, case.facts) for h in others)
    return Diagnosis(
        Cause(
            first.name,
            MappingProxyType(dict(first.params)),
            confidence="ambiguous" if also or len(owners) > 1 else "high",
            sentence=_words(first, case.facts),
            also_consistent=also,
            missing_evidence=_missing(case, fitting, owners),
        ),
        first,
        first,
    )


def unexplained(case: Case, nearest: Hypothesis | None) -> Diagnosis:
    """No transform fits; says which came nearest, without claiming it."""
    if nearest is None or (share := _explains(nearest, case)) < 0.5:
        return Diagnosis(
            Cause("unexplained", confidence="low", explains=0.0, sentence="no known bug gives this curve"), None
        )
    sentence = f"no known bug gives exactly this curve; nearest, not confirmed: {_words(nearest, case.facts)}"
    return Diagnosis(Cause("unexplained", confidence="low", explains=share, sentence=sentence), None, nearest)


def _nothing(sentence: str) -> Diagnosis:
    return Diagnosis(Cause("unexplained", confidence="low", explains=0.0, sentence=sentence), None)


def _explains(h: Hypothesis, case: Case) -> float:
    total = case.deviation
    return 1.0 if total == 0 else max(0.0, 1.0 - h.residual(case.rows) / total)


def _one_per_meaning(fitting: list[Hypothesis]) -> list[Hypothesis]:
    """One hypothesis per name and main parameter: variants that the rows cannot tell apart mean the same bug."""
    kept: dict[tuple[str, object], Hypothesis] = {}
    for h in fitting:
        main = next(iter(h.params.values()), None)
        main = round(float(main), 6) if isinstance(main, (int, float)) else main
        kept.setdefault((h.name, main), h)
    return list(kept.values())


def _owners(h: Hypothesis, facts: Facts) -> list[str]:
    """Which numbers of the run are equal to the factor of a rate."""
    if h.name != "rate":
        return []
    k = float(h.params["k"])
    names = [name for name, value in facts.owners().items() if np.isclose(k, value)]
    names += [f"1/{name}" for name, value in facts.owners().items() if np.isclose(k, 1.0 / value)]
    if k == 2.0:
        names.append("two owners of the scheduler")
    return names


def _missing(case: Case, fitting: list[Hypothesis], owners: list[str]) -> tuple[str, ...]:
    missing = []
    if len({h.name for h in fitting}) > 1 and not np.isfinite(case.rows.sched).any():
        missing.append("the scheduler's own position (pass scheduler= to lrwatch.watch) would tell them apart")
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


def _words(h: Hypothesis, facts: Facts) -> str:
    """The hypothesis as a sentence that a researcher understands."""
    p = h.params
    if h.name == "rate":
        k = float(p["k"])
        owners = _owners(h, facts)
        since = f" since step {p['from']}" if "from" in p else ""
        equal = "".join(f" = {name}" for name in owners[:1]) if len(owners) == 1 else ""
        listed = f", which equals {' and '.join(owners)}" if len(owners) > 1 else ""
        if k >= 1:
            who = {"world size": "once per worker", "accumulation": "once per micro-batch"}.get(
                owners[0] if len(owners) == 1 else "", f"{k:g} times per update"
            )
            return f"the scheduler was stepped {who} (k = {k:g}{equal}){since}{listed}"
        return f"the scheduler runs {1 / k:g} times too slow (k = 1/{1 / k:g}{equal}){since}{listed}"
    if h.name in ("offset", "offset_at_resume"):
        d = p["d"]
        when = " after the resume" if h.name == "offset_at_resume" else ""
        return f"the scheduler is {abs(d)} step{'s' if abs(d) != 1 else ''} {'ahead' if d > 0 else 'behind'}{when}"
    if h.name in ("factor", "factor_at_resume"):
        c = float(p["c"])
        same = [n for n, v in facts.owners().items() if np.isclose(c, v) or np.isclose(c, 1 / v)]
        return f"the learning rate is multiplied by {c:.6g}" + (f" (the {same[0]}, or its inverse)" if same else "")
    if h.name in ("horizon", "horizon_at_resume"):
        return f"the schedule was planned to end at {p['horizon']:g}, the contract says {p['planned']:g}"
    if h.name == "frozen":
        return f"the scheduler was not stepped any more after step {p['at']}"
    if h.name == "restart_at_resume":
        return f"the schedule began again at the resume at step {p['at']}: the scheduler's state was not restored"
    return CAUSES[h.name].title
