"""The life of a stack: up, killed, up again with its data, down without survivors."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lrwatch.errors import LrwatchError
from lrwatch.ops import api, keeper, processes, programs
from lrwatch.ops.stack import Settings, Stack
from tests.ops.conftest import until
from tests.ops.workers import Worker


@pytest.fixture
def stack(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Stack]:
    tool("prometheus"), tool("prometheus-alertmanager")
    made = Stack(tmp_path / "stack")
    yield made
    made.down()


def quick(tmp_path: Path) -> Settings:
    return Settings(runs=(tmp_path / "runs",), scrape=1.0, owner=os.getpid())


def survivors(folder: Path) -> list[str]:
    """Every process of this machine that knows the directory, whoever started it."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [line for pid in pids if pid != os.getpid() and str(folder) in (line := processes.command_line(pid))]


def test_everything_listens_on_loopback_and_ends_with_down(stack: Stack, tmp_path: Path) -> None:
    services = stack.up(quick(tmp_path))
    assert [s.name for s in services] == ["keeper", "ledger", "alertmanager", "prometheus"]
    assert all(s.pid and s.url.startswith("http://127.0.0.1:") for s in services)
    inodes = set()
    for service in services:
        for link in Path(f"/proc/{service.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if (target := os.readlink(link)).startswith("socket:["):
                    inodes.add(target[8:-1])
    assert len(inodes) >= len(services)
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state, inode = line.split()[1], line.split()[3], line.split()[9]
            if state == "0A" and inode in inodes:  # listening
                assert address.startswith("0100007F:")
    assert stack.down() == ["alertmanager", "keeper", "ledger", "prometheus"]
    assert survivors(stack.folder) == []
    assert stack.down() == []
    assert all(s.pid is None for s in stack.services())


def test_after_kill_9_of_everything_it_comes_back_with_its_data(stack: Stack, tmp_path: Path) -> None:
    worker = Worker(tmp_path / "runs", "r", lrwatch_step=7.0)
    stack.up(quick(tmp_path))
    until(lambda: api.query(stack.url("prometheus"), "lrwatch_step"))
    before = {s.name: s for s in stack.services()}
    for service in before.values():
        assert service.pid is not None
        os.kill(service.pid, signal.SIGKILL)
    worker.close()
    until(lambda: all(s.pid is None for s in stack.services()))
    stack.up(quick(tmp_path))
    after = {s.name: s for s in stack.services()}
    assert {n: s.url for n, s in after.items()} == {n: s.url for n, s in before.items()}
    assert all(s.pid is not None and s.pid != before[s.name].pid for s in after.values())
    assert api.query(stack.url("prometheus"), "max_over_time(lrwatch_step[1h])")[0]["value"][1] == "7"


def test_up_again_starts_what_is_missing_and_reloads_the_rest(stack: Stack, tmp_path: Path) -> None:
    stack.up(quick(tmp_path))
    before = {s.name: s.pid for s in stack.services()}
    os.kill(before["alertmanager"] or 0, signal.SIGKILL)
    until(lambda: any(s.pid is None for s in stack.services()))
    stack.up(Settings(runs=(tmp_path / "runs",), scrape=1.0, thresholds=("stall_deadline=77",), owner=os.getpid()))
    after = {s.name: s.pid for s in stack.services()}
    assert (after["keeper"], after["prometheus"]) == (before["keeper"], before["prometheus"])
    assert after["alertmanager"] not in (None, before["alertmanager"])
    rules = json.dumps(api.get(stack.url("prometheus") + "/api/v1/rules"))
    assert "clamp_min(10 * max by" in rules and "77)" in rules


def test_the_ledger_counts_what_ended(stack: Stack, tmp_path: Path) -> None:
    summary = {"lrwatch": "0", "run": "r", "experiment": "gpt", "rank": 0, "world": 1, "outcome": "finished",
               "ended": time.time(), "gpu_seconds": 7.0, "attempt": 1}  # fmt: skip
    (tmp_path / "runs" / "r").mkdir(parents=True)
    (tmp_path / "runs" / "r" / "summary.json").write_text(json.dumps(summary))
    stack.up(quick(tmp_path))
    found = until(lambda: api.query(stack.url("prometheus"), "experiment_outcome:lrwatch_runs:sum"))
    assert [(s["metric"]["experiment"], s["metric"]["outcome"], s["value"][1]) for s in found] == [
        ("gpt", "finished", "1")
    ]


def test_a_port_that_somebody_took_meanwhile_is_left_to_them(stack: Stack, tmp_path: Path) -> None:
    port = int(stack.up(quick(tmp_path))[3].url.rpartition(":")[2])
    stack.down()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        again = stack.up(quick(tmp_path))
    assert int(again[3].url.rpartition(":")[2]) != port


def test_a_start_that_fails_leaves_nothing(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    false = tmp_path / "prometheus"
    false.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    false.chmod(false.stat().st_mode | stat.S_IXUSR)
    find = programs.find
    monkeypatch.setattr(programs, "find", lambda name: false if name == "prometheus" else find(name))
    with pytest.raises(LrwatchError) as caught:
        stack.up(quick(tmp_path))
    assert str(caught.value) == (
        f"prometheus ended at once; {stack.folder}/logs/prometheus.log ends with: no such flag"
    )
    assert survivors(stack.folder) == []


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(LrwatchError) as caught:
        Stack(tmp_path / "stack").up(Settings())
    assert str(caught.value) == (
        "prometheus is neither in .tools/bin nor on PATH; install it (make tools, in a checkout)"
    )
    assert not (tmp_path / "stack").exists()


def test_settings_that_cannot_work_start_nothing(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(LrwatchError, match=r"^burn_fast: 14\.4 times"):
        stack.up(Settings(thresholds=("burn_fast=14.4",)))
    with pytest.raises(LrwatchError, match=r"^group_wait of 1s is shorter than two evaluations"):
        stack.up(Settings(scrape=1.0, wait=1.0))
    with pytest.raises(LrwatchError, match=r"^a scrape every 10ms: at least 1s apart$"):
        stack.up(Settings(scrape=0.01))
    assert survivors(stack.folder) == []


def test_it_ends_with_its_owner(stack: Stack, tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stack.up(Settings(scrape=1.0, owner=owner.pid))
    owner.kill()
    owner.wait()
    assert owner.stdin is not None
    owner.stdin.close()
    until(lambda: survivors(stack.folder) == [])
    assert processes.names(stack.folder) == []


def test_it_ends_when_its_directory_is_removed(stack: Stack, tmp_path: Path) -> None:
    stack.up(quick(tmp_path))
    until(lambda: (stack.folder / "discovery" / "targets.json").exists())
    shutil.rmtree(stack.folder, ignore_errors=True)
    shutil.rmtree(stack.folder, ignore_errors=True)  # Prometheus may have written once more
    until(lambda: survivors(stack.folder) == [])


def test_a_pid_that_the_system_gave_to_somebody_else_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids" / "prometheus").write_text(str(os.getpid()))
    assert processes.running(tmp_path / "elsewhere", "prometheus") is None
    (tmp_path / "pids" / "prometheus").write_text("no number")
    assert processes.running(tmp_path, "prometheus") is None


def test_one_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM; : {tmp_path}; while :; do sleep 0.1; done"
    processes.start(tmp_path, "deaf", ["/bin/sh", "-c", script])
    until(lambda: processes.running(tmp_path, "deaf"))
    assert processes.stop(tmp_path, ["deaf"], patience=0.3) == ["deaf"]
    assert processes.running(tmp_path, "deaf") is None and processes.names(tmp_path) == []


def test_grafana_joins_where_it_is_found(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Grafana: what it is told, not what it does."""
    grafana = tmp_path / "grafana"
    grafana.write_text(
        f"#!{sys.executable}\n"
        "import http.server, json, os, pathlib, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('GF_')}\n"
        f"pathlib.Path({str(tmp_path / 'told')!r}).write_text(json.dumps([sys.argv[1:], told]))\n"
        "class H(http.server.SimpleHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "http.server.HTTPServer((told['GF_SERVER_HTTP_ADDR'], int(told['GF_SERVER_HTTP_PORT'])), H).serve_forever()\n"
    )
    grafana.chmod(grafana.stat().st_mode | stat.S_IXUSR)
    find = programs.find
    monkeypatch.setattr(programs, "find", lambda name: grafana if name == "grafana" else find(name))
    assert [s.name for s in stack.up(quick(tmp_path)) if s.pid][-1] == "grafana"
    arguments, told = json.loads((tmp_path / "told").read_text())
    assert arguments == ["server", f"--config={stack.folder}/grafana.ini"]
    assert told["GF_PATHS_DATA"] == f"{stack.folder}/grafana"
    source = (Path(told["GF_PATHS_PROVISIONING"]) / "datasources" / "lrwatch.yaml").read_text()
    assert stack.url("prometheus") in source
    provider = (Path(told["GF_PATHS_PROVISIONING"]) / "dashboards" / "lrwatch.yaml").read_text()
    boards = stack.folder / "config" / "boards"
    assert f"path: {boards}\n" in provider
    assert f'"query": "{stack.url("keeper")}/runbooks"' in (boards / "lrwatch-on-call.json").read_text()


# ---- the keeper


def test_a_notification_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    made = Stack(tmp_path)
    assert made.notifications() == []
    (tmp_path / "notifications.jsonl").write_text('{"at": 1.0}\n{"at": 2.')
    assert made.notifications() == [{"at": 1.0}]
    (tmp_path / "notifications.jsonl").write_text('{"at": 1.0}\n{"at": 2.0}\n')
    assert made.notifications() == [{"at": 1.0}, {"at": 2.0}]


def test_targets_are_taken_over_as_addresses_only(tmp_path: Path) -> None:
    def left(path: str, content: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)

    left("a/targets/rank00000.json", '[{"targets": ["127.0.0.1:1"], "labels": {"sweep": "mine", "job": "x"}}]')
    left("a/targets/rank00001.json", '[{"targets": ["[::1]:2", "not an address", "evil:3/path"]}]')
    left("b/targets/rank00000.json", '[{"targets": ["127.0.0.1:1"]}]')   # the same again
    left("b/targets/rank00001.json", '[{"targets": ')                    # being written
    left("b/targets/rank00002.json", '{"no": "groups"}')
    left("targets/rank00000.json", '[{"targets": ["host:4"]}]')
    found = keeper.discovered([
        {"path": str(tmp_path / "b"), "labels": {"sweep": "given"}}, {"path": str(tmp_path), "labels": {}},
    ])  # fmt: skip
    assert found == [
        {"targets": ["127.0.0.1:1"], "labels": {"sweep": "given"}}, {"targets": ["[::1]:2", "host:4"], "labels": {}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [("/page", b"{", 400), ("/nobody", b"{}", 404), ("/page", b"", 404), ("/runbooks/../../etc/passwd", None, 404),
     ("/runbooks/Nope.md", None, 404), ("/", None, 404)],
)  # fmt: skip
def test_the_keeper_refuses_what_it_does_not_know(stack: Stack, path: str, body: bytes | None, code: int) -> None:
    server = keeper.ThreadingHTTPServer(("127.0.0.1", 0), keeper.Handler)
    server.folder = stack.folder  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", body)
        assert caught.value.code == code
        caught.value.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
