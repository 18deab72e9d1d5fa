"""Two runs side by side: where their numbers part, in what else they differ, and which bug would do that.

    difference = diff(open_trace(["runs/good"]), open_trace(["runs/bad"]), contracts=(contract, contract))
    difference.same, difference.parted, difference.suspects

Every run is judged by its own contract; a run without one by the other's; and where there is none at all, the first run
is taken as the promise of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from lrwatch.contract.hash import Identity, compare
from lrwatch.contract.model import Contract
from lrwatch.diff import fields
from lrwatch.diff.fields import Field, Happened
from lrwatch.diff.pairing import Paired, Pairing, Side, Track
from lrwatch.diff.promise import Until, promise
from lrwatch.diff.survey import Noted, Survey
from lrwatch.errors import TraceError
from lrwatch.findings import Cause, Severity
from lrwatch.result import Result
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.model import Source, TraceInfo
from lrwatch.verify import verify

__all__ = ["ONLY", "Difference", "Field", "Happened", "Parting", "Run", "Side", "Suspect", "diff"]

ONLY: Final = ("lr", "weight_decay", "momentum", "loss", "grad_norm")
"""What a comparison can be restricted to."""
Basis = Literal["own contract", "other's contract", "other run", ""]
"""What a run was judged by."""


@dataclass(frozen=True)
class Run:
    """One of the two runs.

    Attributes:
        result: of verifying it by ``contract`` (its own, the other's, or None: what a trace shows by itself).
        identity: of the contract that its workers recorded, None for none or several.
    """

    info: TraceInfo
    survey: Survey
    result: Result
    contract: Contract | None
    basis: Basis
    identity: str | None


@dataclass(frozen=True)
class Parting:
    """A column in which the runs differ.

    Attributes:
        step, a, b: the first differing row and its values. last: the last one.
        rows: compared, over ``workers`` of them; differing: how many of the rows differ; ranks: on which workers.
        worst, worst_step: the largest difference; infinite where a number meets none.
        steps, curve: b - a of the lowest worker for plotting, float64[m] each, thinned.
    """

    column: str
    step: int
    a: float
    b: float
    last: int
    rows: int
    differing: int
    ranks: tuple[int, ...]
    worst: float
    worst_step: int
    steps: FloatArray
    curve: FloatArray


@dataclass(frozen=True)
class Suspect:
    """A bug that one run has and the other has not. ``basis``: the promise by which it was found."""

    side: Side
    cause: Cause
    fix: str
    step: int | None
    basis: Basis


@dataclass(frozen=True)
class Difference:
    """What two runs do not have in common.

    Attributes:
        compared: column → rows compared, of every column that both have. parted: those that differ, by first step.
        alone: columns that only one run has, by side; lonely: steps of the shared workers that only one has.
        only: what the comparison was restricted to; then nothing else makes the runs differ.
        contracts: fields of their contracts that differ; amended: one contract is the other with amendments;
        mismatch: their recorded identities are of two contracts, whose files are not at hand.
    """

    a: Run
    b: Run
    compared: dict[str, int]
    parted: tuple[Parting, ...]
    alone: dict[Side, tuple[str, ...]]
    lonely: dict[Side, int]
    contracts: tuple[Field, ...]
    amended: bool
    mismatch: bool
    facts: tuple[Field, ...]
    happened: tuple[Happened, ...]
    suspects: tuple[Suspect, ...]
    only: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Nothing parted, and unless the comparison was restricted, nothing else differs either."""
        others = (*self.alone["a"], *self.alone["b"], *self.contracts, *self.facts, *self.happened)
        return not self.parted and (bool(self.only) or not (others or self.mismatch or any(self.lonely.values())))


def diff(
    a: Source,
    b: Source,
    contracts: tuple[Contract | None, Contract | None] = (None, None),
    *,
    only: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Difference:
    """Compare two runs.

    Args:
        a, b: their traces, read several times. contracts: what each promised, where it is known.
        only: signals, ``loss`` or ``grad_norm``; without it, everything.

    Raises:
        TraceError: a trace has no rows or can be read once only, or the two have no worker, column or step in common.
    """
    for source in (a, b):
        if not source.rereadable:
            raise TraceError("can be read once only; give a file", source=", ".join(source.info.paths))
    first, second = (_run(source, *judged, progress) for source, judged in zip((a, b), _bases(contracts), strict=True))
    pairing = Pairing(first.survey, second.survey, only)
    paired = pairing.run(a, b) if pairing.ranks and pairing.columns else Paired()
    _refuse_nothing(first, second, pairing, paired)
    parted = _parted(paired)
    suspects = _suspects(first, second)
    if not any(contracts) and any(p.column.startswith("lr/") for p in parted):
        suspects += _by_the_other(a, b, first.survey, parted)
    return Difference(
        first,
        second,
        {name: track.rows for name, track in paired.tracks.items()},
        parted,
        {
            "a": tuple(n for n in first.survey.columns if n not in second.survey.columns),
            "b": tuple(n for n in second.survey.columns if n not in first.survey.columns),
        },
        paired.alone,
        fields.contracts(*contracts),
        _relation(first, second, contracts) == "amended",
        _relation(first, second, contracts) == "mismatch" and not all(contracts),
        fields.facts(first.survey, second.survey),
        fields.happened(first.survey, second.survey),
        suspects,
        tuple(only),
    )


def _bases(contracts: tuple[Contract | None, Contract | None]) -> list[tuple[Contract | None, Basis]]:
    """By what each run is judged, whatever experiment its trace says it is of: that is a difference, no mistake."""
    judged: list[tuple[Contract | None, Basis]] = []
    for own, other in (contracts, contracts[::-1]):
        lent = own or other
        basis: Basis = "own contract" if own else "other's contract" if other else ""
        judged.append((lent and replace(lent, experiment=""), basis))
    return judged


def _run(source: Source, contract: Contract | None, basis: Basis, progress: Callable[[int], None] | None) -> Run:
    noted = Noted(source)
    report = verify(contract, noted, progress=progress)
    identities = list(noted.survey.identities)
    return Run(
        source.info, noted.survey, report.result, contract, basis, identities[0] if len(identities) == 1 else None
    )


def _refuse_nothing(a: Run, b: Run, pairing: Pairing, paired: Paired) -> None:
    """Runs that have nothing to compare are no equal runs."""
    if not pairing.ranks:
        why = f"have no worker in common: ranks {_few(a.survey.ranks)} and {_few(b.survey.ranks)}"
    elif not pairing.columns:
        why = f"have no such column in common: {_few(a.survey.columns)} and {_few(b.survey.columns)}"
    elif not any(track.rows for track in paired.tracks.values()):
        ends = ["{}–{}".format(*run.survey.steps) if run.survey.steps else "none" for run in (a, b)]
        why = f"have no step in common: {ends[0]} and {ends[1]}"
    else:
        return
    raise TraceError(f"{why}; nothing to compare", source=f"{a.info.paths[0]} and {b.info.paths[0]}")


def _few(items: Collection[object]) -> str:
    shown = [str(item) for item in items]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "") or "none"


def _parted(paired: Paired) -> tuple[Parting, ...]:
    found = [_parting(name, track) for name, track in paired.tracks.items() if track.differing]
    return tuple(sorted(found, key=lambda p: p.step))  # stable: signals were recorded before loss


def _parting(name: str, t: Track) -> Parting:
    steps, curve = t.curve.rows()
    ranks = tuple(sorted(t.first))
    return Parting(
        name, t.step, t.a, t.b, t.last, t.rows, t.differing, ranks, t.worst, t.worst_step, steps, np.asarray(curve)
    )


def _relation(
    a: Run, b: Run, contracts: tuple[Contract | None, Contract | None]
) -> Literal["same", "amended", "mismatch", "unknown"]:
    """How the two contracts are related, by the files where they are there, else by what the workers recorded."""
    own = [str(c.identity) if c is not None else r.identity for c, r in zip(contracts, (a, b), strict=True)]
    if own[0] is None or own[1] is None:
        return "unknown"
    return compare(Identity.parse(own[0]), Identity.parse(own[1]))


# -- suspects ----------------------------------------------------------------------------------------


def _suspects(a: Run, b: Run) -> tuple[Suspect, ...]:
    """The causes that were named for one run and not for the other: what both have cannot be what parts them."""
    found_a, found_b = _named("a", a.result, a.basis), _named("b", b.result, b.basis)
    a_only = [suspect for key, suspect in found_a.items() if key not in found_b]
    b_only = [suspect for key, suspect in found_b.items() if key not in found_a]
    return (*a_only, *b_only)


def _named(side: Side, result: Result, basis: Basis) -> dict[object, Suspect]:
    """The causes named for a run, each once: the scheduler's position may show what a group's rate showed before."""
    named: dict[object, Suspect] = {}
    bugs: set[object] = set()
    for f in result.findings:
        cause = f.cause
        if cause is None or cause.name == "unexplained" or f.severity < Severity.warning:
            continue
        bug = (cause.name, tuple(sorted((k, str(v)) for k, v in cause.params.items())))
        groups = tuple(f.details.get("groups", ())) or (f.group,)
        if bug not in bugs or groups != (None,):
            named.setdefault((bug, groups), Suspect(side, cause, f.fix, f.first_step, basis))
        bugs.add(bug)
    return named


def _by_the_other(a: Source, b: Source, survey: Survey, parted: tuple[Parting, ...]) -> tuple[Suspect, ...]:
    """What the second run did, if what the first did was right."""
    promised = promise(a, survey)
    if promised is None or survey.steps is None:
        return ()
    result = verify(promised, Until(b, survey.steps[1]), only=("drift",)).result
    return tuple(_named("b", result, "other run").values())
