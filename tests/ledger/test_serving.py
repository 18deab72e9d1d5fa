"""The ledger as a long-lived process: its endpoint, its restarts, its command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lrwatch.agent.ledger_exporter import Ledger, LedgerCollector
from lrwatch.cli import main
from lrwatch.errors import LrwatchError
from lrwatch.metrics import METRICS
from tests.conftest import ROOT
from tests.ledger.helpers import COST, ERROR, GOAL, leave

NOW = 10600.0
"""Ten minutes after the runs ended."""


def ledger(root: Path, now: float = NOW) -> Ledger:
    return Ledger(root, root / ".lrwatch-ledger.json", now=lambda: now)


def exposition(kept: Ledger, now: float = NOW) -> list[str]:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(LedgerCollector(lambda: kept.view, lambda: now))
    return [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]


def test_every_metric_of_the_catalogue_is_served_and_no_other(tmp_path: Path) -> None:
    leave(tmp_path / "a", goal={**GOAL, "value": 1.0}, cost=COST, findings=[ERROR])
    leave(tmp_path / "b", goal={**GOAL, "value": 3.0}, cost=COST, gpu_seconds=18000.0, ended=10500.0)
    leave(tmp_path / "c", outcome="failed", experiment="vit", ended=7000.0)
    lines = exposition(ledger(tmp_path))
    assert lines == [
        'lrwatch_runs_total{experiment="gpt",outcome="converged"} 2.0',
        'lrwatch_runs_total{experiment="vit",outcome="failed"} 1.0',
        'lrwatch_runs_anomalous_total{experiment="gpt"} 1.0',
        'lrwatch_runs_anomalous_total{experiment="vit"} 0.0',
        'lrwatch_runs_gpu_seconds_total{experiment="gpt",outcome="converged"} 21600.0',
        'lrwatch_runs_gpu_seconds_total{experiment="vit",outcome="failed"} 3600.0',
        'lrwatch_runs_over_budget_streak{experiment="gpt"} 1.0',
        'lrwatch_final_metric_stddev{experiment="gpt"} 1.4142135623730951',
        "lrwatch_ledger_scan_timestamp_seconds 10600.0",
        'lrwatch_run_ended_timestamp_seconds{run_id="a"} 10000.0',
        'lrwatch_run_ended_timestamp_seconds{run_id="b"} 10500.0',
    ]
    named = {re.split(r"[ {]", line)[0] for line in lines}
    assert named == {m.name for m in METRICS if m.scope == "ledger"}


def test_a_restart_counts_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    leave(tmp_path / "a")
    leave(tmp_path / "b")
    first = exposition(ledger(tmp_path))
    assert exposition(ledger(tmp_path)) == first
    (tmp_path / "a" / "summary.json").unlink()
    again = ledger(tmp_path)
    assert exposition(again)[0] == 'lrwatch_runs_total{experiment="gpt",outcome="finished"} 2.0'
    leave(tmp_path / "c")
    again.turn()
    assert exposition(again)[0] == 'lrwatch_runs_total{experiment="gpt",outcome="finished"} 3.0'


def test_a_run_is_shown_as_ended_for_an_hour_unless_it_goes_on(tmp_path: Path) -> None:
    leave(tmp_path / "a", 0)
    leave(tmp_path / "b", 0, 1)
    kept = ledger(tmp_path)
    ended = "lrwatch_run_ended_timestamp_seconds"
    assert [x for x in exposition(kept) if ended in x] == [ended + '{run_id="a"} 10000.0']
    assert [x for x in exposition(kept, 13599.0) if ended in x] == [ended + '{run_id="a"} 10000.0']
    assert [x for x in exposition(kept, 13600.0) if ended in x] == []


def test_a_directory_that_goes_away_leaves_the_time_of_the_last_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    leave(root / "a")
    (root / "torn").mkdir()
    (root / "torn" / "summary.json").write_text("{")
    clock = [NOW]
    kept = Ledger(root, tmp_path / "book.json", now=lambda: clock[0])
    root.rename(tmp_path / "elsewhere")
    clock[0] = NOW + 60
    kept.turn()
    kept.turn()
    assert "lrwatch_ledger_scan_timestamp_seconds 10600.0" in exposition(kept)
    told = capsys.readouterr().err
    assert told.count("torn/summary.json: is torn") == 1
    assert told.count("runs: cannot be read (No such file or directory)") == 1
    (tmp_path / "elsewhere").rename(root)
    kept.turn()
    assert "lrwatch_ledger_scan_timestamp_seconds 10660.0" in exposition(kept)
    assert 'lrwatch_runs_total{experiment="gpt",outcome="finished"} 1.0' in exposition(kept)


def test_a_book_that_cannot_be_written_is_said_and_the_counts_are_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path / "a")
    kept = Ledger(tmp_path, tmp_path / "no" / "book.json", now=lambda: NOW)
    assert 'lrwatch_runs_total{experiment="gpt",outcome="finished"} 1.0' in exposition(kept)
    assert "no/book.json: cannot be written (No such file or directory)" in capsys.readouterr().err


def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    leave(tmp_path / "a")
    kept = ledger(tmp_path)
    server, port = kept.serve("127.0.0.1", 0)
    try:
        with pytest.raises(LrwatchError, match=f"cannot listen on 127.0.0.1:{port} .*; choose another --port"):
            kept.serve("127.0.0.1", port)
    finally:
        server.shutdown()
        server.server_close()


# -- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as way_out:
            main(["ledger", *args])
        streams = capsys.readouterr()
        return int(way_out.value.code or 0), streams.out, streams.err

    return run


Call = Callable[..., tuple[int, str, str]]


def test_the_table(tmp_path: Path, call: Call) -> None:
    leave(tmp_path / "a", goal={**GOAL, "value": 1.0}, cost=COST, findings=[ERROR])
    leave(tmp_path / "b", goal={**GOAL, "value": 3.0, "best": 3.0}, cost=COST, gpu_seconds=90000.0, ended=10500.0)
    leave(tmp_path / "c", experiment="vit", outcome="stopped", gpu_seconds=90.0)
    assert call(str(tmp_path)) == (0, """\
