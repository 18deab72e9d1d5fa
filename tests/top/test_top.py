"""`lrwatch top`: what it shows of runs that go on, that ended, and that died without a word; on 80 columns."""

from __future__ import annotations

import doctest
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrwatch.cli import main
from lrwatch.errors import LrwatchError
from lrwatch.top import scrape, sources, view
from tests.ops.workers import Worker


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["top", *words, "--timeout", "60"])
    return int(str(left.value.code))


def trace(folder: Path, steps: int, last: str = "") -> None:
    """A trace of rank 0 as the agent leaves it; ``last`` is what follows the last row."""
    (folder / "trace").mkdir(parents=True, exist_ok=True)
    rows = [{"event": "start", "update": 0, "ts": 1.0, "lrwatch": 1, "run": folder.name, "rank": 0}]
    rows += [{"update": i, "ts": 1000.0 + i, "loss": 2.0 - i / steps, "lr/0": 0.1} for i in range(steps)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "trace" / "rank00000-seg0000.jsonl").write_text(text + last)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Two workers of a run; rank 1 has gone astray."""
    made = []
    for rank in (0, 1):
        worker = Worker(tmp_path, "gpt-7", rank, lrwatch_step=12345.0, lrwatch_steps_total=2345.0, lrwatch_attempt=2.0,
                        lrwatch_world_size=2.0, lrwatch_drift_ratio=0.75 * rank,
                        lrwatch_last_step_timestamp_seconds=time.time() - 30.0)  # fmt: skip
        worker.samples['lrwatch_learning_rate{group="head"}'] = 2e-3
        worker.samples['lrwatch_learning_rate_expected{group="head"}'] = 2e-3
        made.append(worker)
    made[0].samples |= {
        'lrwatch_run_state{state="running"}': 1.0, 'lrwatch_run_state{state="failed"}': 0.0,
        'lrwatch_run_info{experiment="gpt"}': 1.0, "lrwatch_loss": 1.25, "lrwatch_grad_norm": float("nan"),
        'lrwatch_validation_metric{metric="val_loss"}': 1.5,
    }  # fmt: skip
    made[1].finding("LR101", first=12000, cause="factor")
    yield made
    for worker in made:
        if worker.thread.is_alive():
            worker.close()


def test_a_run_that_goes_on(workers: list[Worker], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "gpt-7"), "--once") == 0
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines()]
    assert re.fullmatch(r"gpt-7  gpt  \d\d:\d\d:\d\d", lines[0])
    assert lines[1] == "running"
    assert re.fullmatch(r"step 12,345 · last step [3-9]\d s ago · attempt 2 · 2 of 2 workers answer", lines[2])
    assert "head   2.0000e-03  2.0000e-03  as promised" in lines
    assert "loss           1.25" in lines
    assert "gradient norm  nan" in lines
    assert "val_loss       1.5" in lines
    at = lines.index("rank    step   drift  last step")
    assert re.fullmatch(r"   1  12,345  75\.00%   [3-9]\d s ago  LR101", lines[at + 1]), "the worst first"
    assert "error   LR101 since step 12,000, rank 1, cause factor" in lines
    assert max(map(len, out.splitlines())) <= 80


def test_an_address_shows_its_workers(workers: list[Worker], capsys: pytest.CaptureFixture[str]) -> None:
    (target,) = json.loads(workers[0].target.read_text())
    assert run(target["targets"][0], "--once") == 0
    assert "1 of 2 workers answer" in capsys.readouterr().out


def test_a_factor_is_named_where_the_engine_calls_it_drift(workers: list[Worker]) -> None:
    """A rate kept in few bits differs a little, too: red is only what the check says."""
    for worker in workers:
        worker.samples['lrwatch_learning_rate_expected{group="head"}'] = 1e-3
    picture = sources.source(str(workers[0].target.parents[1]), 60.0).look()
    shown = str(view.render(picture, ()))
    assert shown
    text = rendered(picture)
    assert "head   2.0000e-03  1.0000e-03  × 2" in text


def rendered(now: sources.Picture, *before: sources.Picture, plain: bool = False) -> str:
    from rich.console import Console

    console = Console(width=80, no_color=True, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(view.render(now, before, plain))
    console.file.close()
    return console.export_text()


def test_a_worker_that_dies(workers: list[Worker], tmp_path: Path) -> None:
    source = sources.source(str(tmp_path / "gpt-7"), 60.0)
    before = source.look()
    workers[1].kill()
    one_less = source.look()
    assert "1 of 2 workers answer" in rendered(one_less, before)
    assert re.search(r"http://127\.0\.0\.1:\d+ does not answer", rendered(one_less, before))
    workers[0].kill()
    trace(tmp_path / "gpt-7", 3)
    text = rendered(source.look(), before, one_less)
    assert re.search(r"no worker answers for \d+ s: it died, or hangs, without a word of its end", text)
    assert "step 12,345" in text and "loss           1.25" in text, "what was seen last stays"


def test_a_run_that_was_killed_before_anybody_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace(tmp_path / "a", 600, last='{"update": 600, "lo')
    assert run(str(tmp_path / "a"), "--once") == 0
    out = capsys.readouterr().out
    assert "no worker announced and no summary: it was killed, or runs elsewhere" in out
    assert "step 599 · last step" in out
    assert "not known: lrwatch verify RUN_DIR judges the trace" in out


def test_a_killed_run_is_still_compared_with_its_contract(tmp_path: Path) -> None:
    """0.1 was used at update 9; the kept contract promises 1e-3 there."""
    trace(tmp_path / "a", 10)
    (tmp_path / "a" / "contract.yaml").write_text(
        "lrwatch: 1\nexperiment: tiny\nclock: {horizon: 100}\nlr: {base: 1.0e-3, schedule: [{constant: {}}]}\n"
    )
    assert "0      1.0000e-01  1.0000e-03  × 100" in rendered(sources.source(str(tmp_path / "a")).look())


def test_a_run_that_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace(tmp_path / "a", 10)
    finding = {"code": "LR101", "severity": "error", "message": "group 0 used 0.2 at step 0", "first_step": 0}
    summary = {"run": "gpt-7", "experiment": "gpt", "outcome": "finished", "verdict": "fail", "findings": [finding]}
    (tmp_path / "a" / "summary.json").write_text(json.dumps(summary))
    assert run(str(tmp_path / "a"), "--once") == 0
    out = capsys.readouterr().out
    assert out.startswith("gpt-7  gpt  ")
    assert "ended: finished, verdict fail\nstep 9 · " in out
    assert "error   LR101 group 0 used 0.2 at step 0\n" in out


def test_pace_is_of_one_process_only() -> None:
    def picture(at: float, made: float, attempt: float) -> sources.Picture:
        worker = scrape.Worker("a", 0, {"steps_total": [({}, made)], "attempt": [({}, attempt)], "step": [({}, made)]})
        return sources.Picture(at, "a", {0: worker})

    assert "step 40 · 5/s" in rendered(picture(18.0, 40.0, 1.0), picture(10.0, 0.0, 1.0))
    assert "/s" not in rendered(picture(18.0, 40.0, 2.0), picture(10.0, 0.0, 1.0))


def test_ascii_where_the_terminal_has_no_more(workers: list[Worker], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lrwatch", "top", str(tmp_path / "gpt-7"), "--once", "--timeout", "60"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"learning rate ------" in done.stdout
    assert b"\\u2500" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "nowhere: neither a run directory nor an address, as in http://host:9478/metrics"),
        (("http://127.0.0.1:9",), "http://127.0.0.1:9/metrics: does not answer ([Errno 111] Connection refused)"),
        (("ftp://host",), "ftp://host: http:// or https:// only"),
        ((".",), ".: no worker answers, and there is neither a trace nor a summary"),
        ((), "runs: no run there; name a run directory, or the address of a worker's metrics"),
    ],
)
def test_where_there_is_nothing(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*words, "--once") == 2
    assert capsys.readouterr().err == f"lrwatch: {said}\n"


def test_a_worker_with_tls_is_asked_so(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    target = [{"targets": ["127.0.0.1:9"], "labels": {"job": "lrwatch", "__scheme__": "https"}}]
    (tmp_path / "targets" / "rank00000.json").write_text(json.dumps(target))
    trace(tmp_path, 3)
    assert sources.source(str(tmp_path)).look().silent == ("https://127.0.0.1:9",)


def test_the_newest_run_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, when in (("old", 1000), ("new", 2000)):
        trace(Path("runs") / name, 3)
        for file in (Path("runs") / name / "trace").iterdir():
            os.utime(file, (when, when))
    assert sources.source(None).name == "runs/new"


def test_what_is_no_agent_is_told_apart(workers: list[Worker]) -> None:
    workers[0].samples.clear()
    (target,) = json.loads(workers[0].target.read_text())
    with pytest.raises(LrwatchError, match=r"shows no worker of lrwatch; .*, not that of Prometheus"):
        sources.source(target["targets"][0], 60.0).look()


def test_live_until_q(workers: list[Worker], tmp_path: Path) -> None:
    """On a real terminal: it draws, the worker dies, it says so, q ends it and gives the terminal back."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "lrwatch", "top", str(tmp_path / "gpt-7"), "--every", "0.2", "--timeout", "0.3"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    seen = b""

    def until(what: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 100
        while what not in seen:
            assert time.monotonic() < deadline, seen[-2000:]
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65536)

    try:
        until(b"q ends")
        assert b"\x1b[?1049h" in seen, "on a screen of its own"
        for worker in workers:
            worker.kill()
        until(b"no worker answers for")
        os.write(ours, b"q")
        until(b"\x1b[?1049l")
        assert process.wait(100) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_the_examples_in_the_code() -> None:
    assert doctest.testmod(view).failed == 0
