"""Accelerate: a training loop that is one's own, with what ``Accelerator.prepare`` made of it.

with LrwatchLoop(accelerator, optimizer, scheduler, contract="contract.yaml") as watch:
    for batch in loader:
        with accelerator.accumulate(model):
            ...
            optimizer.step(); scheduler.step(); optimizer.zero_grad()
            watch.step(loss=loss)
"""

from __future__ import annotations

from typing import Any, Unpack

from accelerate import Accelerator

from lrwatch.agent.announce import say
from lrwatch.integrations.base import Options, Promise, Watching


class LrwatchLoop(Watching):
    """Watches a loop with an ``accelerate.Accelerator``; ``step`` may be called for every micro-batch.

    A prepared scheduler is stepped once per process and update, unless ``split_batches`` is set: its steps are the
    contract's clock units, ``clock: {ticks: <processes>}``. A contract that says otherwise is pointed out at once.

    Args:
        accelerator: knows accumulation, loss scaling and the number of processes.
        optimizer, scheduler: from before or after ``prepare``; those from before must be the ones that are prepared.
        start_step: updates made before, after a resume; default: the optimizer's own count.
        contract, run_dir, …: as for ``lrwatch.watch``.

    Raises:
        ContractError: the contract cannot be used. LrwatchError: an optimizer without parameter groups.

    Example:
        >>> watch = LrwatchLoop(accelerator, optimizer, scheduler, "contract.yaml")           # doctest: +SKIP
    """

    def __init__(
        self,
        accelerator: Accelerator,
        optimizer: Any,
        scheduler: Any = None,
        contract: Promise = None,
        *,
        start_step: int | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(contract, **options)
        self._accelerator = accelerator
        self._say_ticks(scheduler)
        self.begin(
            optimizer,
            scheduler=scheduler,
            scaler=accelerator.scaler,
            start_step=start_step,
            accumulate=accelerator.gradient_accumulation_steps,
        )

    def step(self, loss: Any = None, grad_norm: Any = None, epoch: int | None = None) -> None:
        """After ``optimizer.step()``, of every micro-batch; only where gradients are synchronised it was an update.

        Args:
            loss: of the micro-batch. grad_norm: what ``accelerator.clip_grad_norm_`` returned. epoch: from 0.
        """
        if self._accelerator.sync_gradients:
            self.update(loss, grad_norm, epoch)

    def close(self, outcome: str = "finished") -> None:
        """As ``Watch.close``."""
        self.end(outcome)

    def _say_ticks(self, scheduler: Any) -> None:
        """Where the contract's clock is not what the prepared scheduler counts, say what to write instead."""
        a, clock = self._accelerator, self._contract.clock if self._contract is not None else None
        if clock is None or clock.axis != "update" or not a.is_main_process:
            return
        ticks = 1 if a.split_batches or not a.step_scheduler_with_optimizer else a.num_processes
        if clock.ticks != ticks and any(scheduler in (s, s.scheduler) for s in a._schedulers):
            say(
                f"accelerate steps this scheduler {ticks} time(s) per update, once per process, and the contract says "
                f"clock.ticks {clock.ticks}: write clock: {{ticks: {ticks}}} if the schedule is planned in these steps"
            )
