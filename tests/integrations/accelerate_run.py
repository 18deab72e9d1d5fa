"""A small real training with Accelerate."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from lrwatch.integrations.accelerate import LrwatchLoop
from tests.integrations.tiny import UPDATES, Examples, Model, cosine

ACCUMULATE = 2
GIVEN = {"loss", "grad_norm", "sched"}
BEFORE_PREPARE = False


def train(work: Path, watched: dict[str, Any] | None, resume: bool = False, crash_at: int | None = None) -> Any:
    """Train with ``watched`` as the watch's arguments, or without a watch; the weights and the watch."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
    model = Model(None if crash_at is None else ACCUMULATE * crash_at)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    raw = optimizer, cosine(optimizer)
    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    prepared, optimizer, scheduler, loader = accelerator.prepare(model, *raw, loader)
    if resume:
        accelerator.load_state(str(work / "saved"))
    given = raw if BEFORE_PREPARE else (optimizer, scheduler)
    loop = None if watched is None else LrwatchLoop(accelerator, *given, **watched)
    done = 6 if resume else 0
    with loop or nullcontext():
        while done < UPDATES:
            for batch in loader:
                with accelerator.accumulate(prepared):
                    loss = prepared(**batch)["loss"]
                    accelerator.backward(loss)
                    norm = accelerator.clip_grad_norm_(prepared.parameters(), 1.0) if accelerator.sync_gradients else 0
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                    if loop is not None:
                        loop.step(loss=loss, grad_norm=norm)
                done += accelerator.sync_gradients
                if done == 6 and accelerator.sync_gradients:
                    accelerator.save_state(str(work / "saved"))
                if done == UPDATES:
                    break
    return model.weights(), loop and loop.watch
