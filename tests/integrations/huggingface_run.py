"""A small real training with Hugging Face's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from lrwatch.integrations.huggingface import LrwatchCallback
from tests.integrations.tiny import UPDATES, Examples, Model, cosine

ACCUMULATE = 2
GIVEN = {"loss", "grad_norm"}
EVENTS = [("validation", 6), ("checkpoint", 6), ("validation", 12), ("checkpoint", 12)]


def train(work: Path, watched: dict[str, Any] | None, resume: bool = False, crash_at: int | None = None) -> Any:
    """Train with ``watched`` as the callback's arguments, or without a watch; the weights and the watch."""
    model = Model(None if crash_at is None else ACCUMULATE * crash_at)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments = TrainingArguments(
        str(work / "out"), per_device_train_batch_size=2, gradient_accumulation_steps=ACCUMULATE, max_steps=UPDATES,
        logging_steps=1, save_steps=6, eval_strategy="steps", eval_steps=6, use_cpu=True, report_to=[],
        disable_tqdm=True, seed=1, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=Examples(), eval_dataset=Examples(), optimizers=(optimizer, cosine(optimizer))
    )
    if watched is None:
        trainer.train(resume_from_checkpoint=resume)
        return model.weights(), None
    with LrwatchCallback(**watched) as callback:
        trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=resume)
    return model.weights(), callback.watch
