"""Whatever happens to the agent, the training's weights are, bit by bit, those of a training without it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lrwatch
from lrwatch.agent import recorder
from lrwatch.agent.meters import Meters
from lrwatch.engine import Session
from lrwatch.trace.writer import TraceWriter
from tests.agent.helpers import COSINE, Training, lines
from tests.agent.test_faults import SCRIPT, in_child, updates
from tests.agent.test_watch import cosine, summary, wait_for

Watching = contextlib.AbstractContextManager[Any]
UPDATES = 12


class Rates:
    """What a loop passes to ``watch.step``."""

    odd = ("x", 1e400, 10**400, 1j, float("nan"), -float("inf"), [1.0], object(), torch.ones(2), b"", None, True)


def run(watching: Callable[[Training], Watching], odd: bool = False, change: str | None = None) -> list[torch.Tensor]:
    """The weights after a training."""
    training = Training(torch.optim.AdamW)
    scheduler = cosine(training.optimizer)
    with watching(training) as watch:
        for update in range(UPDATES):
            loss = training.backward()
            training.optimizer.step()
            scheduler.step()
            if watch is not None:
                watch.step(Rates.odd[update] if odd else loss)
            if update == 5 and change == "group":
                training.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
            if update == 5 and change == "optimizer":
                state = training.optimizer.state_dict()
                training.optimizer = torch.optim.AdamW(training.model.parameters(), lr=0.1)
                training.optimizer.load_state_dict(state)
                scheduler = cosine(training.optimizer)
            if update == 5 and change == "fork":
                assert in_child(lambda: watch and watch.step(1.0)) == 0
    return [p.detach().clone() for p in training.model.parameters()]


def fails(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("a bug")


def disk_full(*args: Any) -> None:
    raise OSError(28, "No space left on device")


@contextlib.contextmanager
def scrapers(url: str, count: int) -> Iterator[list[int]]:
    """So many that ask again and again; how often they were answered."""
    stop, answered = threading.Event(), [0] * count

    def ask(i: int) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=60).read()
                answered[i] += 1
            stop.wait(0.05)

    threads = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    yield answered
    wait_for(lambda: all(answered))
    stop.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize(
    ("broken", "odd", "change"),
    [
        pytest.param([], False, None, id="nothing"),
        pytest.param([(TraceWriter, "flush", disk_full)], False, None, id="disk full"),
        pytest.param([(Session, "feed", fails), (Session, "finish", fails)], False, None, id="engine"),
        pytest.param([(Meters, "snapshot", fails)], False, None, id="worker"),
        pytest.param([(recorder.Recorder, "_begin", fails)], False, None, id="recorder"),
        pytest.param([(recorder, "time", iter([5e9, 1e9, *range(99)]).__next__)], False, None, id="clock"),
        pytest.param([], True, None, id="values"),
        pytest.param([], False, "group", id="group added"),
        pytest.param([], False, "optimizer", id="optimizer replaced"),
        pytest.param([], False, "fork", id="fork", marks=pytest.mark.filterwarnings("ignore:This process")),
    ],
)
def test_the_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: list[Any], odd: bool, change: str | None
) -> None:
    bare = run(lambda training: contextlib.nullcontext(), change=change)

    def watching(training: Training) -> Watching:
        watch = lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path, linger_s=0.1)
        for place, name, instead in broken:
            monkeypatch.setattr(place, name, instead)
        return watch

    watched = run(watching, odd, change)
    assert all(torch.equal(a, b) for a, b in zip(bare, watched, strict=True))


def test_fifty_scrapers_and_one_that_hangs(tmp_path: Path) -> None:
    bare = run(lambda training: contextlib.nullcontext())
    answered: list[int] = []

    @contextlib.contextmanager
    def watching(training: Training) -> Iterator[Any]:
        with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path) as watch:
            assert watch.url is not None
            with socket.create_connection(("127.0.0.1", watch.port), timeout=5), scrapers(watch.url, 50) as counts:
                yield watch
            answered.extend(counts)

    watched = run(watching)
    assert all(torch.equal(a, b) for a, b in zip(bare, watched, strict=True))
    assert len(answered) == 50 and min(answered) >= 1
    assert updates(tmp_path) == list(range(UPDATES))


def test_an_optimizer_that_is_replaced_goes_on_in_a_second_watch(tmp_path: Path, training: Training) -> None:
    first = lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path, start_step=0)
    for _ in range(3):
        training.optimizer.step()
        first.step()
    first.close("stopped")
    other = torch.optim.SGD(training.model.parameters(), lr=0.1)
    with lrwatch.watch(other, COSINE, run_dir=tmp_path) as second:
        for _ in range(3):
            other.step()
            second.step()
    assert updates(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert summary(tmp_path)["origin"] == "run_dir"


def test_two_jobs_on_one_machine(tmp_path: Path) -> None:
    """With one configuration, and so one port, for both."""
    one, two = Training(), Training()
    with (
        lrwatch.watch(one.optimizer, COSINE, run_dir=tmp_path / "one") as first,
        lrwatch.watch(two.optimizer, COSINE, run_dir=tmp_path / "two", port=first.port) as second,
    ):
        for watch, run_id in ((first, "one"), (second, "two")):
            text = urllib.request.urlopen(str(watch.url), timeout=60).read().decode()
            assert f'lrwatch_rank_up{{rank="0",run_id="{run_id}"}} 1.0' in text
        assert second.port not in (None, first.port)


def start(run_dir: Path, script: str, port: int) -> subprocess.Popen[bytes]:
    whole = SCRIPT.replace("run_dir=sys.argv[1])", f"run_dir=sys.argv[1], port={port})")
    text = whole.partition("for update")[0] + script
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen([sys.executable, "-c", text, str(run_dir)], stderr=subprocess.DEVNULL, env=env)


def test_an_elastic_restart_takes_the_same_port_and_a_start_that_died_before_its_first_row_is_none(
    tmp_path: Path, training: Training, free_port: Callable[[], int]
) -> None:
    port = free_port()
    child = start(tmp_path, "time.sleep(60)", port)
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        wait_for(lambda: answers(url))
        scraper = socket.create_connection(("127.0.0.1", port), timeout=5)  # still connected when it dies
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path, port=port) as watch:
        assert watch.port == port
        scheduler = cosine(training.optimizer)
        for _ in range(40):
            training.optimizer.step()
            scheduler.step()
            watch.step(1.0)
        assert answers(url)
    scraper.close()
    assert updates(tmp_path) == list(range(40))
    assert summary(tmp_path)["origin"] == "fresh"
    assert summary(tmp_path)["verdict"] == "pass"
    assert [line["event"] for line in lines(tmp_path) if "event" in line] == ["start", "end"]


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=60).read())
    except OSError:
        time.sleep(0.05)
        return False
