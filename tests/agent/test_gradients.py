"""``grad_norm_every``: what each worker records of its gradients, and what becomes of it offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

import lrwatch
from lrwatch.agent import device, gradients
from lrwatch.agent.gradients import GradientRecorder
from lrwatch.agent.recorder import Recorder
from lrwatch.errors import LrwatchError
from lrwatch.readers import open_trace
from lrwatch.verify import Report, verify
from tests.agent.helpers import Training, lines, rows
from tests.agent.test_device import Far, Module, NoSync

SCRIPT = """
import json
import sys
import torch
import torch._dynamo
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import lrwatch

def work(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    weight = torch.nn.Parameter(torch.zeros(2 if rank == 0 else 1))  # shards of one weight with three elements
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrwatch.watch(optimizer, run_dir=f"{folder}/run", grad_norm_every=2, grad_norm_scope="local") as watch:
        for update in range(5):
            # the whole gradient is (3, 4, 12), its norm 13, and 10 times that from update 4 on
            gradient = torch.tensor([3.0, 4.0] if rank == 0 else [12.0])
            weight.grad = gradient * (10.0 if update == 4 else 1.0)
            watch.before_clipping()
            weight.grad /= 100.0
            optimizer.step()
            watch.step(loss=1.0)
    fully_sharded(rank, folder)
    dist.destroy_process_group()

def fully_sharded(rank, folder):
    model = torch.nn.Linear(3, 5)  # five rows for two workers: their shards differ in size
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    norms = []
    with lrwatch.watch(optimizer, run_dir=f"{folder}/fsdp", grad_norm_every=1, grad_norm_scope="local") as watch:
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(torch.ones(2, 3) * (rank + 1)).pow(2).mean()
            loss.backward()
            watch.before_clipping()
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1).full_tensor().item())
            optimizer.step()
            watch.step(loss=loss)
    if rank == 0:
        with open(f"{folder}/norms", "w") as file:
            json.dump(norms, file)

