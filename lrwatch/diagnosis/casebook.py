"""What is remembered of a run for diagnosis, and the diagnoses made of it so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.case import Case, Facts, Place, Rows
from lrwatch.diagnosis.diagnose import (
    Diagnosis,
    diagnose,
    diagnose_position,
    forgotten,
    repeated,
    unexplained,
    unsearched,
)
from lrwatch.diagnosis.evidence import BUCKETS, BUCKETS_OF_MANY, FIELDS, Columns, Sketch
from lrwatch.schedules.base import FloatArray

MAX_SEGMENTS = 64
"""Segments with a memory of their own, per worker; the rows of later ones are checked all the same."""

MANY = 64
"""Workers whose curves are remembered in full; of later ones every row is checked, and fewer are remembered."""

PATIENCE = 1.5
"""Growth of the rows after which a diagnosis is tested again; a search costs a few tenths of a second."""

SEARCHES, FAILURES, PAIRINGS, VAIN = 4, 2, 1, 12
"""Curves of a run that are searched, how many may remain unexplained, and how many of these are searched for two causes
too; the others are held against what those have shown, until so many times in vain. A search takes some tenths of a
second: what a diagnosis costs is bounded by numbers of cases, so that it says the same on every machine."""

POSITION = "sched"
"""The column name of the scheduler's own position."""


@dataclass(frozen=True)
class Question:
    """A deviation that wants a cause.

    Attributes:
        column: ``lr/<group>``, or ``sched`` for the scheduler's own position. first_step: first affected update.
        shifts: reading conventions of the trace to try, the best first.
    """

    rank: int
    column: str
    segment: int
    first_step: int
    shifts: Sequence[int] = (0,)

    @property
    def key(self) -> tuple[int, str, int]:
        return (self.rank, self.column, self.segment)


