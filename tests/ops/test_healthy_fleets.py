"""A day without a fault: restarts, resumes, sweeps, short jobs, gaps, slow steps; and nobody is woken."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from lrwatch.ops import render, reviewed
from lrwatch.ops.thresholds import resolve
from tests.ops.fleet import HOUR, INTERVAL, Attempt, Run, encoded, ledger, scraped
from tests.ops.rules import ALERTS

MINUTE = 60.0


def every(
    period: float, length: float, state: str, until: float, start: float = 0.0
) -> tuple[tuple[float, float, str], ...]:
    """A pause of ``length`` in every ``period``."""
    return tuple((t, t + length, state) for t in (start + i * period for i in range(1, int(until / period) + 1)))


def fleet(hours: float) -> list[Run]:
    """What healthy runs do in so many hours."""
    end, day = hours * HOUR + 1, hours / 24
    validations = every(2 * HOUR, 25 * MINUTE, "validating", end) + every(HOUR, 2 * MINUTE, "checkpointing", end, 600)
    shorts = [
        # A quarter of an hour each; every other one keeps its final state readable, the rest are known to the ledger.
        Run(f"short-{i}", (Attempt(i * 45 * MINUTE, i * 45 * MINUTE + 900, linger=90.0 * (i % 2)),))
        for i in range(int(hours * 60 / 45) - 1)
    ]
    return [
        # Four workers, validations and checkpoints.
        Run("steady", (Attempt(-HOUR, end, world=4),), pauses=validations),
        Run("preempted", (
            Attempt(-600, 3 * HOUR * day, world=2),
            Attempt(3 * HOUR * day + 8 * MINUTE, 9 * HOUR * day, world=2, step0=15_000),
            Attempt(9 * HOUR * day + 4 * MINUTE, end, world=2, step0=50_000),
        )),
        Run("elastic", (
            Attempt(-600, 6 * HOUR * day, world=4),
            Attempt(6 * HOUR * day + 90, 12 * HOUR * day, world=3, step0=40_000),
            Attempt(12 * HOUR * day + 90, end, world=4, step0=80_000),
        )),
        # Preempted, and 40 minutes in the queue.
        Run("queued", (
            Attempt(-600, 5 * HOUR * day), Attempt(5 * HOUR * day + 40 * MINUTE, end, step0=20_000),
        )),
        Run("rank0", (Attempt(-600, end, world=16),), watched=1),
        Run("slow", (Attempt(-HOUR, end),), rate=lambda s: (s + 400 * math.sin(s / 2000)) / 1200),
        Run("wrong-clock", (Attempt(-600, end, world=2),), clock=-1200.0),
        Run("compiling", (Attempt(HOUR, end, startup=25 * MINUTE),)),
        Run("ramp", (Attempt(-600, end),), rate=lambda s: 4 * min(s, 2 * HOUR) + 2 * max(0.0, s - 2 * HOUR)),
        Run("strict", (Attempt(-600, end, world=2),), deadline=60.0),
        Run("trial", (Attempt(600, end),), labels={"sweep": "lr-range"}, findings={"LR101": "error"}),
        Run("costly", (Attempt(-600, 4 * HOUR * day, linger=300.0),), experiment="vision"),
        *shorts,
    ]  # fmt: skip


def gaps(hours: float) -> dict[str, tuple[tuple[float, float], ...]]:
    """Scrapes that fail: three minutes here, four there, and once all at the same time."""
    day = hours / 24 * HOUR
    outage = (15 * day, 15 * day + 240)
    return {
        "steady": ((5 * day, 5 * day + 180), outage), "preempted": ((7 * day, 7 * day + 200), outage),
        "strict": ((2 * day, 2 * day + 90), outage), "elastic": (outage,), "rank0": (outage,), "slow": (outage,),
        "wrong-clock": (outage,), "trial": (outage,), "ramp": (outage,), "compiling": (outage,),
    }  # fmt: skip


def fired(promtool: str, folder: Path, runs: list[Run], hours: float, evaluation: float) -> str:
    """What promtool says about all pages and tickets of the time, where only one ticket is expected."""
    ticks = int(hours * HOUR / INTERVAL) + 1
    over = [run for run in runs if run.attempts[-1].end < hours * HOUR]
    ended = [(run.attempts[-1].end, run.name, run.experiment, "converged") for run in over]
    interrupted = [(run.name, a.end, b.start) for run in runs for a, b in pairwise(run.attempts)]
    series = scraped(runs, gaps(hours), ticks) | ledger(ended, interrupted, ticks)
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "s.yml").write_text(
        "sweep: lr-range\nowner: ada\nticket: ML-1\nstarts: 1970-01-01\nexpires: 1970-01-14\nreason: range test\n"
    )
    group = reviewed.sweep_group(reviewed.sweeps(folder / "sweeps"))
    (folder / "sweeps.yml").write_text(render.text(group, resolve()))
    files = [*sorted(str(path) for path in (ALERTS / "rules").glob("*.yml")), str(folder / "sweeps.yml")]
    lines = [f"  - {{series: '{name}', values: '{encoded(values)}'}}" for name, values in sorted(series.items())]
    # As Alertmanager would: an authorised sweep silences conformance findings of its own runs.
    heard = (
        'ALERTS{alertstate="firing", severity=~"critical|warning"} unless on (sweep) '
        '(ALERTS{alertname="LrwatchSweepAuthorized"} and on (sweep) ALERTS{code=~"LR1.."})'
    )
    # Recorded at every evaluation: asked for in the end only, it would be too much at once.
    (folder / "heard.yml").write_text(f"""
groups: [{{name: heard, rules: [{{record: heard, expr: 'count by (alertname, run_id, experiment) ({heard})'}}]}}]
""")
    files.append(str(folder / "heard.yml"))
    query = f"count by (alertname, run_id, experiment) (count_over_time(heard[{hours:.0f}h]))"
    head = [f"rule_files: [{', '.join(files)}]", f"evaluation_interval: {evaluation:.0f}s", "tests:",
            f"- interval: {INTERVAL:.0f}s", "  input_series:"]  # fmt: skip
    earned = '{alertname="LrwatchCostOverBudget", experiment="vision"}'
    lines += ["  promql_expr_test:", f"  - expr: '{query}'", f"    eval_time: {hours:.0f}h", "    exp_samples:"]
    lines += [f"    - {{labels: '{earned}', value: 1}}"]
    (folder / "test.yml").write_text("\n".join([*head, *lines]) + "\n")
    done = subprocess.run([promtool, "test", "rules", str(folder / "test.yml")], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("hours", "evaluation"), [(4.0, 60.0), pytest.param(24.0, 30.0, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_nobody_is_woken(tool: Callable[[str], str], tmp_path: Path, hours: float, evaluation: float) -> None:
    """Evaluated every minute for four hours; every half minute for a whole day in the long tests."""
    said = fired(tool("promtool"), tmp_path, fleet(hours), hours, evaluation)
    assert "SUCCESS" in said, said


def test_one_who_stands_still_among_them_is_heard(tool: Callable[[str], str], tmp_path: Path) -> None:
    stuck = Run("stuck", (Attempt(0, 2 * HOUR),), rate=lambda s: min(s, 600))
    said = fired(tool("promtool"), tmp_path, [stuck], 1.0, 60.0)
    assert '{alertname="LrwatchRunStalled", run_id="stuck"} 1E+00' in said