experiment  runs     converged  GPU-hours  per converged  lost  anomalous         spread  over budget       cost
gpt            2  50% (1 of 2)       26.0           26.0  0.25    50% (1)  1.41 val_loss   1 in a row  65.00 USD
vit            1             -      0.025              -   0.0     0% (0)              -            -          -
all            3  50% (1 of 2)       26.0           26.0  0.25    33% (1)              -            -  65.00 USD
""", "")  # fmt: skip


def test_the_document(tmp_path: Path, call: Call) -> None:
    leave(tmp_path / "a", goal=GOAL, cost=COST, findings=[ERROR])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "summary.json").write_text("{}")
    code, out, err = call(str(tmp_path), "--format", "json")
    content = json.loads(out)
    assert (code, err) == (0, f"lrwatch: {tmp_path}/b/summary.json: is no summary of lrwatch; it is not counted\n")
    assert content["problems"] == [f"{tmp_path}/b/summary.json: is no summary of lrwatch"]
    assert content["experiments"] == [
        {
            "experiment": "gpt", "runs": 1, "outcomes": {"converged": 1}, "convergence_rate": 1.0, "gpu_hours": 1.0,
            "gpu_hours_per_converged": 1.0, "gpu_hours_lost": 0.25, "anomalous": 1, "anomalous_rate": 1.0,
            "metric": "val_loss", "final_metric_stddev": None, "over_budget_streak": 0, "cost": {"USD": 2.5},
        }
    ]  # fmt: skip
    for_one = {"experiment": None, "metric": None, "over_budget_streak": None}
    assert content["total"] == {**content["experiments"][0], **for_one}


def test_no_runs_and_no_directory(tmp_path: Path, call: Call) -> None:
    assert call(str(tmp_path)) == (0, f"no run below {tmp_path} has ended yet\n", "")
    code, out, err = call(str(tmp_path / "nowhere"))
    assert (code, out) == (2, "")
    assert "give the directory that has the run directories" in err


@contextmanager
def serving(*args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``lrwatch …`` as a process of its own, and the URL that it says."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "lrwatch", *args], stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield process, line.rpartition(" ")[2].strip()
    finally:
        process.kill()
        process.communicate()


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        return str(response.read().decode())


def test_serving_ends_on_sigterm_and_goes_on_after_sigkill(tmp_path: Path) -> None:
    leave(tmp_path / "a")
    counted: Any = 'lrwatch_runs_total{experiment="gpt",outcome="finished"} 1.0'
    for end, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with serving("ledger", str(tmp_path), "--serve", "--port", "0") as (process, url):
            assert counted in scrape(url)
            process.send_signal(end)
            assert process.wait(100) == code