if __name__ == "__main__":
    mp.start_processes(work, args=(sys.argv[1],), nprocs=2, start_method="fork")
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two workers left the runs ``run`` and ``fsdp``, and the norms of the latter."""
    tmp_path = tmp_path_factory.mktemp("job")
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)
    assert done.returncode == 0, done.stderr
    return tmp_path


def norms(report: Report) -> list[tuple[int, list[float], list[float]]]:
    """Rank, updates and values of the gradient norms in a report."""
    found = [s for s in report.result.samples if s.name == "grad_norm"]
    return [(s.rank, list(s.update), list(s.value)) for s in found]


def test_a_fully_sharded_model_has_the_norm_that_its_collective_tells(job: Path) -> None:
    (_, steps, values) = norms(verify(None, open_trace([job / "fsdp"])))[0]
    assert (steps, values) == ([0, 1, 2], pytest.approx(json.loads((job / "norms").read_text()), rel=1e-6))


def test_the_shards_of_two_workers_make_one_norm(job: Path) -> None:
    run = job / "run"
    starts = [line for line in lines(run) if line.get("event") == "start"]
    assert [(s["grad_norm"], s["grad_norm_every"]) for s in starts] == [("local", 2), ("local", 2)]
    sums = [(line["update"], line["grad_sq"]) for line in lines(run) if "grad_sq" in line]
    assert sums == [(0, 25.0), (2, 25.0), (4, 2500.0), (0, 144.0), (2, 144.0), (4, 14400.0)]
    assert not any("grad_norm" in line for line in lines(run) if "event" not in line)

    report = verify(None, open_trace([run]))
    assert norms(report) == [(0, [0, 2, 4], [13.0, 13.0, 130.0])]
    assert "gradient norms are combined from the shards of 2 workers, at 3 updates" in report.info.assumed

    second = run / "trace" / "rank00001-seg0000.jsonl"
    kept = second.read_text().splitlines(keepends=True)
    second.write_text("".join(line for line in kept if '"update":2' not in line))
    assert norms(verify(None, open_trace([run]))) == [(0, [0, 4], [13.0, 130.0])]

    second.write_text("".join(line.replace('"update":', '"update":9') if "grad_sq" in line else line for line in kept))
    report = verify(None, open_trace([run]))
    assert "gradient norms are not combined: no update has one row of each of the 2 workers" in report.info.assumed

    second.unlink()
    report = verify(None, open_trace([run]))
    assert norms(report) == []
    assert report.info.assumed == ("gradient norms are not combined: of 2 workers rank 1 recorded none",)


# -- one worker ----------------------------------------------------------------------------------------------

Make = Callable[..., Recorder]


@pytest.fixture
def read_gradients(record: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """``record``, with gradients of every second update."""
    monkeypatch.setattr("tests.agent.conftest.Recorder", partial(GradientRecorder, every=2, whole=True))
    return record


def weight(*values: float, **options: Any) -> tuple[torch.nn.Parameter, torch.Tensor]:
    return torch.nn.Parameter(torch.zeros(len(values), **options)), torch.tensor(values, **options)


def test_every_second_update_as_it_is_used_or_before_it_is_clipped(read_gradients: Make) -> None:
    parameter, gradient = weight(3.0, 4.0)
    optimizer = torch.optim.SGD([{"params": [parameter]}, {"params": [torch.nn.Parameter(torch.ones(1))]}], lr=0.1)
    recorder = read_gradients(optimizer)
    for clipped in (False, False, True, True, False):
        parameter.grad = gradient.clone()
        if clipped:
            recorder.before_clipping()
            parameter.grad /= 5.0
        optimizer.step()
        recorder.step()
    assert [(r["update"], r["lr/0"], r["lr/1"], r.get("grad_sq")) for r in rows(recorder)] == [
        (0, 0.1, 0.1, 25.0), (1, 0.1, 0.1, None), (2, 0.1, 0.1, 25.0), (3, 0.1, 0.1, None), (4, 0.1, 0.1, 25.0),
    ]  # fmt: skip
    assert recorder.errors == 0


def test_updates_are_chosen_by_their_number_after_a_resume_too(record: Make, read_gradients: Make) -> None:
    from lrwatch.agent.origin import Locator

    parameter, gradient = weight(3.0, 4.0)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    recorder = read_gradients(optimizer, locate=Locator(optimizer, start_step=7).locate)
    for _ in range(3):
        parameter.grad = gradient.clone()
        recorder.before_clipping()
        parameter.grad.zero_()
        optimizer.step()
        recorder.step()
    assert [(r["update"], r.get("grad_sq")) for r in rows(recorder)] == [(7, None), (8, 25.0), (9, None)]


def test_a_closure_makes_its_gradients_later(read_gradients: Make) -> None:
    training = Training(torch.optim.LBFGS, lr=0.1)
    recorder = read_gradients(training.optimizer)
    for _ in range(3):
        training.optimizer.step(lambda: training.backward().item())
        recorder.step()
    assert [(r["update"], r.get("grad_sq")) for r in rows(recorder)] == [(0, None), (1, None), (2, None)]


@pytest.mark.parametrize("fused", [False, True])
def test_of_scaled_gradients_the_scale_is_taken_off(read_gradients: Make, fused: bool) -> None:
    training = Training(torch.optim.AdamW, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    recorder = read_gradients(training.optimizer, scaler=scaler)
    training.backward()
    plain = sum(float(p.grad.square().sum()) for p in training.model.parameters() if p.grad is not None)
    training.scaled(scaler)
    scaler.update()
    recorder.step()
    assert [r["grad_sq"] for r in rows(recorder)] == pytest.approx([plain], rel=1e-6)


def test_nothing_waits_for_a_device(read_gradients: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Module()
    monkeypatch.setattr(device, "_copies", {torch.device("cpu"): device.Copies(gpu, "gpu", slots=8, pin=False)})
    parameter, gradient = weight(3.0, 4.0)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    recorder = read_gradients(optimizer)
    with NoSync():
        for capturing in (False, False, True, False):
            gpu.capturing = capturing
            parameter.grad = gradient.as_subclass(Far)
            optimizer.step()
            recorder.step()
        assert rows(recorder) == []  # the first one waits for its sum
        gpu.arrived = True
        parameter.grad = None
        optimizer.step()
        recorder.step()
    found = [(r["update"], r.get("grad_sq")) for r in rows(recorder)]
    assert found == [(0, 25.0), (1, None), (2, None), (3, None), (4, None)]
    assert (recorder.errors, gpu.waited) == (0, 0)


def test_of_one_worker_the_sum_is_the_norm_while_it_runs(tmp_path: Path) -> None:
    parameter, gradient = weight(3.0, 4.0)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with lrwatch.watch(optimizer, run_dir=tmp_path, grad_norm_every=2) as watch:
        for _ in range(2):
            parameter.grad = gradient.clone()
            optimizer.step()
            watch.step()
    start, first, second, _ = lines(tmp_path)
    assert (start["grad_norm"], first["grad_sq"], first["grad_norm"]) == ("global", 25.0, 5.0)
    assert "grad_sq" not in second
    assert "grad_norm" not in second


def test_without_asking_nothing_of_it_is_there(tmp_path: Path, training: Training) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        assert type(watch._parts.recorder) is Recorder
        training.backward()
        training.optimizer.step()
        watch.step()
    assert "grad" not in (tmp_path / "trace" / "rank00000-seg0000.jsonl").read_text()


# -- what a worker holds ---------------------------------------------------------------------------------------


def test_what_is_summed_up_and_what_cannot_be() -> None:
    def squares(*gradients: torch.Tensor | None) -> float | None:
        parameters = []
        for gradient in gradients:
            like = torch.zeros(2) if gradient is None or gradient.is_sparse else torch.zeros_like(gradient)
            parameters.append(torch.nn.Parameter(like))
            parameters[-1].grad = gradient
        found = device.squares(parameters, whole=False)
        return None if found is None else float(found)

    ones = torch.ones(2)
    assert squares(4 * torch.ones(1), None) == 16.0  # a parameter that had no part in it
    assert squares(None) is None
    assert squares(torch.empty(0)) == 0.0
    assert squares(ones, ones.double(), ones.bfloat16()) == pytest.approx(6.0, rel=1e-6)
    assert squares(torch.full((1 << 12,), 1.0, dtype=torch.bfloat16)) == 4096.0
    assert squares(torch.full((1,), 1e30)) == pytest.approx(1e60, rel=1e-6)  # too large for a float32
    assert squares(torch.tensor([float("inf"), 1.0])) == float("inf")
    assert squares(torch.sparse_coo_tensor(torch.tensor([[0]]), [1.0], (2,), check_invariants=True)) is None
    assert squares(torch.ones(2, device="meta")) is None


class Grid:
    """Stands in for a device mesh of 2 × 4."""

    def size(self, dim: int) -> int:
        return (2, 4)[dim]


@pytest.mark.parametrize(
    ("placements", "whole", "share"),
    [
        ((Replicate(), Shard(0)), False, 0.5),  # HSDP: two workers hold the same shard
        ((Shard(0), Shard(1)), False, 1.0),
        ((Replicate(), Replicate()), False, 0.125),
        ((Replicate(), Replicate()), True, 1.0),
        ((Replicate(), Shard(0)), True, None),  # said to be whole, and is not
        ((Partial(), Shard(0)), False, None),
    ],
)
def test_the_part_of_a_worker_in_what_several_hold(placements: Any, whole: bool, share: float | None) -> None:
    class Fake:
        device_mesh = Grid()

    fake = Fake()
    fake.placements = placements  # type: ignore[attr-defined]
    assert hasattr(DTensor, "placements")
    assert hasattr(DTensor, "device_mesh")
    assert device._share(fake, whole) == share


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, None, 1), "grad_norm_every=0: must be a whole number of updates, at least 1"),
        ((None, "local", 1), "grad_norm_scope='local' needs grad_norm_every="),
        ((5, "locl", 1), "grad_norm_scope='locl': must be local or global; did you mean 'local'?"),
        ((5, None, 4), "grad_norm_every=5 with 4 workers needs grad_norm_scope=: 'local' where each holds a shard"),
        ((5, None, None), "grad_norm_every=5 with several workers needs grad_norm_scope="),
    ],
)
def test_nobody_guesses_what_a_worker_holds(given: tuple[Any, Any, Any], said: str) -> None:
    with pytest.raises(LrwatchError) as error:
        gradients.scope(*given)
    assert said in str(error.value)


def test_several_optimizers_are_refused(training: Training) -> None:
    with pytest.raises(LrwatchError, match="reads one optimizer; give each of several a watch of its own"):
        lrwatch.watch({"a": training.optimizer, "b": Training().optimizer}, grad_norm_every=1)
