"""DeepSpeed: a loop with an engine.

engine, _, loader, _ = deepspeed.initialize(...)
with LrwatchEngine(engine, contract="contract.yaml") as watch:
    for batch in loader:
        loss = engine(batch)
        engine.backward(loss)
        engine.step()
        watch.step(loss=loss)
"""

from __future__ import annotations

from typing import Any, Unpack

from lrwatch.agent import arguments
from lrwatch.integrations.base import Options, Promise, StandIn, Watching


class LrwatchEngine(Watching):
    """Watches a DeepSpeed engine; ``step`` may be called for every micro-batch (pipelines: after ``train_batch``).

    ZeRO steps the inner optimizer once for each parameter group; ``engine.global_steps`` says what was an update and
    ``engine.skipped_steps`` what was skipped. The gradient norm, before clipping, is the engine's own.

    Args:
        engine: of ``deepspeed.initialize``. After a resume, begin the watch after ``engine.load_checkpoint``.
        contract, run_dir, …: as for ``lrwatch.watch``.

    Raises:
        ContractError: the contract cannot be used. LrwatchError: an engine without an optimizer.

    Example:
        >>> watch = LrwatchEngine(engine, "contract.yaml")                                    # doctest: +SKIP
    """

    def __init__(self, engine: Any, contract: Promise = None, **options: Unpack[Options]):
        super().__init__(contract, **options)
        self._engine = engine
        self._overflows = _Overflows(engine)
        self._done: int = engine.global_steps
        self.begin(
            StandIn.of(arguments.unwrapped(engine.optimizer), listen=True),
            scheduler=engine.lr_scheduler,
            scaler=getattr(engine, "torch_autocast_z0_gradscaler", None) or self._overflows,
            start_step=engine.global_steps - engine.skipped_steps,
            accumulate=engine.gradient_accumulation_steps(),
        )

    def step(self, loss: Any = None, epoch: int | None = None) -> None:
        """After ``engine.step()``; only where it moved ``engine.global_steps`` was it an update.

        Args:
            loss: of the micro-batch. epoch: from 0.
        """
        done = self._engine.global_steps
        if done != self._done:
            self._done = done
            self.update(loss, self._engine.get_global_grad_norm(), epoch)
            self._overflows.seen()

    def checkpoint(self) -> None:
        """After ``engine.save_checkpoint``, which saves the scheduler too."""
        self.event("checkpoint", scheduler_state=self._engine.lr_scheduler is not None)

    def close(self, outcome: str = "finished") -> None:
        """As ``Watch.close``."""
        self.end(outcome)


class _Overflows:
    """What DeepSpeed's own loss scaling did, in the form in which the recorder asks a GradScaler."""

    def __init__(self, engine: Any):
        self._engine, self._skipped = engine, engine.skipped_steps

    @property
    def _growth_tracker(self) -> float:
        """0 where an update was skipped since ``seen``."""
        return 0.0 if self._engine.skipped_steps != self._skipped else 1.0

    def seen(self) -> None:
        self._skipped = self._engine.skipped_steps
