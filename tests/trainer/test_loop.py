"""One worker: what it records, how it stops and resumes, and each fault in the LRs that were used."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrwatch.trainer.loop import Loop

Train = Callable[..., int]
Runs = Callable[..., Any]
PROMISED = [0.0, 0.001, 0.002, 0.003, 0.004, 0.003, 0.002, 0.001]
"""What the contract of ``conftest`` says: 4 updates up to 0.004, 4 down."""
TORCH_COMPLAINS = r"lr_scheduler.step\(\)` before `optimizer.step\(\)"


def test_a_healthy_run(train: Train, run: Runs) -> None:
    assert train(validate_every=4, checkpoint_every=3) == 0
    assert run().lrs() == pytest.approx(PROMISED, rel=1e-12)
    first, *_, last = run().rows()
    assert (first["update"], first["samples"], last["update"], last["samples"]) == (0, 0, 7, 42)  # 3 x 2 sequences each
    assert 5.4 < first["loss"] < 5.7
    assert last["loss"] < first["loss"]
    assert first["grad_norm"] > 1  # the norm before clipping
    assert [e["update"] for e in run().events("validation")] == [4, 8]
    assert set(run().events("validation")[0]["metrics"]) == {"val_loss", "val_accuracy"}
    saved = run().events("checkpoint")
    assert [(e["update"], e["scheduler_state"]) for e in saved] == [(3, True), (6, True), (8, True)]
    assert Path(saved[-1]["path"]).is_dir()
    assert run().lines()[-1] == {"event": "end", "update": 8, "outcome": "finished"}
    start = run().lines()[0]
    assert (start["scheduler"], start["accumulate"], start["run"]) == ("SequentialLR", 3, "run")


def test_a_seed_decides_the_run(train: Train, run: Runs) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(name, steps=2, seed=seed)
    assert run("a").rows() == run("b").rows()
    assert run("a").rows()[0]["loss"] != run("c").rows()[0]["loss"]


@pytest.mark.parametrize("micro", [9, 10, 11], ids=["between updates", "after 1 of 3", "after 2 of 3"])
def test_an_interrupted_run_equals_an_uninterrupted_one(train: Train, run: Runs, micro: int) -> None:
    train("whole", validate_every=2)
    assert train("parts", validate_every=2, stop_after_micro=micro) == 143
    assert len(run("parts").rows()) == 3
    assert run("parts").outcome() == "interrupted"
    assert train("parts", validate_every=2, resume=True) == 0
    run("parts").assert_continues_to(run("whole"))


def test_a_rollback_to_an_older_checkpoint_repeats_the_same_updates(train: Train, run: Runs) -> None:
    train("run", checkpoint_every=5, steps=7)
    (run().path / "checkpoints" / "latest").write_text("update00000005")
    train("run", checkpoint_every=5, resume=True)
    first, again = run().rows(), run().rows(segment=1)
    assert [row["update"] for row in again] == [5, 6, 7]
    assert again[:2] == first[5:]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_micro_batch_and_not_the_process(
    train: Train, run: Runs, monkeypatch: pytest.MonkeyPatch, signum: int, code: int
) -> None:
    train("whole")
    backward, before = Loop._backward, signal.getsignal(signum)

    def interrupted(self: Loop, *batch: torch.Tensor) -> None:
        if self.job.counters.micro == 12:  # the first of the three of update 4
            os.kill(os.getpid(), signum)
        backward(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_backward", interrupted)
        assert train("parts") == code
    assert signal.getsignal(signum) is before
    assert run("parts").newest().name == "update00000004-stopped"
    assert train("parts", resume=True) == 0
    run("parts").assert_continues_to(run("whole"))


def test_the_goal_ends_the_run(train: Train, run: Runs, contract: Callable[..., Path]) -> None:
    goal = {"metric": "val_loss", "target": 5.6}
    assert train(path=contract(goal=goal), validate_every=2) == 0
    assert run().outcome() == "converged"
    assert len(run().rows()) in (2, 4)
    assert run().newest() is not None


def test_a_goal_that_is_a_maximum(train: Train, run: Runs, contract: Callable[..., Path]) -> None:
    goal = {"metric": "val_accuracy", "target": 1.0, "mode": "max"}
    train(path=contract(goal=goal), validate_every=2)
    assert run().outcome() == "finished"


def test_groups_are_scheduled_each_for_itself(train: Train, run: Runs, contract: Callable[..., Path]) -> None:
    lr = {"base": 0.004, "schedule": [{"linear": {"to": 0, "for": 4}}], "groups": {"head": {"scale": 10}, "decay": {}}}
    train(path=contract(lr=lr), steps=3)
    got = [row[f"lr/{group}"] for row in run().rows() for group in ("head", "decay", "rest")]
    assert got == pytest.approx([0.04, 0.004, 0.004, 0.03, 0.003, 0.003, 0.02, 0.002, 0.002], rel=1e-12)


def test_plateau_is_stepped_by_the_validation(train: Train, run: Runs, contract: Callable[..., Path]) -> None:
    plateau = {"metric": "val_accuracy", "mode": "min", "factor": 0.5, "patience": 0, "threshold": 0.9}
    train(path=contract(lr={"base": 0.004, "schedule": {"plateau": plateau}}), validate_every=2)
    # Accuracy falls by 90 % at most once, so two of the validations after updates 2, 4 and 6 halve the LR.
    assert run().lrs()[:4] == [0.004] * 4
    assert run().lrs()[4:] == [0.002, 0.002, 0.001, 0.001]


@pytest.mark.parametrize(
    ("counts", "micro", "used"),
    [
        ("applied", 15, [0.0, 0.001, 0.002, 0.003]),  # four updates take five attempts
        ("attempted", 12, [0.0, 0.001, 0.003]),
    ],
)
def test_skipped_updates(
    train: Train, run: Runs, contract: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
    counts: str, micro: int, used: list[float],
) -> None:  # fmt: skip
    update = Loop._update

    def overflow(self: Loop) -> bool:
        if self.job.counters.attempt == 2:  # as too large a loss scale would leave them
            for p in self.job.module.parameters():
                assert p.grad is not None
                p.grad.fill_(torch.inf)
        return update(self)

    monkeypatch.setattr(Loop, "_update", overflow)
    path = contract(clock={"horizon": 8, "counts": counts})
    assert train(path=path, precision="fp16", steps=4) == 0
    assert [row.get("skipped") for row in run().rows()].index(1) == 2  # the third attempt
    assert [row["lr"] for row in run().rows() if "skipped" not in row] == pytest.approx(used, rel=1e-12)
    folder = run().newest()
    assert folder is not None
    counters = torch.load(folder / "rank00000.pt", weights_only=True)["counters"]
    attempts = micro // 3
    scheduled = attempts - (counts == "applied")
    assert counters == {"update": attempts - 1, "attempt": attempts, "micro": micro, "scheduled": scheduled}


def test_bfloat16_trains_too(train: Train, run: Runs) -> None:
    assert train(precision="bf16", steps=3) == 0
    losses = [row["loss"] for row in run().rows()]
    assert losses[-1] < losses[0]


# -- faults, in the LRs that the optimizer used ---------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "used"),
    [
        ("frozen:at=2", [0.0, 0.001, 0.002, 0.002, 0.002, 0.002, 0.002, 0.002]),
        ("off_by_one:offset=-1", [0.0, 0.0, 0.001, 0.002, 0.003, 0.004, 0.003, 0.002]),
        ("wrong_base:factor=10", [0.0, 0.01, 0.02, 0.03, 0.04, 0.03, 0.02, 0.01]),
        ("step_per_worker", PROMISED),  # there is one worker
    ],
)
def test_faults(train: Train, run: Runs, fault: str, used: list[float]) -> None:
    assert train(inject=(fault,)) == 0
    assert run().lrs() == pytest.approx(used, rel=1e-12)


def test_a_longer_horizon_is_built_but_not_told(train: Train, run: Runs, contract: Callable[..., Path]) -> None:
    path = contract(lr={"base": 0.004, "schedule": {"linear": {"to": 0, "until": "horizon"}}})
    train("right", path=path)
    train("wrong", path=path, inject=("horizon:factor=2",))
    assert run("wrong").lrs() == pytest.approx([0.004, 0.00375, 0.0035, 0.00325, 0.003, 0.00275, 0.0025, 0.00225])
    assert run("wrong").lines()[0]["contract"] == run("right").lines()[0]["contract"]


@pytest.mark.parametrize(
    ("fault", "used"),
    [
        # Three steps between two updates; the first update comes after two of its own micro-batches were counted.
        ("step_per_micro", [0.002, 0.003, 0.0]),
        ("off_by_one:offset=1", [0.001, 0.002, 0.003]),
    ],
)
def test_faults_that_torch_itself_complains_about(train: Train, run: Runs, fault: str, used: list[float]) -> None:
    with pytest.warns(UserWarning, match=TORCH_COMPLAINS):
        assert train(inject=(fault,), steps=3) == 0
    assert run().lrs() == pytest.approx(used, rel=1e-12)


def test_a_nan_spreads(train: Train, run: Runs) -> None:
    assert train(inject=("nan_loss:at=3",)) == 0
    assert [row["loss"] == "nan" for row in run().rows()] == [False] * 3 + [True] * 5
    assert run().lrs() == pytest.approx(PROMISED, rel=1e-12)


def test_a_scheduler_that_is_not_restored_starts_again(train: Train, run: Runs) -> None:
    train(steps=5)
    train(resume=True, inject=("scheduler_not_restored",))
    # The first LR comes from the optimizer's state; then the warm-up replays from its second value.
    assert run().lrs(segment=1) == pytest.approx([0.003, 0.001, 0.002], rel=1e-12)


def test_a_broken_training_is_recorded_as_failed(
    train: Train, run: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Loop) -> bool:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Loop, "_update", broken)
    assert train() == 1
    assert run().lines()[-1] == {"event": "end", "update": 0, "outcome": "failed"}
    assert "RuntimeError: out of memory" in capsys.readouterr().err


def test_progress_is_on_standard_error(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train(quiet=False, steps=2, validate_every=2, inject=("wrong_base:factor=2",))
    out, err = capsys.readouterr()
    assert out == ""
    said = [line for line in err.splitlines() if line.startswith("train: ")]
    assert said[:2] == [
        "train: 1 x cpu fp32, GPT tiny (0.08 M), 2 updates of 3 x 2 x 1 sequences, LambdaLR → LinearLR",
        "train: doing wrong on request: wrong_base:factor=2",
    ]
    assert [line[:24] for line in said[2:]] == [
        "train: update 1  loss 5.",
        "train: update 2  loss 5.",
        "train: update 2  val_los",
        "train: stopped after 2 u",
    ]
