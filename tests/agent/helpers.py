"""Small real trainings, and the rows that a recorder made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lrwatch.agent.notes import FIELDS, Columns, Note
from lrwatch.agent.recorder import Recorder

COSINE = {
    "lrwatch": 1,
    "experiment": "tiny",
    "clock": {"horizon": 40},
    "lr": {"base": 0.1, "schedule": [{"cosine": {"to": 0.01, "until": "horizon"}}]},
}


class Training:
    """One linear layer, one optimizer, one update per call. ``inf`` makes its gradient infinite."""

    def __init__(self, kind: type[torch.optim.Optimizer] = torch.optim.SGD, lr: Any = 0.1, **options: Any):
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 1)
        self.optimizer = kind(self.model.parameters(), lr=lr, **options)

    def backward(self, inf: bool = False) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.model(torch.ones(2, 3)).pow(2).mean()
        (loss * float("inf") if inf else loss).backward()
        return loss

    def scaled(self, scaler: torch.amp.GradScaler, inf: bool = False) -> None:
        self.optimizer.zero_grad()
        loss = self.model(torch.ones(2, 3)).pow(2).mean()
        scaler.scale(loss * float("inf") if inf else loss).backward()
        scaler.step(self.optimizer)


def rows(recorder: Recorder) -> list[dict[str, Any]]:
    """The rows in the ring, each with its values by column; what a row lacks is left out."""
    result, names = [], ()
    for item in recorder.ring:
        if isinstance(item, Columns):
            names = item.names
        elif isinstance(item, tuple):
            row = dict(zip(FIELDS, item, strict=True))
            values = row.pop("values")
            row.update(zip(names, values or (), strict=False))
            row.pop("ts")
            row["update"] = row["attempt"] - row.pop("lag")
            result.append({k: v for k, v in row.items() if v is not None})
    return result


def notes(recorder: Recorder) -> list[Note]:
    """The events in the ring."""
    return [item for item in recorder.ring if isinstance(item, Note)]


def lines(run_dir: Path) -> list[dict[str, Any]]:
    """Every line of every trace of a run, in the order of the files."""
    files = sorted((run_dir / "trace").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
