"""Several workers: what they share, where they meet, how they stop; forked here and started by torchrun."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrwatch import contract as contracts
from lrwatch.errors import LrwatchError
from lrwatch.readers import open_trace
from lrwatch.verify import verify

pytestmark = pytest.mark.torchrun

Train = Callable[..., int]
Runs = Callable[..., Any]
ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]


def command(*words: object, launcher: list[str] | None = None) -> list[str]:
    """The command line of ``lrwatch train``, on its own or under torchrun."""
    return [*(launcher or [sys.executable, "-m"]), "lrwatch", "train", "--device", "cpu", *map(str, words)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}


def test_workers_agree_on_everything_but_their_data(whole: Any) -> None:
    zero, one = whole.rows(0), whole.rows(1)
    assert [r["lr"] for r in zero] == pytest.approx([0.0, 0.001, 0.002, 0.003, 0.004, 0.003, 0.002, 0.001], rel=1e-12)
    assert [r["lr"] for r in one] == [r["lr"] for r in zero]
    assert [r["grad_norm"] for r in one] == [r["grad_norm"] for r in zero]  # gradients are averaged
    assert all(a["loss"] != b["loss"] for a, b in zip(zero, one, strict=True))  # batches are not
    assert whole.events("validation", 0) == whole.events("validation", 1)
    assert [event["update"] for event in whole.events("validation", 1)] == [4, 8]
    assert whole.lines(1)[0]["world"] == 2
    assert zero[-1]["samples"] == 7 * 3 * 2 * 2


def test_an_interrupted_run_equals_an_uninterrupted_one(train: Train, run: Runs) -> None:
    # With three workers the order in which gradients are added up matters, too.
    assert train("whole", workers=3) == 0
    assert train("parts", workers=3, stop_after_micro=10) == 143
    assert [run("parts").outcome(rank) for rank in range(3)] == ["interrupted"] * 3
    assert len(run("parts").rows(2)) == 3  # and one micro-batch of the fourth
    assert train("parts", workers=3, resume=True) == 0
    run("parts").assert_continues_to(run("whole"), workers=3)


def test_workers_may_stop_at_different_micro_batches(train: Train, run: Runs, whole: Any) -> None:
    for name, micro in (("run", 10), ("other", 11)):
        assert train(name, workers=2, stop_after_micro=micro) == 143
    # Rank 1 as if it had heard of the stop one micro-batch later than rank 0.
    shutil.copy(run("other").newest() / "rank00001.pt", run().newest() / "rank00001.pt")
    assert train(workers=2, resume=True) == 0
    run().assert_continues_to(whole, workers=2)


def test_each_worker_steps_the_scheduler(train: Train, run: Runs) -> None:
    assert train(workers=2, inject=("step_per_worker",), steps=5) == 0
    assert run().lrs(1) == pytest.approx([0.0, 0.002, 0.004, 0.002, 0.0], rel=1e-12)


def test_one_worker_has_an_old_contract(train: Train, run: Runs) -> None:
    assert train(workers=2, inject=("stale_contract:rank=1,base=0.008",), steps=4) == 0
    assert run().lrs(0) == pytest.approx([0.0, 0.001, 0.002, 0.003], rel=1e-12)
    assert run().lrs(1) == pytest.approx([0.0, 0.002, 0.004, 0.006], rel=1e-12)
    assert run().lines(0)[0]["contract"] != run().lines(1)[0]["contract"]


def test_another_number_of_workers_cannot_resume(train: Train, run: Runs, whole: Any) -> None:
    shutil.copytree(whole.path, run().path)
    with pytest.raises(LrwatchError) as refused:
        train(resume=True)
    assert str(refused.value) == f"{run().newest()}: was written with workers 2, this run has 1; resume with the same"


def test_sigterm_to_the_command_stops_all_workers_with_a_checkpoint(
    train: Train, run: Runs, contract: Callable[..., Path]
) -> None:
    path = contract(clock={"horizon": 10_000})
    words = command("--contract", path, "--run-dir", run("parts").path, "--workers", 2)
    trace = run("parts").path / "trace" / "rank00000-seg0000.jsonl"
    with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (trace.exists() and '"update":4' in trace.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=200)
    assert process.returncode == 143, err
    assert "train: stopped by SIGTERM; checkpoint " in err
    done = len(run("parts").rows(1))
    assert 4 <= done == len(run("parts").rows(0))
    assert run("parts").newest().name == f"update{done:08d}-stopped"
    assert train("parts", path=path, workers=2, resume=True, steps=done + 3) == 0
    assert train("whole", path=path, workers=2, steps=done + 3) == 0
    run("parts").assert_continues_to(run("whole"), workers=2)


def test_torchrun(run: Runs, contract: Callable[..., Path], whole: Any) -> None:
    words = command("--contract", contract(), "--run-dir", run().path, "--steps", 4, "--quiet", launcher=TORCHRUN)
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        assert run().rows(rank) == whole.rows(rank)[:4]


def test_workers_that_are_ahead_by_contract_keep_it(train: Train, run: Runs, contract: Any, tmp_path: Path) -> None:
    """Each has its own rates, over a restart too, and nobody finds them out of step."""
    lr = {"base": 0.01, "schedule": {"linear": {"to": 0, "until": "horizon"}}, "ranks": {"shift": 2}}
    path = contract(clock={"horizon": 5}, lr=lr)
    assert train(path=path, workers=2, steps=3) == 0
    assert train(path=path, workers=2, resume=True) == 0
    result = verify(contracts.load(path), open_trace([tmp_path / "run"])).result
    assert result.findings == () and result.stats.rows == 10
    assert run().lrs(1, 0) + run().lrs(1, 1) == pytest.approx([0.006, 0.004, 0.002, 0.0, 0.0], abs=1e-12)
