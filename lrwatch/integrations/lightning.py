"""Lightning: a callback for ``lightning.pytorch``.

Trainer(callbacks=[LrwatchCallback(contract="contract.yaml", run_dir="runs/a")]).fit(model, loader)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from lightning.pytorch import Callback, LightningModule, Trainer

from lrwatch.errors import LrwatchError
from lrwatch.integrations.base import Options, Promise, StandIn, Watching


class LrwatchCallback(Watching, Callback):  # type: ignore[misc]  # Any where it is not installed
    """Watches one optimizer of a ``lightning.pytorch.Trainer``, in automatic and manual optimization.

    Counters go into Lightning's checkpoints and come back with them.

    Args:
        contract, run_dir, …: as for ``lrwatch.watch``; optimizer, scheduler, accumulation, loss scaler and position are
            Trainer's.
        optimizer: which one, in the order of ``configure_optimizers``; several need a callback and a ``run_dir`` each.
        grad_norm_every, grad_norm_scope: as for ``lrwatch.watch``; gradients are read before Trainer clips them.

    Raises:
        ContractError: the contract cannot be used. LrwatchError: no such optimizer, when training begins.

    Example:
        >>> Trainer(callbacks=[LrwatchCallback("contract.yaml")]).fit(model, loader)          # doctest: +SKIP
    """

    def __init__(
        self,
        contract: Promise = None,
        *,
        optimizer: int = 0,
        grad_norm_every: int | None = None,
        grad_norm_scope: str | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(contract, **options)
        self._norms = grad_norm_every, grad_norm_scope
        self._index, self._stepped, self._announced = optimizer, False, True
        self._restored: Mapping[str, Any] | None = None

    @property
    def state_key(self) -> str:
        """Of this callback's counters in a checkpoint; one for each optimizer."""
        return f"lrwatch{{optimizer={self._index}}}"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Optimizers are there and, when resuming, restored."""
        if self._index >= len(trainer.optimizers):
            raise LrwatchError(
                f"LrwatchCallback(optimizer={self._index}): configure_optimizers makes {len(trainer.optimizers)}; the "
                "first is 0"
            )
        optimizer = trainer.optimizers[self._index]
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        # The forward pass is part of optimizer.step(closure), and may fail: the update begins after it. A loss scaler
        # has it done before, and may then skip the step.
        self._announced = scaler is None
        configured = [config.scheduler for config in trainer.lr_scheduler_configs]
        schedulers = [s for s in configured if getattr(s, "optimizer", None) is optimizer]
        # global_step counts the steps of all optimizers, and skipped ones too.
        counted = len(trainer.optimizers) == 1 and scaler is None and self._restored is None
        watch = self.begin(
            StandIn.of(optimizer, listen=not self._announced),
            scheduler=schedulers[0] if schedulers else None,
            scaler=scaler,
            start_step=trainer.global_step if counted else None,
            accumulate=trainer.accumulate_grad_batches,
            grad_norm_every=self._norms[0],
            grad_norm_scope=self._norms[1],
        )
        if self._restored is not None:
            watch.load_state_dict(self._restored)
            self._restored = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """After the backward pass, before clipping. Not every batch ends in a step of this optimizer."""
        if optimizer is trainer.optimizers[self._index] and self._stand_in is not None and self.watch is not None:
            self._stepped = True
            self.watch.before_clipping()
            if self._announced:
                self._stand_in.used()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The loss is that of the last micro-batch, as ``training_step`` returned it."""
        if not self._stepped:
            return
        self._stepped = False
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None and pl_module.automatic_optimization and trainer.accumulate_grad_batches > 1:
            loss = loss * trainer.accumulate_grad_batches  # Lightning has divided it
        self.update(loss, epoch=trainer.current_epoch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_begins()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_ends()
        if not trainer.sanity_checking:
            self.event("validation", metrics=dict(trainer.callback_metrics))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.event("checkpoint", scheduler_state=bool(checkpoint.get("lr_schedulers")))

    def state_dict(self) -> dict[str, Any]:
        """The counters, for a checkpoint."""
        return {} if self.watch is None else self.watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The counters of a checkpoint; they are used when training begins."""
        self._restored = state_dict or None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.end("stopped" if trainer.should_stop else "finished")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """``fail_on`` is not asked here: the exception is on its way."""
        self.__exit__(type(exception), exception, None)
