"""What can go wrong around a training that must not notice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lrwatch
from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.trace.writer import TraceWriter
from tests.agent.helpers import COSINE, Training, lines
from tests.agent.test_watch import cosine, summary, train, wait_for

Capture = pytest.CaptureFixture[str]


def updates(run_dir: Path) -> list[int]:
    return [line["update"] for line in lines(run_dir) if "event" not in line]


# -- the agent's own parts ---------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_written_costs_the_trace_only(
    tmp_path: Path, training: Training, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("in the way")
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path / "file" / "run") as watch:
        train(watch, training, scheduler, times=2)
        assert watch.url is not None
    assert {f.code for f in watch.findings} == {"LR101", "LR102"}
    said = capsys.readouterr().err
    assert said.count("the trace cannot be written: ") == 1
    assert "Not a directory" in said
    assert "the training is not affected" in said
    assert "the summary cannot be written: " in said


def test_a_full_disk_costs_the_lines_that_did_not_fit(
    tmp_path: Path, training: Training, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = TraceWriter.flush
    full = True

    def fails(self: TraceWriter) -> None:
        if full and self.path is not None:
            self._pending.clear()
            raise OSError(28, "No space left on device")
        flush(self)

    monkeypatch.setattr(TraceWriter, "flush", fails)
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        scheduler = cosine(training.optimizer)
        train(watch, training, scheduler, updates=1)
        wait_for(lambda: (tmp_path / "trace").exists())
        train(watch, training, scheduler, updates=1)
        wait_for(lambda: "No space left" in capsys.readouterr().err)
        full = False
        train(watch, training, scheduler, updates=1)
    assert updates(tmp_path) == [0, 2]
    assert summary(tmp_path)["agent_errors"] >= 1


def test_an_engine_that_fails_costs_the_verdict_only(
    tmp_path: Path, training: Training, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("a bug")

    for name in ("feed", "findings", "finish"):
        monkeypatch.setattr(Session, name, fails)
    with lrwatch.watch(training.optimizer, COSINE, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=3)
    assert updates(tmp_path) == [0, 1, 2]
    assert summary(tmp_path)["verdict"] is None
    assert summary(tmp_path)["agent_errors"] > 0
    assert capsys.readouterr().err.count("the engine failed: RuntimeError: a bug; the training is not affected") == 1


def test_a_worker_that_fails_once_goes_on(
    tmp_path: Path, training: Training, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        worker = watch._parts.worker
        turn, failed = worker.turn, threading.Event()

        def fails_once() -> None:
            if not failed.is_set():
                failed.set()
                raise ZeroDivisionError("once")
            turn()

        monkeypatch.setattr(worker, "turn", fails_once)
        assert failed.wait(60)
        train(watch, training, cosine(training.optimizer), updates=3)
    assert updates(tmp_path) == [0, 1, 2]
    assert "the agent's worker failed: ZeroDivisionError: once; the training is not affected" in capsys.readouterr().err


def test_a_callback_that_fails_is_counted(tmp_path: Path, training: Training, capsys: Capture) -> None:
    def fails(finding: Finding) -> None:
        raise ValueError("my callback")

    scheduler = cosine(training.optimizer)
    with lrwatch.watch(
        training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path, on_finding=fails
    ) as watch:
        train(watch, training, scheduler, times=2)
    assert summary(tmp_path)["agent_errors"] == 2
    assert "on_finding failed: ValueError: my callback" in capsys.readouterr().err


def test_a_callback_may_close_the_watch(tmp_path: Path, training: Training) -> None:
    closed = threading.Event()
    scheduler = cosine(training.optimizer)

    def close(finding: Finding) -> None:
        watch.close("stopped")
        closed.set()

    watch = lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path, on_finding=close)
    train(watch, training, scheduler, times=2)
    assert closed.wait(60)
    wait_for(lambda: any(line.get("event") == "end" for line in lines(tmp_path)))
    assert summary(tmp_path)["outcome"] == "stopped"


def test_a_port_in_use_is_said_once(tmp_path: Path, training: Training, capsys: Capture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with lrwatch.watch(training.optimizer, run_dir=tmp_path, port=port) as watch:
            train(watch, training, cosine(training.optimizer), updates=2)
            assert watch.port not in (None, port)
    assert capsys.readouterr().err.count(f"cannot listen on 127.0.0.1:{port} (Address already in use)") == 1
    assert summary(tmp_path)["agent_errors"] == 1


def test_a_damaged_earlier_run_is_no_obstacle(tmp_path: Path, training: Training) -> None:
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace" / "rank00000-seg0000.jsonl").write_bytes(b"\x00\xff{not json\n{\n")
    (tmp_path / "summary.json").write_text("[]")
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=2)
    assert summary(tmp_path)["attempt"] == 2
    assert (tmp_path / "trace" / "rank00000-seg0000.jsonl").read_bytes() == b"\x00\xff{not json\n{\n"


@pytest.mark.parametrize("values", [{"epoch": "x"}, {"samples": float("nan")}, {"tokens": 10**30}, {"epoch": object()}])
def test_a_counter_that_is_no_number_costs_that_value_only(
    tmp_path: Path, training: Training, values: dict[str, Any]
) -> None:
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        for _ in range(2):
            training.backward()
            training.optimizer.step()
            watch.step(1.0, **values)
    rows = [line for line in lines(tmp_path) if "event" not in line]
    assert [row["update"] for row in rows] == [0, 1]
    assert not any(name in row for row in rows for name in values)


def test_a_clock_that_is_set_back_is_no_problem(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrwatch.agent import recorder

    times = iter([1000.0, 1001.0, 500.0, 501.0, 502.0, 503.0, 504.0])
    monkeypatch.setattr(recorder, "time", lambda: next(times))
    with lrwatch.watch(training.optimizer, run_dir=tmp_path) as watch:
        train(watch, training, cosine(training.optimizer), updates=3)
    assert updates(tmp_path) == [0, 1, 2]
    assert summary(tmp_path)["agent_errors"] == 0


# -- forks ----------------------------------------------------------------------------------------------------


def in_child(body: Callable[[], None]) -> int:
    """Fork, run ``body`` in the child, return its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\n".encode())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads, which is the point
