"""A small real training with Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lrwatch.integrations.lightning import LrwatchCallback
from tests.integrations.tiny import UPDATES, Examples, Model, cosine

ACCUMULATE = 2
GIVEN = {"loss", "sched", "epoch"}
# Eight batches, that is four updates, are an epoch, and validation comes at its end.
EVENTS = [("validation", 4), ("checkpoint", 6), ("validation", 8), ("checkpoint", 12), ("validation", 12)]


class Module(LightningModule):
    """The model, as Lightning has it."""

    def __init__(self, crash_at: int | None = None):
        super().__init__()
        self.model = Model(crash_at)

    def training_step(self, batch: Any, index: int) -> Any:
        return self.model(**batch)["loss"]

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.model(**batch)["loss"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return [optimizer], [{"scheduler": cosine(optimizer), "interval": "step"}]


def trainer(work: Path, callbacks: list[Any], **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=work, accelerator="cpu", devices=1, logger=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False,
        **{"max_steps": UPDATES, "accumulate_grad_batches": ACCUMULATE, **options},
    )  # fmt: skip


def train(work: Path, watched: dict[str, Any] | None, resume: bool = False, crash_at: int | None = None) -> Any:
    """Train with ``watched`` as the callback's arguments, or without a watch; the weights and the watch."""
    # The forward pass of an update's last micro-batch is part of optimizer.step().
    module = Module(None if crash_at is None else ACCUMULATE * crash_at + ACCUMULATE - 1)
    saving = ModelCheckpoint(work / "saved", filename="{step}", every_n_train_steps=6, save_top_k=-1)
    callback = None if watched is None else LrwatchCallback(**watched)
    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    path = str(work / "saved" / "step=6.ckpt") if resume else None
    trainer(work, [callback, saving] if callback else [saving]).fit(module, loader, loader, ckpt_path=path)
    return module.model.weights(), callback and callback.watch
