"""Bad input: refused with where, what and remedy, before anything is started or written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrwatch.errors import LrwatchError
from lrwatch.trainer.launch import launch
from lrwatch.trainer.settings import Settings

Train = Callable[..., int]
Runs = Callable[..., Any]
Contracts = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tinny"}, "--model tinny: no such model; did you mean 'tiny'?"),
        ({"workers": 0}, "--workers must be at least 1, got 0"),
        ({"checkpoint_every": 0}, "--checkpoint-every must be at least 1, got 0"),
        ({"inject": ("frozn:at=3",)}, "--inject frozn: no such fault; did you mean 'frozen'?"),
        (
            {"inject": ("stale_contract:rank=2,base=1",), "workers": 2},
            "--inject stale_contract: there is no rank 2; ranks are 0 to 1",
        ),
        (
            {"run_id": "a/b"},
            "run_id 'a/b': must be 1 to 128 letters, digits, dots, dashes or underscores, the first a letter or digit, "
            "because it names a directory",
        ),
    ],
)
def test_bad_options(train: Train, run: Runs, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LrwatchError) as refused:
        train(**options)
    assert str(refused.value) == message
    assert not run().path.exists()


LR = {"base": 1.0, "schedule": "constant"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"clock": {}}, "clock.horizon: is missing, so the trainer does not know when to stop; set it or give --steps"),
        (
            {"clock": {"axis": "epoch", "horizon": 3}},
            "clock.axis: the reference trainer steps its scheduler per update, not per epoch",
        ),
        (
            {"batch": {"global": 10, "accumulate": 3}},
            "batch.global: 10 cannot be shared out evenly to 2 workers x 3 micro-batches; give a multiple of 6",
        ),
        (
            {"clock": {"horizon": 30, "ticks": 2}},
            "clock.ticks: the reference trainer steps its scheduler once per update; leave it out",
        ),
        (
            {"batch": {"ramp": [[0, 6], [60, 12]]}},
            "batch.ramp: the reference trainer keeps its batch size; leave it out",
        ),
        (
            {"lr": {**LR, "groups": {"haed": {"scale": 2}}}},
            "lr.groups.haed: the reference trainer has no such group; did you mean 'head'?",
        ),
        (
            {"weight_decay": {"base": 0.1, "schedule": {"cosine": {"for": 8}}}},
            "weight_decay.schedule: the reference trainer schedules lr only; here use constant",
        ),
        (
            {"lr": {"base": 0.1, "schedule": {"plateau": {"metric": "val_loss"}}, "ranks": {"shift": 5}}},
            "lr.ranks.shift: a plateau schedule counts no steps that a worker could be ahead; leave it out",
        ),
        (
            {"goal": {"metric": "val_los", "target": 2}},
            "goal.metric: 'val_los' is not measured by the reference trainer; did you mean 'val_loss'?",
        ),
    ],
)
def test_contracts_it_cannot_train_under(
    train: Train, run: Runs, contract: Contracts, sections: dict[str, Any], message: str
) -> None:
    path = contract(**{"lr": LR, **sections})
    with pytest.raises(LrwatchError) as refused:
        train(path=path, workers=2)
    assert str(refused.value) == f"{path}: {message}"
    assert not run().path.exists()


def test_an_old_run_is_not_overwritten(train: Train, run: Runs) -> None:
    train(steps=1)
    before = run().lines()
    with pytest.raises(LrwatchError) as refused:
        train(steps=1)
    assert str(refused.value) == (
        f"{run().path}: already exists; pass --resume to continue that run, or another --run-dir"
    )
    assert run().lines() == before
    assert len(list((run().path / "trace").iterdir())) == 1


def test_an_old_run_is_not_overwritten_under_torchrun(
    train: Train, run: Runs, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    for name, value in {
        "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
        "GLOO_SOCKET_IFNAME": "lo",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    assert train(steps=1) == 0
    with pytest.raises(LrwatchError, match=r"/run: already exists; pass --resume to continue that run"):
        train(steps=1)
    assert len(list((run().path / "trace").iterdir())) == 1


def test_the_example_trains(train: Train, run: Runs) -> None:
    assert train(path=ROOT / "examples" / "contract.yaml", steps=2) == 0
    assert run().lrs() == pytest.approx([0.0, 0.000125], rel=1e-12)
    assert run().rows()[1]["samples"] == 24


def test_resume_without_anything_to_resume_starts(train: Train, run: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(resume=True, steps=1, quiet=False) == 0
    assert f"train: nothing to resume in {run().path}: starting at update 0" in capsys.readouterr().err


def test_a_finished_run_has_nothing_left_to_do(train: Train, run: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    train()
    written = (run().newest() / "shared.pt").stat().st_mtime_ns
    assert train(resume=True, quiet=False) == 0
    assert "train: finished after 8 updates" in capsys.readouterr().err
    assert run().rows(segment=1) == []
    assert (run().newest() / "shared.pt").stat().st_mtime_ns == written


def test_resume_needs_to_know_what(contract: Contracts) -> None:
    with pytest.raises(LrwatchError) as refused:
        launch(Settings(contract(), resume=True))
    assert str(refused.value) == "--resume needs to know which run: give --run-dir or --run-id"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 5}, "was written with seed 0, this run has 5; resume with the same"),
        ({"precision": "bf16"}, "was written with precision fp32, this run has bf16; resume with the same"),
    ],
)
def test_a_checkpoint_of_another_run(train: Train, run: Runs, options: dict[str, Any], message: str) -> None:
    train(steps=1)
    with pytest.raises(LrwatchError) as refused:
        train(resume=True, **options)
    assert str(refused.value) == f"{run().newest()}: {message}"


def test_a_checkpoint_of_another_contract(train: Train, run: Runs, contract: Contracts) -> None:
    train(steps=1)
    other = contract("other.yaml", lr=LR)
    with pytest.raises(LrwatchError) as refused:
        train(path=other, resume=True)
    assert str(refused.value) == (
        f"{other}: is not the contract that {run().newest()} was trained under; "
        "resume with that one, and declare a change of plan under `amendments`"
    )


def test_an_amended_contract_goes_on_as_amended(train: Train, run: Runs, contract: Contracts) -> None:
    lr = {"base": 0.008, "schedule": {"linear": {"to": 0, "until": "horizon"}}}
    train(path=contract(lr=lr), steps=2)
    amended = contract("amended.yaml", lr=lr, amendments=[{"at": 4, "set": {"clock.horizon": 16}}])
    assert train(path=amended, resume=True, steps=7) == 0
    assert run().lrs(segment=0) == pytest.approx([0.008, 0.007], rel=1e-12)
    assert run().lrs(segment=1) == pytest.approx([0.006, 0.005, 0.006, 0.0055, 0.005], rel=1e-12)


def test_damaged_and_missing_files_of_a_checkpoint(train: Train, run: Runs) -> None:
    remedy = "write the name of an older folder into checkpoints/latest, or start a new run"
    train(steps=1)
    shared = run().newest() / "shared.pt"
    shared.write_bytes(shared.read_bytes()[:1000])
    with pytest.raises(LrwatchError) as refused:
        train(resume=True)
    assert str(refused.value).startswith(f"{shared}: is damaged (")
    assert str(refused.value).endswith(f"); {remedy}")
    shared.unlink()
    with pytest.raises(LrwatchError) as refused:
        train(resume=True)
    assert str(refused.value) == f"{shared}: is missing; {remedy}"


def test_a_crash_while_writing_leaves_the_checkpoint_before(
    train: Train, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrwatch.trainer import checkpoint

    train("whole", checkpoint_every=2)
    replace = checkpoint._replace

    def full_disk(path: Path, content: bytes) -> None:
        if path.name == "shared.pt" and path.parent.name == "update00000004":
            path.with_name("shared.pt.tmp").write_bytes(content[:100])
            raise OSError(28, "No space left on device")
        replace(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_replace", full_disk)
        assert train("parts", checkpoint_every=2) == 1
    assert run("parts").newest().name == "update00000002"
    assert train("parts", checkpoint_every=2, resume=True) == 0
    assert run("parts").rows(segment=1) == run("whole").rows()[2:]


def test_only_the_newest_two_checkpoints_are_kept(train: Train, run: Runs) -> None:
    train(checkpoint_every=1, steps=4)
    folders = sorted(p.name for p in (run().path / "checkpoints").iterdir())
    assert folders == ["latest", "update00000003", "update00000004"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there(train: Train) -> None:
    with pytest.raises(LrwatchError) as refused:
        train(device="cuda")
    assert str(refused.value) == (
        "--device cuda: torch sees no CUDA device here; use --device cpu, or a CUDA build of torch"
    )


# -- the command --------------------------------------------------------------------------------------


def lrwatch(*words: object, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "lrwatch", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=200)


def test_the_command_exits_2_on_bad_input(tmp_path: Path) -> None:
    done = lrwatch("train", "--contract", "none.yaml", "--workers", 4, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lrwatch: none.yaml: no such file; give the path of a contract in YAML\n"
    assert list(tmp_path.iterdir()) == []


def test_the_command_disagrees_with_its_launcher(tmp_path: Path, contract: Contracts) -> None:
    done = lrwatch("train", "--contract", contract(), "--workers", 4, cwd=tmp_path, RANK="0", WORLD_SIZE="2")
    assert done.returncode == 2
    assert done.stderr == "lrwatch: --workers 4, but the launcher started 2; leave --workers out\n"


def test_the_help_lists_every_fault(tmp_path: Path) -> None:
    from lrwatch.trainer.faults import FAULTS

    done = lrwatch("train", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for name, fault in FAULTS.items():
        assert f"\n    {name}" in done.stdout
        assert fault.doc in done.stdout
