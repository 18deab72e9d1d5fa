"""``lrwatch.check``: what a schedule will do, told before the first update, with the real torch schedulers."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

import lrwatch
from lrwatch.errors import LrwatchError
from lrwatch.integrations import torch as module
from lrwatch.integrations.torch import CheckReport
from tests.agent.helpers import Training

Schedule = Callable[[Optimizer], Any]


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, what can be stepped is stepped."""
    monkeypatch.setattr(module.time, "perf_counter", lambda: 0.0)


def check(schedule: Schedule, total: int | None = 1000, lr: Any = 0.1, **given: Any) -> CheckReport:
    optimizer = Training(torch.optim.AdamW, lr=lr).optimizer
    return lrwatch.check(optimizer, schedule(optimizer), total_steps=total, **given)


def cosine(horizon: int) -> Schedule:
    return lambda o: lr_scheduler.CosineAnnealingLR(o, horizon, 0.01)


def warmed(warmup: int, horizon: int, start: float = 0.001) -> Schedule:
    def make(o: Optimizer) -> Any:
        up = lr_scheduler.LinearLR(o, start, 1.0, warmup)
        down = lr_scheduler.CosineAnnealingLR(o, horizon - warmup, 0.01)
        return lr_scheduler.SequentialLR(o, [up, down], [warmup])

    return make


def linear(horizon: int) -> Schedule:
    return lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, horizon)


def hugging(step: int, *, num_warmup_steps: int, num_training_steps: int) -> float:
    """The linear schedule of transformers."""
    if step < num_warmup_steps:
        return step / num_warmup_steps
    return max(0.0, (num_training_steps - step) / (num_training_steps - num_warmup_steps))


def test_a_sound_schedule_and_its_landmarks(capsys: pytest.CaptureFixture[str]) -> None:
    report = check(warmed(100, 1000))
    assert report.problems == ()
    assert [(m.name, m.step, round(m.lr, 6)) for m in report.landmarks] == [
        ("first", 0, 0.0001), ("warm-up ends", 100, 0.1), ("peak", 100, 0.1), ("last", 999, 0.01),
    ]  # fmt: skip
    assert capsys.readouterr().out == (
        "SequentialLR, updates 0 to 999\n"
        "  first         0.0001       at update 0\n"
        "  warm-up ends  0.1          at update 100\n"
        "  peak          0.1          at update 100\n"
        "  last          0.0100003    at update 999\n"
        "  nothing looks wrong\n"
    )


@pytest.mark.parametrize(
    ("schedule", "given", "problems"),
    [
        (
            cosine(250),
            {"world_size": 4},
            [
                "the learning rate rises again after its lowest value, 0.01 at update 250, to 0.1: the horizon is "
                "shorter than the run",
                "the schedule is made for 250 steps and the run has 1000: it ends early; it is 1/4 of the run: is the "
                "horizon divided by the 4 workers?",
            ],
        ),
        (
            linear(250),
            {"world_size": 4},
            [
                "the schedule is made for 250 steps and the run has 1000: it ends early; it is 1/4 of the run: is the "
                "horizon divided by the 4 workers?"
            ],
        ),
        (
            cosine(3000),
            {"accumulate": 3},
            [
                "the schedule is made for 3000 steps and the run has 1000: it ends at 0.07754, 78% of the peak, before "
                "the schedule does; it is 3 times the run: does the horizon count micro-batches?"
            ],
        ),
        (
            lambda o: lr_scheduler.LambdaLR(o, lambda n: max(0.1, 1 - n / 333)),
            {"accumulate": 3},
            [
                "the last value, 0.01, is reached at update 300 of 1000 and kept from there",
            ],
        ),
        (
            lambda o: lr_scheduler.LambdaLR(o, lambda n: max(0.0, 1 - n / 250)),
            {"world_size": 4},
            [
                "the last value, 0, is reached at update 250 of 1000 and kept from there; it is 1/4 of the run: is the "
                "horizon divided by the 4 workers?",
            ],
        ),
        (
            lambda o: lr_scheduler.LambdaLR(
                o, functools.partial(hugging, num_warmup_steps=100, num_training_steps=4000)
            ),
            {"world_size": 4},
            [
                "the first update uses a learning rate of 0 and changes nothing: begin the warm-up above 0",
                "the schedule is made for 4000 steps and the run has 1000: it ends at 0.07695, 77% of the peak, before "
                "the schedule does; it is 4 times the run: does the horizon count every worker's batches?",
            ],
        ),
        (
            lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=500, cycle_momentum=False),
            {},
            [
                "refuses to be stepped after update 500: Tried to step 501 times. The specified number of total steps "
                "is 500",
                "the learning rate rises again after its lowest value, 4e-07 at update 499, to 2.414e-06: the horizon "
                "is shorter than the run",
            ],
        ),
        (lambda o: lr_scheduler.ConstantLR(o, 1.0, 1), {}, ["the learning rate never changes in 1000 updates"]),
        (
            lambda o: lr_scheduler.LambdaLR(o, lambda n: 1.0 - n / 500),
            {},
            ["the learning rate is negative at update 501"],
        ),
        (
            lambda o: lr_scheduler.LambdaLR(o, lambda n: 1.0 if n < 10 else float("nan")),
            {},
            ["the learning rate is not a number at update 10"],
        ),
    ],
)
def test_what_looks_wrong_is_said_in_words(schedule: Schedule, given: dict[str, Any], problems: list[str]) -> None:
    assert list(check(schedule, **given).problems) == problems


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: lr_scheduler.StepLR(o, 300),
        lambda o: lr_scheduler.MultiStepLR(o, [500, 800]),
        lambda o: lr_scheduler.ExponentialLR(o, 0.999),
        lambda o: lr_scheduler.PolynomialLR(o, 1000, 2.0),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 100),
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, cycle_momentum=False),
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=1000),
        lambda o: lr_scheduler.LinearLR(o, 0.001, 1.0, 100),
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda n: 0.999),
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(o, 0.1, 1.0, 100), lr_scheduler.ExponentialLR(o, 0.999)]
        ),
        cosine(1000),
        warmed(10, 1000),
    ],
)
def test_sound_schedules_pass(schedule: Schedule) -> None:
    assert check(schedule).problems == ()


