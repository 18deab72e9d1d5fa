"""What verifying a long trace costs, beside reading it alone, replaying the scheduler, and other tools.

    python benchmarks/bench_verify.py [--rows 1000000] [--work DIR]    # `pip install .[bench]` for the alternatives

Writes one run as CSV and JSON Lines (warm-up and cosine, five columns), then runs everything in turn, each in its own
process: wall and CPU seconds and peak memory of that process, imports not counted. The box may be busy: compare the
ratios to polars' reading, taken in the same minute. ``verify, light`` is an installation without polars.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CONTRACT = """lrwatch: 1
experiment: ""
clock: {{axis: update, horizon: {rows}}}
lr:
  base: 3.0e-4
  schedule: [{{linear: {{from: 0, for: {warmup}}}}}, {{cosine: {{to: 3.0e-5, until: horizon}}}}]
"""

TIMED = """
import json, os, resource, sys, time
{imports}
wall, cpu = time.perf_counter(), time.process_time()
{body}
seconds = [time.perf_counter() - wall, time.process_time() - cpu]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a parent's counts as well, as long as it was the larger
if os.path.exists("/proc/self/status"):
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(json.dumps([*seconds, int(peak) / 1024]))
"""

LRWATCH = (
    "import numpy\nfrom lrwatch.contract import load\nfrom lrwatch.readers import open_trace\n"
    "from lrwatch.verify import verify\nfrom lrwatch.checks import checks\nchecks()\n"
    "from lrwatch.readers import _fast\nif _fast.USED: import polars"  # before the clock, as above
)
VERIFY = "assert verify(load(CONTRACT), open_trace([FILE])).result.verdict() == 'pass'"

CASES: Sequence[tuple[str, str, str, dict[str, str]]] = (
    ("csv", "polars reads", "import polars", {"body": "polars.read_csv(FILE)"}),
    ("csv", "pyarrow reads", "import pyarrow.csv as c", {"body": "c.read_csv(FILE)"}),
    ("csv", "pandas reads", "import pandas", {"body": "pandas.read_csv(FILE)"}),
    ("csv", "csv module reads", "import csv", {"body": "for row in csv.reader(open(FILE)): pass"}),
    ("csv", "lrwatch reads", LRWATCH, {"body": "for item in open_trace([FILE]): pass"}),
    ("csv", "lrwatch verify", LRWATCH, {"body": VERIFY}),
    ("csv", "lrwatch verify, light", LRWATCH, {"body": VERIFY, "LRWATCH_FAST": "0"}),
    ("jsonl", "polars reads", "import polars", {"body": "polars.read_ndjson(FILE)"}),
    ("jsonl", "pyarrow reads", "import pyarrow.json as j", {"body": "j.read_json(FILE)"}),
    ("jsonl", "json loop reads", "import json", {"body": "for line in open(FILE): json.loads(line)"}),
    ("jsonl", "lrwatch reads", LRWATCH, {"body": "for item in open_trace([FILE]): pass"}),
    ("jsonl", "lrwatch verify", LRWATCH, {"body": VERIFY}),
    ("jsonl", "lrwatch verify, light", LRWATCH, {"body": VERIFY, "LRWATCH_FAST": "0"}),
    ("csv", "gradsnitch", "import gradsnitch", {"body": "gradsnitch.lint_csv(FILE)"}),
    ("", "torch scheduler replay", "import torch", {"body": (
        "p = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([p], lr=3e-4)\n"
        "s = torch.optim.lr_scheduler.SequentialLR(o, [torch.optim.lr_scheduler.LinearLR(o, 1e-9, 1.0, WARMUP),\n"
        "    torch.optim.lr_scheduler.CosineAnnealingLR(o, ROWS - WARMUP, 3e-5)], [WARMUP])\n"
        "for _ in range(ROWS): o.step(); s.step()"
    )}),
)  # fmt: skip


def write(rows: int, work: Path) -> None:
    """The run in both forms."""
    warmup = rows // 500
    t = np.arange(rows)
    cosine = 3e-5 + (3e-4 - 3e-5) * 0.5 * (1 + np.cos(np.pi * (t - warmup) / (rows - warmup)))
    rate = np.where(t < warmup, 3e-4 * t / warmup, cosine)
    rng = np.random.default_rng(0)
    with (work / "run.csv").open("w") as table, (work / "run.jsonl").open("w") as lines:
        table.write("step,lr,loss,grad_norm,ts\n")
        for start in range(0, rows, 100_000):
            s = t[start : start + 100_000]
            loss = 2 + 8 * np.exp(-s / (rows / 5)) + rng.normal(0, 0.05, len(s))
            norm = np.abs(1 + rng.normal(0, 0.1, len(s)))
            columns = s.tolist(), rate[s].tolist(), loss.round(5).tolist(), norm.round(4).tolist(), (s * 0.25).tolist()
            for a, b, c, d, e in zip(*columns, strict=True):
                table.write(f"{a},{b!r},{c},{d},{e}\n")
                lines.write(f'{{"step": {a}, "lr": {b!r}, "loss": {c}, "grad_norm": {d}, "ts": {e}}}\n')
    (work / "contract.yaml").write_text(CONTRACT.format(rows=rows, warmup=warmup))


def measured(imports: str, body: str, file: Path, rows: int, **environment: str) -> list[float] | str:
    """Wall seconds, CPU seconds, peak megabytes; or why there are none."""
    contract = str(file.with_name("contract.yaml"))
    names = f"FILE = {str(file)!r}\nCONTRACT = {contract!r}\nROWS, WARMUP = {rows}, {rows // 500}"
    code = TIMED.format(imports=f"{imports}\n{names}", body=body)
    try:
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=1800,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return "gave up after 30 minutes"
    if "ModuleNotFoundError" in run.stderr:
        return "not installed"
    try:
        result: list[float] = json.loads(run.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return "failed: " + (run.stderr.strip().splitlines() or ["no output"])[-1][:80]
    return result


def tool(name: str, file: Path) -> list[float] | str:
    """Another tool through its own command, in seconds of its process."""
    script = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if script is None:
        return "not installed"
    word = {"losslint": "check", "runmedic": "diagnose"}[name]
    code = (
        "import json, resource, subprocess, sys, time; t = time.perf_counter(); "
        "r = subprocess.run(sys.argv[1:], capture_output=True); u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([time.perf_counter() - t, u.ru_utime + u.ru_stime, u.ru_maxrss / 1024]))"
    )
    run = subprocess.run([sys.executable, "-c", code, script, word, str(file)], capture_output=True, text=True)
    result: list[float] = json.loads(run.stdout)
    return result


def main() -> None:
    """Write the run, run the cases, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, help="where the files are written, and kept")
    parser.add_argument("--only", default="", help="cases whose name this regular expression finds")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = said.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "contract.yaml").exists():
            write(said.rows, work)
        print(f"{said.rows:,} rows; times the CPU seconds of polars reading the same file\n")
        print(f"{'':6}{'':24}{'wall s':>9}{'CPU s':>9}{'MB':>7}{'wall ×':>9}{'CPU ×':>8}")
        alone: dict[str, list[float]] = {}
        for form, name, imports, how in CASES:
            if not re.search(said.only, f"{form} {name}") and "polars" not in name:
                continue
            how = dict(how)
            figures = measured(imports, how.pop("body"), work / f"run.{form or 'csv'}", said.rows, **how)
            if name == "polars reads" and not isinstance(figures, str):
                alone[form] = figures
            show(form, name, figures, alone.get(form or "csv"))
        for name in ("losslint", "runmedic"):
            if re.search(said.only, f"csv {name}"):
                show("csv", name, tool(name, work / "run.csv"), alone.get("csv"))


def show(form: str, name: str, figures: list[float] | str, alone: list[float] | None) -> None:
    """One line of the table."""
    if isinstance(figures, str):
        print(f"{form:6}{name:24}  {figures}", flush=True)
        return
    wall, cpu, memory = figures
    ratios = f"{wall / alone[0]:9.1f}{cpu / alone[1]:8.1f}" if alone else ""
    print(f"{form:6}{name:24}{wall:9.2f}{cpu:9.2f}{memory:7.0f}{ratios}", flush=True)


if __name__ == "__main__":
    main()
