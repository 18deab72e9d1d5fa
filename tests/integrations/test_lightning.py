"""What is particular to Lightning: several optimizers stepped by hand, and the loss it divides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

import torch

from lrwatch.errors import LrwatchError
from lrwatch.integrations.lightning import LrwatchCallback
from tests.integrations.lightning_run import Module, trainer
from tests.integrations.tiny import Examples

pytestmark = pytest.mark.filterwarnings("default")  # frameworks have warnings of their own


class TwoOptimizers(Module):
    """One parameter each; the second optimizer steps after every second batch."""

    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> Any:
        first, second = self.optimizers()
        loss = self.model(**batch)["loss"]
        self.manual_backward(loss)
        first.step()
        if index % 2:
            second.step()
        self.zero_grad()
        return loss

    def configure_optimizers(self) -> Any:
        weight, bias = self.model.layer.weight, self.model.layer.bias
        return [torch.optim.SGD([weight], lr=0.1), torch.optim.SGD([bias], lr=0.01)]


def rows(run: Path) -> list[dict[str, Any]]:
    (path,) = (run / "trace").glob("*.jsonl")
    return [row for row in map(json.loads, path.read_text().splitlines()) if "event" not in row]


def test_a_callback_for_each_of_two_optimizers(tmp_path: Path) -> None:
    callbacks = [LrwatchCallback(run_dir=tmp_path / str(i), optimizer=i) for i in range(2)]
    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    options = {"max_steps": -1, "max_epochs": 1, "accumulate_grad_batches": 1, "enable_checkpointing": False}
    trainer(tmp_path, callbacks, **options).fit(TwoOptimizers(), loader)
    assert [(row["update"], row["lr"]) for row in rows(tmp_path / "0")] == [(n, 0.1) for n in range(8)]
    assert [(row["update"], row["lr"]) for row in rows(tmp_path / "1")] == [(n, 0.01) for n in range(4)]
    assert all("loss" in row for row in rows(tmp_path / "1"))


def test_an_optimizer_that_is_not_there(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    with pytest.raises(LrwatchError, match=r"optimizer=1\): configure_optimizers makes 1; the first is 0"):
        trainer(tmp_path, [LrwatchCallback(optimizer=1)], enable_checkpointing=False).fit(Module(), loader)


def test_the_loss_is_the_one_that_training_step_returned(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Keeping(Module):
        def training_step(self, batch: Any, index: int) -> Any:
            seen.append(super().training_step(batch, index))
            return seen[-1]

    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    callback = LrwatchCallback(run_dir=tmp_path / "run")
    trainer(tmp_path, [callback], max_steps=3, enable_checkpointing=False).fit(Keeping(), loader)
    assert [row["loss"] for row in rows(tmp_path / "run")] == [seen[n].item() for n in (1, 3, 5)]


def test_gradients_are_read_before_they_are_clipped(tmp_path: Path) -> None:
    seen: list[float] = []

    class Looking(Module):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            seen.append(sum(float(p.grad.double().square().sum()) for p in self.parameters() if p.grad is not None))

    loader = torch.utils.data.DataLoader(Examples(), batch_size=2)
    callback = LrwatchCallback(run_dir=tmp_path / "run", grad_norm_every=2)
    options = {"max_steps": 3, "enable_checkpointing": False, "gradient_clip_val": 1e-3}
    trainer(tmp_path, [callback], **options).fit(Looking(), loader)
    found = [row.get("grad_sq") for row in rows(tmp_path / "run")]
    assert found == [pytest.approx(seen[0], rel=1e-6), None, pytest.approx(seen[2], rel=1e-6)]
    assert min(seen) > 1e-6
