"""What a session has to say at the end: immutable, for reports, metrics and exit codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from lrwatch.contract.model import Contract
from lrwatch.findings import Finding, Severity, worst
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.picture import Mark

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class CheckRun:
    """Whether a check ran; ``why`` says why not, or which part it could not judge."""

    slug: str
    code: str
    status: Literal["ran", "not_checked"]
    why: str = ""


@dataclass(frozen=True)
class Sensitivity:
    """The smallest deviation that this trace could have shown.

    ``relative``: smallest constant factor error, |c - 1| · ``absolute``: any larger error in any row is seen, in the
    signal's unit · ``sentence``: the same in words, with what it could not have shown.
    """

    relative: float
    absolute: float
    sentence: str


@dataclass(frozen=True)
class Series:
    """A curve for plotting: float64[m] each, m bounded, the worst rows kept; ``expected`` is NaN without a promise.

    ``update`` are the steps of the rows. ``explained`` is the expected curve transformed by the named cause, NaN in
    segments without one. Where ``update`` goes back, a rolled-back run did those steps again.
    """

    signal: str
    group: str
    rank: int
    t: FloatArray
    observed: FloatArray
    expected: FloatArray
    first_bad: int | None = None
    update: FloatArray | None = None
    explained: FloatArray | None = None


@dataclass(frozen=True)
class Samples:
    """A recorded column for plotting, ``loss``, ``grad_norm`` or ``validation/<metric>``: float64[m] each, m bounded,
    the extremes kept."""

    name: str
    rank: int
    update: FloatArray
    value: FloatArray


@dataclass(frozen=True)
class Stats:
    """How much was read. ``damage``: kind → number of places; ``assumed``: conventions taken for granted."""

    rows: int = 0
    ranks: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    segments: int = 0
    first_step: int | None = None
    last_step: int | None = None
    damage: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    assumed: tuple[str, ...] = ()
    run: str | None = None


@dataclass(frozen=True)
class Result:
    """The outcome of a session."""

    contract: Contract | None
    checks: tuple[CheckRun, ...]
    findings: tuple[Finding, ...]
    stats: Stats
    sensitivity: Sensitivity | None = None
    series: tuple[Series, ...] = ()
    samples: tuple[Samples, ...] = ()
    marks: tuple[Mark, ...] = ()

    def verdict(self, fail_on: Severity = Severity.error) -> Verdict:
        """``fail``: a finding at or above ``fail_on`` · ``inconclusive``: nothing ran, or the promise itself could not
        be compared, wholly or in part · ``pass`` otherwise."""
        highest = worst(self.findings)
        if highest is not None and highest >= fail_on:
            return "fail"
        return "inconclusive" if self.gaps() or not self.checks else "pass"

    def gaps(self) -> tuple[CheckRun, ...]:
        """The checks that could not judge, wholly or in part, what a verdict without findings rests on."""
        if all(c.status == "not_checked" for c in self.checks):
            return self.checks
        promise = [c for c in self.checks if c.slug == "drift"]  # none where only other checks were asked for
        return tuple(c for c in promise if self.contract is not None and (c.status == "not_checked" or c.why))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The same trouble on several workers, groups or segments as one finding, worst and earliest first."""
    found = list(findings)
    for what in (_over_ranks, _over_groups, _over_segments):
        found = what(found)
    return tuple(sorted(found, key=lambda f: (-f.severity, f.first_step or 0, f.code, f.signal or "", f.group or "")))


def _cause_key(f: Finding) -> Any:
    if f.cause is None:
        return None
    params = tuple(sorted((k, str(v)) for k, v in f.cause.params.items()))
    where = f.first_step if f.cause.name == "unexplained" else None  # two that nobody can explain may be two troubles
    return (f.cause.name, params, f.cause.confidence, where)


def _collect(findings: list[Finding], key: Any) -> list[list[Finding]]:
    together: dict[Any, list[Finding]] = {}
    for f in findings:
        together.setdefault(key(f), []).append(f)
    return list(together.values())


def _span(fs: list[Finding]) -> dict[str, Any]:
    firsts = [f.first_step for f in fs if f.first_step is not None]
    lasts = [f.last_step for f in fs if f.last_step is not None]
    return {
        "first_step": min(firsts, default=None),
        "last_step": max(lasts, default=None),
        "state": "active" if any(f.state == "active" for f in fs) else "resolved",
    }


def _over_ranks(findings: list[Finding]) -> list[Finding]:
    result = []
    for fs in _collect(findings, _at_one_step):
        ranks = sorted({r for f in fs for r in (f.ranks or (() if f.rank is None else (f.rank,)))})
        one = len(ranks) == 1
        result.append(
            replace(fs[0], rank=ranks[0] if one else None, ranks=tuple(ranks), **_span(fs)) if ranks else fs[0]
        )
    return result


def _at_one_step(f: Finding) -> Any:
    return (f.code, f.severity, f.signal, f.optimizer, f.group, f.details.get("kind"), f.first_step, _cause_key(f))


def _over_groups(findings: list[Finding]) -> list[Finding]:
    result = []
    for fs in _collect(
        findings,
        lambda f: (
            (f.code, f.signal, f.ranks, _cause_key(f), f.details.get("kind"), f.details.get("segment"))
            if f.cause is not None
            else id(f)
        ),
    ):
        groups = [_full_name(f) for f in fs if f.group is not None]
        if len(groups) <= 1:
            result.extend(fs)
            continue
        details = MappingProxyType({**fs[0].details, "groups": groups})
        optimizer = fs[0].optimizer if len({f.optimizer for f in fs}) == 1 else None
        result.append(replace(fs[0], optimizer=optimizer, group=None, details=details, **_span(fs)))
    return result


def _full_name(f: Finding) -> str:
    return f"{f.optimizer}/{f.group}" if f.optimizer is not None else str(f.group)


def _over_segments(findings: list[Finding]) -> list[Finding]:
    result = []
    for fs in _collect(
        findings,
        lambda f: (
            (f.code, f.signal, f.ranks, f.optimizer, f.group, tuple(f.details.get("groups", ())), _cause_key(f))
            if f.cause is not None
            else id(f)
        ),
    ):
        result.append(replace(fs[0], **_span(fs)) if len(fs) > 1 else fs[0])
    return result
