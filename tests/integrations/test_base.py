"""The stand-in for optimizers that step as they like, and trainings that die without telling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from lrwatch.integrations.base import Watching, stand_in


class Zero:
    """As DeepSpeed's: no optimizer of torch's, steps the inner one for each group, showing it one group at a time."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def step(self) -> None:
        every = self.optimizer.param_groups
        for group in every:
            self.optimizer.param_groups = [group]
            self.optimizer.step()
        self.optimizer.param_groups = every


def inner() -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 0.2, 0.3)])


def test_several_steps_are_one_update(tmp_path: Path) -> None:
    optimizer = Zero(inner())
    with Watching(run_dir=tmp_path / "run") as watching:
        watch = watching.begin(optimizer)
        for _ in range(3):
            optimizer.step()
            watching.update(loss=1.0)
            optimizer.optimizer.param_groups[1]["lr"] /= 2
        watch.close()
    lines = (tmp_path / "run/trace/rank00000-seg0000.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "event" not in row]
    assert [(row["update"], row["lr/0"], row["lr/1"], row["lr/2"]) for row in rows] == [
        (0, 0.1, 0.2, 0.3), (1, 0.1, 0.1, 0.3), (2, 0.1, 0.05, 0.3),
    ]  # fmt: skip


def test_an_optimizer_of_torch_needs_none() -> None:
    assert stand_in(inner()) is None


def test_the_next_training_ends_one_that_died_silently(tmp_path: Path) -> None:
    watching = Watching(run_dir=tmp_path / "run")
    watching.begin(inner())
    watching.begin(inner())
    watching.end("finished")
    ends = [json.loads(p.read_text().splitlines()[-1]) for p in sorted((tmp_path / "run/trace").iterdir())]
    assert [end["outcome"] for end in ends] == ["failed", "finished"]
