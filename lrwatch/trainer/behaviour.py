"""What one worker's training loop does: right by default, and what a fault replaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from lrwatch.contract import Contract
    from lrwatch.trainer.job import Job

Deed: TypeAlias = "Callable[[Job, Contract], None]"
Rewrite: TypeAlias = "Callable[[Contract], Contract]"


def _unchanged(contract: Contract) -> Contract:
    return contract


@dataclass(frozen=True)
class Behaviour:
    """What one worker's loop does.

    Attributes:
        steps_per_update: calls of ``scheduler.step()`` after an update. steps_per_micro: after a micro-batch that
            no update follows.
        ahead: calls before the first update; behind: so many first updates are followed by no call.
        every: calls follow only every so many updates; also_every: one more call follows every so many updates.
        frozen_from: update from which on no call follows. nan_at: update whose loss is NaN.
        overflow_every: every so many attempts the loss overflows; steps_on_skips: the scheduler moves all the same.
        local_metric: a plateau scheduler is given the worker's own validation, not the mean over the workers.
        restores_scheduler: whether a resume loads the scheduler's state.
        saves_first: a checkpoint is written before the scheduler's step that belongs to the same update.
        once_built, once_resumed: what else is done to optimizer and scheduler then.
        built_from: the contract that optimizer and scheduler are built from. told: the one the watch is given.
    """

    steps_per_update: int = 1
    steps_per_micro: int = 0
    ahead: int = 0
    behind: int = 0
    every: int = 1
    also_every: float = math.inf
    frozen_from: float = math.inf
    overflow_every: float = math.inf
    steps_on_skips: bool = False
    local_metric: bool = False
    saves_first: bool = False
    nan_at: float | None = None
    restores_scheduler: bool = True
    built_from: Rewrite = _unchanged
    told: Rewrite = _unchanged
    once_built: tuple[Deed, ...] = ()
    once_resumed: tuple[Deed, ...] = ()

    def scheduler_steps(self, update: int) -> int:
        """Calls of ``scheduler.step()`` that follow update number ``update`` (0-based)."""
        if not self.behind <= update < self.frozen_from or (update + 1) % self.every:
            return 0
        return self.steps_per_update + ((update + 1) % self.also_every == 0)

    def overflows(self, attempt: int) -> bool:
        """Whether the loss of this attempt (0-based) is infinite."""
        return (attempt + 1) % self.overflow_every == 0

    def micro_steps(self, update: int) -> int:
        """Calls of ``scheduler.step()`` that follow each micro-batch but the last of update number ``update``."""
        return self.steps_per_micro if self.behind <= update < self.frozen_from else 0
