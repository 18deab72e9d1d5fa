"""What every test may ask for: the outside programs, the list of the project's files, quiet processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# The test processes share the cores; torch and numpy read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples for everyone where a red run blocks others; no deadline, for no test measures time.
settings.register_profile("lrwatch", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lrwatch")


ALSO_CALLED = {
    "prometheus-alertmanager": ("alertmanager",),  # the longer name is Debian's alone
    "chromium": ("chromium-headless-shell", "chromium-browser", "google-chrome"),
}


def _tool(name: str) -> str:
    path = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ.get("PATH", os.defpath)])
    found = next(filter(None, (shutil.which(n, path=path) for n in (name, *ALSO_CALLED.get(name, ())))), None)
    if found is None:
        message = f"{name} is neither in .tools/bin nor on PATH: run make tools"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """``tool("promtool")``: the path of an outside program; without it the test skips, and fails where CI is set."""
    return _tool


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("tool"):
        _tool(mark.args[0])


@pytest.fixture(autouse=True)
def _one_torchrun_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two sets of training processes on the same cores would measure each other, whichever test process starts them."""
    if not request.node.get_closest_marker("torchrun"):
        yield
        return
    with (ROOT / "tests" / "conftest.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port of this machine on which nobody listens.

    Below the range from which systems take the ports of outgoing connections: one of those may sit on any other a
    moment later.
    """

    def free() -> int:
        for port in random.Random().sample(range(18_000, 30_000), 200):
            with socket.socket() as s, contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port
        raise AssertionError("none of 200 ports is free")

    return free


@pytest.fixture(scope="session")
def lrwatch_on_path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a shell finds this checkout's ``lrwatch``."""
    bin = tmp_path_factory.mktemp("bin")
    script = bin / "lrwatch"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lrwatch "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join([str(bin), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file that is the project's, relative to its root: tracked or about to be, never what a build made."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        files = [Path(name) for name in listed.stdout.split("\0") if name]
    else:  # an unpacked source distribution
        made = {".venv", ".tools", "build", "dist", ".hypothesis", "__pycache__"}
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        files = [f for f in files if not made & {*f.parts} and not f.parts[0].endswith("_cache")]
    return sorted(f for f in files if (ROOT / f).is_file())
