"""Memory does not grow with the length of a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from lrwatch.contract import load
from lrwatch.readers import open_trace
from lrwatch.verify import verify
result = verify(load(sys.argv[1]), open_trace([sys.argv[2]])).result
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(result.verdict(), result.stats.rows, int(peak) // 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="a process's own peak is in /proc; getrusage counts its parent's")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_twenty_million_rows_in_300_megabytes(tmp_path: Path, form: str) -> None:
    """The benchmark (``bench_verify.py --rows 100000000``) shows the same of a hundred million."""
    (tmp_path / "run.yaml").write_text(
        'lrwatch: 1\nexperiment: ""\nclock: {axis: update, horizon: 20000000}\n'
        "lr: {base: 1.0e-3, schedule: [{linear: {from: 1.0e-3, to: 0, until: horizon}}]}\n"
    )
    line = '{{"step": {}, "lr": {!r}, "loss": 2.5}}\n' if form == "jsonl" else "{},{!r},2.5\n"
    path = tmp_path / f"run.{form}"
    with path.open("w") as file:
        file.write("" if form == "jsonl" else "step,lr,loss\n")
        for start in range(0, 20_000_000, 100_000):
            file.write("".join([line.format(t, 1e-3 * (1 - t / 2e7)) for t in range(start, start + 100_000)]))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run.yaml"), str(path)]
    verdict, rows, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert (verdict, int(rows)) == ("pass", 20_000_000)
    assert int(megabytes) <= 300
