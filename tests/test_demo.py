"""The demo, as ``make demo`` runs it: real training, twice, the bug named, and the on-call paged."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lrwatch.ops import processes, programs
from tests.conftest import ROOT


@pytest.mark.torchrun
@pytest.mark.timeout(1000)
def test_the_demo_names_the_bug(tmp_path: Path, lrwatch_on_path: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", tmp_path / "demo"],
        cwd=tmp_path, env=lrwatch_on_path, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Healthy run: passed." in done.stdout
    assert "stepped once per worker (k = 4 = world size), first at step 1." in done.stdout
    if programs.find("prometheus") is None or programs.find("alertmanager") is None:
        assert "the demo goes without" in done.stdout
        return
    # The page leaves as soon as one worker is seen; what the others know is in the next one.
    page = r"^  page  LrwatchFindingError \(critical\)\n        Run broken .*has finding LR10[12], first at step 1,? "
    assert re.search(page, done.stdout, re.MULTILINE), done.stdout
    assert "critical LrwatchFindingError LR101 broken (active)" in done.stdout, done.stdout
    assert "Alerts: as they should be." in done.stdout
    left = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    assert [line for pid in left if str(tmp_path) in (line := processes.command_line(pid))] == []
