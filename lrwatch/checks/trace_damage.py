"""The trace itself has holes, repeats, torn lines or rows of another run.

What it checks
    Within a segment of a worker, updates grow by a constant stride: a larger step is a gap, no step is a duplicate
    (unless a loss scaler skipped the update), a step back is out of order (unless a resume, a restart or a rewind of
    the contract explains it). A clock that goes back by more than a second within a segment is worth a line. Lines that
    could not be read are counted with their numbers. All starts must name the same run.

Why it matters
    A verdict is as good as its evidence: a schedule cannot be called right on rows that are not there.

Example
    trace-damage: 12 rows are missing after step 99.

Fix
    A torn last line is what a killed process leaves, and harmless. For gaps compare with where the rows came from: a
    logger or an export may leave some out; where lrwatch recorded, look at ``lrwatch_dropped_rows_total`` and at
    the disk. For mixed runs give every run a directory of its own.

Source
    Lightning #4375, #13016 and wandb #1534: step axes scaled, doubled or with points dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrwatch.checks.base import Batch, Check, Context, Span, located, rows_that
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.model import Damage, Event

MAX_STRIDES = 32
SLEW = 1.0
"""Seconds that a clock may go back while it is being set right."""


@dataclass
class Sequence:
    """The update numbers of one worker in one segment."""

    last: int = -1
    last_attempt: int = -1
    last_skipped: int = 0
    thinned: bool = False
    strides: Counter[int] = field(default_factory=Counter)
    jumps: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Stride → (step it was first seen after, how often)."""
    duplicates: Span | None = None
    backwards: Span | None = None
    clock: Span | None = None
    last_ts: float = -np.inf
    places: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    """Symptom → file and line of its first row."""


