"""``lrwatch.watch`` around real training: what it leaves behind, what it says, and that training does not notice."""

from __future__ import annotations

import copy
import json
import pickle
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

import lrwatch
from lrwatch.agent.running import TrainingContractBroken
from lrwatch.agent.watch import Watch
from lrwatch.cli import main
from lrwatch.findings import Finding
from tests.agent.helpers import COSINE, Training, lines

HORIZON = 40


def cosine(optimizer: torch.optim.Optimizer, horizon: int = HORIZON) -> LRScheduler:
    return CosineAnnealingLR(optimizer, horizon, 0.01)


def train(watch: Watch, training: Training, scheduler: LRScheduler, updates: int = HORIZON, times: int = 1) -> None:
    """``times``: how often the scheduler is stepped per update; once is right."""
    for _ in range(updates):
        loss = training.backward()
        norm = torch.nn.utils.clip_grad_norm_(training.model.parameters(), 1.0)
        training.optimizer.step()
        for _ in range(times):
            scheduler.step()
        watch.step(loss=loss, grad_norm=norm)


def summary(run_dir: Path, name: str = "summary.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run_dir / name).read_text())
    return content


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 100 s"
        time.sleep(0.05)


def test_a_healthy_run(tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = cosine(training.optimizer)
    run = tmp_path / "run"
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=run, accumulate=2) as watch:
        port = watch.port
        train(watch, training, scheduler)
    assert watch.findings == ()

    said = summary(tmp_path / "run")
    assert {k: said[k] for k in ("run", "experiment", "rank", "world", "outcome", "verdict", "origin")} == {
        "run": "run", "experiment": "tiny", "rank": 0, "world": 1, "outcome": "finished", "verdict": "pass",
        "origin": "fresh",
    }  # fmt: skip
    assert (said["rows"], said["first_update"], said["last_update"]) == (40, 0, 39)
    assert (said["findings"], said["dropped_rows"], said["agent_errors"], said["attempt"]) == ([], 0, 0, 1)
    assert said["started"] < said["ended"]

    start, *rows, end = lines(tmp_path / "run")
    assert (start["event"], start["rank"], start["world"], start["segment"]) == ("start", 0, 1, 0)
    assert (start["run"], start["experiment"], start["accumulate"], start["lr_read"]) == ("run", "tiny", 2, "used")
    assert (end["event"], end["update"], end["outcome"]) == ("end", 40, "finished")
    assert [(r["update"], r["attempt"], r["micro"], r["sched"]) for r in rows] == [(n, n, 2 * n, n) for n in range(40)]
    assert (rows[0]["lr"], rows[20]["lr"]) == (0.1, pytest.approx(0.055, rel=1e-12))
    assert all(r["loss"] >= 0 and r["grad_norm"] >= 0 for r in rows)

    assert not (tmp_path / "run" / "targets" / "rank00000.json").exists()
    said_lines = capsys.readouterr().err.splitlines()
    assert len(said_lines) == 2
    assert said_lines[0].startswith("lrwatch: watching SGD (groups 0) against contract (tiny, ")
    assert said_lines[1] == (
        f"lrwatch: run run: trace in {tmp_path}/run, metrics at http://127.0.0.1:{port}/metrics"
    )


def test_a_scheduler_stepped_twice_is_named_once_per_check(
    tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    scheduler = cosine(training.optimizer)
    seen: list[Finding] = []
    watch = lrwatch.watch(
        training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path, on_finding=seen.append, fail_on="error"
    )
    train(watch, training, scheduler, updates=15, times=2)
    wait_for(lambda: len(seen) >= 2)
    train(watch, training, scheduler, updates=25, times=2)
    with pytest.raises(TrainingContractBroken, match=r"^the training did not keep its contract: LR10\d ") as broken:
        watch.close()
    assert {f.code for f in broken.value.findings} == {"LR101", "LR102"}
    assert [f.code for f in seen] == ["LR101", "LR102"]
    assert [f.cause.name for f in watch.findings if f.cause] == ["rate", "rate"]
    assert [f.first_step for f in watch.findings] == [1, 1]
    said = [line for line in capsys.readouterr().err.splitlines() if " LR10" in line]
    assert len(said) == 2
    assert said[0].startswith("lrwatch: error LR101 drift: group 0 used ")
    assert "the scheduler was stepped 2 times per update (k = 2" in said[0]
    assert summary(tmp_path)["verdict"] == "fail"
    watch.close()  # a second time: nothing


def test_without_fail_on_nothing_is_raised(tmp_path: Path, training: Training) -> None:
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path) as watch:
        train(watch, training, scheduler, times=2)
    assert {f.code for f in watch.findings} == {"LR101", "LR102"}


def test_without_a_contract_it_records_and_says_so(
    tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=5)
    assert "without a contract: only what needs none is checked" in capsys.readouterr().err
    assert len(lines(tmp_path)) == 7
    assert summary(tmp_path)["contract"] is None


def test_the_metrics_are_served_while_it_runs(tmp_path: Path, training: Training) -> None:
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path / "r7") as watch:
        train(watch, training, scheduler, updates=21)

        def scrape() -> dict[str, float]:
            assert watch.url is not None
            text = urllib.request.urlopen(watch.url, timeout=60).read().decode()
            samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
            assert {(s.labels["run_id"], s.labels["rank"]) for s in samples} == {("r7", "0")}
            return {s.name: s.value for s in samples}

        wait_for(lambda: scrape().get("lrwatch_steps_total") == 21)
        shown = scrape()
        assert shown["lrwatch_step"] == 20
        assert shown["lrwatch_learning_rate"] == pytest.approx(0.055, rel=1e-12)
        assert shown["lrwatch_learning_rate_expected"] == pytest.approx(0.055, rel=1e-12)
        assert shown["lrwatch_drift_ratio"] < 1e-12
        assert (shown["lrwatch_agent_errors_total"], shown["lrwatch_dropped_rows_total"]) == (0, 0)