class Casebook:
    """Bounded memory of every curve of a run, and its diagnoses; one per session."""

    def __init__(self) -> None:
        self._sketches: dict[tuple[int, str, int], Sketch] = {}
        self._columns: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._begins: dict[tuple[int, int], float] = {}
        self._diagnoses: dict[tuple[int, str, int], tuple[int, Diagnosis]] = {}
        self._vain = 0
        self._searched: dict[tuple[int, str, int], Diagnosis] = {}

    def begin(self, rank: int, segment: int, t: float) -> None:
        """Note where a segment begins; without it, that is the position of its first row."""
        self._begins.setdefault((rank, segment), t)

    def remember(self, rank: int, column: str, segment: int, rows: Columns) -> None:
        """Take in rows of one column, in recorded order."""
        if not len(rows) or (segment >= MAX_SEGMENTS and (rank, column, segment) not in self._sketches):
            return
        self.begin(rank, segment, float(rows.values["t"][0]))
        self._columns[rank].setdefault(column)
        key = (rank, column, segment)
        if key not in self._sketches:
            self._sketches[key] = Sketch(BUCKETS if len(self._columns) <= MANY else BUCKETS_OF_MANY)
        self._sketches[key].add(rows)

    def columns(self, rank: int) -> list[str]:
        """The columns remembered of one worker."""
        return list(self._columns[rank])

    def kept(self, rank: int, column: str) -> tuple[FloatArray, FloatArray]:
        """Kept rows of one column over all segments, float64[m, len(FIELDS)], and what the causes named so far
        predict for them, float64[m], NaN where none is."""
        keys = [(rank, column, s) for s in range(MAX_SEGMENTS) if (rank, column, s) in self._sketches]
        kept = {key: self._sketches[key].rows() for key in keys}
        return np.concatenate([*kept.values()]), np.concatenate([self._predicted(*part) for part in kept.items()])

    def _predicted(self, key: tuple[int, str, int], kept: FloatArray) -> FloatArray:
        _, known = self._diagnoses.get(key, (0, None))
        if known is None or known.hypothesis is None:
            return np.full(len(kept), np.nan)
        return known.hypothesis.predict(Rows.of(kept).shifted(known.shift))

    def diagnose(
        self, question: Question, curves: Mapping[str, Curve], source: str, facts: Facts, place: Place
    ) -> Diagnosis | None:
        """The cause of a deviation, from the kept rows of column ``source``; ``curves`` are the worker's, by column.

        It is looked at again when the rows have grown by ``PATIENCE``, and kept while they agree with it. None:
        nothing is remembered.
        """
        sketch = self._sketches.get((question.rank, source, question.segment))
        if sketch is None:
            return forgotten(MAX_SEGMENTS) if question.segment >= MAX_SEGMENTS else None
        seen, known = self._diagnoses.get(question.key, (0, None))
        if known is None or (
            sketch.seen >= seen * PATIENCE
            and not _holds(known, _rows(_finite(sketch), curves[source]), question.column)
        ):
            known = self._fresh(question, sketch, curves, source, facts, place)
            self._diagnoses[question.key] = (sketch.seen, known)
        return known

    def _fresh(
        self,
        question: Question,
        sketch: Sketch,
        curves: Mapping[str, Curve],
        source: str,
        facts: Facts,
        place: Place,
    ) -> Diagnosis:
        kept = sketch.rows() if question.column == POSITION else _finite(sketch)
        bad = np.flatnonzero(kept[:, FIELDS.index("update")] >= question.first_step)
        case = Case(
            curves[source],
            _rows(kept, curves[source]),
            float(kept[bad[0], FIELDS.index("t")]) if len(bad) else 0.0,
            facts,
            siblings={name.partition("/")[2]: c for name, c in curves.items() if _same_signal(name, source)},
            place=place,
            resumed_at=self._begins.get((question.rank, question.segment)) if question.segment > 0 else None,
        )
        alike = [  # mostly the neighbours have the same bug, and the segments before
            d
            for (rank, column, segment), d in self._searched.items()
            if column == question.column
            and (segment == question.segment or (rank == question.rank and d.resumed == place.since_resume))
        ]
        for known in alike:
            if _holds(known, case.rows, question.column):
                return known
        if question.column != POSITION:
            for known in {d.by: d for d in self._searched.values() if d.by is not None}.values():
                if self._vain >= VAIN:
                    break
                moved = replace(case, rows=case.rows.shifted(known.shift), first_bad=case.first_bad + known.shift)
                if (again := repeated(moved, known)) is not None:
                    return _doubting(replace(again, shift=known.shift), question)
                self._vain += 1
        failed = sum(d.hypothesis is None for key, d in self._searched.items() if key != question.key)
        if question.key not in self._searched and (len(self._searched) >= SEARCHES or failed >= FAILURES):
            return unsearched(len(self._searched))
        self._searched[question.key] = found = self._search(question, case, pairing=failed < PAIRINGS)
        return found

    def _search(self, question: Question, case: Case, *, pairing: bool) -> Diagnosis:
        if question.column == POSITION:
            return diagnose_position(case)
        first: Diagnosis | None = None
        for shift in question.shifts:
            moved = replace(case, rows=case.rows.shifted(shift), first_bad=case.first_bad + shift)
            found = replace(diagnose(moved, pairing=pairing and len(question.shifts) == 1), shift=shift)
            if found.hypothesis is not None:
                return _doubting(found, question)
            first = first or found
        assert first is not None
        if pairing and len(question.shifts) > 1:  # two bugs are no likelier than another reading
            shift = question.shifts[0]
            moved = replace(case, rows=case.rows.shifted(shift), first_bad=case.first_bad + shift)
            return replace(diagnose(moved), shift=shift)
        return first

    def doubtful(self) -> bool:
        """Whether a named cause rests on a part of the rows, so that a second reading could refute it."""
        return any(
            d.hypothesis is not None and self._sketches[key].width > 2
            for key, (_, d) in self._diagnoses.items()
            if key in self._sketches
        )

    def named(self, rank: int, segment: int) -> Iterator[str]:
        """The columns of a worker's segment that have a named cause."""
        for column in self._columns[rank]:
            _, d = self._diagnoses.get((rank, column, segment), (0, None))
            if d is not None and d.hypothesis is not None:
                yield column

    def test(self, rank: int, column: str, segment: int, rows: Rows, curve: Curve, facts: Facts) -> None:
        """Hold a named cause against more rows; one that they contradict is withdrawn."""
        seen, known = self._diagnoses[rank, column, segment]
        h = known.hypothesis
        if h is not None and not h.fits(rows.shifted(known.shift)):
            case = Case(curve, rows, float(rows.t[0]), facts)
            self._diagnoses[rank, column, segment] = (seen, unexplained(case, h))


def _doubting(found: Diagnosis, question: Question) -> Diagnosis:
    """An offset in a trace that does not say when it was read: one step of it may be the record's, not the run's."""
    cause = found.cause
    if len(question.shifts) < 2 or not cause.name.startswith("offset"):
        return found
    one = abs(float(cause.params["d"])) <= max(abs(shift) for shift in question.shifts)
    other = "offset_at_resume" if cause.name == "offset" else "offset"
    rival = (f"{other}: the shift lies in the other segments, if this one was read otherwise",)
    return replace(
        found,
        cause=replace(
            cause,
            confidence="ambiguous",
            also_consistent=(*cause.also_consistent, *(rival if one else ())),
            missing_evidence=(*cause.missing_evidence, "when the learning rate was read (--lr-read, --first-step)"),
        ),
    )


def _same_signal(name: str, source: str) -> bool:
    return name != source and name.partition("/")[0] == source.partition("/")[0]


def _rows(kept: FloatArray, curve: Curve) -> Rows:
    """The kept rows; a plateau scheduler's own count is of validations, which is no position on the clock."""
    rows = Rows.of(kept)
    return replace(rows, sched=np.full(len(rows), np.nan)) if curve.stateful else rows


def _finite(sketch: Sketch) -> FloatArray:
    kept = sketch.rows()
    return kept[np.isfinite(kept[:, FIELDS.index("observed")])]


def _holds(diagnosis: Diagnosis, rows: Rows, column: str) -> bool:
    h, rows = diagnosis.hypothesis, rows.shifted(diagnosis.shift)
    return h is not None and h.agrees_with_counters(rows) and (column == POSITION or h.fits(rows))
