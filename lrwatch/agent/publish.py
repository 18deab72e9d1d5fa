"""What a worker leaves for ``lrwatch ops node``: its metrics as text, once a second.

``RUN_DIR/snapshots/rank00003.prom`` is the exposition that the worker's own port would serve, after one line about the
process, which other readers take for a comment:

    # lrwatch {"pid": 4242, "pid_namespace": "pid:[4026531836]", "boot": "…", "ts": 1785578400.25, "ended": false}

The file is replaced, never rewritten: a reader sees one moment. It is not synced to the disk, for it says nothing
that is worth a power cut.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "snapshots"
PERIOD: Final = 1.0
"""Seconds between two snapshots."""
MARK: Final = "# lrwatch "
VARIABLE: Final = "LRWATCH_PUBLISH"


def asked_for(publish: bool | None) -> bool:
    """Whether to publish: the argument, else LRWATCH_PUBLISH."""
    return os.environ.get(VARIABLE, "") not in ("", "0") if publish is None else publish


def process() -> dict[str, Any]:
    """What tells this process from others: a pid means something only within its namespace and boot."""
    return {"pid": os.getpid(), "pid_namespace": pid_namespace(), "boot": boot()}


def pid_namespace() -> str | None:
    """Name of this process's pid namespace, None where there is no such thing."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def boot() -> str:
    """The same for all processes of a machine, in whatever container, until it boots again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


class Publisher:
    """Writes the snapshot of a worker. ``render`` returns the exposition; called from the worker's thread."""

    def __init__(self, run_dir: Path, rank: int, render: Callable[[], bytes]):
        self.path = run_dir / FOLDER / f"rank{rank:05d}.prom"
        self._render, self._about, self._next = render, process(), 0.0

    def publish(self, ended: bool = False) -> None:
        """Write, unless it was done within the last second. Raises OSError."""
        now = time.monotonic()
        if now < self._next and not ended:
            return
        self._next = now + PERIOD
        head = json.dumps({**self._about, "ts": time.time(), "ended": ended})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{self._about['pid']}.tmp")
        try:
            part.write_bytes(f"{MARK}{head}\n".encode() + self._render())
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)
