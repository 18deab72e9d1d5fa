"""What the hook and ``watch.step`` record of a real optimizer, and what is made of everything odd."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from lrwatch.agent.arguments import COMPANIONS
from lrwatch.agent.recorder import Recorder
from tests.agent.helpers import Training, notes, rows

Make = Callable[..., Recorder]


def halving(optimizer: torch.optim.Optimizer) -> LambdaLR:
    """0.1, 0.05, 0.025, …"""
    return LambdaLR(optimizer, lambda step: 0.5**step)


def test_a_row_holds_what_the_update_used_not_what_comes_next(training: Training, record: Make) -> None:
    scheduler = halving(training.optimizer)
    recorder = record(training.optimizer, scheduler=scheduler)
    for _ in range(3):
        training.backward()
        training.optimizer.step()
        scheduler.step()
        recorder.step(1.5, 2.5, epoch=0, samples=64, tokens=4096)
    given = {"loss": 1.5, "grad_norm": 2.5, "epoch": 0, "samples": 64, "tokens": 4096}
    assert rows(recorder) == [
        {"update": 0, "attempt": 0, "sched": 0, "lr/0": 0.1, **given},
        {"update": 1, "attempt": 1, "sched": 1, "lr/0": 0.05, **given},
        {"update": 2, "attempt": 2, "sched": 2, "lr/0": 0.025, **given},
    ]
    assert recorder.errors == 0


def test_tensors_are_taken_by_value(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    loss, norm = training.backward() * 0 + 8.0, torch.tensor(3.0)
    training.optimizer.step()
    recorder.step(loss, norm)
    loss /= 4
    norm.fill_(0.0)
    assert [(r["loss"], r["grad_norm"]) for r in rows(recorder)] == [(8.0, 3.0)]


def test_a_tensor_learning_rate_is_taken_by_value(record: Make) -> None:
    """Schedulers fill it in place."""
    training = Training(torch.optim.AdamW, lr=torch.tensor(0.5, dtype=torch.float64))
    scheduler = halving(training.optimizer)
    recorder = record(training.optimizer, scheduler=scheduler)
    for _ in range(3):
        training.backward()
        training.optimizer.step()
        scheduler.step()
        recorder.step()
    assert [r["lr/0"] for r in rows(recorder)] == [0.5, 0.25, 0.125]
    assert notes(recorder)[0].fields["dtype"] == "float64"


def test_the_start_says_how_to_read_what_follows(training: Training, record: Make) -> None:
    recorder = record(training.optimizer, scheduler=halving(training.optimizer))
    training.backward()
    training.optimizer.step()
    recorder.step()
    (start,) = notes(recorder)
    assert (start.kind, start.update) == ("start", 0)
    assert start.fields == {
        "origin": "fresh",
        "lr_read": "used",
        "groups": ["0"],
        "dtype": "float64",
        "scheduler": "LambdaLR",
        "recursive": False,
    }


def test_an_update_that_nobody_closes_is_a_row_without_loss(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    for update in range(4):
        training.backward()
        training.optimizer.step()
        if update == 1:
            recorder.step(loss=7.0)
    recorder.close("finished")
    assert [(r["update"], r.get("loss")) for r in rows(recorder)] == [(0, None), (1, 7.0), (2, None), (3, None)]


def test_a_closure_that_runs_many_times_is_one_update(record: Make) -> None:
    training = Training(torch.optim.LBFGS, lr=0.1)
    recorder = record(training.optimizer)
    calls = 0

    def closure() -> torch.Tensor:
        nonlocal calls
        calls += 1
        return training.backward()

    for _ in range(2):
        recorder.step(loss=training.optimizer.step(closure))
    assert calls > 2
    assert [r["update"] for r in rows(recorder)] == [0, 1]


def test_groups_are_named_and_their_number_may_grow(record: Make) -> None:
    training = Training()
    training.optimizer.param_groups[0]["name"] = "body"
    recorder = record(training.optimizer)
    for update in range(2):
        training.backward()
        training.optimizer.step()
        recorder.step()
        if update == 0:
            extra = torch.nn.Parameter(torch.ones(1))
            training.optimizer.add_param_group({"params": [extra], "lr": 0.7, "name": "head"})
    assert [{k: v for k, v in r.items() if k.startswith("lr/")} for r in rows(recorder)] == [
        {"lr/body": 0.1},
        {"lr/body": 0.1, "lr/head": 0.7},
    ]


def test_companions_are_read_with_the_learning_rate(record: Make) -> None:
    training = Training(torch.optim.AdamW, betas=(0.8, 0.99), weight_decay=0.02)
    recorder = record(training.optimizer, companions=COMPANIONS)
    training.backward()
    training.optimizer.step()
    recorder.step()
    assert rows(recorder)[0] == {
        "update": 0, "attempt": 0, "lr/0": 0.1, "weight_decay/0": 0.02, "momentum/0": 0.8,
    }  # fmt: skip


def test_a_copy_of_the_optimizer_records_nothing(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    for other in (copy.deepcopy(training.optimizer), pickle.loads(pickle.dumps(training.optimizer))):
        for parameter in other.param_groups[0]["params"]:
            parameter.grad = torch.zeros_like(parameter)
        other.step()
    assert (list(recorder.ring), recorder.errors) == ([], 0)


def test_micro_batches_are_counted_up_to_the_row(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    for count in (3, 1):
        for _ in range(count):
            training.backward()
            recorder.micro()
        training.optimizer.step()
        recorder.step()
    assert [r["micro"] for r in rows(recorder)] == [3, 4]


def test_events_stand_between_the_rows_in_order(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    recorder.event("validation", {"metrics": {"val_loss": torch.tensor(2.0)}})
    for update in range(2):
        training.backward()
        training.optimizer.step()
        recorder.step()
        recorder.event("checkpoint", {"update_done": update, "path": "x", "list": [torch.tensor(1.0), None]})
    recorder.close("finished")
    kinds = ["row" if isinstance(item, tuple) else getattr(item, "kind", "columns") for item in recorder.ring]
    assert kinds == ["start", "columns", "validation", "row", "checkpoint", "row", "checkpoint", "end"]
    assert [(n.kind, n.update) for n in notes(recorder)] == [
        ("start", 0), ("validation", 0), ("checkpoint", 1), ("checkpoint", 2), ("end", 2),
    ]  # fmt: skip
    assert notes(recorder)[1].fields == {"metrics": {"val_loss": 2.0}}
    assert notes(recorder)[2].fields == {"update_done": 0, "path": "x", "list": [1.0, None]}


def test_an_event_inside_an_update_belongs_after_it(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    training.backward()
    training.optimizer.step()
    recorder.event("oom", {})
    assert notes(recorder)[-1].update == 1


# -- steps without a hook ----------------------------------------------------------------------------------


def test_a_dead_hook_is_noticed_and_no_update_is_lost(training: Training, record: Make) -> None:
    """The optimizer that trains is another one: learning rates of the watched one are all there is."""
    recorder = record(training.optimizer)
    for update in range(5):
        training.optimizer.param_groups[0]["lr"] = 0.1 * (update + 1)
        recorder.step(loss=float(update))
    assert [(r["update"], r["loss"], round(r["lr/0"], 3)) for r in rows(recorder)] == [
        (0, 0.0, 0.1), (1, 1.0, 0.2), (2, 2.0, 0.3), (3, 3.0, 0.4), (4, 4.0, 0.5),
    ]  # fmt: skip
    (start,) = notes(recorder)
    assert start.fields["lr_read"] == "after"
    assert list(recorder.notices) == [
        "no optimizer step was seen in 3 updates (a CUDA graph, or another optimizer?): learning rates are read in "
        "watch.step() from now on, after the update"
    ]


def test_a_hook_that_dies_in_mid_run_begins_a_segment(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    for update in range(6):
        if update < 2:
            training.backward()
            training.optimizer.step()
        recorder.step(loss=float(update))
    assert [r["update"] for r in rows(recorder)] == [0, 1, 2, 3, 4, 5]
    assert [(n.kind, n.update, n.fields["lr_read"]) for n in notes(recorder)] == [
        ("start", 0, "used"), ("resume", 2, "after"),
    ]  # fmt: skip


def test_a_hook_that_comes_back_begins_a_segment_too(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    for update in range(8):
        if update not in (1, 2, 3, 4):
            training.backward()
            training.optimizer.step()
        recorder.step()
    assert [r["update"] for r in rows(recorder)] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [(n.update, n.fields["lr_read"]) for n in notes(recorder)] == [(0, "used"), (1, "after"), (5, "used")]


@pytest.mark.parametrize(("per_update", "accumulate"), [(2, None), (3, None), (8, 8)])
def test_steps_per_micro_batch_are_no_updates(
    training: Training, record: Make, per_update: int, accumulate: int | None
) -> None:
    recorder = record(training.optimizer, accumulate=accumulate)
    for _ in range(3):
        for _ in range(per_update - 1):
            recorder.step(loss=9.0)
        training.backward()
        training.optimizer.step()
        recorder.step(loss=1.0)
    assert [(r["update"], r["loss"]) for r in rows(recorder)] == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert recorder.notices[0] == (
        "watch.step() was called without an optimizer step before it; that is no update. Call it once per update "
        "(watch.micro() counts micro-batches), and pass scaler= if a loss scaler skips updates"
    )


def test_a_run_shorter_than_the_patience_is_recorded_all_the_same(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    recorder.step(loss=1.0)
    recorder.step(loss=2.0)
    recorder.close("finished")
    assert [(r["update"], r["loss"]) for r in rows(recorder)] == [(0, 1.0), (1, 2.0)]


def test_an_optimizer_without_hooks_is_read_afterwards(record: Make) -> None:
    class Plain:
        param_groups: ClassVar = [{"params": [], "lr": 0.25}]

    recorder = record(Plain())
    recorder.step(loss=1.0)
    assert rows(recorder) == [{"update": 0, "attempt": 0, "loss": 1.0, "lr/0": 0.25}]
    assert notes(recorder)[0].fields["lr_read"] == "after"
    assert list(recorder.notices) == [
        "Plain has no step hooks: learning rates are read in watch.step(), after the update; call it before "
        "scheduler.step()"
    ]


# -- values that are none, and a ring that is full -----------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "recorded", "errors"),
    [
        (7, 7.0, 0),
        (True, 1.0, 0),
        (torch.tensor(3), 3.0, 0),
        (torch.nn.Parameter(torch.tensor(2.5)), 2.5, 0),
        (torch.tensor([1.5]), 1.5, 0),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5, 0),
        (None, None, 0),
        (torch.empty((), device="meta"), None, 0),
        ("1.0", None, 1),
        (b"1", None, 1),
        (1 + 2j, None, 1),
        (torch.tensor(1 + 2j), None, 1),
        (torch.ones(2), None, 1),
        (10**400, None, 1),
        (object(), None, 1),
    ],
    ids=lambda x: str(x)[:24] if type(x) is not object else "object",
)
def test_a_value_that_is_no_number_costs_that_value_only(
    training: Training, record: Make, value: Any, recorded: float | None, errors: int
) -> None:
    recorder = record(training.optimizer)
    training.backward()
    training.optimizer.step()
    recorder.step(loss=value, grad_norm=1.0)
    (row,) = rows(recorder)
    assert (row.get("loss"), row["grad_norm"], recorder.errors) == (recorded, 1.0, errors)


def test_nan_and_infinity_are_recorded_as_they_are(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    training.backward()
    training.optimizer.step()
    recorder.step(loss=torch.tensor(float("nan")), grad_norm=float("inf"))
    (row,) = rows(recorder)
    assert row["loss"] != row["loss"]
    assert row["grad_norm"] == float("inf")


def test_a_full_ring_drops_and_counts(training: Training, record: Make) -> None:
    recorder = record(training.optimizer, capacity=4)
    for _ in range(9):
        training.backward()
        training.optimizer.step()
        recorder.step()
    recorder.close("finished")
    assert [r["update"] for r in rows(recorder)] == [0, 1]  # start and columns take two places
    assert (recorder.dropped, notes(recorder)[-1].kind, notes(recorder)[-1].update) == (7, "end", 9)


def test_whatever_breaks_stays_inside(training: Training, record: Make) -> None:
    class Broken:
        @property
        def last_epoch(self) -> int:
            raise RuntimeError("no")

    recorder = record(training.optimizer, scheduler=Broken())
    training.backward()
    training.optimizer.step()
    recorder.step(loss=1.0)
    assert recorder.errors > 0


def test_after_the_end_nothing_is_recorded(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    recorder.close("finished")
    before = len(recorder.ring)
    training.backward()
    training.optimizer.step()
    recorder.step(loss=1.0)
    recorder.event("oom", {})
    recorder.close("finished")
    assert len(recorder.ring) == before
    assert not training.optimizer._optimizer_step_pre_hooks


# -- beginning elsewhere --------------------------------------------------------------------------------------


def test_the_origin_is_asked_at_the_first_update_not_before(record: Make) -> None:
    """A checkpoint may be loaded after the watch was made."""
    old = Training(torch.optim.AdamW)
    for _ in range(3):
        old.backward()
        old.optimizer.step()
    new = Training(torch.optim.AdamW)
    recorder = record(new.optimizer)
    new.optimizer.load_state_dict(old.optimizer.state_dict())
    new.backward()
    new.optimizer.step()
    recorder.step()
    assert [r["update"] for r in rows(recorder)] == [3]
    assert notes(recorder)[0].fields["origin"] == "optimizer"


def test_going_back_in_mid_run_is_a_new_segment(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    for update in range(4):
        training.backward()
        training.optimizer.step()
        recorder.step()
        if update == 0:
            saved = recorder.position()
        if update == 2:
            recorder.restart(saved)
    assert [r["update"] for r in rows(recorder)] == [0, 1, 2, 1]
    assert [(n.kind, n.update) for n in notes(recorder)] == [("start", 0), ("resume", 1)]


def test_the_position_counts_an_update_that_is_not_closed_yet(training: Training, record: Make) -> None:
    recorder = record(training.optimizer)
    training.backward()
    training.optimizer.step()
    assert recorder.position().update == 1
    recorder.step()
    assert recorder.position().update == 1