def test_a_schedule_on_a_metric_cannot_be_replayed() -> None:
    report = check(lambda o: lr_scheduler.ReduceLROnPlateau(o))
    assert report.steps == 1
    assert re.fullmatch(r"cannot be stepped without a metric \(.*\): only its first value is known", report.problems[0])


def test_the_real_scheduler_and_optimizer_are_not_touched() -> None:
    training = Training(torch.optim.AdamW, lr=torch.tensor(0.1))
    training.backward()
    training.optimizer.step()
    scheduler = warmed(10, 100)(training.optimizer)
    before = str((scheduler.state_dict(), training.optimizer.state_dict()))
    weights = [p.detach().clone() for p in training.model.parameters()]
    lrwatch.check(training.optimizer, scheduler, total_steps=100)
    assert str((scheduler.state_dict(), training.optimizer.state_dict())) == before
    assert all(torch.equal(a, b) for a, b in zip(weights, training.model.parameters(), strict=True))


def test_groups_of_one_shape_are_told_once() -> None:
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(3)]
    groups = [
        {"params": [params[0]], "lr": 0.1, "name": "body"},
        {"params": [params[1]], "lr": 1.0, "name": "head"},
        {"params": [params[2]], "lr": 0.5},
    ]
    optimizer = torch.optim.SGD(groups)
    flat, falling = (lambda n: 1.0), (lambda n: 1.0 - n / 100)
    report = lrwatch.check(optimizer, lr_scheduler.LambdaLR(optimizer, [falling, falling, flat]), total_steps=100)
    assert [(m.group, m.name) for m in report.landmarks] == [
        ("body", "first"), ("body", "peak"), ("body", "last"), ("head", "peak"), ("2", "first"), ("2", "peak"),
        ("2", "last"),
    ]  # fmt: skip
    assert report.problems == ("group 2: the learning rate never changes in 100 updates",)
    assert "  group head: peak          1            at update 0\n" in str(report)


def test_a_scheduler_of_another_optimizer_is_noticed() -> None:
    one, other = Training(), Training()
    report = lrwatch.check(one.optimizer, cosine(100)(other.optimizer), total_steps=100)
    assert report.problems == ("the scheduler steps another optimizer than the one given: make it from this one",)


def test_a_scheduler_that_has_been_stepped_is_noticed() -> None:
    training = Training()
    scheduler = cosine(100)(training.optimizer)
    training.optimizer.step()
    for _ in range(7):
        scheduler.step()
    report = lrwatch.check(training.optimizer, scheduler, total_steps=93)
    assert report.problems[0] == "the scheduler stands at 7 already; the curve begins there"
    assert report.landmarks[0].step == 7


def test_without_a_length_it_says_how_far_it_looked() -> None:
    report = check(lambda o: lr_scheduler.ExponentialLR(o, 0.9999), total=None)
    assert report.steps == 10_000
    assert report.problems == ("looked at 10000 updates only; pass total_steps= to have the end checked",)
    assert check(warmed(10, 500), total=None).steps == 500


def test_a_long_run_is_sampled_where_time_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form goes on where stepping stopped; warm-up, peak and end are where they were put."""
    ticks = iter(range(10_000_000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks) / 5000)  # 3,000 steps
    report = check(warmed(100, 1_000_000), total=1_000_000)
    assert report.problems == ()
    assert [(m.name, m.step) for m in report.landmarks] == [
        ("first", 0), ("warm-up ends", 100), ("peak", 100), ("last", 999_999),
    ]  # fmt: skip
    assert report.landmarks[-1].lr == pytest.approx(0.01, rel=1e-9)
    report = check(lambda o: lr_scheduler.MultiplicativeLR(o, lambda n: 0.99999), total=1_000_000)
    assert re.fullmatch(r"only the first 30\d\d of 1000000 updates were replayed in 0.6 s", report.problems[0])


def test_one_rank_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    report = check(cosine(250))
    assert "divided by the 4 workers" in report.problems[1]  # known without being told
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheduler": object()}, "check() needs a scheduler with step() and last_epoch, got object"),
        ({"optimizer": 3}, "watch() needs an optimizer with param_groups, got int"),
        ({"total_steps": 0}, "total_steps=0: must be at least 1"),
    ],
)
def test_bad_input_is_an_error(given: dict[str, Any], message: str) -> None:
    training = Training()
    options = {"optimizer": training.optimizer, "scheduler": cosine(10)(training.optimizer), **given}
    with pytest.raises(LrwatchError, match=re.escape(message)):
        lrwatch.check(**options)


def test_what_cannot_be_copied_is_an_error() -> None:
    training = Training()
    scheduler = cosine(10)(training.optimizer)
    scheduler.handle = (n for n in range(3))  # type: ignore[attr-defined]
    with pytest.raises(LrwatchError, match=r"this CosineAnnealingLR cannot be copied \(cannot pickle 'generator'"):
        lrwatch.check(training.optimizer, scheduler, total_steps=10)
