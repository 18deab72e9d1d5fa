"""How a run ends: who still reads, and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import lrwatch
from lrwatch.agent import process
from tests.agent.helpers import COSINE, Training
from tests.agent.test_faults import SCRIPT
from tests.agent.test_watch import cosine, summary, train, wait_for


def scrape(url: str | None, agent: str) -> str:
    request = urllib.request.Request(str(url), headers={"User-Agent": agent})
    return str(urllib.request.urlopen(request, timeout=60).read().decode())


def test_the_end_waits_until_everybody_has_read_it_twice(tmp_path: Path, training: Training) -> None:
    watch = lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path, linger_s=600.0)
    url = watch.url
    train(watch, training, cosine(training.optimizer), updates=2)
    assert 'lrwatch_linger_seconds{rank="0"' in scrape(url, "one")
    scrape(url, "two")
    closing = threading.Thread(target=watch.close, daemon=True)
    closing.start()
    wait_for(lambda: watch._parts.exporter._read is not None)  # what is read from now on counts
    for _ in range(2):
        states = [x for x in scrape(url, "one").splitlines() if x.startswith("lrwatch_run_state")]
        assert ["finished" in x for x in states if x.endswith(" 1.0")] == [True]
    closing.join(0.5)
    assert closing.is_alive(), "the other one has not read it"
    assert summary(tmp_path)["outcome"] == "finished"  # written before anybody is waited for
    for _ in range(2):
        scrape(url, "two")
    closing.join(60)
    assert not closing.is_alive()
    with pytest.raises(OSError):
        scrape(url, "one")


def test_the_wait_has_an_end_and_nobody_waits_for_nobody(tmp_path: Path, training: Training) -> None:
    began = time.monotonic()
    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path / "nobody", linger_s=600.0) as watch:
        train(watch, training, cosine(training.optimizer), updates=2)
    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path / "gone", linger_s=0.3) as watch:
        scrape(watch.url, "gone")
    assert time.monotonic() - began < 250


def test_other_ranks_do_not_linger(tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path, linger_s=600.0) as watch:
        scrape(watch.url, "one")


@pytest.mark.parametrize(
    ("before", "code", "outcome"),
    [
        ("", -15, "interrupted"),
        ("signal.signal(15, lambda *_: sys.exit(7))", 7, "interrupted"),
        ("signal.signal(15, lambda *_: (watch.close('stopped'), sys.exit(0)))", 0, "stopped"),
        ("signal.signal(15, signal.SIG_IGN)", 3, "failed"),
    ],
)
def test_sigterm_if_asked_for(tmp_path: Path, before: str, code: int, outcome: str) -> None:
    """What the training would have done with it is done, and the run has an end."""
    script = SCRIPT.replace("optimizer = Optimizer()", f"{before}\noptimizer = Optimizer()")
    script = script.replace("run_dir=sys.argv[1])", "run_dir=sys.argv[1], handle_sigterm=True)")
    script += "os.kill(os.getpid(), 15)\nwatch.close('failed')\nsys.exit(3)\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert json.loads((tmp_path / "summary.json").read_text())["outcome"] == outcome
    assert json.loads((tmp_path / "summary.json").read_text())["rows"] == 20


def test_without_asking_no_signal_has_a_handler_of_ours(tmp_path: Path, training: Training) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with lrwatch.watch(training.optimizer, run_dir=tmp_path):
        assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_may_not_handle_signals() -> None:
    said: list[str | None] = []
    thread = threading.Thread(target=lambda: said.append(process.handle_sigterm()))
    thread.start()
    thread.join()
    assert said == ["only the main thread may handle signals"]
