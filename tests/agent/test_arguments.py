"""What is wrong with a call of ``watch`` is said before training, with the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

import lrwatch
from lrwatch.agent.arguments import naming, unused_groups, unwrapped, with_position
from lrwatch.agent.naming import name_run
from lrwatch.agent.ranks import Identity
from lrwatch.contract import from_document
from lrwatch.errors import ContractError, LrwatchError
from tests.agent.helpers import Training


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"optimizer": "adam"},
            "watch() needs an optimizer with param_groups, got str; pass the optimizer itself, e.g. "
            "watch(trainer.optimizer)",
        ),
        ({"fail_on": "eror"}, "fail_on='eror': must be one of info, warning, error; did you mean 'error'?"),
        ({"group_names": ["a", "b"]}, "group_names has 2 names for 1 parameter groups; give one for each"),
        (
            {"run_id": "../x"},
            "run_id '../x': must be 1 to 128 letters, digits, dots, dashes or underscores, the first a letter or "
            "digit, because it names a directory",
        ),
    ],
)
def test_a_bad_argument_is_an_error_with_a_remedy(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    options = {"optimizer": Training().optimizer, "run_dir": tmp_path / "run", **given}
    with pytest.raises(LrwatchError, match=f"^{re.escape(message)}$"):
        lrwatch.watch(**options)
    assert not (tmp_path / "run").exists()


def test_a_bad_contract_is_an_error_before_training(tmp_path: Path) -> None:
    bad = tmp_path / "contract.yaml"
    bad.write_text("lrwatch: 1\nexperiment: x\nlr: {base: -1, schedule: constant}\n")
    with pytest.raises(ContractError, match=r"contract.yaml: lr.base: must be > 0, got -1 \(line 3\)$"):
        lrwatch.watch(Training().optimizer, bad, run_dir=tmp_path / "run")
    with pytest.raises(ContractError, match=r"nowhere.yaml: no such file"):
        lrwatch.watch(Training().optimizer, tmp_path / "nowhere.yaml")


def test_wrappers_are_taken_off() -> None:
    """Accelerate's passes isinstance(…, Optimizer) and has no hooks."""

    class Wrapper(torch.optim.Optimizer):
        def __init__(self, optimizer: Any):
            self.optimizer = optimizer

        @property
        def param_groups(self) -> Any:  # type: ignore[override]
            return self.optimizer.param_groups

    inner = Training().optimizer
    assert unwrapped(Wrapper(Wrapper(inner))) is inner
    assert unwrapped(inner) is inner


def test_the_scheduler_that_counts_is_found() -> None:
    optimizer = Training().optimizer
    scheduler = lr_scheduler.StepLR(optimizer, 10)
    assert with_position(scheduler) is scheduler
    assert with_position(SimpleNamespace(scheduler=SimpleNamespace(scheduler=scheduler))) is scheduler
    assert with_position(lr_scheduler.ChainedScheduler([scheduler])) is scheduler
    assert with_position(None) is None
    assert with_position(object()) is None


def test_groups_are_called_by_name_else_by_index() -> None:
    groups: list[dict[str, Any]] = [{"name": "body"}, {}, {"name": None}]
    name = naming(groups, None)
    assert [name(i, g) for i, g in enumerate(groups)] == ["body", "1", "2"]
    name = naming(groups, ["x", "y", "z"])
    assert [name(i, g) for i, g in enumerate([*groups, {}])] == ["x", "y", "z", "3"]


def test_two_groups_of_one_name_are_refused() -> None:
    with pytest.raises(LrwatchError, match="two parameter groups are called 'a'; name them apart"):
        naming([{"name": "a"}, {"name": "a"}], None)


def test_a_group_of_the_contract_that_is_not_there_is_noticed() -> None:
    lr = {"base": 1.0, "schedule": "constant", "groups": {"head": {"scale": 10}, "adam/body": {"scale": 2}}}
    contract = from_document({"lrwatch": 1, "experiment": "x", "lr": lr})
    assert unused_groups(contract, ["0"]) == ["head", "adam/body"]
    assert unused_groups(contract, ["head", "body"]) == []
    assert unused_groups(None, ["0"]) == []


ALONE, FOUR = Identity(), Identity(1, 4, 1, "torchrun")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("r1", None, "gpt", ALONE), ("r1", "runs/r1")),
        (("r1", "some/where", "gpt", ALONE), ("r1", "some/where")),
        ((None, "some/where", "gpt", ALONE), ("where", "some/where")),
        ((None, "some/w h:e", "gpt", ALONE), ("w-h-e", "some/w h:e")),
        ((None, "/", "gpt", ALONE), ("run", "/")),
        ((None, None, "gpt", Identity(1, 4, 1, "slurm", "991")), ("gpt-991", "runs/gpt-991")),
        ((None, None, "../g p/t", Identity(0, 4, 0, "x", "../7")), ("g-p-t-..-7", "runs/g-p-t-..-7")),
    ],
)
def test_a_run_has_a_name_and_a_directory(given: tuple[Any, ...], expected: tuple[str, str]) -> None:
    assert name_run(*given) == (expected[0], Path(expected[1]))


def test_a_process_alone_gets_a_new_name_each_time() -> None:
    one, other = (name_run(None, None, "gpt", ALONE)[0] for _ in range(2))
    assert one != other
    assert re.fullmatch(r"gpt-\d{8}-\d{6}-[0-9a-f]{4}", one)


def test_workers_of_one_launcher_get_one_name() -> None:
    names = {name_run(None, None, "gpt", Identity(rank, 4, rank, "torchrun"))[0] for rank in range(4)}
    assert len(names) == 1
    assert re.fullmatch(r"gpt-\d{8}-\d{6}-\d+", names.pop())
