"""A small real training with DeepSpeed, ZeRO 1 on the CPU, with two parameter groups."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
import torch

from lrwatch.integrations.deepspeed import LrwatchEngine
from tests.integrations.tiny import CONTRACT, UPDATES, Examples, Model, cosine

ACCUMULATE = 2
STAGE = 1
GIVEN = {"loss", "grad_norm", "sched"}
EVENTS = [("checkpoint", 6)]
CHANGES = {"lr": {**CONTRACT["lr"], "groups": {"bias": {"scale": 1}}}}  # type: ignore[dict-item]


def engine(model: Model, **config: Any) -> Any:
    """In one process, without a launcher."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    groups = [{"params": [p], "name": name.rpartition(".")[2]} for name, p in model.named_parameters()]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    settings = {
        "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": ACCUMULATE, "steps_per_print": None,
        "zero_optimization": {"stage": STAGE}, "zero_allow_untested_optimizer": True, "gradient_clipping": 1.0,
        **config,
    }  # fmt: skip
    os.environ.setdefault("LOCAL_RANK", "0")
    made, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, lr_scheduler=cosine(optimizer), config=settings, dist_init_required=False
    )
    return made


def train(work: Path, watched: dict[str, Any] | None, resume: bool = False, crash_at: int | None = None) -> Any:
    """Train with ``watched`` as the watch's arguments, or without a watch; the weights and the watch."""
    model = Model(None if crash_at is None else ACCUMULATE * crash_at)
    made = engine(model)
    if resume:
        made.load_checkpoint(str(work / "saved"))
    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    loop = None if watched is None else LrwatchEngine(made, **watched)
    with loop or nullcontext():
        while made.global_steps < UPDATES:
            for batch in loader:
                loss = made(**batch)["loss"]
                made.backward(loss)
                made.step()
                if loop is not None:
                    loop.step(loss=loss)
                if made.global_steps == 6 and made.micro_steps == 12:
                    made.save_checkpoint(str(work / "saved"))
                    if loop is not None:
                        loop.checkpoint()
                if made.global_steps == UPDATES:
                    break
    return model.weights(), loop and loop.watch
