"""A compiled optimizer step under a watch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters
from torch.optim.lr_scheduler import LambdaLR

from lrwatch.agent.gradients import GradientRecorder
from lrwatch.agent.recorder import Recorder
from tests.agent.helpers import Training, rows

Make = Callable[..., Recorder]


def compiled_steps(record: Make | None, updates: int) -> tuple[Recorder | None, int, int]:
    """Recorder, graphs compiled, frames looked at."""
    torch._dynamo.reset()
    counters.clear()
    training = Training(torch.optim.AdamW)
    scheduler = LambdaLR(training.optimizer, lambda step: 0.5**step)
    recorder = record(training.optimizer, scheduler=scheduler) if record else None
    step = torch.compile(training.optimizer.step, backend="eager")
    for _ in range(updates):
        training.backward()
        step()
        scheduler.step()
        if recorder is not None:
            recorder.step()
    return recorder, counters["stats"]["unique_graphs"], counters["frames"]["total"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_no_graph_is_compiled_again_because_of_the_hook(record: Callable[..., Recorder]) -> None:
    _, plain_graphs, _ = compiled_steps(None, 12)
    recorder, graphs, frames = compiled_steps(record, 12)
    assert recorder is not None
    assert graphs == plain_graphs
    assert [r["lr/0"] for r in rows(recorder)][:4] == [0.1, 0.05, 0.025, 0.0125]
    assert len(rows(recorder)) == 12
    _, _, later = compiled_steps(record, 36)
    assert later <= frames  # nothing is looked at again, however long it runs


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_nor_because_gradients_are_read(record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plain_graphs, _ = compiled_steps(None, 12)
    monkeypatch.setattr("tests.agent.conftest.Recorder", partial(GradientRecorder, every=2, whole=True))
    recorder, graphs, frames = compiled_steps(record, 12)
    assert recorder is not None
    assert graphs == plain_graphs
    found = [r["update"] for r in rows(recorder) if r.get("grad_sq", 0.0) > 0.0]
    assert (found, recorder.errors) == ([0, 2, 4, 6, 8, 10], 0)
    _, _, later = compiled_steps(record, 36)
    assert later <= frames
