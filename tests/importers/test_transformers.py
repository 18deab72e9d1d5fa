"""With transformers installed: its live schedulers, and the arithmetic of its Trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch.optim import SGD, Optimizer

from lrwatch.importers import import_contract
from lrwatch.importers.base import Options
from lrwatch.importers.torch import contract_of

transformers = pytest.importorskip("transformers.optimization", exc_type=ImportError)
real = pytest.importorskip("tests.importers.real.transformers", exc_type=ImportError)

BY_NAME = {name: params for name, params in real.CASES if params.get("num_training_steps") != 500}


def made(opt: Optimizer, name: str, params: dict[str, Any]) -> Any:
    common = {k: params.get(k) for k in real.COMMON}
    own = {k: v for k, v in params.items() if k not in (*real.COMMON, "lr") and v is not None}
    return transformers.get_scheduler(name, opt, **common, scheduler_specific_kwargs=own)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_live_scheduler_is_described_not_sampled(name: str) -> None:
    """The import compares every step with a replay; a table would mean that it did not agree."""
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (real.LR, 10 * real.LR)]
    opt = SGD(groups, lr=real.LR)
    plain = contract_of(opt, made(opt, name, BY_NAME[name]), stepped="update", total_steps=real.STEPS).plain()["lr"]
    assert "table" not in str(plain["schedule"])
    assert plain["groups"] == {"1": {"base": 10 * real.LR}}


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1000, 1007])
@pytest.mark.parametrize(("size", "world", "accumulate"), [(8, 1, 1), (8, 2, 4), (3, 5, 7)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_updates_of_an_epoch_as_the_trainer_counts_them(
    samples: int, size: int, world: int, accumulate: int, drop_last: bool, tmp_path: Path
) -> None:
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    sampler = BatchSampler(SequentialSampler(range(samples)), size, drop_last)  # type: ignore[arg-type]
    batches = len(BatchSamplerShard(sampler, num_processes=world, process_index=0, even_batches=not drop_last))
    updates = max(batches // accumulate + int(batches % accumulate > 0), 1)  # Trainer.set_initial_training_values
    path = tmp_path / "args.json"
    path.write_text(json.dumps({
        "learning_rate": 1e-3, "lr_scheduler_type": "linear", "max_steps": -1, "num_train_epochs": 2.5,
        "per_device_train_batch_size": size, "gradient_accumulation_steps": accumulate, "warmup_steps": 0,
        "dataloader_drop_last": drop_last,
    }))  # fmt: skip
    contract = import_contract(path, None, Options(dataset_size=samples, world_size=world)).contract()
    assert (contract.batch.steps_per_epoch, contract.horizon) == (updates, float(-(-5 * updates // 2)))


def test_accelerate_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 400)
    accelerator = Accelerator(cpu=True)
    try:
        wrapped = accelerator.prepare(opt, scheduler)
        assert contract_of(*wrapped, stepped="update", total_steps=100).contract().clock.ticks == 1
        for shared in (AcceleratorState._shared_state, PartialState._shared_state):
            monkeypatch.setitem(shared, "num_processes", 4)
        clock = contract_of(*wrapped, stepped="update", total_steps=100).contract().clock
        assert (clock.ticks, clock.horizon) == (4, 400.0)
        seen = []
        for _ in range(3):
            seen.append(scheduler.last_epoch)
            wrapped[0].step()
            wrapped[1].step()
        assert seen == [0, 4, 8]  # where the contract's clock stands at updates 0, 1, 2
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
