"""Traces of large jobs: what a worker leaves out, and that nothing is taken for lost or wrong because of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lrwatch
from lrwatch.agent.thinning import Thinner
from lrwatch.contract import from_document
from lrwatch.readers import open_trace
from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import TraceWriter, last_position
from lrwatch.verify import Report, verify
from tests.agent.helpers import Training, lines
from tests.agent.test_watch import cosine, train

HORIZON = 2000
PROMISE = {
    "lrwatch": 1,
    "experiment": "wide",
    "clock": {"horizon": HORIZON},
    "lr": {
        "base": 0.1,
        "schedule": [{"linear": {"from": 0.0, "for": 100}}, {"cosine": {"to": 0.0, "until": "horizon"}}],
    },
}


def chunk(updates: np.ndarray, lr: np.ndarray, **columns: np.ndarray) -> Chunk:
    return Chunk({"update": updates, "lr/0": lr, **columns})


def kept(thinner: Thinner, *chunks: Chunk) -> list[int]:
    taken = [int(u) for c in chunks for u in thinner.take(c).columns["update"]]
    rest = thinner.rest()
    return taken + ([] if rest is None else [int(u) for u in rest.columns["update"]])


@pytest.mark.parametrize("pieces", [1, 2, 7, 200])
def test_what_is_kept_does_not_depend_on_the_chunks(pieces: int) -> None:
    updates = np.arange(200)
    lr = np.where(updates < 100, 0.1, 0.05)  # one jump
    loss = np.where(updates == 150, np.nan, 1.0)
    parts = np.array_split(updates, pieces)
    whole = [chunk(p, lr[p], loss=loss[p]) for p in parts]
    # the first three, multiples of 64, the jump with its neighbours, the NaN, the last
    assert kept(Thinner(), *whole) == [0, 1, 2, 64, 99, 100, 101, 128, 150, 192, 199]


def test_a_part_of_a_sum_is_kept_for_the_other_parts() -> None:
    updates = np.arange(40)
    squares = np.where(updates % 10 == 5, 4.0, np.nan)
    parts = chunk(updates, np.ones(40), grad_sq=squares)
    missing = replace(parts, missing={"grad_sq": updates % 10 != 5})
    assert kept(Thinner(), missing) == [0, 1, 2, 5, 15, 25, 35, 39]


def test_other_columns_and_an_event_lose_no_row() -> None:
    thinner = Thinner()
    assert kept(thinner, chunk(np.arange(10), np.ones(10))) == [0, 1, 2, 9]
    later = [chunk(np.arange(10, 20), np.ones(10)), chunk(np.arange(20, 30), np.ones(10), loss=np.ones(10))]
    assert kept(thinner, *later) == [29]
    thinner.begin()
    assert kept(thinner, chunk(np.arange(30, 40), np.ones(10))) == [30, 31, 32, 39]


def job(run: Path, late: int | None = None) -> Report:
    """Four workers; the first writes all. ``late``: worker 2 uses the rate of that many updates before."""
    contract = from_document(PROMISE)
    rng = np.random.default_rng(0)
    t = np.arange(HORIZON)
    for rank in range(4):
        at = np.maximum(t - (late or 0), 0) if rank == 2 else t
        cos = [0.05 * (1 + math.cos(math.pi * (a - 100) / (HORIZON - 100))) for a in at]
        lr = np.where(at < 100, 0.1 * at / 100, cos)
        rows = Chunk(
            {"update": t, "attempt": t, "ts": 1e9 + t * 0.1, "loss": 3 + 7 / (1 + t / 50) + rng.normal(0, 0.1, HORIZON),
             "grad_norm": rng.lognormal(0, 0.2, HORIZON), "lr/0": lr},
            rank=rank, world=4,
        )  # fmt: skip
        fields = {"run": "wide", "world": 4, "origin": "fresh", "contract": str(contract.identity)}
        thinner = Thinner() if rank else None
        writer = TraceWriter(run, rank)
        writer.write(Event("start", 0, rank, 0, 1e9, {**fields, **({"rows": "changes"} if rank else {})}))
        writer.write(thinner.take(rows) if thinner else rows)
        if thinner and (rest := thinner.rest()):
            writer.write(rest)
        writer.write(Event("end", HORIZON, rank, 0, 1e9 + HORIZON * 0.1, {"outcome": "finished"}))
        writer.close()
    return verify(contract, open_trace([str(run)]))


def test_a_healthy_job_passes_and_is_small(tmp_path: Path) -> None:
    report = job(tmp_path)
    assert report.result.findings == ()
    assert report.result.verdict() == "pass"
    written = [sum("event" not in line for line in lines_of(tmp_path, rank)) for rank in range(4)]
    assert written[0] == HORIZON
    assert max(written[1:]) < 150
    assert last_position(tmp_path, 1) == last_position(tmp_path, 0)


def lines_of(run: Path, rank: int) -> list[str]:
    return (run / "trace" / f"rank{rank:05d}-seg0000.jsonl").read_text().splitlines()


def test_a_worker_that_is_late_is_found(tmp_path: Path) -> None:
    report = job(tmp_path, late=30)
    drift = [f for f in report.result.findings if f.code == "LR101"]
    assert [(f.rank, f.first_step) for f in drift] == [(2, 1)]
    assert {f.code for f in report.result.findings} == {"LR101", "LR201"}


def test_of_more_than_64_workers_one_writes_everything(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = cosine(training.optimizer)
    monkeypatch.setenv("RANK", "3")
    for world in (64, 65):
        monkeypatch.setenv("WORLD_SIZE", str(world))
        with lrwatch.watch(training.optimizer, run_dir=tmp_path / str(world), start_step=0) as watch:
            train(watch, training, scheduler, updates=30)
    assert [line["update"] for line in lines(tmp_path / "64") if "event" not in line] == list(range(30))
    start, *rows, end = lines(tmp_path / "65")
    assert start["rows"] == "changes"
    assert end == {"event": "end", "update": 30, "outcome": "finished", "ts": end["ts"]}
    assert [row["update"] for row in rows[:3]] == [0, 1, 2]
    assert rows[-1]["update"] == 29


def test_a_thinned_trace_that_was_cut_off_does_not_say_where_the_run_was(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 1)
    writer.write(Event("start", 0, 1, 0, None, {"rows": "changes"}))
    writer.write(chunk(np.array([0, 64]), np.ones(2)))
    writer.flush()
    before = last_position(tmp_path, 1)
    writer.write(Event("end", 100, 1, 0, None, {"outcome": "failed"}))
    writer.close()
    after = last_position(tmp_path, 1)
    assert before is not None and after is not None
    assert (before.update, before.known, after.update, after.known) == (64, False, 99, True)
