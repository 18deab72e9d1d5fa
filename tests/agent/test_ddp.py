"""Workers of one job, each with its watch: real processes, real gloo, no collective of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.agent.helpers import lines

SCRIPT = """
import os, sys
import torch
import torch._dynamo  # imported once, before the fork, not by every worker
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import CosineAnnealingLR

import lrwatch

CONTRACT = {
    "lrwatch": 1,
    "experiment": "ddp",
    "clock": {"horizon": 12},
    "lr": {"base": 0.1, "schedule": [{"cosine": {"to": 0.01, "until": "horizon"}}]},
}

def work(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    train(rank, f"{folder}/all", watched=True)
    train(rank, f"{folder}/first", watched=rank == 0)
    dist.destroy_process_group()

def train(rank, run_dir, watched):
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, 12, 0.01)
    watch = lrwatch.watch(optimizer, CONTRACT, scheduler=scheduler, run_dir=run_dir) if watched else None
    for _ in range(12):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3) * (rank + 1)).pow(2).mean()
        loss.backward()
        optimizer.step()
        for _ in range(1 + rank):  # worker 1 alone steps its scheduler twice
            scheduler.step()
        if watch is not None:
            watch.step(loss=loss)
    if watch is not None:
        watch.close()

if __name__ == "__main__":
    mp.start_processes(work, args=(sys.argv[1],), nprocs=2, start_method="fork")
"""


def test_workers_of_one_job(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)
    assert done.returncode == 0, done.stderr
    every_worker_records_and_judges_itself(tmp_path / "all", done.stderr.splitlines())
    a_watch_on_rank_0_alone_keeps_nobody_waiting(tmp_path / "first")


def every_worker_records_and_judges_itself(run: Path, said: list[str]) -> None:
    starts = [line for line in lines(run) if line.get("event") == "start"]
    assert [(s["rank"], s["world"], s["origin"]) for s in starts] == [(0, 2, "fresh"), (1, 2, "fresh")]
    assert len({s["contract"] for s in starts}) == len({s["run"] for s in starts}) == 1
    assert [line["update"] for line in lines(run) if "event" not in line] == [*range(12), *range(12)]
    assert json.loads((run / "summary.json").read_text())["verdict"] == "pass"
    second = json.loads((run / "summary-rank00001.json").read_text())
    assert {f["code"] for f in second["findings"]} >= {"LR101", "LR102"}
    assert second["verdict"] == "fail"
    assert sum("watching SGD" in line for line in said) == 2  # one for each of the two runs
    assert sum("error LR101 drift: " in line and line.endswith("(rank 1)") for line in said) == 1


def a_watch_on_rank_0_alone_keeps_nobody_waiting(run: Path) -> None:
    assert [path.name for path in (run / "trace").iterdir()] == ["rank00000-seg0000.jsonl"]
    assert json.loads((run / "summary.json").read_text())["rows"] == 12
