"""``lrwatch verify`` where a transcript cannot see it: terminals, signals, half-written files."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from lrwatch.cli import base
from lrwatch.cli.base import progress
from lrwatch.errors import LrwatchError, OutputExists

ROOT = Path(__file__).parents[2]
LRWATCH = (sys.executable, "-m", "lrwatch")

CONTRACT = "lrwatch: 1\nexperiment: x\nclock: {horizon: 4}\nlr: {base: 0.5, schedule: constant}\n"
TRACE = "step,lr\n0,0.5\n1,0.5\n2,0.5\n3,0.5\n"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A directory with a contract and a trace that keeps it."""
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    (tmp_path / "trace.csv").write_text(TRACE)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LRWATCH_DEBUG")}
    return kept | {"TERM": "xterm", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | more


def on_a_terminal(args: list[str], where: Path, *, stream: str = "stdout", **env: str) -> str:
    """What a command writes to the stream that is a terminal; the other one goes nowhere."""
    ours, theirs = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: theirs}
    with subprocess.Popen([*LRWATCH, *args], cwd=where, env=environment(**env), **streams) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says EIO when the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        assert child.wait() == 0
    return shown.decode()


VERIFY = ["verify", "contract.yaml", "trace.csv"]


def test_a_terminal_gets_colours(there: Path) -> None:
    assert on_a_terminal(VERIFY, there).startswith("\x1b[32;1mPASS\x1b[0m  ")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(there: Path, env: dict[str, str]) -> None:
    shown = on_a_terminal(VERIFY, there, **env)
    assert shown.startswith("PASS  ") and "\x1b" not in shown


def test_no_colours_in_a_file_or_json(there: Path) -> None:
    assert on_a_terminal([*VERIFY, "--output", "verdict.txt"], there) == ""
    assert (there / "verdict.txt").read_text(encoding="utf-8").startswith("PASS  ")
    assert "\x1b" not in on_a_terminal([*VERIFY, "--format", "json"], there)


@pytest.mark.parametrize(
    ("rows", "seconds", "share", "said"),
    [
        (4, 0.01, None, "4 rows"),
        (4, 0.5, 0.5, "4 rows · 50 %"),
        (2_500_000, 5.0, 0.25, "2,500,000 rows · 500,000/s · 25 % · 15 s left"),
        (100_000_000, 60.0, 0.1, "100,000,000 rows · 1,666,667/s · 10 % · 9 min left"),
        (7, 2.0, None, "7 rows · 4/s"),
    ],
)
def test_progress_has_rate_share_and_what_is_left(rows: int, seconds: float, share: float | None, said: str) -> None:
    assert progress(rows, seconds, share) == said


def test_progress_is_for_a_terminal_and_leaves_nothing_behind(there: Path) -> None:
    shown = on_a_terminal(VERIFY, there, stream="stderr")
    assert re.search(r"\r4 rows( · \d+/s)? · 100 %( · 0 s left)?\x1b\[K", shown)
    assert shown.endswith("\r\x1b[K")
    assert not re.sub(r"\r[^\r]*\x1b\[K", "", shown)


def waits_for_input(child: subprocess.Popen[str]) -> bool:
    """Whether it has read everything, and sleeps until more comes: a signal between two reads waits with it."""
    assert child.stdin
    left = struct.unpack("i", fcntl.ioctl(child.stdin, termios.FIONREAD, b"\0\0\0\0"))[0]
    state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return left == 0 and state == "S"


def test_ctrl_c_is_130_one_line_and_no_output(there: Path) -> None:
    with subprocess.Popen(
        [*LRWATCH, "verify", "contract.yaml", "-", "--output", "verdict.txt"],
        cwd=there,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdin
            child.stdin.write(TRACE + "4,0.5\n" * 50_000)  # more than a pipe holds: it is being read
            child.stdin.flush()
            while child.poll() is None and not waits_for_input(child):
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            assert child.wait(100) == 130
        finally:
            child.kill()
        assert child.stderr and child.stdout
        assert (child.stdout.read(), child.stderr.read().strip()) == ("", "lrwatch: interrupted")
    assert sorted(p.name for p in there.iterdir()) == ["contract.yaml", "trace.csv"]


def test_a_name_that_no_terminal_can_show_stops_nothing(there: Path) -> None:
    name = os.fsencode(there) + b"/tr\xff\xc3\xa9.csv"
    (there / "trace.csv").rename(os.fsdecode(name))
    for encoding in ("utf-8", "ascii", "latin-1"):
        for form in ("text", "json"):
            done = subprocess.run(
                [*LRWATCH, "verify", "contract.yaml", b"tr\xff\xc3\xa9.csv", "--format", form],
                cwd=there,
                env=environment(PYTHONIOENCODING=encoding),
                capture_output=True,
            )
            assert (done.returncode, done.stderr) == (0, b"")
            shown = done.stdout.decode(encoding)
            if form == "json":
                assert json.loads(shown)["trace"]["paths"] == ["tr\udcffé.csv"]
            else:
                assert f"Trace         tr\\udcff{'é' if encoding == 'utf-8' else chr(92) + 'xe9'}.csv (csv)" in shown


def test_closed_streams_change_no_verdict(there: Path) -> None:
    command = f'"{sys.executable}" -m lrwatch verify contract.yaml trace.csv >&- 2>&-'
    assert subprocess.run(["bash", "-c", command], cwd=there, env=environment()).returncode == 0


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "verdict.json"
    target.write_text("old")
    with pytest.raises(OutputExists, match=r"verdict\.json: already exists; pass --force to overwrite it"):
        base.write("new", str(target), force=False)

    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(LrwatchError, match=r"verdict\.json: cannot be written: No space left on device"):
        base.write("new", str(target), force=True)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["verdict.json"]
    assert target.read_text() == "old"
    base.write("new", str(target), force=True)
    assert target.read_text() == "new"


def test_a_dangling_link_counts_as_existing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputExists):
        base.refuse_to_overwrite(str(tmp_path / "link"), force=False)


def test_a_device_is_written_to_not_replaced() -> None:
    base.write("gone", "/dev/null", force=True)
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", True), ("ascii", False), ("latin-1", False), ("cp437", False), ("nonsense", False)],
)
def test_what_an_encoding_can_show(encoding: str, shown: bool) -> None:
    class Stream:
        def __init__(self) -> None:
            self.encoding = encoding

    assert base.shows_unicode(Stream()) == shown  # type: ignore[arg-type]


def test_plugin_names_without_importing() -> None:
    assert base.plugin_names("lrwatch.schedules")[:3] == ["constant", "cosine", "cosine_restarts"]
    assert "base" not in base.plugin_names("lrwatch.checks")
