"""Background processes with a pid file each: started detached, recognised again later, stopped without survivors.

A pid alone proves nothing after a crash, for the system gives it to others. A process counts as ours when its command
line names the directory that it was started for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

PATIENCE: Final = 10.0
"""Seconds from SIGTERM to SIGKILL."""


def start(
    folder: Path, name: str, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Start detached; ``folder/pids/name`` holds its pid before it runs, ``folder/logs/name.log`` what it says."""
    pid_file, log = folder / "pids" / name, folder / "logs" / f"{name}.log"
    for parent in (pid_file.parent, log.parent):
        parent.mkdir(parents=True, exist_ok=True)
    pid_file.unlink(missing_ok=True)  # of an earlier one: from now on there is one as soon as this one has begun
    # The outer shell ends at once, so that nobody is the parent; the inner one writes its own pid and then becomes the
    # program, so that it cannot be lost in between.
    script = """/bin/sh -c 'echo $$ >"$0" && exec "$@"' "$0" "$@" &"""
    with log.open("ab") as out:
        subprocess.run(
            ["/bin/sh", "-c", script, str(pid_file), *command], check=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd or folder, env={**os.environ, **(env or {})},
        )  # fmt: skip


def running(folder: Path, name: str) -> int | None:
    """The pid of a process that was started for ``folder`` and still runs, else None."""
    try:
        pid = int((folder / "pids" / name).read_text())
    except (OSError, ValueError):
        return None
    return pid if str(folder) in command_line(pid) else None


def names(folder: Path) -> list[str]:
    """Every process that was started for ``folder`` and has not been stopped."""
    return sorted(path.name for path in (folder / "pids").glob("*"))


def command_line(pid: int) -> str:
    """What a process was started as; empty when there is none, or only its remains."""
    proc = Path("/proc") / str(pid)
    if proc.parent.joinpath("self").exists():
        try:
            return proc.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout


def stop(folder: Path, which: Iterable[str], patience: float = PATIENCE) -> list[str]:
    """End these processes, by force where asking does not help; returns the names of those that ran."""
    found = {name: pid for name in which if (pid := running(folder, name)) is not None}
    for pid in found.values():
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(running(folder, name) for name in found):
        if time.monotonic() > deadline:
            for name in found:
                if (pid := running(folder, name)) is not None:
                    _signal(pid, signal.SIGKILL)
            deadline += patience
        time.sleep(0.02)
    for name in which:
        (folder / "pids" / name).unlink(missing_ok=True)
    return list(found)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
