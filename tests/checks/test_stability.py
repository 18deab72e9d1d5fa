"""The law of the stability checks: silent on healthy runs, whatever their noise, and not on others.

Calibration: the thresholds are named constants in the checks, with the reason beside; these tests are what they were
set by. ``long`` runs thousands of simulated runs, the others a sample of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lrwatch.checks import checks
from lrwatch.engine import Session
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Chunk
from tests.checks import simulated
from tests.checks.simulated import FAULTS, KINDS, NOISES, SCHEDULES, healthy, noise_of

OTHERS = {"drift", "desync", "contract-mismatch", "non-finite", "run-length", "stepping", "trace-damage"}
STABILITY = sorted(checks().keys() - OTHERS)


def told(findings: Sequence[Finding]) -> list[str]:
    return [f"{f.slug}: {f.message}" for f in findings]


def false_alarms(seeds: range, longest: int) -> list[str]:
    alarms = []
    for seed in seeds:
        run = healthy(np.random.default_rng(seed), longest=longest)
        alarms += [f"seed {seed}, {run.name}: {words}" for words in told(run.judged(STABILITY).findings)]
    return alarms


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_silent_on_healthy_runs(first: int) -> None:
    assert false_alarms(range(first, first + 10), longest=2000) == []


@pytest.mark.parametrize("seed", [2653, 3145, 3423])
def test_silent_where_a_threshold_was_too_low(seed: int) -> None:
    """Validations that begin when most is learned, a loss that only wanders, a training loss of a few noisy rows."""
    assert false_alarms(range(seed, seed + 1), longest=20000) == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(1000, 4000, 250))
def test_silent_on_thousands_of_healthy_runs(first: int) -> None:
    assert false_alarms(range(first, first + 250), longest=20000) == []


@pytest.mark.parametrize("noise", NOISES)
def test_silent_on_every_kind_of_noise(noise: str) -> None:
    """All kinds of runs, two schedules with restarts among them, without a contract: then nothing explains a bump."""
    for i, kind in enumerate(KINDS):
        rng = np.random.default_rng(100 + i)
        run = healthy(rng, kind, list(SCHEDULES)[(5 * i) % len(SCHEDULES)], 900, noise)
        assert told(run.judged(STABILITY, promised=False).findings) == [], run.name


@pytest.mark.parametrize("steps", [1, 7, 9, 40, 71, 96, 130])
def test_silent_on_short_runs(steps: int) -> None:
    for seed in range(8):
        run = healthy(np.random.default_rng(seed), steps=max(steps, 9))
        run.steps, run.lr, run.loss, run.grad_norm = (a[:steps] for a in (run.steps, run.lr, run.loss, run.grad_norm))
        run.skipped = None
        assert told(run.judged(STABILITY).findings) == [], run.name


def detected(fault: str, seeds: range) -> tuple[int, list[str]]:
    """How many of the faults their check named, and the others."""
    missed = []
    for seed in seeds:
        run, slug, _ = FAULTS[fault](np.random.default_rng(seed))
        if not run.judged([slug]).findings:
            missed.append(f"seed {seed}, {run.name}")
    return len(seeds) - len(missed), missed


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str) -> None:
    found, missed = detected(fault, range(8))
    assert found >= 7, missed


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_nearly_all_faults_are_found(fault: str) -> None:
    found, missed = detected(fault, range(100, 300))
    assert found >= 190, missed


@pytest.mark.parametrize("fault", ["diverged", "diverged_late", "exploded", "exploded_at_restart", "starved"])
def test_where_a_fault_begins(fault: str) -> None:
    """Half of the first bad steps within 2 % of the run of the true one."""
    off = []
    for seed in range(8):
        run, slug, at = FAULTS[fault](np.random.default_rng(seed))
        off += [abs((f.first_step or 0) - at) / run.steps[-1] for f in run.judged([slug]).findings]
    assert np.median(off) < 0.02


def test_only_lost_runs_are_errors() -> None:
    """Spikes, flat lines and waste are none; a loss that never comes down again is one."""
    for fault in ("spiked", "stuck", "swinging", "starved", "overfitted", "vanished"):
        for seed in range(2):
            run, slug, _ = FAULTS[fault](np.random.default_rng(seed))
            assert {f.severity for f in run.judged([slug]).findings} <= {Severity.info, Severity.warning}
    for seed in range(4):
        run, slug, _ = FAULTS["diverged"](np.random.default_rng(seed))
        (finding,) = run.judged([slug]).findings
        assert (finding.severity, finding.state) == (Severity.error, "active")


@pytest.mark.parametrize("fault", FAULTS)
def test_how_rows_are_cut_does_not_matter(fault: str) -> None:
    run, _, _ = FAULTS[fault](np.random.default_rng(1))
    whole = run.judged(STABILITY, rows=1 << 20).findings
    assert run.judged(STABILITY, np.random.default_rng(0), rows=700).findings == whole


@pytest.mark.parametrize("fault", FAULTS)
def test_found_while_it_lasts(fault: str) -> None:
    """Findings are there in mid-run, their first step stays what it was, and there is one for one symptom."""
    run, slug, _ = FAULTS[fault](np.random.default_rng(2))
    session = Session(run.contract, live=True, only=[slug])
    seen: dict[tuple[str, str | None], set[int | None]] = {}
    for item in run.items(rows=100):
        session.feed(item)
        found = [f for f in session.findings() if f.slug == slug]
        assert len({(f.slug, f.signal) for f in found}) == len(found)
        for f in found:
            seen.setdefault((f.slug, f.signal), set()).add(f.first_step)
    assert seen and all(len(firsts) == 1 for firsts in seen.values())


# -- several workers --------------------------------------------------------------------------------


def workers(rng: simulated.Rng, odd: int | None) -> tuple[list[list[Chunk]], int]:
    """Chunks of 3 to 16 workers, round by round, and the step from which ``odd`` is apart."""
    count, n = int(rng.choice([3, 4, 8, 16])), int(rng.integers(300, 900))
    kind, scale = str(rng.choice(NOISES)), rng.uniform(0.005, 0.05)
    noise = np.stack([noise_of(rng, n, kind) for _ in range(count)])
    loss = 2 + 4 * np.exp(-np.arange(n) / 100) + scale * (noise + rng.standard_normal((count, 1)) * rng.uniform(0, 1))
    shared = rng.random() < 0.5
    norm = np.exp(0.3 * rng.standard_normal(n)) * np.exp(0.3 * rng.standard_normal((count, 1 if shared else n)))
    norm = np.broadcast_to(norm[:1] if shared else norm, (count, n))
    at = n // 2
    if odd is not None:
        loss[odd, at:] += rng.choice([-1.0, 1.0]) * rng.uniform(10, 50) * scale
    rounds = [
        [
            Chunk({"update": np.arange(n)[r], "loss": loss[k, r], "grad_norm": norm[k, r]}, rank=k, world=count)
            for k in range(count)
        ]
        for r in (slice(i, i + 100) for i in range(0, n, 100))
    ]
    return rounds, at


def judged(rounds: list[list[Chunk]]) -> tuple[Finding, ...]:
    session = Session(None, only=["dispersion"])
    for chunks in rounds:
        for chunk in chunks:
            session.feed(chunk)
    return session.finish().findings


def test_workers_on_shards_of_one_data_set_are_not_apart() -> None:
    for seed in range(40):
        rounds, _ = workers(np.random.default_rng(seed), None)
        assert told(judged(rounds)) == [], seed


def test_the_worker_that_is_apart_is_named() -> None:
    for seed in range(20):
        rounds, at = workers(np.random.default_rng(seed), 2)
        (finding,) = judged(rounds)
        assert (finding.rank, finding.signal, finding.severity) == (2, "loss", Severity.warning)
        assert finding.first_step is not None and abs(finding.first_step - at) <= 32
