"""The validation metric does not move.

What it checks
    Three kinds of flat, each over at least a tenth of the schedule where that is known. *Frozen*: a validation loss
    that is the same to the last digit 5 times in a row although updates were made: another model is validated than the
    one that is trained. *Starved*: no improvement by 1 % over at least 5 validations at less than a thousandth of the
    peak learning rate, while a quarter of the schedule or more was still to come. *Never improved*: 10 validations or
    more over a quarter of the schedule, certainly (4 standard errors) within 1 % of the first, while the training loss
    has gained nothing either. A plateau after progress is none of them.

Why it matters
    A learning rate that is too low too early, or a schedule that is not the intended one, shows as a flat line long
    before the end; stopping then costs a quarter of what finishing does.

Example
    flat-validation: val_loss stays at 1.93 since step 9000 with 0.05% of the peak learning rate and 55% of the
    schedule to come.

Fix
    Raise the floor of the schedule or shorten the cycle; look at ``drift`` first. For a frozen metric look at which
    weights (EMA, an old checkpoint) the validation uses.

Source
    Failure mode "no improvement: validation flat; LR min too low or schedule wrong".
"""

from __future__ import annotations

import numpy as np

from lrwatch.checks._levels import LEVEL, SPREAD
from lrwatch.checks._statistics import middle
from lrwatch.checks._validations import RATE, SHARE, UPDATE, VALUE, Validating
from lrwatch.checks.base import Context
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.model import Event

SAME = 5
"""Equal values in a row: a loss over thousands of tokens does not repeat by chance."""
STARVED = 5
"""Validations at a starved learning rate."""
STARVED_RATE = 1e-3
"""Of the peak: floors of 1 % and 10 % are usual, a thousandth moves nothing."""
TO_COME = 0.25
"""Share of the schedule that must be left for starving to matter."""
LASTS = 0.1
"""Share of the schedule over which it must be flat."""
NEVER = 10
"""Validations without any improvement since the first …"""
NEVER_SHARE = 0.25
"""… over this share of the schedule."""
FLAT = 0.01
"""Share of the value within which it is flat."""
ERRORS = 4.0


class FlatValidation(Validating):
    slug = "flat-validation"
    code = "LR308"
    title = "validation metric does not move"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.same = 1
        self.same_since = self.previous = np.nan
        self.starved = np.empty((4, 0))
        """The first and up to ``4 × STARVED`` last validations at a starved learning rate."""
        self.kind = ""
        self.first = self.last = -1
        self.active = False
        self.message = ""

    def validated(self, event: Event, value: float) -> None:
        v = self.validations
        self.active = False
        row = np.array([event.update, v.share, v.rate, value])
        self._frozen(row)
        self._starving(row)
        self._never(row)

    def _say(self, kind: str, first: float, last: float, message: str) -> None:
        self.active = True
        if not self.kind:
            self.kind, self.first = kind, int(first)
        self.last, self.message = int(last), message

    def _frozen(self, row: FloatArray) -> None:
        v = self.validations
        if row[VALUE] == self.previous:
            self.same += 1
        else:
            self.same, self.same_since, self.previous = 1, float(row[UPDATE]), float(row[VALUE])
        if self.same >= SAME and row[VALUE] != 0.0 and "loss" in v.metric and row[UPDATE] > self.same_since:
            self._say(
                "frozen", self.same_since, row[UPDATE],
                f"{v.metric} was exactly {v.shown(self.previous)} {self.same} times in a row",
            )  # fmt: skip

    def _starving(self, row: FloatArray) -> None:
        v = self.validations
        if not row[RATE] < STARVED_RATE:
            self.starved = self.starved[:, :0]
            return
        known = [self.starved[:, :1], self.starved[:, 1:][:, -4 * STARVED :], row[:, None]]
        self.starved = np.concatenate(known, axis=1)
        n, begin = self.starved.shape[1], self.starved[:, 0]
        if n < STARVED or not begin[SHARE] <= 1.0 - TO_COME:
            return
        if row[SHARE] - begin[SHARE] < LASTS:
            return
        third = max(n // 3, 1)
        gain = self.starved[VALUE, :third].mean() - self.starved[VALUE, -third:].mean()
        if gain < FLAT * abs(row[VALUE]):
            left = 1.0 - float(begin[SHARE])
            self._say(
                "starved", begin[UPDATE], row[UPDATE],
                f"{v.metric} stays at {v.shown(float(row[VALUE]))} since step {begin[UPDATE]:.0f} with "
                f"{row[RATE]:.2%} of the peak learning rate and {left:.0%} of the schedule to come",
            )  # fmt: skip

    def _never(self, row: FloatArray) -> None:
        v = self.validations
        n, first = v.kept.shape[1], v.kept[:, 0]
        over = row[SHARE] - first[SHARE]
        if n < NEVER or not v.rate > 0 or (over < NEVER_SHARE if over == over else n < 2 * NEVER):
            return
        thirds = np.array_split(v.kept[VALUE], 3)
        error = ERRORS * v.noise() * np.sqrt(2.0 / len(thirds[2]))
        now = float(thirds[2].mean())
        moved = max(abs(thirds[0].mean() - now), float(first[VALUE]) - now)
        if moved + error < FLAT * abs(now) and not self._learned():
            self._say(
                "never", first[UPDATE], row[UPDATE],
                f"{v.metric} is {v.shown(float(row[VALUE]))} at step {row[UPDATE]:.0f} as it was at the first of "
                f"{v.count} validations, and the training loss has gained nothing either",
            )  # fmt: skip

    def _learned(self) -> bool:
        """Whether the training loss fell, or nobody knows."""
        cells = self.levels.cells
        if self.levels.start is None or cells.shape[1] < 8:
            return True
        now = middle(cells[LEVEL, -(cells.shape[1] // 4) :])
        gain = self.levels.start - now
        return gain > max(2.0 * FLAT * abs(self.levels.start), 2.0 * middle(cells[SPREAD]))

    def findings(self) -> list[Finding]:
        if not self.kind:
            return []
        fixes = {
            "frozen": "look at which weights the validation uses",
            "starved": "raise the floor of the schedule or shorten it; look at drift first",
            "never": "overfit a single batch first; look at the learning rate, the labels and the validated model",
        }
        return [
            self.finding(
                self.message,
                signal=self.validations.metric,
                rank=self.validations.rank,
                first_step=self.first,
                last_step=self.last,
                state="active" if self.active else "resolved",
                fix=fixes[self.kind],
                details={"kind": self.kind},
            )
        ]

    def not_checked(self) -> str:
        seen = self.validations.count
        return "" if seen >= STARVED else f"fewer than {STARVED} validations were recorded ({seen})"


CHECK = FlatValidation
