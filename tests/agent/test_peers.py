"""Workers that started alike, and others: real processes, a real store, no collective but the one that is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lrwatch.agent.peers import Start, address, check_ranks, difference
from lrwatch.errors import LrwatchError
from tests.agent.helpers import lines

SCRIPT = """
import os, sys, time, types
import torch.distributed as dist
import torch.multiprocessing as mp
import lrwatch
import lrwatch.agent.watch  # once, before the fork

class Optimizer:  # a real one would have every worker import torch's compiler
    def __init__(self):
        self.param_groups, self.hooks = [{"params": [], "lr": 0.1}], []

    def register_step_pre_hook(self, hook):
        self.hooks.append(hook)
        return types.SimpleNamespace(remove=lambda: self.hooks.remove(hook))

    def step(self):
        for hook in self.hooks:
            hook(self, (), {})

PROMISE = {"lrwatch": 1, "experiment": "x", "clock": {"horizon": 9}, "lr": {"base": 0.1, "schedule": "constant"}}
STALE = PROMISE | {"lr": {"base": 0.2, "schedule": "constant"}}

def train(run_dir, contract=PROMISE, start=0, ask=False):
    optimizer = Optimizer()
    with lrwatch.watch(optimizer, contract, run_dir=run_dir, start_step=start) as watch:
        for _ in range(3):
            optimizer.step()
            watch.step()
        if ask:
            check(30)
            if os.environ["RANK"] != "1":  # having met, they wait for it in vain
                check(5)
        while os.environ.get("APART") and not watch.findings:  # what was found is there before the end
            time.sleep(0.05)
        os.environ.pop("APART", None)

def check(timeout):
    try:
        answer = f"alike: {len(lrwatch.check_ranks(timeout))}"
    except lrwatch.errors.LrwatchError as error:
        answer = str(error)
    os.write(1, f"{os.environ['RANK']} {answer}\\n".encode())  # in one piece

def met(run_dir):
    # rank 1 has ended its part, and before that it has asked who came first
    return os.path.exists(f"{run_dir}/summary-rank00001.json")

def work(rank, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    check(30)
    if rank == 0:  # alone
        train(f"{folder}/first")
    if rank >= 2:
        os.environ["APART"] = "1"
        while not met(f"{folder}/stale"):
            time.sleep(0.05)
    if rank == 2:
        train(f"{folder}/stale", STALE)
    elif rank == 3:
        train(f"{folder}/stale", start=3)
    else:
        train(f"{folder}/stale")
    train(f"{folder}/asked", STALE if rank == 2 else PROMISE, ask=True)

if __name__ == "__main__":
    if "RANK" in os.environ:
        sys.exit(work(int(os.environ["RANK"]), sys.argv[1]))
    # what torchrun's agent does: a store before any worker, and no process group anywhere
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "4"}
    mp.start_processes(work, args=(sys.argv[1],), nprocs=4, start_method="fork")
"""


def start_job(tmp_path: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    (tmp_path / "job.py").write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "job.py"), str(tmp_path)],
        capture_output=True, text=True, timeout=200, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def found(run: Path, rank: int) -> list[dict[str, Any]]:
    name = "summary.json" if rank == 0 else f"summary-rank{rank:05d}.json"
    return [f for f in json.loads((run / name).read_text())["findings"] if f["code"] == "LR202"]


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param([], id="fork"),
        pytest.param(
            ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"], id="torchrun",
            marks=[pytest.mark.torchrun, pytest.mark.long],
        ),
    ],
)  # fmt: skip
def test_a_job_of_four(tmp_path: Path, launcher: list[str]) -> None:
    done = start_job(tmp_path, launcher)
    said = {rank: [x[2:] for x in done.stdout.splitlines() if x[0] == rank] for rank in "0123"}
    assert {answers[0] for answers in said.values()} == {"alike: 4"}
    assert len({answers[1] for answers in said.values()}) == 1
    assert said["0"][1].startswith("the workers did not start alike: rank 2 holds contract ")
    assert said["0"][2] == (
        "check_ranks(): 1 of 4 workers did not come within 5 s: rank 1; it is a collective, call it on all workers"
    )
    assert len(list((tmp_path / "first" / "trace").iterdir())) == 1
    run = tmp_path / "stale"
    ids = {line["rank"]: line["contract"] for line in lines(run) if line.get("event") == "start"}
    assert not found(run, 0) and not found(run, 1)
    (stale,) = found(run, 2)
    first = int(stale["message"].split(", rank ")[1][0])  # whichever of 0 and 1 was faster
    assert first in (0, 1)
    assert stale["message"] == f"rank 2 holds contract {ids[2][:8]}, rank {first} {ids[0][:8]}"
    assert stale["severity"] == "error"
    assert sorted(path.name for path in run.glob("contract*")) == [f"contract-{ids[2][:8]}.yaml", "contract.yaml"]
    (late,) = found(run, 3)
    assert late["message"] == f"rank 3 starts at update 3, rank {first} at 0"
    assert late["fix"] == "restore one checkpoint on all workers, or pass the same start_step="


def test_what_is_not_known_is_no_difference() -> None:
    mine = Start(1, "a" * 64, 4, 0)
    amended = "a" * 64 + "+" + "b" * 64
    for other in (mine, Start(0, None, 4, 0), Start(0, "a" * 64, None, None), Start(0, amended, 4, 0)):
        assert difference(mine, other) is None
    apart = difference(mine, Start(0, "c" * 64, 8, 100))
    assert apart is not None
    assert apart.message == (
        "rank 1 holds contract aaaaaaaa, rank 0 cccccccc; it counts 4 workers, rank 0 8; it starts at update 0, "
        "rank 0 at 100"
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}, ("10.0.0.1", 29500)),
        ({"MASTER_ADDR": "10.0.0.1"}, None),
        ({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "x"}, None),
        ({"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "0"}, None),
    ],
)
def test_the_launcher_says_where_the_store_is(environ: dict[str, str], expected: object) -> None:
    assert address(environ) == expected


def test_without_a_store_to_meet_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [start.rank for start in check_ranks()] == [0]  # a process of its own has nobody to wait for
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LrwatchError, match="set MASTER_ADDR and MASTER_PORT as torchrun does"):
        check_ranks()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(LrwatchError, match=r"nobody answers at 127\.0\.0\.1:1"):
        check_ranks(timeout=0)
