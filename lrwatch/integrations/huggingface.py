"""Hugging Face Trainer, and what is made of it (TRL, Sentence Transformers).

    with LrwatchCallback(contract="contract.yaml", run_dir="runs/a") as callback:
        Trainer(model, args, train_dataset=data, callbacks=[callback]).train()

Trainer tells its callbacks the loss and the gradient norm (before clipping) only when it logs: then they are in the row
of that update, the loss as Trainer means it, the mean since it last logged. ``logging_steps=1`` has them in every row.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lrwatch.integrations.base import Watching


class LrwatchCallback(Watching, TrainerCallback):  # type: ignore[misc]  # Any where it is not installed
    """Watches the optimizer of a ``transformers.Trainer``.

    Args:
        contract, run_dir, …: as for ``lrwatch.watch``; optimizer, scheduler, accumulation and position are Trainer's.

    Raises:
        ContractError: the contract cannot be used.

    Example:
        >>> Trainer(model, args, callbacks=[LrwatchCallback("contract.yaml")]).train()        # doctest: +SKIP
    """

    _epoch: int | None = None
    _waiting = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer is prepared and, when resuming, restored."""
        optimizer = kwargs["optimizer"]
        scaler = getattr(optimizer, "scaler", None)
        self._waiting = False
        self.begin(
            optimizer,
            scheduler=kwargs.get("lr_scheduler"),
            scaler=scaler,
            # global_step counts skipped updates too; where there are any, the optimizer knows better.
            start_step=state.global_step if scaler is None else None,
            accumulate=args.gradient_accumulation_steps,
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._complete()
        self._epoch = int(state.epoch or 0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An update; what Trainer is about to log belongs to it."""
        if control.should_log:
            self._waiting = True
        else:
            self.update(epoch=self._epoch)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        if "loss" in logs:
            self._complete(logs["loss"], logs.get("grad_norm"))

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.validation_begins()

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *_: Any, **kwargs: Any
    ) -> None:
        self.validation_ends()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.validation_ends()
        self._complete()
        self.event("validation", metrics={k: v for k, v in (metrics or {}).items() if isinstance(v, (int, float))})

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._complete()
        self.event("checkpoint", scheduler_state=not args.save_only_model)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._complete()
        self.end("finished" if state.global_step >= state.max_steps else "stopped")

    def _complete(self, loss: Any = None, grad_norm: Any = None) -> None:
        """Close the row that waits to be logged, if one does."""
        if self._waiting:
            self._waiting = False
            self.update(loss, grad_norm, self._epoch)
