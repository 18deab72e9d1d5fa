"""A contract and a trace → a verdict: the offline driver of the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from lrwatch.contract.clock import positions
from lrwatch.contract.model import Contract
from lrwatch.curve import Curve, Metric
from lrwatch.engine import Session
from lrwatch.errors import NotCheckable, TraceError
from lrwatch.result import Result
from lrwatch.trace.gradients import together
from lrwatch.trace.model import Chunk, Event, Item, Source, TraceInfo

Progress = Callable[[int], None]
"""Called with the number of rows read so far."""


@dataclass(frozen=True)
class Report:
    """A result together with where it came from."""

    result: Result
    info: TraceInfo
    contract: Contract | None


def verify(
    contract: Contract | None,
    source: Source,
    *,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judge a recorded run.

    The source is read once; a second time when a cause was named from a part of the rows, to confirm it on all of
    them; and once before, for its validations, when the contract has a plateau schedule, or for the gradients of
    shards.

    Args:
        contract: the promise; None runs the intrinsic checks only. only: slugs of the checks to run.

    Raises:
        TraceError: the trace has no rows, or is of another experiment than the contract.
    """
    source = together(source)
    session = Session(contract, only=only, metrics=_metrics(contract, source))
    rows = 0
    for item in _same_experiment(contract, source):
        session.feed(item)
        if isinstance(item, Chunk):
            rows += len(item)
            if progress is not None:
                progress(rows)
    if rows == 0:
        raise TraceError("has no rows; nothing to check", source=", ".join(source.info.paths))
    result = session.finish()
    if source.rereadable and session.doubtful():
        session.confirm(source)
        result = session.finish()
    return Report(result, source.info, contract)


def _same_experiment(contract: Contract | None, source: Source) -> Iterator[Item]:
    """The items, refusing a trace that says it belongs to another experiment."""
    for item in source:
        if contract is not None and isinstance(item, Event) and item.kind in ("start", "resume"):
            experiment = item.fields.get("experiment")
            if experiment is not None and contract.experiment not in ("", experiment):  # "": made of options
                raise TraceError(
                    f"is a trace of experiment {experiment!r}, the contract {contract.source} is for "
                    f"{contract.experiment!r}; give the contract of that run",
                    source=item.source or ", ".join(source.info.paths),
                    line=item.line,
                )
        yield item


def _metrics(contract: Contract | None, source: Source) -> list[Metric]:
    """Validation values of the lowest rank that recorded any, when a curve of the contract depends on them."""
    if contract is None or not source.rereadable or not any(Curve(contract, s).stateful for s in contract.signals):
        return []
    found: dict[int, list[Metric]] = {}
    waiting: dict[int, list[tuple[str, float]]] = {}
    for item in source:
        if isinstance(item, Event) and item.kind == "validation":
            values = item.fields.get("metrics") or {}
            numbers = [(str(k), float(v)) for k, v in values.items() if isinstance(v, (int, float))]
            waiting.setdefault(item.rank, []).extend(numbers)
        elif isinstance(item, Chunk) and waiting.get(item.rank) and len(item):
            try:
                t = float(positions(contract, item.take(slice(0, 1)).columns)[0])
            except NotCheckable:
                return []
            found.setdefault(item.rank, []).extend(Metric(t, name, v) for name, v in waiting.pop(item.rank))
    return found[min(found)] if found else []
