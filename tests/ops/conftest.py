"""One live stack for all tests of a file; quick enough that a test waits seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrwatch.ops.stack import Settings, Stack

ROOT = Path(__file__).parents[2]
QUICK = (
    "run_down_for=3s", "run_vanished_for=3s", "stall_for=1s", "stall_quiet=3s", "worker_down_for=3s", "scrape_gap=8s",
    "desync_hold=8s", "mismatch_for=1s", "unapproved_for=1s", "duplicate_for=3s", "not_judged_for=3s",
)  # fmt: skip
"""Thresholds of the tests: the rules are as shipped, their waits are shorter. Scrapes are a second apart and time out
after one, which they do on a busy machine: several in a row must be no gap."""


def until(what: Callable[[], Any], seconds: float = 100.0) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := what():
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.1)


def becomes(what: Callable[[], Any], expected: Any, seconds: float = 100.0) -> None:
    """Ask until the answer is what is expected; one that never is, is shown."""
    deadline = time.monotonic() + seconds
    while (answer := what()) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer == expected, f"after {seconds:g} s"


@pytest.fixture(scope="session")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviewed files: one sweep that may leave its schedule, one contract that may run in production."""
    folder = tmp_path_factory.mktemp("reviewed")
    (folder / "sweeps").mkdir()
    (folder / "approved").mkdir()
    now = time.time()
    starts, expires = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t)) for t in (now - 3600, now + 3600))
    (folder / "sweeps" / "range.yml").write_text(
        f"sweep: lr-range\nowner: ada\nticket: ML-1\nstarts: {starts}\nexpires: {expires}\nreason: range test\n"
    )
    (folder / "approved" / "gpt.yml").write_text(
        f"sha256: {'a' * 64}\nexperiment: gpt\nowner: ada\nticket: ML-2\n"
    )
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainers of the live stack leave their run directories."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str], runs: Path, reviewed: Path
) -> Iterator[Stack]:
    """A real Prometheus and a real Alertmanager; scrapes and evaluations every second."""
    tool("prometheus"), tool("prometheus-alertmanager")
    made = Stack(tmp_path_factory.mktemp("stack"))
    (runs / "sweep").mkdir()
    settings = Settings(
        runs=(runs,), sweeps={"lr-range": runs / "sweep"}, scrape=1.0, thresholds=QUICK, wait=6.0, interval=1.0,
        authorised=reviewed / "sweeps", approved=reviewed / "approved", owner=os.getpid(),
    )  # fmt: skip
    try:
        made.up(settings)
        yield made
    finally:
        made.down()