def test_the_trace_is_on_disk_within_a_second(tmp_path: Path, training: Training) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=3)
        wait_for(lambda: (tmp_path / "trace").exists() and len(lines(tmp_path)) == 4)


def test_training_is_bit_identical_with_and_without(tmp_path: Path) -> None:
    def run(watched: bool) -> tuple[list[torch.Tensor], torch.Tensor, Any]:
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        scheduler = cosine(optimizer)
        watch = lrwatch.watch(optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path / "run") if watched else None
        for _ in range(HORIZON):
            optimizer.zero_grad()
            loss = model(torch.randn(4, 8)).pow(2).mean()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            if watch is not None:
                watch.step(loss=loss, grad_norm=norm)
        if watch is not None:
            watch.close()
        return [p.detach().clone() for p in model.parameters()], torch.get_rng_state(), optimizer.state_dict()

    weights, rng, state = run(watched=False)
    weights2, rng2, state2 = run(watched=True)
    assert all(torch.equal(a, b) for a, b in zip(weights, weights2, strict=True))
    assert torch.equal(rng, rng2)
    assert str(state) == str(state2)


# -- resuming ---------------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_in_the_same_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Training()
    scheduler = cosine(one.optimizer)
    with lrwatch.watch(one.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path) as watch:
        train(watch, one, scheduler, updates=15)
        saved = [one.optimizer.state_dict(), scheduler.state_dict(), watch.state_dict()]
        train(watch, one, scheduler, updates=5)
        watch.close("interrupted")
    assert saved[2] == {"lrwatch": 1, "run": watch.run_id, "update": 15, "attempt": 15, "micro": None}

    two = Training()
    scheduler = cosine(two.optimizer)
    watch = lrwatch.watch(two.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path)
    for restored, state in zip((two.optimizer, scheduler, watch), saved, strict=True):
        restored.load_state_dict(state)
    train(watch, two, scheduler, updates=25)
    watch.close()

    assert watch.findings == ()
    assert "lrwatch: goes on at update 15, says the restored watch" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "trace").iterdir()) == [
        "rank00000-seg0000.jsonl", "rank00000-seg0001.jsonl",
    ]  # fmt: skip
    resume = next(line for line in lines(tmp_path) if line.get("event") == "resume")
    assert (resume["segment"], resume["update"], resume["origin"]) == (1, 15, "state")
    assert [line["update"] for line in lines(tmp_path) if "event" not in line] == [*range(20), *range(15, 40)]
    said = summary(tmp_path)
    assert (said["attempt"], said["verdict"], said["rows"]) == (2, "pass", 25)


def test_a_scheduler_that_was_not_restored_is_found(tmp_path: Path) -> None:
    training = Training()
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path, start_step=15) as watch:
        train(watch, training, scheduler, updates=10)
    assert {f.code for f in watch.findings} >= {"LR101", "LR102"}
    assert watch.findings[0].first_step == 15


def test_a_rollback_in_mid_run_is_a_segment_with_a_file_of_its_own(tmp_path: Path, training: Training) -> None:
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path) as watch:
        train(watch, training, scheduler, updates=10)
        saved = [copy.deepcopy(x.state_dict()) for x in (training.optimizer, scheduler, watch)]
        train(watch, training, scheduler, updates=10)
        for restored, state in zip((training.optimizer, scheduler, watch), saved, strict=True):
            restored.load_state_dict(state)
        train(watch, training, scheduler, updates=30)
    assert watch.findings == ()
    assert [(e["segment"], e["update"]) for e in lines(tmp_path) if "segment" in e] == [(0, 0), (1, 10)]


@pytest.mark.parametrize("state", [None, {}, {"update": "7", "attempt": 7}, {"update": -1, "attempt": 0}, [1]])
def test_a_state_that_is_none_is_ignored_and_said(
    tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str], state: Any
) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        watch.load_state_dict(state)
        train(watch, training, cosine(training.optimizer), updates=2)
    assert "load_state_dict: this is no state of a watch; it is ignored" in capsys.readouterr().err
    assert summary(tmp_path)["origin"] == "fresh"


