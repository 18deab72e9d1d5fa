"""What one run says about itself, noted while somebody else reads its trace.

    noted = Noted(source)
    report = verify(contract, noted)      # or whatever reads it to the end
    noted.survey                          # rows, workers, columns, facts, events, and which rows count

Which rows count: a run that was rolled back did some updates twice, and what it did the second time is what its
weights come from. A worker begins a new *visit* with every segment and wherever its update number goes back; of every
visit the rows before the lowest update of all later visits count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lrwatch.tolerance import EXACT_DIGITS
from lrwatch.trace.model import SIGNALS, Chunk, Event, Item, Source

FACTS: Final = (
    "experiment", "world", "accumulate", "steps_per_epoch", "scheduler", "recursive", "dtype", "lr_read", "groups",
)  # fmt: skip
"""What a start event tells about how a run was made; ``groups`` in their order."""
DETAILS: Final = ("scheduler_state", "outcome", "set", "multiply")
"""Fields of an event in which two runs may differ; the others are names, times and values."""
VALUES: Final = ("loss", "grad_norm")
"""Columns that are compared besides the signals."""
MOST_EVENTS: Final = 4096
"""Events noted of a kind."""


@dataclass
class Stored:
    """How exactly a column was stored, and its largest finite value."""

    quantum: float = 0.0
    digits: int = EXACT_DIGITS
    peak: float = 0.0


@dataclass
class Visits:
    """The visits of one worker: the update at which each began."""

    starts: list[int] = field(default_factory=list)
    segment: int = -1
    last: int = -1

    def cuts(self, chunk: Chunk) -> Iterator[tuple[slice, bool]]:
        """The chunk in stretches of one visit each; True where a new visit begins."""
        updates = chunk.columns["update"]
        back = np.diff(updates, prepend=self.last) < 0
        back[0] |= chunk.segment != self.segment
        self.segment, self.last = chunk.segment, int(updates[-1])
        edges = [0, *(np.flatnonzero(back[1:]) + 1).tolist(), len(updates)]
        for start, stop in zip(edges, edges[1:], strict=False):
            yield slice(start, stop), bool(back[start])


@dataclass
class Survey:
    """What was noted of one run.

    Attributes:
        facts: of its first start event. identities: every contract identity that a worker recorded.
        columns: signals, ``loss`` and ``grad_norm``, as they were stored. events: kind → update → details, of the
            first worker that recorded the kind.
        after: whether the signals were read after ``scheduler.step``, so that a row shows the next update's.
    """

    rows: int = 0
    skipped: int = 0
    steps: tuple[int, int] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, None] = field(default_factory=dict)
    columns: dict[str, Stored] = field(default_factory=dict)
    visits: dict[int, Visits] = field(default_factory=dict)
    events: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    after: bool = False
    _first: dict[str, int] = field(default_factory=dict)

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(sorted(self.visits))

    @property
    def outcome(self) -> str | None:
        """How the run ended, if it says so."""
        ends = [fields.get("outcome") for fields in self.events.get("end", {}).values()]
        return None if not ends or ends[-1] is None else str(ends[-1])

    def note(self, item: Item) -> None:
        """Take in one item of the trace, in recorded order."""
        if isinstance(item, Event):
            self._event(item)
        elif isinstance(item, Chunk) and len(item):
            self._chunk(item)

    def _event(self, event: Event) -> None:
        if event.kind in ("start", "resume"):
            if not self.facts:
                self.facts = {k: event.fields[k] for k in FACTS if event.fields.get(k) is not None}
            if event.fields.get("contract"):
                self.identities[str(event.fields["contract"])] = None
        if self._first.setdefault(event.kind, event.rank) != event.rank:
            return
        self.counts[event.kind] += 1
        kept = self.events.setdefault(event.kind, {})
        if len(kept) < MOST_EVENTS:
            kept[event.update] = {k: event.fields[k] for k in DETAILS if k in event.fields}

    def _chunk(self, chunk: Chunk) -> None:
        updates = chunk.columns["update"]
        low, high = int(updates.min()), int(updates.max())
        self.steps = (low, high) if self.steps is None else (min(self.steps[0], low), max(self.steps[1], high))
        self.rows += len(chunk)
        self.skipped += int(chunk.columns["skipped"].sum()) if "skipped" in chunk.columns else 0
        self.after = self.after or chunk.lr_read == "after"
        visits = self.visits.setdefault(chunk.rank, Visits())
        for part, new in visits.cuts(chunk):
            if new:
                visits.starts.append(int(updates[part][0]))
        for name in comparable(chunk.columns):
            stored, values = self.columns.setdefault(name, Stored()), chunk.columns[name]
            stored.quantum = max(stored.quantum, chunk.quantum.get(name, 0.0))
            stored.digits = min(stored.digits, chunk.digits.get(name, EXACT_DIGITS))
            top = np.max(np.abs(values), where=np.isfinite(values), initial=0.0)
            stored.peak = max(stored.peak, float(top))


def comparable(columns: Mapping[str, Any]) -> list[str]:
    """The columns that two runs are compared in: signals, loss, gradient norm."""
    return [n for n in columns if n in VALUES or n.partition("/")[0] in SIGNALS]


class Noted:
    """A source that keeps a survey of what is read from it; reading again begins a new one."""

    def __init__(self, source: Source):
        self.source, self.rereadable, self.info = source, source.rereadable, source.info
        self.survey = Survey()

    def __iter__(self) -> Iterator[Item]:
        self.survey = survey = Survey()
        for item in self.source:
            survey.note(item)
            yield item


class Counted:
    """The rows of a run that count, worker by worker, each update once."""

    def __init__(self, survey: Survey):
        self._visits = {rank: Visits() for rank in survey.visits}
        self._number = dict.fromkeys(survey.visits, -1)
        # [v] is the lowest update at which a visit after v began: the rows from there on were done again.
        self._limits = {rank: _limits(visits.starts) for rank, visits in survey.visits.items()}

    def rows(self, chunk: Chunk) -> Chunk:
        """The rows of the chunk that count: not skipped, not done again later, of several attempts the last."""
        updates = chunk.columns["update"]
        keep = np.ones(len(updates), dtype=bool)
        for part, new in self._visits[chunk.rank].cuts(chunk):
            self._number[chunk.rank] += new
            limits, number = self._limits[chunk.rank], self._number[chunk.rank]
            keep[part] = updates[part] < (limits[number] if number < len(limits) else np.inf)  # it may have grown
        if "skipped" in chunk.columns:
            keep &= chunk.columns["skipped"] == 0
        keep[:-1] &= (np.diff(updates) != 0) | ~keep[1:]
        return chunk if keep.all() else chunk.take(keep)


def _limits(starts: list[int]) -> NDArray[np.float64]:
    """For each visit the lowest start of a later one, float64[visits]; infinite for the last."""
    later = np.minimum.accumulate(np.array([np.inf, *starts[:0:-1]]))
    return np.asarray(later[::-1])
