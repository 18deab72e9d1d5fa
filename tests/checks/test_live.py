"""A session that is asked while a run goes on: it is always silent on healthy ones, and a finding opens once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.trace.model import Chunk, Event
from tests.checks.play import items
from tests.checks.simulated import FAULTS, Run, contract_of, healthy

ROWS = 200


def looks(run: Run, only: list[str] | None = None) -> Iterator[tuple[Finding, ...]]:
    """What is found every so many rows, and at the end."""
    session = Session(run.contract, live=True, only=only)
    for item in run.items(rows=ROWS):
        session.feed(item)
        yield session.findings()
    yield session.finish().findings
    assert session._broken == {}


def openings(run: Run, only: list[str] | None = None) -> dict[tuple[str, str | None], int]:
    """How often each finding became active."""
    count: dict[tuple[str, str | None], int] = {}
    before: set[tuple[str, str | None]] = set()
    for found in looks(run, only):
        active = {(f.slug, f.signal) for f in found if f.state == "active"}
        for key in active - before:
            count[key] = count.get(key, 0) + 1
        before = active
    return count


def alarms(seeds: range, longest: int) -> list[str]:
    said = []
    for seed in seeds:
        run = healthy(np.random.default_rng(seed), longest=longest)
        said += sorted({f"seed {seed}, {run.name}: {f.slug}" for found in looks(run) for f in found})
    return said


def test_no_finding_ever_opens_on_a_healthy_run() -> None:
    assert alarms(range(200, 225), longest=3000) == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(5000, 5800, 100))
def test_no_finding_ever_opens_on_hundreds_of_healthy_runs(first: int) -> None:
    assert alarms(range(first, first + 100), longest=20000) == []


ONCE = [
    *(pytest.param(fault, seed, id=f"{fault}-{seed}") for fault in FAULTS for seed in (4,)),
    pytest.param("exploded_at_restart", 3, id="healthy restarts after the bad one"),
    pytest.param("stuck", 29, id="a loss that is hardly known to be flat"),
    pytest.param("swinging", 29, id="cycles that end lower by chance"),
    pytest.param("exploded", 22, id="a norm that comes down slowly from far up"),
    *(pytest.param(f, s, id=f"{f}-{s}", marks=pytest.mark.long) for f in FAULTS for s in range(5, 30)),
]


@pytest.mark.parametrize(("fault", "seed"), ONCE)
def test_a_finding_opens_once(fault: str, seed: int) -> None:
    run, slug, _ = FAULTS[fault](np.random.default_rng(seed))
    assert set(openings(run, [slug]).values()) <= {1}


# -- what wavers around a threshold ------------------------------------------------------------------


def states(run: Run, slug: str) -> str:
    """The states of the one finding in turn, without repeats: ``active resolved``."""
    seen: list[str] = []
    for found in looks(run, [slug]):
        for f in found:
            seen += [f.state] if seen[-1:] != [f.state] else []
    return " ".join(seen)


def plain(steps: int, **more: object) -> Run:
    at = np.arange(steps, dtype=np.float64)
    contract = contract_of("constant", steps, **more)
    return Run("", contract, at, np.full(steps, 3e-4), 2.0 - at / steps, np.ones(steps))


def test_a_share_of_skipped_updates_that_wavers_around_a_tenth() -> None:
    run = plain(6000)
    many, few = run.steps % 9 == 0, run.steps % 12 == 0  # 28 and 21 of 256; 26 are too many
    run.skipped = np.where(run.steps // 500 % 2 == 0, many, few) * (run.steps < 5000) * 1.0
    assert states(run, "skipped-updates") == "active resolved"


def test_validations_that_waver_around_the_threshold() -> None:
    """Best 1.0 after a progress of 1: worse by 0.1 is the threshold, and 0.05 the end."""
    run = plain(4000)
    values = [2.0, 1.6, 1.3, 1.1, 1.0, *[1.12] * 5, *[1.08, 1.08, 1.12, 1.12, 1.12, 1.12] * 4]
    run.events = [Event("validation", 100 * (i + 1), fields={"metrics": {"val_loss": v}}) for i, v in enumerate(values)]
    assert states(run, "overfitting") == "active"


def test_a_forecast_that_wavers_around_its_margin() -> None:
    """1,000 updates of a second at 3.6 an hour cost 1: a forecast of 1.1 budgets opens it, one within it ends it."""
    run = plain(1000, cost={"per_gpu_hour": 3.6, "budget": 0.9})
    run.events = [Event("start", 0, fields={"world": 1}, ts=0.0)]
    pace = np.where(run.steps // 100 % 2 == 0, 1.04, 0.93)

    session, seen = Session(run.contract, live=True, only=["cost-overrun"]), []
    ts = np.concatenate([[0.0], np.cumsum(pace)[:-1]])
    for i in range(0, 600, 50):
        columns = {"update": np.arange(i, i + 50), "lr/0": run.lr[i : i + 50], "ts": ts[i : i + 50]}
        session.feed(Chunk(columns, world=1))
        seen += [f.state for f in session.findings()]
    assert seen and set(seen) == {"active"}


def test_checkpoints_three_hours_apart_again_and_again() -> None:
    run = plain(1000)
    session, seen = Session(run.contract, live=True, only=["checkpoints"]), []
    for i in range(0, 1000, 10):
        session.feed(Chunk({"update": np.arange(i, i + 10), "ts": 120.0 * np.arange(i, i + 10)}))
        if i % 90 == 80:
            session.feed(Event("checkpoint", i + 10, fields={"scheduler_state": True}, ts=120.0 * (i + 10)))
        seen += [f.state for f in session.findings()]
    assert len(seen) > 80 and set(seen) == {"active"}


def test_a_worker_that_is_hardly_apart() -> None:
    """Now and then a window of 32 updates in which it is not does not end it; three in a row do."""
    rows = "0..1599"
    away = "where((t >= 320) & (t < 1280) & ((t // 32) % 5 != 0), 0.5, 0)"
    loss = f"2 + 0.01 * sin(7.3 * t + 2 * rank) + where(rank == 2, {away}, 0)"
    case = {"trace": [{"rows": rows, "ranks": list(range(6)), "world": 6, "loss": loss}]}
    session, seen = Session(None, live=True, only=["dispersion"]), []
    for item in items(case, ROWS):
        session.feed(item)
        seen += [f.state for f in session.findings()]
    assert " ".join(dict.fromkeys(seen)) == "active resolved" and sorted(seen) == seen
