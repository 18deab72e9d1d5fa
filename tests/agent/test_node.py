"""All workers of a machine on one port: what is merged, who is up, and 1,000 of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import lrwatch
from lrwatch.agent.exporter import Collector
from lrwatch.agent.meters import Meters, Snapshot
from lrwatch.agent.node import Node, exists, is_up, parse, server
from lrwatch.agent.publish import process
from lrwatch.errors import LrwatchError
from lrwatch.findings import Cause, Finding, Severity
from lrwatch.metrics import MAX_SERIES, METRICS
from lrwatch.trace.model import Chunk
from tests.agent.helpers import COSINE, Training
from tests.conftest import ROOT

NOW = 1_785_578_400.0


def render(snapshot: Snapshot, rank: int, run: str = "r") -> str:
    registry = CollectorRegistry()
    registry.register(Collector(lambda: snapshot, run, rank))
    return generate_latest(registry).decode()


def small(step: int = 7) -> Snapshot:
    return Snapshot({"lrwatch_step": (((), step),), "lrwatch_rank_up": (((), 1.0),)}, {})


def leave(run_dir: Path, rank: int, text: str | None = None, **about: Any) -> Path:
    """A worker's snapshot, as of now, of this process unless told otherwise."""
    head = {**process(), "ts": NOW, "ended": False, **about}
    path = run_dir / "snapshots" / f"rank{rank:05d}.prom"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# lrwatch {json.dumps(head)}\n{render(small(), rank) if text is None else text}")
    return path


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, rank) → value, of exposition that Prometheus's own grammar accepts."""
    found = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {(s.name, s.labels["rank"]): s.value for s in found}


def test_every_metric_of_a_worker_goes_through(tmp_path: Path) -> None:
    """Whatever labels it has; ``sha256`` has digits in its name."""
    plain = [m for m in METRICS if m.scope != "ledger" and m.type != "histogram"]
    shown = Snapshot({m.name: ((tuple("x" for _ in m.labels), 1.0),) for m in plain}, {})
    leave(tmp_path, 0, render(shown, 0))
    served = {name for name, _ in samples(Node(tmp_path, now=lambda: NOW).text())}
    assert served == set(shown.samples)



def node(run_dir: Path, after: float = 1.0) -> Node:
    return Node(run_dir, now=lambda: NOW + after)


@pytest.fixture
def gone() -> int:
    """The pid of a process that was."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    return ended.pid


def test_every_family_is_one_block_with_the_samples_of_all(tmp_path: Path) -> None:
    leave(tmp_path, 0)
    leave(tmp_path, 1, render(small(9), 1))
    assert (
        node(tmp_path).text()
        == """\
