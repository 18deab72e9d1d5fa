"""What --inject is told, and what it does not understand."""

from __future__ import annotations

import pytest

from lrwatch.contract import Contract, from_document
from lrwatch.errors import LrwatchError
from lrwatch.trainer.behaviour import Behaviour
from lrwatch.trainer.faults import FAULTS, behaviour


def promise() -> Contract:
    lr = {"base": 0.5, "schedule": {"cosine": {"to": 0.1, "until": "horizon"}}}
    return from_document({"lrwatch": 1, "experiment": "x", "clock": {"horizon": 50}, "lr": lr})


def base_and_horizon(contract: Contract) -> tuple[float, float | None]:
    return contract.signals["lr"].base, contract.horizon


def test_nothing_wrong_by_default() -> None:
    b = behaviour([], 0, 4)
    assert b == Behaviour()
    assert [b.scheduler_steps(u) for u in (0, 1, 99)] == [1, 1, 1]
    assert b.built_from(promise()) == promise()


def test_every_fault_is_described() -> None:
    assert all(fault.doc and fault.doc[-1] != "." for fault in FAULTS.values())


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("step_per_worker", [4, 4, 4, 4]),
        ("step_per_micro", [1, 1, 1, 1]),
        ("frozen:at=2", [1, 1, 0, 0]),
        ("off_by_one:offset=-1", [0, 1, 1, 1]),
        ("off_by_one:offset=3", [1, 1, 1, 1]),
    ],
)
def test_how_often_the_scheduler_is_stepped(text: str, steps: list[int]) -> None:
    b = behaviour([text], 0, 4)
    assert [b.scheduler_steps(u) for u in range(4)] == steps
    assert b.micro_steps(0) == (text == "step_per_micro")
    assert b.ahead == (3 if text == "off_by_one:offset=3" else 0)


@pytest.mark.parametrize(
    ("text", "rank", "built", "told"),
    [
        ("wrong_base:factor=10", 0, (5.0, 50), (0.5, 50)),
        ("horizon:factor=3", 0, (0.5, 150), (0.5, 50)),
        ("stale_contract:rank=1,base=0.25", 1, (0.25, 50), (0.25, 50)),
        ("stale_contract:rank=1,base=0.25,horizon=40", 1, (0.25, 40), (0.25, 40)),
        ("stale_contract:rank=1,base=0.25", 0, (0.5, 50), (0.5, 50)),
    ],
)
def test_which_contract_is_built_and_which_is_told(
    text: str, rank: int, built: tuple[float, float], told: tuple[float, float]
) -> None:
    b = behaviour([text], rank, 2)
    assert base_and_horizon(b.built_from(promise())) == built
    assert base_and_horizon(b.told(promise())) == told
    assert (b.told(promise()).identity == promise().identity) == (told == (0.5, 50))


def test_faults_add_up() -> None:
    b = behaviour(["frozen:at=5", "nan_loss:at=3", "scheduler_not_restored"], 0, 1)
    assert (b.frozen_from, b.nan_at, b.restores_scheduler) == (5, 3, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step_per_workr", "--inject step_per_workr: no such fault; did you mean 'step_per_worker'?"),
        ("frozen", "--inject frozen: needs at=…, as in frozen:at=1"),
        ("frozen:att=3", "--inject frozen: 'att' is not one of its parameters; did you mean 'at'?"),
        ("step_per_micro:k=3", "--inject step_per_micro: 'k' is not one of its parameters; it takes no parameter"),
        ("frozen:at=soon", "--inject frozen: at must be a whole number, got 'soon'"),
        ("frozen:at=1.5", "--inject frozen: at must be a whole number, got '1.5'"),
        ("frozen:at=-1", "--inject frozen: at must be at least 0, got -1"),
        ("horizon:factor=0", "--inject horizon: factor must be above 0, got 0"),
        ("horizon:factor=nan", "--inject horizon: factor must be a number, got 'nan'"),
        ("stale_contract:rank=2,base=1", "--inject stale_contract: there is no rank 2; ranks are 0 to 1"),
        ("stale_contract:rank=1", "--inject stale_contract: say what is stale: base=… or horizon=… (or both)"),
    ],
)
def test_what_it_does_not_understand(text: str, message: str) -> None:
    with pytest.raises(LrwatchError) as refused:
        behaviour([text], 0, 2)
    assert str(refused.value) == message


def test_a_contract_without_horizon_cannot_be_wrong_about_it() -> None:
    contract = from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": "constant"}})
    with pytest.raises(LrwatchError, match=r"^--inject horizon: the contract has no clock.horizon to be wrong about"):
        behaviour(["horizon:factor=2"], 0, 1).built_from(contract)
