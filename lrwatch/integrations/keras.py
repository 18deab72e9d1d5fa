"""Keras 3, on the torch backend.

    model.fit(x, y, callbacks=[..., LrwatchCallback(contract="contract.yaml", run_dir="runs/a")])

Put it last: callbacks that set the learning rate act before it reads.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Unpack

import keras

from lrwatch.integrations.base import Options, Promise, StandIn, Watching


class LrwatchCallback(Watching, keras.callbacks.Callback):  # type: ignore[misc]  # Any where it is not installed
    """Watches the optimizer of a Keras model.

    A Keras optimizer has no hooks: ``learning_rate`` is read before a batch, and ``iterations`` after it tells whether
    the batch was an update. Keras's schedules count ``optimizer.iterations`` from 0, but batches, not updates, under
    ``gradient_accumulation_steps``. The loss of a row is that of its batch; ``logs`` has only the mean of the epoch.

    Args:
        contract, run_dir, …: as for ``lrwatch.watch``; its group is called ``0``.

    Raises:
        ContractError: the contract cannot be used.

    Example:
        >>> model.fit(x, y, callbacks=[LrwatchCallback("contract.yaml")])                     # doctest: +SKIP
    """

    def __init__(self, contract: Promise = None, **options: Unpack[Options]):
        super().__init__(contract, **options)
        self._groups: list[dict[str, Any]] = [{"lr": None}]
        self._skips, self._before, self._epoch = _Skips(), 0, 0
        self._sums = (0.0, 0.0)

    def on_train_begin(self, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        self._before = int(optimizer.iterations)
        self._read()
        inner = SimpleNamespace(param_groups=self._groups, state={})
        self.begin(
            StandIn.of(inner, listen=False, name=type(optimizer).__name__),
            scaler=self._skips if hasattr(optimizer, "inner_optimizer") else None,
            start_step=self._before,
            accumulate=optimizer.gradient_accumulation_steps,
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._sums = epoch, (0.0, 0.0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """What this batch's update uses; a copy, for it changes in place."""
        self._read()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        optimizer, loss = self.model.optimizer, self._loss()
        count = int(optimizer.iterations)
        moved, self._before = count != self._before, count
        if moved and self._stand_in is not None:
            self._stand_in.used()
            self.update(loss, epoch=self._epoch)
        elif hasattr(optimizer, "inner_optimizer") and not optimizer.inner_optimizer.gradient_accumulation_steps:
            self.update(loss, epoch=self._epoch)  # the loss scaler has skipped it

    def on_test_begin(self, logs: Any = None) -> None:
        self.validation_begins()

    def on_test_end(self, logs: Any = None) -> None:
        self.validation_ends()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        found = {k: v for k, v in (logs or {}).items() if k.startswith("val_")}
        if found:
            self.event("validation", metrics=found)

    def on_train_end(self, logs: Any = None) -> None:
        self.end("stopped" if self.model.stop_training else "finished")

    def _read(self) -> None:
        rate = self.model.optimizer.learning_rate
        rate = getattr(rate, "value", rate)  # a variable of Keras's has torch's inside
        self._groups[0]["lr"] = rate.detach().clone() if hasattr(rate, "detach") else rate

    def _loss(self) -> float | None:
        """The batch's own: Keras has the sum and the number of examples since the epoch began."""
        tracker = next((m for m in self.model.metrics if m.name == "loss" and hasattr(m, "count")), None)
        if tracker is None:
            return None
        (total, count), self._sums = self._sums, (float(tracker.total), float(tracker.count))
        seen = self._sums[1] - count
        return (self._sums[0] - total) / seen if seen else None


class _Skips:
    """A loss scaler, as far as the recorder asks: an update that it has not seen was skipped."""
