"""Other people's programs: where they are, and running them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from lrwatch import assets
from lrwatch.errors import LrwatchError

OTHER_NAMES: Final = {
    "alertmanager": ("prometheus-alertmanager",),  # as Debian calls it
    "grafana": ("grafana-server",),
}


def find(name: str) -> Path | None:
    """A program in ``.tools/bin`` of this directory or of the checkout, else on PATH; None where there is none."""
    places = [Path.cwd() / ".tools" / "bin", assets.root() / ".tools" / "bin"]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
    for word in (name, *OTHER_NAMES.get(name, ())):
        if found := shutil.which(word, path=path):
            return Path(found)
    return None


def need(name: str) -> Path:
    """The same. Raises ``LrwatchError`` where there is none."""
    found = find(name)
    if found is None:
        raise LrwatchError(f"{name} is neither in .tools/bin nor on PATH; install it (make tools, in a checkout)")
    return found


def run(program: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run to the end, output as text; the exit code is the caller's to judge."""
    return subprocess.run([str(program), *arguments], cwd=cwd, capture_output=True, text=True, check=False)

