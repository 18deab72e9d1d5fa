"""What a training does when it makes no updates: validating, checkpointing. Nobody should be woken by that."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PHASES: Final = ("validating", "checkpointing")


@dataclass(frozen=True)
class Phase:
    """``left``: when the training turned away from it, None while it has not."""

    state: str
    left: float | None = None


class Phases:
    """The phase that the training is in; ``enter`` and ``leave`` are its thread's, the rest is the worker's.

    Args:
        monotonic: the clock.
    """

    def __init__(self, monotonic: Callable[[], float]):
        self._monotonic = monotonic
        self._phase: Phase | None = None
        self._moved = -math.inf

    def enter(self, state: str) -> Phase | None:
        """Another phase begins; the one before it."""
        before, self._phase = self._phase, Phase(state)
        return before

    def leave(self, before: Phase | None) -> None:
        """It is over. What it began in goes on; else it is still shown, until the next update comes."""
        if before is not None and before.left is None:
            self._phase = before
        elif self._phase is not None:
            self._phase = Phase(self._phase.state, self._monotonic())

    def moved(self) -> None:
        """An update was made."""
        self._moved = self._monotonic()

    def state(self, otherwise: str, deadline: float) -> str:
        """The phase to be shown; ``otherwise`` where there is none, or no update came ``deadline`` seconds after it."""
        phase = self._phase
        if phase is None:
            return otherwise
        if phase.left is None or (self._moved < phase.left and self._monotonic() - phase.left < deadline):
            return phase.state
        return otherwise
