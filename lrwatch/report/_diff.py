"""What a comparison of two runs says in words, the same in every format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lrwatch.report._page import spans
from lrwatch.report._promise import flow
from lrwatch.report._words import capital, paths, steps
from lrwatch.report.base import counted

if TYPE_CHECKING:
    from lrwatch.diff import Difference, Field, Happened, Parting, Run, Suspect

VALUES = ("loss", "grad_norm")
NAMES = {"lr": "the learning rate", "grad_norm": "the gradient norm", "loss": "the loss"}
BASES = {
    "own contract": "by its own contract",
    "other's contract": "by the other run's contract",
    "other run": "taking A as the promise",
    "": "without a contract",
}


def called(column: str) -> str:
    """A column in words: ``the learning rate``, with the group where that is not the only thing it could be.

    >>> [called(c) for c in ("lr/0", "lr/head", "loss", "weight_decay/0")]
    ['the learning rate', 'the learning rate of head', 'the loss', 'weight_decay/0']
    """
    signal, _, group = column.partition("/")
    name = NAMES.get(signal)
    if name is None:
        return column
    return name if group in ("", "0", "default") else f"{name} of {group}"


def sentence(d: Difference) -> str:
    """The outcome with its reason."""
    rows = counted(max(d.compared.values(), default=0), "row")
    what = ", ".join(d.compared)
    if d.same:
        only = " where they were compared" if d.only else ""
        return f"The runs are the same{only}: {what} in {rows}."
    if not d.parted:
        return f"The numbers are the same ({what} in {rows}), but not {_joined(list(_besides(d)))}."
    together: dict[int, list[str]] = {}
    for p in _firsts(d):
        together.setdefault(p.step, []).append(called(p.column))
    said = "; ".join(
        f"{_joined(names)} {'part' if len(names) > 1 else 'parts'} at step {step:,}" for step, names in together.items()
    )
    blamed = [f"{s.side.upper()}: {s.cause.sentence}" for s in d.suspects[:2]]
    if not blamed and any(p.column not in VALUES for p in d.parted):
        promised = [f.name for f in d.contracts if f.name.partition(".")[0] not in ("experiment", "goal", "cost")]
        if promised:
            blamed = [f"The contracts differ in {_joined(promised[:3])}" + (" and more" if len(promised) > 3 else "")]
    return ". ".join([capital(said), *blamed]) + "."


def _firsts(d: Difference) -> list[Parting]:
    """Of every signal, and of loss and gradient norm, the column that parts first."""
    found: dict[str, Parting] = {}
    for p in d.parted:
        found.setdefault(p.column.partition("/")[0], p)
    return list(found.values())


def _besides(d: Difference) -> Iterator[str]:
    """What differs besides the numbers."""
    if d.contracts or d.mismatch:
        yield "the contracts"
    if d.facts:
        yield "what they recorded of themselves"
    if d.happened:
        yield "what happened"
    if any(d.alone.values()):
        yield "the columns"
    if any(d.lonely.values()):
        yield "the steps"


def order(d: Difference) -> str:
    """Which parted first, and what that proves; empty when nothing parted.

    The loss of a step depends on the learning rates of the steps before it only.
    """
    signals = [p for p in d.parted if p.column not in VALUES]
    values = [p for p in d.parted if p.column in VALUES]
    recorded = [c for c in d.compared if c in VALUES]
    if signals and values:
        rate, loss = signals[0], values[0]
        if loss.step > rate.step:
            return f"{called(rate.column)} parted first; {called(loss.column)} followed {_later(loss.step - rate.step)}"
        return (
            f"{called(loss.column)} parted at step {loss.step:,}, before {called(rate.column)} of step {rate.step:,} "
            f"could have any effect: something else parted the runs first{_there(d, loss.step)}"
        )
    if values and len(d.compared) > len(recorded):
        where = _there(d, values[0].step)
        return f"every signal is the same, so that something else parted the runs{where}"
    if signals and recorded:
        return f"{_joined([called(c) for c in recorded])} did not follow"
    return ""


def _there(d: Difference, step: int) -> str:
    """What happened at a step in one run only, else what there is to look at."""
    alone = [h for h in d.happened if h.update == step and not (h.said_a and h.said_b)]
    what = [f"{h.kind} in {'A' if h.said_a else 'B'}" for h in alone]
    return f"; at that step: {_joined(what)}" if what else " (seed, data order, weights, hardware)"


def _later(n: int) -> str:
    return f"{counted(n, 'step')} later"


def parting(p: Parting) -> str:
    """Where and by how much a column parts."""
    many = f" on {'rank' if len(p.ranks) == 1 else 'ranks'} {spans(p.ranks)}"
    size = "a number meets none" if p.worst == float("inf") else f"by up to {p.worst:.6g}"
    return (
        f"{p.column}: {steps(p.step, p.last)}, first A {p.a:.6g}, B {p.b:.6g}; {p.differing:,} of "
        f"{counted(p.rows, 'row')} differ{many}, {size} at step {p.worst_step:,}"
    )


def field(f: Field) -> str:
    """A field with both values."""
    return f"{f.name}: {value(f.a)} in A, {value(f.b)} in B"


def value(v: Any) -> str:
    """A value of a contract or an event, ``none`` for none."""
    return "none" if v is None else flow(v)


def event(h: Happened) -> str:
    """How a kind of event differs."""
    counts = f"{h.kind}: {h.a:,} in A, {h.b:,} in B" if h.a != h.b else f"{h.kind}: {h.a:,} in both"
    first = ", ".join(f"{side}: {said}" for side, said in (("A", h.said_a or "none"), ("B", h.said_b or "none")))
    return f"{counts}; first at step {h.update:,} ({first})"


def contracts(d: Difference) -> list[str]:
    """How the contracts differ."""
    said = [field(f) for f in d.contracts]
    if d.amended:
        said.insert(0, "one is the other with amendments")
    if d.mismatch:
        said.insert(0, "the workers recorded two different ones; --contract A.yaml --contract B.yaml shows the fields")
    return said


def lonely(d: Difference) -> list[str]:
    """How many rows have nothing to be compared with."""
    return [f"{counted(n, 'row')} at steps that only {side.upper()} has" for side, n in d.lonely.items() if n]


def suspect(s: Suspect) -> str:
    """A cause, whose it is and how it was found."""
    since = "" if s.step is None else f"; first bad step {s.step:,}"
    sure = "" if s.cause.confidence == "high" else f"; confidence: {s.cause.confidence}"
    return f"{s.side.upper()}: {s.cause.sentence}{since} (found {BASES[s.basis]}{sure})"


def run(r: Run) -> list[str]:
    """What a run is: where, how much, by what it was judged and with what outcome."""
    survey, name = r.survey, r.info.run or r.result.stats.run
    where = f"{paths(r.info.paths)} ({r.info.format}{f', run {name}' if name else ''})"
    ended = f", {survey.outcome}" if survey.outcome else ""
    ranks = f"{'rank' if len(survey.ranks) == 1 else 'ranks'} {spans(survey.ranks)}"
    span = steps(*(survey.steps or (None, None)))
    rows = f"{counted(survey.rows, 'row')}, {ranks}, {span}{ended}"
    if r.contract is None:
        recorded = f"; its workers recorded {r.identity[:12]}" if r.identity else ""
        return [where, rows, f"no contract at hand{recorded}"]
    errors = sum(f.severity.name == "error" for f in r.result.findings)
    verdict = f"{r.result.verdict()}, {counted(errors, 'error')}" if errors else r.result.verdict()
    return [where, rows, f"{r.contract.source}, {r.contract.sha256[:12]}: {verdict} {BASES[r.basis]}"]


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
