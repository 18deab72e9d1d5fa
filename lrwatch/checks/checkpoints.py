"""Checkpoints are too rare, stopped, or lack the scheduler's state.

What it checks
    The recorded checkpoint events. *Without the scheduler's state* (``scheduler_state: false``): one such checkpoint is
    enough, unless there is no scheduler object at all; 4 with it in a row are the end of it. *Too rare*: more than 2
    hours of training between two, or since the last one, until one comes in time; where no times are recorded, 10,000
    updates that are a quarter of the schedule or more. *Stopped*: at least 4 intervals were seen, and since the last
    checkpoint 5 times the longest of them has gone by. A trace without any checkpoint event says nothing, and is not
    judged.

Why it matters
    A resume without the scheduler's state starts the curve again; a crash costs all work since the last checkpoint.

Example
    checkpoints: the checkpoint at step 4000 has no scheduler state; 12 of 12 have none.

Fix
    Save ``scheduler.state_dict()`` (and ``watch.state_dict()``) with model and optimizer, at least once an hour.

Source
    pytorch #119168; metric "checkpoint frequency: frequent enough for restart". Young's rule: an interval of
    sqrt(2 × cost of a checkpoint × mean time between failures), half an hour to two hours on large clusters.
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks.base import Batch, Check, Context
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Event

HOURS = 2.0
UPDATES = 10_000
SHARE = 0.25
"""Updates between checkpoints, and share of the schedule, where no times are recorded."""
INTERVALS = 4
"""Without which no interval is usual."""
STATEFUL = 4
"""Checkpoints in a row after which the state is saved again: savers of two kinds may take turns."""
STOPPED = 5.0
"""Times the longest interval: savers of the best model alone have irregular ones."""


class Checkpoints(Check):
    slug = "checkpoints"
    code = "LR501"
    title = "checkpoints too rare or without scheduler state"
    scope = "run"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.rank: int | None = None
        self.segment = -1
        self.count = self.stateless = 0
        self.stateless_span = (-1, -1)
        self.stateful = 0
        """Checkpoints with the state since the last one without it."""
        self.scheduled = True
        """False when the watch saw no scheduler: a curve computed from the step has no state."""
        self.intervals, self.longest = 0, 0
        self.saved = -1
        """Update of the newest checkpoint, or of the first row of this segment; then when that was, and its share."""
        self.saved_ts = self.saved_share = np.nan
        self.newest = (-1, np.nan, np.nan)
        """Update, time and share of the newest row."""
        self.rare: tuple[int, int, str] | None = None
        """Where the longest stretch without a checkpoint begins and ends, and how long it is in words."""
        self.rare_span = (-1, -1)
        """First step of the first such stretch, last step of the newest."""
        self.rarely = False
        """The newest stretch is one."""
        self.stopped: tuple[int, int] | None = None

    def update(self, batch: Batch) -> None:
        chunk = batch.chunk
        if not len(chunk) or self.rank not in (None, chunk.rank):
            return
        self.rank = chunk.rank
        steps = chunk.columns["update"]
        ts, share = chunk.columns.get("ts"), batch.shares
        if chunk.segment != self.segment:
            self.segment, self.rarely = chunk.segment, False
            self.saved, self.saved_share = int(steps[0]), float(share[0])
            self.saved_ts = np.nan if ts is None else float(ts[0])
        self.newest = (int(steps[-1]), np.nan if ts is None else float(ts[-1]), float(share[-1]))
        self.rarely = self._gap(*self.newest) or self.rarely
        if self.intervals >= INTERVALS and self.newest[0] - self.saved > STOPPED * self.longest:
            self.stopped = (self.saved, self.newest[0])

    def event(self, event: Event) -> None:
        if event.kind in ("start", "resume"):
            self.scheduled = "origin" not in event.fields or event.fields.get("scheduler") is not None
        if event.kind != "checkpoint" or (self.count and event.update == self.saved):
            return
        self.count += 1
        self.stateful += 1
        if event.fields.get("scheduler_state") is False and self.scheduled:
            self.stateless += 1
            self.stateful = 0
            first = self.stateless_span[0] if self.stateless > 1 else event.update
            self.stateless_span = (first, event.update)
        ts = self.newest[1] if event.ts is None else event.ts
        if self.saved >= 0 and event.update > self.saved:
            self.rarely = self._gap(event.update, ts, self.newest[2])
            self.intervals += 1
            self.longest = max(self.longest, event.update - self.saved)
        self.saved, self.saved_ts, self.saved_share = event.update, ts, self.newest[2]

    def _gap(self, step: int, ts: float, share: float) -> bool:
        """Whether a crash at ``step`` would have cost too much work since the newest checkpoint."""
        hours = (ts - self.saved_ts) / 3600.0
        if hours == hours:
            rare, words = hours > HOURS, f"{hours:.1f} hours"
        else:
            rare = step - self.saved > UPDATES and share - self.saved_share > SHARE
            words = f"{share - self.saved_share:.0%} of the schedule"
        if rare:
            self.rare_span = (self.saved if self.rare is None else self.rare_span[0], step)
            if self.rare is None or step - self.saved >= self.rare[1] - self.rare[0]:
                self.rare = (self.saved, step, words)
        return rare

    def findings(self) -> list[Finding]:
        if not self.count:
            return []
        result = []
        if self.stateless:
            first, last = self.stateless_span
            result.append(
                self._found(
                    "stateless", first, last, self.stateful < STATEFUL,
                    f"the checkpoint at step {first} has no scheduler state; {self.stateless} of {self.count} "
                    "have none",
                    "save scheduler.state_dict() with model and optimizer",
                )
            )  # fmt: skip
        if self.rare is not None:
            first, last, words = self.rare
            result.append(
                self._found(
                    "rare", *self.rare_span, self.rarely,
                    f"no checkpoint from step {first} to {last} ({words}): a crash there loses all of it",
                    "checkpoint at least once an hour",
                )
            )  # fmt: skip
        elif self.stopped is not None:
            first, last = self.stopped
            result.append(
                self._found(
                    "stopped", first, last, first == self.saved,
                    f"no checkpoint since step {first}; before, they came at least every {self.longest} steps",
                    "look at the disk and at the process that writes them",
                )
            )  # fmt: skip
        return result

    def _found(self, kind: str, first: int, last: int, active: bool, message: str, fix: str) -> Finding:
        return self.finding(
            message,
            rank=None,
            first_step=first,
            last_step=last,
            state="active" if active else "resolved",
            fix=fix,
            details={"kind": kind},
        )

    def not_checked(self) -> str:
        return "" if self.count else "the trace records no checkpoints"


CHECK = Checkpoints
