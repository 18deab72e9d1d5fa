"""What a run is called when nobody says: the same on all workers, and safe as a path."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

from lrwatch.agent.ranks import Identity
from lrwatch.errors import LrwatchError

RUNS: Final = Path("runs")
"""Where runs go that were given no directory."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def name_run(
    run_id: str | None, run_dir: str | os.PathLike[str] | None, experiment: str, identity: Identity
) -> tuple[str, Path]:
    """Run id and run directory.

    Without an id: the directory's name; without either: the experiment and the launcher's name for the job, or the
    time at which the launcher was started (one process on its own: the time now).

    Raises:
        LrwatchError: the id is not safe as a file name.
    """
    if run_id is not None and not _SAFE.fullmatch(run_id):
        raise LrwatchError(
            f"run_id {run_id!r}: must be 1 to 128 letters, digits, dots, dashes or underscores, the first a letter or "
            "digit, because it names a directory"
        )
    if run_dir is not None:
        return run_id or _safe(Path(run_dir).absolute().name), Path(run_dir)
    name = run_id or _safe(f"{experiment}-{_token(identity)}")
    return name, RUNS / name


def _token(identity: Identity) -> str:
    if identity.job is not None:
        return identity.job
    if identity.world == 1:
        return f"{_stamp(time.time())}-{secrets.token_hex(2)}"
    return f"{_stamp(_started(os.getppid()))}-{os.getppid()}"


def _stamp(seconds: float) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))


def _started(pid: int) -> float:
    """When a process was started, in Unix seconds: the same for all who ask. 0 where /proc does not say."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return 0.0


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:128] or "run"
