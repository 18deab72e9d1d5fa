"""Looking closely only where something could open changes nothing, not even what a check remembers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrwatch.checks import gradient_explosion, lr_at_floor, spike
from lrwatch.engine import Session
from tests.checks.simulated import FAULTS, Run, healthy

SCREENED = ["spike", "gradient-explosion", "lr-at-floor"]


def wild(rng: np.random.Generator) -> Run:
    """A healthy run with jumps of all sizes and lengths in loss and gradient norm."""
    run = healthy(rng, longest=6000)
    n = len(run.loss)
    for _ in range(6):
        at, length = int(rng.uniform(0, n)), int(rng.choice([1, 2, 3, 8, 40, 300]))
        run.loss[at : at + length] += rng.uniform(-1, 6) * (abs(float(np.median(run.loss))) + run.noise)
        run.grad_norm[n - at : n - at + length] *= 10.0 ** rng.uniform(-3, 3)
    return run


def judged(run: Run, rows: int) -> tuple[Any, ...]:
    session = Session(run.contract, only=SCREENED)
    for item in run.items(rows=rows):
        session.feed(item)
    return session.finish().findings, [check.state() for check in session._whole]


def test_a_screen_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    faults = [FAULTS[name](rng)[0] for name in ("spiked", "diverged", "exploded", "starved", "exploded_at_restart")]
    runs = [(run, int(rng.choice([96, 900, 5000]))) for run in (*faults, *(wild(rng) for _ in range(16)))]
    screened = [judged(*run) for run in runs]
    closely = spike._judged
    monkeypatch.setattr(spike, "_judged", lambda *given: closely(*given[:-2], -np.inf, given[-1]))
    monkeypatch.setattr(gradient_explosion.GradientExplosion, "_ordinary", lambda self, fresh: False)
    monkeypatch.setattr(lr_at_floor.LrAtFloor, "_high", lambda self, rates: False)
    assert [str(judged(*run)) for run in runs] == [str(one) for one in screened]
    assert {f.slug for findings, _ in screened for f in findings} == set(SCREENED)
