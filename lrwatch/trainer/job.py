"""What one worker trains with: model, optimizer, scheduler, loss scaler, data, and how far it has come."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from lrwatch.contract import Contract
from lrwatch.trainer import data, model, schedule
from lrwatch.trainer.place import Place
from lrwatch.trainer.settings import SIZES, Settings, accumulation, micro_batch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Counters:
    """How far the run has come: updates applied, updates attempted, micro-batches, calls of ``scheduler.step()``."""

    update: int = 0
    attempt: int = 0
    micro: int = 0
    scheduled: int = 0


@dataclass
class Job:
    """The moving parts of one worker.

    Attributes:
        module: the GPT itself; ddp: the same behind DistributedDataParallel, None for a single worker.
        fingerprint: what a checkpoint must agree on to be resumed.
        window_loss: sum of the losses of the micro-batches since the last update, a scalar on the device.
    """

    module: model.GPT
    ddp: DistributedDataParallel | None
    optimizer: torch.optim.AdamW
    scheduler: LRScheduler
    scaler: GradScaler
    batches: data.Batches
    held_out: Tensor
    accumulate: int
    device: torch.device
    precision: torch.dtype
    fingerprint: dict[str, Any]
    window_loss: Tensor
    counters: Counters = field(default_factory=Counters)

    def forward(self, inputs: Tensor, targets: Tensor, net: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Loss (a scalar) and logits, under the run's precision."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            logits = (net or self.ddp or self.module)(inputs.to(self.device))
            return model.loss_of(logits, targets.to(self.device)), logits

    def unsynchronised(self) -> AbstractContextManager[None]:
        """Within it, backward passes leave the gradients on this worker."""
        return self.ddp.no_sync() if self.ddp is not None else nullcontext()

    @property
    def inside_window(self) -> int:
        """Micro-batches done since the last update."""
        return self.counters.micro % self.accumulate


def build(settings: Settings, contract: Contract, place: Place) -> Job:
    """A fresh job: the same weights on every worker, its own share of the data and its own dropout."""
    size = SIZES[settings.model]
    text, held_out = data.split(data.corpus(size.corpus))
    torch.manual_seed(settings.seed)
    module = model.GPT(size).to(place.device)
    optimizer = model.adamw(module, contract)
    ddp = _parallel(module, place) if place.world > 1 else None
    torch.manual_seed(settings.seed * 1_000_003 + 1 + place.rank)
    count, batch = accumulation(contract), micro_batch(settings, contract)
    return Job(
        module=module,
        ddp=ddp,
        optimizer=optimizer,
        scheduler=schedule.build(optimizer, contract, place.rank),
        scaler=GradScaler(place.device.type, enabled=settings.precision == "fp16"),
        batches=data.Batches(
            text, context=size.context, size=batch, rank=place.rank, world=place.world, seed=settings.seed
        ),
        held_out=held_out,
        accumulate=count,
        device=place.device,
        precision=PRECISIONS[settings.precision],
        fingerprint={
            "workers": place.world,
            "model": settings.model,
            "seed": settings.seed,
            "precision": settings.precision,
            "micro-batch": batch,
            "batch.accumulate": count,
        },
        window_loss=torch.zeros((), device=place.device),
    )


def _parallel(module: model.GPT, place: Place) -> DistributedDataParallel:
    """DistributedDataParallel whose gradient buckets have found their final order.

    DDP reorders its buckets in the forward pass that follows the first backward pass. That changes the order in
    which an all-reduce adds up, and it is a meeting of all workers. Two throw-away passes give a resumed run the
    order of an uninterrupted one, and get the meeting over with. The second one must not expect a backward pass.
    """
    ddp = DistributedDataParallel(module, device_ids=[place.local_rank] if place.device.type == "cuda" else None)
    nothing = torch.zeros((1, 1), dtype=torch.long, device=place.device)
    ddp(nothing).sum().backward()
    with ddp.no_sync():
        ddp(nothing)
    module.zero_grad(set_to_none=True)
    return ddp
