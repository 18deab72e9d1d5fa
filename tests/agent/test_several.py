"""Several optimizers in one run: real torch, one row per turn of the loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, LinearLR

import lrwatch
from lrwatch.agent.origin import Locator
from lrwatch.agent.several import Positions, Several, SeveralRecorder
from lrwatch.errors import LrwatchError
from tests.agent.helpers import lines, notes, rows
from tests.agent.test_watch import summary

PROMISE = {
    "lrwatch": 1,
    "experiment": "gan",
    "clock": {"horizon": 20},
    "lr": {
        "base": 0.1,
        "schedule": [{"linear": {"to": 0.0, "until": "horizon"}}],
        "groups": {"disc": {"scale": 4}, "head": {"scale": 10}},
    },
}


class Gan:
    """``gen`` has two groups, ``disc`` one; ``rates``: what the first group of each begins with."""

    def __init__(self, kind: type[torch.optim.Optimizer] = torch.optim.SGD, **options: Any):
        torch.manual_seed(0)
        self.nets = {name: torch.nn.Linear(2, 2) for name in ("gen", "disc")}
        gen = [{"params": [self.nets["gen"].weight]}, {"params": [self.nets["gen"].bias], "lr": 1.0, "name": "head"}]
        self.optimizers = {
            "gen": kind(gen, lr=0.1, **options),
            "disc": kind(self.nets["disc"].parameters(), lr=0.4, **options),
        }
        self.schedulers = {name: LinearLR(o, 1.0, 0.0, 20) for name, o in self.optimizers.items()}

    def step(self, name: str) -> float:
        self.optimizers[name].zero_grad()
        loss = self.nets[name](torch.ones(1, 2)).pow(2).mean()
        loss.backward()
        self.optimizers[name].step()
        return float(loss.detach())


def turns(gan: Gan, watch: Any, count: int = 20, discs: int = 2, broken: str | None = None) -> None:
    """``discs`` steps of one for each of the other, as these trainings do."""
    for _ in range(count):
        for _ in range(discs):
            gan.step("disc")
        loss = gan.step("gen")
        for name, scheduler in gan.schedulers.items():
            for _ in range(2 if name == broken else 1):
                scheduler.step()
        watch.step(loss)


@pytest.fixture
def record() -> Callable[..., SeveralRecorder]:
    def make(gan: Gan, **given: Any) -> SeveralRecorder:
        several = Several.of(gan.optimizers)
        options = {"scheduler": Positions(gan.schedulers.values()), "scaler": None, "companions": {}}
        return SeveralRecorder(several, name=several.name, locate=Locator(several).locate, **{**options, **given})

    return make


def test_a_healthy_gan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan = Gan()
    with lrwatch.watch(gan.optimizers, PROMISE, scheduler=gan.schedulers, run_dir=tmp_path) as watch:
        turns(gan, watch)
    assert summary(tmp_path)["verdict"] == "pass"
    recorded = [line for line in lines(tmp_path) if "event" not in line]
    assert [row["update"] for row in recorded] == list(range(20))
    assert {k: recorded[10][k] for k in ("lr/gen/0", "lr/gen/head", "lr/disc/0", "sched")} == pytest.approx(
        {"lr/gen/0": 0.05, "lr/gen/head": 0.5, "lr/disc/0": 0.2, "sched": 10}
    )
    assert "watching gen: SGD, disc: SGD (groups gen/0, gen/head, disc/0)" in capsys.readouterr().err


def test_the_one_that_leaves_its_promise_is_named(tmp_path: Path) -> None:
    gan = Gan()
    with lrwatch.watch(gan.optimizers, PROMISE, scheduler=gan.schedulers, run_dir=tmp_path) as watch:
        turns(gan, watch, broken="disc")
    found = [f for f in summary(tmp_path)["findings"] if f["code"] == "LR101"]
    assert [(f["optimizer"], f["group"], f["first_step"]) for f in found] == [("disc", "0", 1)]
    assert found[0]["message"].startswith("group disc/0 used ")
    # its own position is not in the rows: a scheduler stepped twice looks like one planned for half as long
    assert found[0]["cause"]["name"] in ("rate", "horizon")


def test_training_is_bit_identical(tmp_path: Path) -> None:
    gans = [Gan(torch.optim.AdamW), Gan(torch.optim.AdamW)]
    with lrwatch.watch(gans[0].optimizers, PROMISE, scheduler=gans[0].schedulers, run_dir=tmp_path) as watch:
        turns(gans[0], watch)
    turns(gans[1], type("Nothing", (), {"step": lambda self, loss: None})())
    for name in ("gen", "disc"):
        for one, other in zip(gans[0].nets[name].parameters(), gans[1].nets[name].parameters(), strict=True):
            assert torch.equal(one, other)


def test_one_that_does_not_step_leaves_its_columns_out(record: Callable[..., SeveralRecorder]) -> None:
    gan = Gan()
    recorder = record(gan)
    for turn in range(4):
        gan.step("disc")
        if turn % 2:
            gan.step("gen")
        recorder.step()
    assert [sorted(k for k in row if k[:3] == "lr/") for row in rows(recorder)] == [
        ["lr/disc/0"], ["lr/disc/0", "lr/gen/0", "lr/gen/head"],
    ] * 2  # fmt: skip
    assert [row["update"] for row in rows(recorder)] == [0, 1, 2, 3]


def test_a_group_may_be_added_to_either(record: Callable[..., SeveralRecorder]) -> None:
    gan = Gan()
    recorder = record(gan)
    turns(gan, recorder, 1)
    gan.optimizers["gen"].add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.7})
    turns(gan, recorder, 1)
    first, second = rows(recorder)
    assert {k for k in second if k[:3] == "lr/"} == {"lr/gen/0", "lr/gen/head", "lr/gen/2", "lr/disc/0"}
    assert second["lr/gen/2"] == 0.7
    assert (first["lr/disc/0"], second["lr/disc/0"]) == pytest.approx((0.4, 0.38))


def test_an_update_counts_unless_both_skipped(record: Callable[..., SeveralRecorder]) -> None:
    """Fused optimizers are told by the loss scaler to skip, and step as if nothing were."""
    gan = Gan(torch.optim.AdamW, fused=True)
    recorder = record(gan)
    for inf in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)):
        for (name, optimizer), found in zip(gan.optimizers.items(), inf, strict=True):
            optimizer.found_inf = torch.tensor(found)
            gan.step(name)
        recorder.step()
    assert [(row["update"], row["attempt"], row.get("skipped")) for row in rows(recorder)] == [
        (0, 0, None), (1, 1, None), (2, 2, 1), (2, 3, None),
    ]  # fmt: skip


def test_where_the_counts_differ_nobody_knows_the_turn(record: Callable[..., SeveralRecorder]) -> None:
    gan = Gan(torch.optim.AdamW)
    turns(gan, record(gan), 3, discs=1)
    assert Locator(Several.of(gan.optimizers)).locate().update == 3
    turns(gan, record(gan), 3, discs=2)
    assert Locator(Several.of(gan.optimizers)).locate().how == "unknown"


def test_the_start_names_the_schedulers(record: Callable[..., SeveralRecorder]) -> None:
    gan = Gan()
    recorder = record(gan)
    turns(gan, recorder, 1)
    start = notes(recorder)[0]
    assert (start.fields["groups"], start.fields["scheduler"], start.fields["recursive"]) == (
        ["gen/0", "gen/head", "disc/0"], "LinearLR", True,
    )  # fmt: skip


def test_a_sequence_is_called_by_its_indices_and_a_later_watch_on_one_ends_this(tmp_path: Path) -> None:
    gan = Gan()
    both = lrwatch.watch(list(gan.optimizers.values()), run_dir=tmp_path / "both")
    assert both._parts.recorder.names() == ("0/0", "0/head", "1/0")
    lrwatch.watch(gan.optimizers["disc"], run_dir=tmp_path / "one").close()
    assert summary(tmp_path / "both")["outcome"] == "stopped"


@pytest.mark.parametrize(
    ("optimizers", "said"),
    [
        ({}, "was given no optimizer at all"),
        ({"a": 1}, "needs an optimizer with param_groups, got int"),
        ({"a/b": "gen"}, "optimizer 'a/b': a name is part of lr/<optimizer>/<group>; use one without /"),
        ({"a": "gen", "b": "gen"}, "was given one optimizer twice, as a and b; give each once"),
    ],
)
def test_what_cannot_be_watched(optimizers: dict[str, Any], said: str) -> None:
    gan = Gan()
    with pytest.raises(LrwatchError) as error:
        lrwatch.watch({name: gan.optimizers.get(o, o) for name, o in optimizers.items()})
    assert said in str(error.value)


def test_optimizers_that_step_inside_the_backward_pass(tmp_path: Path) -> None:
    """One for each parameter, as soon as its gradient is there: several hooks, one update."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    optimizers = {name: torch.optim.SGD([p], lr=0.1) for name, p in model.named_parameters()}
    schedulers = {name: LambdaLR(o, lambda step: 0.5**step) for name, o in optimizers.items()}

    def step_now(name: str, parameter: torch.Tensor) -> None:
        optimizers[name].step()
        parameter.grad = None

    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(partial(step_now, name))
    with lrwatch.watch(optimizers, scheduler=schedulers, run_dir=tmp_path) as watch:
        for _ in range(3):
            loss = model(torch.ones(2, 3)).pow(2).mean()
            loss.backward()
            for scheduler in schedulers.values():
                scheduler.step()
            watch.step(loss=loss)
    found = [row for row in lines(tmp_path) if "event" not in row]
    columns = [f"lr/{name}/0" for name in ("0.weight", "0.bias", "1.weight", "1.bias")]
    assert [[row[c] for c in columns] for row in found] == [[0.1] * 4, [0.05] * 4, [0.025] * 4]
    assert [row["update"] for row in found] == [0, 1, 2]
