"""At which update a run begins."""

from __future__ import annotations

import pytest
import torch

from lrwatch.agent.origin import Locator, Origin, optimizer_step
from lrwatch.trace.writer import Position
from tests.agent.helpers import Training


def trained(kind: type[torch.optim.Optimizer], updates: int, **options: object) -> torch.optim.Optimizer:
    training = Training(kind, **options)
    for _ in range(updates):
        training.backward()
        training.optimizer.step()
    return training.optimizer


@pytest.mark.parametrize(
    ("options", "expected"), [({}, 5), ({"fused": True}, 5), ({"foreach": True}, 5), ({"capturable": False}, 5)]
)
def test_adam_counts_its_updates(options: dict[str, bool], expected: int) -> None:
    assert optimizer_step(trained(torch.optim.AdamW, 5, **options)) == expected


def test_sgd_does_not_count() -> None:
    assert optimizer_step(trained(torch.optim.SGD, 5, momentum=0.9)) is None


def test_the_largest_count_wins() -> None:
    """A parameter that was frozen for a while has fewer."""
    training = Training(torch.optim.AdamW)
    for update in range(4):
        training.backward()
        if update < 2:
            training.model.bias.grad = None
        training.optimizer.step()
    assert [int(s["step"]) for s in training.optimizer.state.values()] == [4, 2]
    assert optimizer_step(training.optimizer) == 4


def test_a_count_that_is_not_on_the_cpu_is_not_waited_for() -> None:
    optimizer = trained(torch.optim.AdamW, 1)
    for state in optimizer.state.values():
        state["step"] = torch.empty((), device="meta")
    assert optimizer_step(optimizer) is None


STATE = {"update": 90, "attempt": 93, "micro": 360}
LAST = Position(update=79, segment=2, attempt=80)
FRESH = Training().optimizer


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"start_step": 100, "state": STATE, "last": LAST}, Origin(100, 100, "start_step")),
        ({"start_step": 90, "state": STATE, "last": LAST}, Origin(90, 93, "start_step", 360)),
        ({"start_step": 0}, Origin(0, 0, "start_step")),
        ({"state": STATE, "last": LAST}, Origin(90, 93, "state", 360)),
        ({"last": LAST}, Origin(80, 81, "run_dir")),
        ({"last": Position(update=79, segment=0)}, Origin(80, 80, "run_dir")),
        ({"last": Position(update=-1, segment=0)}, Origin(0, 0, "fresh")),
        ({}, Origin(0, 0, "fresh")),
        ({"scheduler_moved": True}, Origin(0, 0, "unknown")),
    ],
)
def test_the_most_trusted_answer_is_taken(given: dict[str, object], expected: Origin) -> None:
    assert Locator(FRESH, **given).locate() == expected  # type: ignore[arg-type]


def test_the_optimizers_count_comes_before_the_run_directory() -> None:
    """The directory may hold rows after the checkpoint that was restored."""
    assert Locator(trained(torch.optim.AdamW, 5), last=LAST).locate() == Origin(5, 5, "optimizer")


def test_momentum_without_a_count_means_that_nobody_knows() -> None:
    assert Locator(trained(torch.optim.SGD, 5, momentum=0.9)).locate() == Origin(0, 0, "unknown")


def test_what_cannot_be_asked_is_unknown() -> None:
    class Broken:
        @property
        def state(self) -> object:
            raise RuntimeError

    assert Locator(Broken()).locate() == Origin(0, 0, "unknown")


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        (Origin(0, 0, "fresh"), ""),
        (Origin(7, 7, "start_step"), ""),
        (Origin(7, 7, "optimizer"), "goes on at update 7, says the optimizer's own step count"),
        (Origin(7, 7, "run_dir"), "goes on at update 7, says the last row in the run directory"),
        (
            Origin(0, 0, "unknown"),
            "nobody says at which update this run starts, so it cannot be judged; pass start_step=, or restore "
            "watch.state_dict() with the checkpoint",
        ),
    ],
)
def test_it_is_said_where_it_is_no_matter_of_course(origin: Origin, sentence: str) -> None:
    assert origin.sentence == sentence
