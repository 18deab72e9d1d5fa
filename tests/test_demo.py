"""The demo, as ``make demo`` runs it: real training, twice, and the bug named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.torchrun
def test_the_demo_names_the_bug(tmp_path: Path, lrwatch_on_path: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", tmp_path / "demo"],
        cwd=tmp_path, env=lrwatch_on_path, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Healthy run: passed." in done.stdout
    assert "stepped once per worker (k = 4 = world size), first at step 1." in done.stdout