def test_a_start_that_nobody_knows_is_inconclusive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(momentum=0.9)
    training.backward()
    training.optimizer.step()
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path) as watch:
        train(watch, training, scheduler, updates=10)
    assert "nobody says at which update this run starts, so it cannot be judged; pass start_step=" in (
        capsys.readouterr().err
    )
    assert summary(tmp_path)["verdict"] == "inconclusive"


# -- ends and copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError, "failed"), (KeyboardInterrupt, "interrupted"), (SystemExit, "interrupted")],
)
def test_an_exception_is_the_outcome_and_goes_on(
    tmp_path: Path, training: Training, error: type[BaseException], outcome: str
) -> None:
    with pytest.raises(error), lrwatch.watch(training.optimizer, run_dir=tmp_path, fail_on="info"):
        raise error
    assert summary(tmp_path)["outcome"] == outcome
    assert [line["event"] for line in lines(tmp_path)] == ["start", "end"]


def test_a_second_watch_on_an_optimizer_ends_the_first(
    tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    scheduler = cosine(training.optimizer)
    first = lrwatch.watch(training.optimizer, run_dir=tmp_path / "a")
    train(first, training, scheduler, updates=2)
    with lrwatch.watch(training.optimizer, run_dir=tmp_path / "b", start_step=2) as second:
        train(second, training, scheduler, updates=3)
        first.step(loss=1.0)
    assert "another watch() on the same optimizer: the first one ends here" in capsys.readouterr().err
    assert summary(tmp_path / "a")["outcome"] == "stopped"
    assert [line["update"] for line in lines(tmp_path / "a") if "event" not in line] == [0, 1]
    assert [line["update"] for line in lines(tmp_path / "b") if "event" not in line] == [2, 3, 4]


def test_two_optimizers_have_a_watch_each(tmp_path: Path) -> None:
    one, two = Training(), Training()
    with lrwatch.watch(one.optimizer, run_dir=tmp_path / "a") as a, lrwatch.watch(
        two.optimizer, run_dir=tmp_path / "b"
    ) as b:
        train(a, one, cosine(one.optimizer), updates=2)
        train(b, two, cosine(two.optimizer), updates=3)
    assert (summary(tmp_path / "a")["rows"], summary(tmp_path / "b")["rows"]) == (2, 3)


def test_a_copy_of_a_watch_is_inert(tmp_path: Path, training: Training) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path / "r") as watch:
        for other in (copy.deepcopy(watch), pickle.loads(pickle.dumps(watch)), copy.copy(watch)):
            other.step(loss=1.0)
            other.micro()
            other.event("checkpoint", path="x")
            other.load_state_dict({})
            assert (other.state_dict(), other.findings, other.url, other.run_id) == ({}, (), None, "r")
            other.close()
        train(watch, training, cosine(training.optimizer), updates=2)
    assert summary(tmp_path / "r")["rows"] == 2


def test_events_are_recorded_by_value_and_unknown_ones_refused(
    tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=2)
        loss = torch.tensor(2.5)
        watch.event("validation", val_loss=loss)
        watch.event("checkpoint", scheduler_state=True, path=tmp_path)
        watch.event("chekpoint", path="x")
        loss.fill_(0.0)
    _, _, _, validation, checkpoint, end = lines(tmp_path)
    assert (validation["update"], validation["metrics"]) == (2, {"val_loss": 2.5})
    assert (checkpoint["scheduler_state"], checkpoint["path"]) == (True, str(tmp_path))
    assert end["event"] == "end"
    assert "event 'chekpoint' is not recorded: no such kind; did you mean 'checkpoint'?" in capsys.readouterr().err


def test_other_ranks_say_nothing_and_write_beside(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path) as watch:
        assert (tmp_path / "targets" / "rank00003.json").exists()
        train(watch, training, cosine(training.optimizer), updates=2)
    assert capsys.readouterr().err == ""
    assert (lines(tmp_path)[0]["rank"], lines(tmp_path)[0]["world"]) == (3, 4)
    assert summary(tmp_path, "summary-rank00003.json")["rank"] == 3
    assert not (tmp_path / "summary.json").exists()


def test_a_group_that_only_the_contract_has_is_said(
    tmp_path: Path, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = {**COSINE, "lr": {"base": 0.1, "schedule": "constant", "groups": {"head": {"scale": 10}}}}
    lrwatch.watch(training.optimizer, contract, run_dir=tmp_path).close()
    assert (
        'lrwatch: the contract names the group head, this optimizer has only 0; give groups a "name", or pass '
        "group_names="
    ) in capsys.readouterr().err


def test_a_run_keeps_its_contract_for_who_verifies_it(tmp_path: Path, training: Training) -> None:
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path / "run") as watch:
        train(watch, training, scheduler, times=2)
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "run"), "--format", "json"])
    assert done.exit_code == 1
    verdict = json.loads(done.stdout)
    assert verdict["contract"]["path"] == str(tmp_path / "run" / "contract.yaml")
    assert {f["code"] for f in verdict["findings"]} == {"LR101", "LR102"}
