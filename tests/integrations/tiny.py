"""The model, the data and the schedule that every framework trains with."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

UPDATES = 12
CONTRACT = {
    "lrwatch": 1,
    "experiment": "tiny",
    "clock": {"horizon": UPDATES},
    "lr": {"base": 0.1, "schedule": [{"cosine": {"to": 0.01, "until": "horizon"}}]},
}
LRS = {0: 0.1, 4: 0.0775, 6: 0.055, 8: 0.0325}
"""Update -> the learning rate it uses."""


class Crash(RuntimeError):
    """What a training dies of."""


class Model(torch.nn.Module):
    """One linear layer; dies in its forward pass number ``crash_at`` of training."""

    def __init__(self, crash_at: int | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)
        self.passes, self.crash_at = 0, crash_at

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        if self.training:
            if self.passes == self.crash_at:
                raise Crash("as planned")
            self.passes += 1
        out = self.layer(x)
        return {"loss": (out - labels).pow(2).mean(), "logits": out}

    def weights(self) -> list[float]:
        return [v for p in self.layer.parameters() for v in p.detach().flatten().tolist()]


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """Sixteen points on a plane."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, i: int) -> dict[str, Any]:
        x = torch.tensor([i / 16, (i % 4) / 4, 1.0])
        return {"x": x, "labels": x.sum(0, keepdim=True)}


def cosine(optimizer: torch.optim.Optimizer) -> CosineAnnealingLR:
    return CosineAnnealingLR(optimizer, UPDATES, 0.01)