class TraceDamage(Check):
    slug = "trace-damage"
    code = "LR401"
    title = "the trace has gaps, repeats, torn lines or foreign rows"
    scope = "run"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.sequences: dict[tuple[int, int], Sequence] = {}
        self.runs: dict[str, int] = {}
        self.unreadable: dict[str, list[Damage]] = {}
        self.counts: Counter[str] = Counter()
        self.rows = 0

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        steps = chunk.columns["update"]
        if not len(steps):
            return
        self.rows += len(steps)
        seq = self.sequences.setdefault((chunk.rank, chunk.segment), Sequence())
        attempts, skipped = chunk.columns.get("attempt"), chunk.columns.get("skipped")
        earlier = int(seq.last >= 0)
        self._clock(seq, batch)
        if earlier:
            steps = np.concatenate([[seq.last], steps])
            attempts = None if attempts is None else np.concatenate([[seq.last_attempt], attempts])
            skipped = None if skipped is None else np.concatenate([[seq.last_skipped], skipped])
        strides = np.diff(steps)
        if len(strides) and (stride := int(strides[0])) > 0 and stride in seq.jumps and (strides == stride).all():
            seq.strides[stride] += len(strides)
            self._end(seq, batch, steps, attempts, skipped)
            return
        again = strides == 0
        if attempts is not None:
            again &= np.diff(attempts) == 0  # the same update, attempted once more, is no duplicate
        if skipped is not None:
            again &= skipped[:-1] == 0
        rows = np.arange(1, len(steps)) - earlier
        self._note(seq, "duplicates", batch, rows[again])
        self._note(seq, "backwards", batch, rows[(strides < 0) & ~self._declared(steps)])
        for stride, count in zip(*np.unique(strides[strides > 0], return_counts=True), strict=True):
            if int(stride) not in seq.jumps and len(seq.jumps) < MAX_STRIDES:
                where = int(steps[np.flatnonzero(strides == stride)[0]])
                seq.jumps[int(stride)] = (where, 0)
            seq.strides[int(stride)] += int(count)
        self._end(seq, batch, steps, attempts, skipped)

    def _end(self, seq: Sequence, batch: Batch, steps: Any, attempts: Any, skipped: Any) -> None:
        """Remember the last row of a batch."""
        seq.thinned = seq.thinned or batch.chunk.thinned
        seq.last = int(steps[-1])
        seq.last_attempt = -1 if attempts is None else int(attempts[-1])
        seq.last_skipped = 0 if skipped is None else int(skipped[-1])

    def _declared(self, steps: np.ndarray) -> np.ndarray:
        """bool[n-1]: the step back is a rewind that the contract declares."""
        back = np.zeros(len(steps) - 1, dtype=bool)
        if self.context.contract is not None:
            for amendment in self.context.contract.amendments:
                if amendment.rewind is not None:
                    back |= (steps[1:] == amendment.rewind[1]) & (steps[:-1] <= amendment.rewind[0])
        return back

    def _clock(self, seq: Sequence, batch: Batch) -> None:
        """Rows whose time is before that of the row before."""
        if "ts" not in batch.chunk.columns:
            return
        times, all_there = batch.chunk.columns["ts"], "ts" not in batch.chunk.missing
        if all_there and len(times) and self._forward(seq.last_ts, times):
            seq.last_ts = float(times[-1])
            return
        there = np.flatnonzero(batch.chunk.present("ts"))
        times = times[there]
        if not len(times):
            return
        back = np.concatenate([[seq.last_ts], times[:-1]]) - times
        seq.last_ts = float(times[-1])
        self._note(seq, "clock", batch, there[back > SLEW], back[back > SLEW])

    @staticmethod
    def _forward(last: float, times: FloatArray) -> bool:
        """Whether no time, all of them numbers, is before that of the row before."""
        least = np.subtract(times[1:], times[:-1]).min(initial=np.inf)
        return bool(last - times[0] <= SLEW and least >= -SLEW)

    def _note(self, seq: Sequence, which: str, batch: Batch, rows: np.ndarray, size: np.ndarray | None = None) -> None:
        """Take in the rows of a batch that show a symptom, and how badly."""
        if not len(rows):
            return
        steps = batch.chunk.columns["update"][rows]
        span: Span | None = getattr(seq, which)
        if span is None:
            setattr(seq, which, Span.of(steps, size))
            seq.places[which] = located(batch.chunk, rows[0])
        else:
            span.extend(steps, size)

    def event(self, event: Event) -> None:
        run = event.fields.get("run")
        if event.kind in ("start", "resume") and isinstance(run, str):
            self.runs.setdefault(run, event.update)

    def damage(self, damage: Damage) -> None:
        self.counts[damage.kind] += 1
        kept = self.unreadable.setdefault(damage.kind, [])
        if len(kept) < 8:
            kept.append(damage)

    def findings(self) -> list[Finding]:
        result = []
        for (rank, segment), seq in sorted(self.sequences.items()):
            result.extend(self._of_sequence(rank, segment, seq))
        for kind, kept in self.unreadable.items():
            result.append(self._of_lines(kind, kept))
        if len(self.runs) > 1:
            names = ", ".join(list(self.runs)[:4])
            result.append(
                self.finding(
                    f"rows of {len(self.runs)} runs are mixed: {names}",
                    severity=Severity.error,
                    rank=None,
                    fix="verify the runs one by one; give every run a directory of its own",
                )
            )
        return result

    def _of_sequence(self, rank: int, segment: int, seq: Sequence) -> list[Finding]:
        result = []
        usual = seq.strides.most_common(1)[0][0] if seq.strides else 1
        holes = {s: seq.strides[s] for s in seq.strides if s > usual}
        # Loggers that write every N steps often start at 1 or end off the grid; a few odd strides are no holes there.
        regular = usual == 1 or sum(holes.values()) * 10 < sum(seq.strides.values())
        if holes and regular and not seq.thinned:
            first = min(seq.jumps[s][0] for s in holes if s in seq.jumps)
            lost = sum((s // usual - 1) * n for s, n in holes.items())
            if lost:
                result.append(
                    self.finding(
                        f"{rows_that(lost, 'is', 'are')} missing after step {first}",
                        rank=rank,
                        first_step=first,
                        details={"segment": segment, "kind": "gap"},
                        fix="compare with the source: a logger or an export may leave rows out; "
                        "where lrwatch recorded, look at lrwatch_dropped_rows_total and at the disk",
                    )
                )
        for which, one, many, kind in (
            ("duplicates", "is recorded twice", "are recorded twice", "duplicate"),
            ("backwards", "goes back without a resume", "go back without a resume", "out_of_order"),
            ("clock", "is earlier than the row before it", "are earlier than the row before them", "clock"),
        ):
            span: Span | None = getattr(seq, which)
            if span is None:
                continue
            file, line = seq.places[which]
            where = f" ({file}:{line})" if line is not None else ""
            by = f"; the clock went back by up to {span.worst:.4g} s" if which == "clock" else ""
            result.append(
                self.finding(
                    f"{rows_that(span.count, one, many)}, first at step {span.first}{where}{by}",
                    severity=Severity.info if which == "clock" else self.severity,
                    rank=rank,
                    first_step=span.first,
                    last_step=span.last,
                    details={"segment": segment, "kind": kind, "file": file, "line": line},
                    fix="durations over that place are wrong; let the machines' clocks be slewed, not set"
                    if which == "clock"
                    else "one writer per worker; a restart must begin a new segment",
                )
            )
        return result

    def _of_lines(self, kind: str, kept: list[Damage]) -> Finding:
        count = self.counts[kind]
        where = ", ".join(f"{d.source}:{d.line}" for d in kept[:3]) + (" …" if count > 3 else "")
        torn = kind == "torn"
        return self.finding(
            f"{count} line{'s' if count > 1 else ''} could not be read ({kept[0].message}): {where}",
            severity=Severity.info if torn else Severity.warning,
            rank=None,
            details={"kind": kind, "lines": [d.line for d in kept]},
            fix="a killed process leaves one; nothing to do" if torn else "look at these lines",
        )

    def not_checked(self) -> str:
        return "" if self.rows or self.unreadable else "the trace has no rows"


CHECK = TraceDamage
