"""Every reader under atheris for a while: see ``fuzz.py``. LRWATCH_FUZZ_SECONDS=600 looks longer."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lrwatch.readers import readers

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("LRWATCH_FUZZ_SECONDS", "30"))
NEEDS = {"parquet": "pyarrow", "arrow": "pyarrow", "tensorboard": "tensorboard", "wandb": "wandb"}


@pytest.mark.long
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed (it is for Linux on x86-64)")
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", sorted(name for name, reader in readers().items() if not reader.schemes))
def test_no_input_crashes_hangs_or_fills_the_memory(tmp_path: Path, name: str) -> None:
    """A crash leaves its input in tmp_path; libFuzzer itself ends what takes 10 seconds or a gigabyte."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    limits = ["-max_len=8192", "-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.readers.fuzz", name, str(tmp_path / "corpus")]
    run = subprocess.run(
        [*command, f"-max_total_time={SECONDS}", *limits], cwd=ROOT, capture_output=True, text=True, errors="replace"
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "Done " in run.stderr and len(list((tmp_path / "corpus").iterdir())) > 1
