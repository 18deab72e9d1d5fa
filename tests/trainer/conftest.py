"""Contracts, runs and their traces for the trainer's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lrwatch.trainer import checkpoint
from lrwatch.trainer.launch import launch
from lrwatch.trainer.settings import Settings

SCHEDULE = [{"linear": {"from": 0, "for": 4}}, {"linear": {"to": 0, "until": 8}}]
"""Four updates up and four down, to tell every step from every other."""


@dataclass(frozen=True)
class Run:
    """What a run left in its directory."""

    path: Path

    def lines(self, rank: int = 0, segment: int = 0) -> list[dict[str, Any]]:
        """Rows and events of one worker and segment, in order, without the time of day."""
        text = (self.path / "trace" / f"rank{rank:05d}-seg{segment:04d}.jsonl").read_text()
        return [{k: v for k, v in json.loads(line).items() if k != "ts"} for line in text.splitlines()]

    def rows(self, rank: int = 0, segment: int = 0) -> list[dict[str, Any]]:
        """The rows alone."""
        return [line for line in self.lines(rank, segment) if "event" not in line]

    def events(self, kind: str, rank: int = 0, segment: int = 0) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [line for line in self.lines(rank, segment) if line.get("event") == kind]

    def lrs(self, rank: int = 0, segment: int = 0) -> list[float]:
        """The LR that each update used."""
        return [row["lr"] for row in self.rows(rank, segment)]

    def outcome(self, rank: int = 0, segment: int = 0) -> str:
        return str(self.lines(rank, segment)[-1]["outcome"])

    def newest(self) -> Path:
        """Folder of the newest checkpoint."""
        folder = checkpoint.newest(self.path)
        assert folder is not None
        return folder

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and moments of the newest checkpoint, by their path in it."""
        found: dict[str, torch.Tensor] = {}

        def collect(value: Any, path: str) -> None:
            if isinstance(value, torch.Tensor):
                found[path] = value
            elif isinstance(value, dict):
                for key, child in value.items():
                    collect(child, f"{path}/{key}")

        collect(torch.load(self.newest() / "shared.pt", weights_only=True), "")
        assert len(found) > 30
        return found

    def assert_continues_to(self, whole: Run, workers: int = 1) -> None:
        """Bit for bit: two segments against one, every row of every worker, and the final weights and moments."""
        for rank in range(workers):
            assert self.rows(rank, 0) + self.rows(rank, 1) == whole.rows(rank)
        expected, got = whole.tensors(), self.tensors()
        assert expected.keys() == got.keys()
        assert [path for path in expected if not expected[path].equal(got[path])] == []


def _write(path: Path, **sections: Any) -> Path:
    """A small contract with these sections; JSON is YAML."""
    document: dict[str, Any] = {
        "lrwatch": 1,
        "experiment": "small",
        "clock": {"horizon": 8},
        "batch": {"accumulate": 3},
        "lr": {"base": 0.004, "schedule": SCHEDULE},
        **sections,
    }
    path.write_text(json.dumps(document))
    return path


def _train(path: Path, run_dir: Path, **options: Any) -> int:
    settings = Settings(path, run_dir=run_dir, device="cpu", quiet=True)
    return launch(replace(settings, **options))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """``run("a")``: what is in the run directory ``a``."""
    return lambda name="run": Run(tmp_path / name)


@pytest.fixture
def contract(tmp_path: Path) -> Callable[..., Path]:
    """``contract(clock=…)``: the path of a small contract with these sections."""
    return lambda name="contract.yaml", **sections: _write(tmp_path / name, **sections)


@pytest.fixture
def train(tmp_path: Path, contract: Callable[..., Path]) -> Callable[..., int]:
    """``train("a", steps=3)``: train into the run directory ``a``; the exit code."""
    return lambda name="run", path=None, **options: _train(path or contract(), tmp_path / name, **options)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two workers' uninterrupted run of the eight updates, with a validation after each four."""
    folder = tmp_path_factory.mktemp("whole")
    assert _train(_write(folder / "contract.yaml"), folder / "run", workers=2, validate_every=4) == 0
    return Run(folder / "run")
