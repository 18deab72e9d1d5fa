"""From real trainings under a watch to the ledger: what the one writes the other reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import lrwatch
from lrwatch.ledger.book import Book, count
from lrwatch.ledger.kpis import total
from lrwatch.ledger.run import Run
from lrwatch.ledger.scan import Scanner

CONTRACT: dict[str, Any] = {
    "lrwatch": 1,
    "experiment": "tiny",
    "clock": {"horizon": 40},
    "lr": {"base": 0.1, "schedule": [{"cosine": {"to": 0.01, "until": "horizon"}}]},
    "goal": {"metric": "val_loss", "target": 0.5, "mode": "min"},
    "cost": {"per_gpu_hour": 3600.0, "currency": "EUR", "budget": 1e6},
}


def train(run_dir: Path, first: int, last: int, losses: list[float], outcome: str, rate: float = 1.0) -> None:
    """Updates ``first`` to ``last`` of the contract's schedule (times ``rate``), then a validation per loss."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    promised = [0.01 + 0.09 * (1 + math.cos(math.pi * t / 40)) / 2 for t in range(40)]
    with lrwatch.watch(optimizer, CONTRACT, run_dir=run_dir, start_step=first) as watch:
        for t in range(first, last):
            optimizer.param_groups[0]["lr"] = promised[t] * rate
            optimizer.step()
            watch.step(loss=1.0)
        for loss in losses:
            watch.event("validation", val_loss=loss)
        watch.close(outcome)


def only(root: Path) -> Run:
    (run,) = Scanner(root).scan().runs
    return run


def test_a_preempted_run_that_is_resumed(tmp_path: Path) -> None:
    train(tmp_path / "a", 0, 20, [0.9, 0.4, 0.7], "interrupted")
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["goal"] == {"metric": "val_loss", "target": 0.5, "mode": "min", "value": 0.7, "best": 0.4}
    assert summary["cost"] == {"per_gpu_hour": 3600.0, "currency": "EUR", "budget": 1e6}
    first = only(tmp_path)
    assert (first.judged, first.resumed, first.attempt) == ("interrupted", False, 1)
    assert first.cost == pytest.approx(first.gpu_seconds)
    book = count(Book(), [first], first.ended)
    assert book == Book()

    train(tmp_path / "a", 20, 40, [0.6], "finished")
    second = only(tmp_path)
    assert (second.judged, second.resumed, second.attempt) == ("converged", False, 2)
    assert second.goal is not None
    assert (second.goal.value, second.goal.best) == (0.6, 0.4)  # the best is of the attempt before
    assert second.gpu_seconds > first.gpu_seconds
    assert (second.last_update, second.anomalous) == (39, False)
    book = count(book, [second], second.ended)
    assert (book.runs, book.anomalous) == ({("tiny", "converged"): 1}, {"tiny": 0})

    (tmp_path / "a" / "trace" / "rank00000-seg0002.jsonl").touch()
    assert only(tmp_path).resumed


def test_a_run_that_breaks_its_contract_is_anomalous_from_its_first_bad_step(tmp_path: Path) -> None:
    train(tmp_path / "a", 0, 40, [], "finished", rate=2.0)
    run = only(tmp_path)
    assert (run.judged, run.anomalous, run.first_bad) == ("finished", True, 0)
    assert run.lost_gpu_seconds == run.gpu_seconds
    assert total([run]).anomalous_rate == 1.0
