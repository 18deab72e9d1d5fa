"""What is particular to Accelerate: objects from before ``prepare``, and its steps per process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from lrwatch.integrations.accelerate import LrwatchLoop
from tests.integrations import accelerate_run
from tests.integrations.tiny import CONTRACT, LRS, Model, cosine

pytestmark = pytest.mark.filterwarnings("default")  # frameworks have warnings of their own


@pytest.fixture(autouse=True)
def _its_own_state() -> Iterator[None]:
    """Accelerate keeps its state in its classes; other frameworks' tests leave half of one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_objects_from_before_prepare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accelerate_run, "BEFORE_PREPARE", True)
    _, watch = accelerate_run.train(tmp_path, {"contract": CONTRACT, "run_dir": tmp_path / "run"})
    assert watch.findings == ()
    assert sum('"lr"' in line for line in next((tmp_path / "run/trace").iterdir()).read_text().splitlines()) == 12


@pytest.mark.parametrize(("ticks", "split", "said"), [(1, False, True), (2, False, False), (1, True, False)])
def test_a_scheduler_stepped_once_per_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    ticks: int, split: bool, said: bool
) -> None:  # fmt: skip
    accelerator = Accelerator(cpu=True)
    # Two processes: Accelerate's own state says so to its scheduler, which then takes two steps per update.
    for state in (PartialState, AcceleratorState):
        monkeypatch.setitem(state._shared_state, "num_processes", 2)
    accelerator.dataloader_config.split_batches = split
    model = Model()
    raw = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer, scheduler = accelerator.prepare(raw, cosine(raw))
    contract = {**CONTRACT, "clock": {"horizon": 12, "ticks": ticks}}
    rates = []
    with LrwatchLoop(accelerator, optimizer, scheduler, contract, run_dir=tmp_path / "run") as loop:
        for _ in range(5):
            rates.append(raw.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
            loop.step()
    assert rates[4] == pytest.approx(LRS[4 if split else 8], rel=1e-12)
    assert loop.watch is not None
    assert ("drift" in {f.slug for f in loop.watch.findings}) is said
    assert ("write clock: {ticks: 2}" in capsys.readouterr().err) is said