def test_a_forked_child_is_inert(tmp_path: Path, training: Training) -> None:
    scheduler = cosine(training.optimizer)
    with lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=tmp_path) as watch:
        train(watch, training, scheduler, updates=5)  # in the ring or half written

        def body() -> None:
            train(watch, training, scheduler, updates=5)
            watch.event("oom")
            watch.close()
            assert watch.url is None
            time.sleep(0.3)

        assert in_child(body) == 0
        assert watch.url is not None
        train(watch, training, scheduler, updates=5)
    assert updates(tmp_path) == list(range(10))
    assert [line["event"] for line in lines(tmp_path) if "event" in line] == ["start", "end"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_lets_go_of_the_port(tmp_path: Path, training: Training) -> None:
    """DataLoader workers outlive an epoch; a port that they held could not be taken again."""
    watch = lrwatch.watch(training.optimizer, run_dir=tmp_path)
    port = watch.port
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    try:
        watch.close()
        with socket.socket() as again, pytest.raises(ConnectionRefusedError):
            again.connect(("127.0.0.1", port))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# -- ends that nobody announced ---------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys, time, types
import lrwatch

class Optimizer:
    def __init__(self):
        self.param_groups, self.hooks = [{"params": [], "lr": 0.1}], []

    def register_step_pre_hook(self, hook):
        self.hooks.append(hook)
        return types.SimpleNamespace(remove=lambda: self.hooks.remove(hook))

    def step(self):
        for hook in self.hooks:
            hook(self, (), {})

optimizer = Optimizer()
watch = lrwatch.watch(optimizer, run_dir=sys.argv[1])
for update in range(20):
    optimizer.step()
    watch.step(loss=1.0)
assert "torch" not in sys.modules, "nobody asked for torch"
"""
"""An optimizer that is not torch's, so that a process starts in less than a second."""


def run(script: str, run_dir: Path, code: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(script), str(run_dir)],
        capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("script", "code", "outcome"),
    [
        ("", 0, "interrupted"),
        ("sys.exit(3)", 3, "interrupted"),
        ("raise ValueError('boom')", 1, "failed"),
    ],
)
def test_a_process_that_ends_without_close_leaves_everything(
    tmp_path: Path, script: str, code: int, outcome: str
) -> None:
    run(script, tmp_path, code)
    assert updates(tmp_path) == list(range(20))
    assert summary(tmp_path)["outcome"] == outcome


@pytest.mark.parametrize(("name", "code"), [("SIGKILL", -9), ("SIGTERM", -15)])
def test_a_killed_process_leaves_what_was_flushed(tmp_path: Path, name: str, code: int) -> None:
    """Its handlers are not ours: SIGTERM ends it as it always did."""
    script = f"""
        import pathlib
        trace = pathlib.Path(sys.argv[1]) / "trace" / "rank00000-seg0000.jsonl"
        until = time.monotonic() + 100
        while not (trace.exists() and '"update":19' in trace.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
    """
    run(script, tmp_path, code)
    assert updates(tmp_path) == list(range(20))
    assert not (tmp_path / "summary.json").exists()
    target = json.loads((tmp_path / "targets" / "rank00000.json").read_text())
    assert len(target) == 1