# HELP lrwatch_step Newest update, counted over the whole run.
# TYPE lrwatch_step gauge
lrwatch_step{rank="0",run_id="r"} 7.0
lrwatch_step{rank="1",run_id="r"} 9.0
# HELP lrwatch_rank_up 1 while the worker's process is alive.
# TYPE lrwatch_rank_up gauge
lrwatch_rank_up{rank="0",run_id="r"} 1.0
lrwatch_rank_up{rank="1",run_id="r"} 1.0
"""
    )


def test_a_worker_whose_process_is_gone_is_down_and_says_nothing_else(tmp_path: Path, gone: int) -> None:
    leave(tmp_path, 0)
    leave(tmp_path, 1, pid=gone)
    assert samples(node(tmp_path).text()) == {
        ("lrwatch_step", "0"): 7.0,
        ("lrwatch_rank_up", "0"): 1.0,
        ("lrwatch_rank_up", "1"): 0.0,
    }


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # ends when the process does; it is not waited for yet
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not exists(child.pid)
    child.communicate()
    assert exists(os.getpid())


@pytest.mark.parametrize(
    ("age", "namespace", "alive", "expected"),
    [
        (1.0, "here", True, True),
        (1.0, "here", False, False),
        (1.0, "elsewhere", False, True),  # a sidecar cannot see the pid: the age alone counts
        (1.0, None, False, True),
        (15.0, "here", True, True),
        (16.0, "here", True, False),  # it exists and its agent gets no turn
        (16.0, "elsewhere", True, False),
        (-3600.0, "here", True, True),  # the clock was set back
    ],
)
def test_up_by_pid_and_heartbeat(age: float, namespace: str | None, alive: bool, expected: bool) -> None:
    head = {"pid": 1, "pid_namespace": namespace, "boot": "b", "ts": NOW, "ended": False}
    worker = parse(f"# lrwatch {json.dumps(head)}\n{render(small(), 0)}")
    assert is_up(worker, NOW + age, "here", lambda pid: alive) is expected


def test_a_worker_that_ended_shows_its_final_state_for_five_minutes(tmp_path: Path) -> None:
    leave(tmp_path, 0, ended=True)
    assert samples(node(tmp_path, 300.0).text()) == {("lrwatch_step", "0"): 7.0, ("lrwatch_rank_up", "0"): 0.0}
    assert node(tmp_path, 301.0).text() == ""


def test_workers_of_other_machines_are_left_to_them(tmp_path: Path) -> None:
    leave(tmp_path, 0, boot="another machine")
    leave(tmp_path, 1)
    assert set(samples(node(tmp_path).text())) == {("lrwatch_step", "1"), ("lrwatch_rank_up", "1")}


def test_bad_files_and_bad_lines_spoil_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, 0, render(small(), 0) + 'lrwatch_step{rank="0"\nnot a sample\nlrwatch_evil{rank="0"} 1\n')
    leave(tmp_path, 1, "")
    leave(tmp_path, 2).write_text("lrwatch_step 1\n")
    leave(tmp_path, 3).write_bytes(b"# lrwatch \xff")
    leave(tmp_path, 4).write_text('# lrwatch {"pid": 1}\n' + render(small(), 4))
    leave(tmp_path, 5).write_text('# lrwatch {"pid"')
    (tmp_path / "snapshots" / "rank00006.99.tmp").write_text("half")
    asked = node(tmp_path)
    assert set(samples(asked.text())) == {("lrwatch_step", "0"), ("lrwatch_rank_up", "0")}
    asked.read()
    told = capsys.readouterr().err
    assert [told.count(f"rank0000{rank}.prom: ") for rank in range(7)] == [0, 1, 1, 1, 1, 1, 0]
    assert "rank00002.prom: is no snapshot of a worker; it is left out" in told


def test_before_the_first_worker_there_is_nothing(tmp_path: Path) -> None:
    assert Node(tmp_path / "not yet").text() == ""


def test_labels_with_quotes_and_braces_go_through(tmp_path: Path) -> None:
    odd = 'he"ad}\\\n{'
    snapshot = Snapshot({**small().samples, "lrwatch_learning_rate": (((odd,), float("nan")),)}, {})
    leave(tmp_path, 0, render(snapshot, 0))
    families = {f.name: f for f in text_string_to_metric_families(node(tmp_path).text())}
    assert families["lrwatch_learning_rate"].samples[0].labels["group"] == odd


# -- a thousand -------------------------------------------------------------------------------------------


def busy(rank: int) -> str:
    """What a worker says that has 40 groups and 30 different findings."""
    import numpy as np

    meters = Meters(rank=rank, world=1000, attempt=1, contract=None)
    columns = {"update": np.arange(128), "ts": np.full(128, NOW), "loss": np.ones(128), "grad_norm": np.ones(128)}
    rates = {f"lr/g{i}": np.full(128, 0.1 + rank) for i in range(40)}
    meters.chunk(Chunk({**columns, **rates}, rank=rank, world=1000))
    cause = Cause("rate", {"k": 4})
    meters.found(
        Finding(f"LR{i}", f"check-{i}", Severity.error, "is wrong", "fix it", rank=rank, first_step=3, cause=cause)
        for i in range(100, 130)
    )
    return render(meters.snapshot(None, 0, 0), rank)


@contextmanager
def listening(node: Node) -> Iterator[str]:
    serving = server(node, "127.0.0.1", 0)
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_address[1]}/metrics"
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return str(response.read().decode())


def test_a_thousand_workers_on_one_port(tmp_path: Path, gone: int) -> None:
    leave(tmp_path, 0, busy(0))
    template = busy(1)
    for rank in range(1, 1000):
        text = template.replace('rank="1"', f'rank="{rank}"')
        leave(tmp_path, rank, text, **({"pid": gone} if rank % 100 == 50 else {"ts": NOW - 60} if rank == 777 else {}))
    with listening(node(tmp_path)) as url:
        text = scrape(url)
    lines = [line for line in text.splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))
    ranks = Counter(int(re.search(r'rank="(\d+)"', line)[1]) for line in lines)  # type: ignore[index]
    assert len(ranks) == 1000
    down = {50, 150, 250, 350, 450, 550, 650, 750, 777, 850, 950}
    assert {rank for rank, n in ranks.items() if n == 1} == down
    assert all(40 < ranks[rank] <= MAX_SERIES for rank in range(1, 1000) if rank not in down)
    up = {line for line in lines if line.startswith("lrwatch_rank_up")}
    assert up == {f'lrwatch_rank_up{{rank="{r}",run_id="r"}} {0.0 if r in down else 1.0}' for r in range(1000)}
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_an_answer_serves_all_who_ask_at_once(tmp_path: Path) -> None:
    leave(tmp_path, 0)
    asked = node(tmp_path)
    asked.text()
    leave(tmp_path, 0, render(small(8), 0))
    assert 'lrwatch_step{rank="0",run_id="r"} 7.0' in asked.text()
    assert 'lrwatch_step{rank="0",run_id="r"} 8.0' in node(tmp_path).text()


def test_other_paths_are_not_found_and_a_taken_port_is_an_error(tmp_path: Path) -> None:
    with listening(Node(tmp_path)) as url:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            scrape(url.replace("/metrics", "/etc/passwd"))
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(LrwatchError, match=f"cannot listen on 127.0.0.1:{port} .*; choose another --port"):
            server(Node(tmp_path), "127.0.0.1", port)


# -- with a real watch ------------------------------------------------------------------------------------


def train(run_dir: Path, **options: Any) -> lrwatch.Watch:
    training = Training()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, 40, 0.01)
    watch = lrwatch.watch(training.optimizer, COSINE, scheduler=scheduler, run_dir=run_dir, **options)
    for _ in range(40):
        training.backward()
        training.optimizer.step()
        scheduler.step()
        watch.step()
    return watch


def test_a_watch_publishes_and_the_command_serves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRWATCH_PUBLISH", "1")
    watch = train(tmp_path)
    command = [sys.executable, "-m", "lrwatch", "ops", "node", str(tmp_path), "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as serving:
        assert serving.stderr is not None
        url = serving.stderr.readline().rpartition(" ")[2].strip()
        (target,) = (tmp_path / "targets").iterdir()  # the watch's own port is not announced beside it
        assert target.name.startswith("node-")
        assert url == f"http://{json.loads(target.read_text())[0]['targets'][0]}/metrics"
        while not (tmp_path / "snapshots" / "rank00000.prom").exists():
            time.sleep(0.05)
        assert samples(scrape(url))["lrwatch_rank_up", "0"] == 1.0
        watch.close()
        assert parse((tmp_path / "snapshots" / "rank00000.prom").read_text()).ended
        serving.terminate()
        assert serving.wait(100) == 0
    assert not target.exists()
    final = samples(Node(tmp_path).text())
    assert (final["lrwatch_step", "0"], final["lrwatch_rank_up", "0"]) == (39.0, 0.0)
    state = f'lrwatch_run_state{{rank="0",run_id="{watch.run_id}",state="finished"}} 1.0'
    assert state in Node(tmp_path).text()


def test_nothing_is_published_unless_asked(tmp_path: Path) -> None:
    train(tmp_path).close()
    assert not (tmp_path / "snapshots").exists()


def test_a_snapshot_that_cannot_be_written_is_said_once_and_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "snapshots").write_text("in the way")
    watch = train(tmp_path, publish=True)
    watch.close()
    assert capsys.readouterr().err.count("the snapshot cannot be published") == 1
    assert json.loads((tmp_path / "summary.json").read_text())["rows"] == 40
