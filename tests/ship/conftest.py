"""One real Prometheus for all tests of a file, and a stand-in for what a real one cannot be made to do at will."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Prometheus:
    """A server that receives, and what it has."""

    def __init__(self, url: str):
        self.url = url

    def samples(self, selector: str, at: float | None = None, window: str = "1h") -> list[tuple[float, float]]:
        """Time and value of everything that one series has, exactly as it is stored."""
        query = {"query": f"{selector}[{window}]", **({"time": str(at)} if at else {})}
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{urllib.parse.urlencode(query)}") as answer:
            result = json.load(answer)["data"]["result"]
        assert len(result) <= 1, [series["metric"] for series in result]
        return [(float(t), float(v)) for t, v in result[0]["values"]] if result else []


def free(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The address that the server has found."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if 'msg="Listening on"' in line:
                return "http://" + line.partition("address=")[2].split()[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture
def prometheus(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts one; an empty database is a part of what is tested, so each test has its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*flags: str) -> Prometheus:
        folder = tmp_path / f"prometheus{len(started)}"
        folder.mkdir()
        (folder / "p.yml").write_text("{}")
        log = folder / "log"
        command = [
            tool("prometheus"), f"--config.file={folder / 'p.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0", *flags,
        ]  # fmt: skip
        with log.open("wb") as out:
            started.append(subprocess.Popen(command, stdout=out, stderr=out))
        server = Prometheus(free(log, started[-1]))
        deadline = time.monotonic() + 100
        while True:
            try:
                urllib.request.urlopen(f"{server.url}/-/ready").close()
                return server
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    yield start
    for process in started:
        process.terminate()
        process.wait(100)


@pytest.fixture
def receiver(prometheus: Callable[..., Prometheus]) -> Prometheus:
    return prometheus("--web.enable-remote-write-receiver")


class Stub:
    """Answers what it is told to, one after the other, the last for ever."""

    def __init__(self, *answers: tuple[int, str, dict[str, str]]):
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers = list(answers)
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.send_response(405)
                self.end_headers()

            def do_POST(self) -> None:
                stub.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                stub.headers.append(dict(self.headers))
                status, text, headers = stub.answers[0] if len(stub.answers) == 1 else stub.answers.pop(0)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture
def stub() -> Iterator[Callable[..., Stub]]:
    made: list[Stub] = []

    def make(*answers: int | tuple[int, str] | tuple[int, str, dict[str, str]]) -> Stub:
        full = [(a, "") if isinstance(a, int) else a for a in answers]
        made.append(Stub(*((*a, {}) if len(a) == 2 else a for a in full)))  # type: ignore[misc]
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()
