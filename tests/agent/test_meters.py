"""Rows and findings → the snapshot that a scrape sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrwatch.agent.meters import Meters, Snapshot
from lrwatch.contract import from_document
from lrwatch.engine import Newest
from lrwatch.findings import Cause, Finding, Severity
from lrwatch.metrics import MAX_SERIES, METRICS, PREFIX
from lrwatch.trace.model import Chunk, Event
from tests.agent.helpers import COSINE

COST = {"per_gpu_hour": 3.6, "currency": "EUR"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def meters(clock: Clock, rank: int = 0, **given: Any) -> Meters:
    return Meters(**{"rank": rank, "world": 4, "attempt": 1, "contract": None, "monotonic": clock, **given})


def chunk(first: int = 0, n: int = 1, rank: int = 0, **columns: Any) -> Chunk:
    update = np.arange(first, first + n)
    missing = columns.pop("missing", {})
    given = {k.replace("__", "/"): np.asarray(v) for k, v in columns.items()}
    return Chunk({"update": update, "ts": 100.0 + update, **given}, rank=rank, missing=missing)


def values(snapshot: Snapshot, name: str) -> dict[tuple[str, ...], float]:
    return dict(snapshot.samples.get(PREFIX + name, ()))


def value(snapshot: Snapshot, name: str) -> float | None:
    return values(snapshot, name).get(())


def take(m: Meters, newest: Newest | None = None) -> Snapshot:
    return m.snapshot(newest, 0, 0)


def test_actual_expected_and_drift_are_of_one_update(clock: Clock) -> None:
    m = meters(clock)
    m.chunk(chunk(n=3, lr__0=[0.3, 0.2, 0.1]))
    newest = Newest(2, 2.0, {"lr/0": 0.1}, {"lr/0": 0.15}, 0.05)
    shown = take(m, newest)
    assert (value(shown, "step"), value(shown, "drift_ratio")) == (2.0, 0.05)
    assert values(shown, "learning_rate") == {("0",): 0.1}
    assert values(shown, "learning_rate_expected") == {("0",): 0.15}


def test_an_expectation_of_another_update_is_not_shown(clock: Clock) -> None:
    m = meters(clock)
    m.chunk(chunk(n=3, lr__0=[0.3, 0.2, 0.1]))
    shown = take(m, Newest(1, 1.0, {"lr/0": 0.2}, {"lr/0": 0.2}, 0.0))
    assert values(shown, "learning_rate") == {("0",): 0.1}
    assert values(shown, "learning_rate_expected") == {}
    assert value(shown, "drift_ratio") is None


def test_where_the_start_is_unknown_nothing_is_expected(clock: Clock) -> None:
    m = meters(clock)
    m.chunk(Chunk({"update": np.array([0]), "ts": np.array([1.0]), "lr/0": np.array([0.1])}, origin_known=False))
    shown = take(m, Newest(0, 0.0, {"lr/0": 0.1}, {"lr/0": 0.2}, 0.5))
    assert values(shown, "learning_rate_expected") == {}
    assert value(shown, "drift_ratio") is None


def test_a_skipped_update_leaves_the_newest_applied_one(clock: Clock) -> None:
    m = meters(clock)
    columns = {"lr/0": np.array([0.3, np.nan]), "skipped": np.array([0, 1])}
    m.chunk(
        Chunk({"update": np.array([4, 5]), "ts": np.array([1.0, 2.0]), **columns},
              missing={"lr/0": np.array([False, True])})
    )  # fmt: skip
    shown = take(m)
    assert (value(shown, "step"), value(shown, "steps_total"), value(shown, "skipped_steps_total")) == (4.0, 1.0, 1.0)
    assert values(shown, "learning_rate") == {("0",): 0.3}
    assert values(shown, "nonfinite_steps_total")[("lr",)] == 0.0


def test_values_are_frozen_at_agreed_updates(clock: Clock) -> None:
    """All workers freeze the same updates, so that they can be compared without skew."""
    m = meters(clock)
    n = 200
    m.chunk(chunk(first=1000, n=n, lr__a=np.arange(n) + 0.5, lr__b=np.full(n, 1.0)))
    shown = take(m)
    assert values(shown, "sync_step") == {("64",): 1152.0, ("1024",): 1024.0}
    assert values(shown, "sync_learning_rate") == {("64",): 153.5, ("1024",): 25.5}


@pytest.mark.parametrize("shift", [5, [0, 5]])
def test_workers_that_are_ahead_by_contract_are_not_compared(clock: Clock, shift: Any) -> None:
    promise = from_document({**COSINE, "lr": {**COSINE["lr"], "ranks": {"shift": shift}}})
    for rank in (0, 1):
        m = meters(clock, rank, contract=promise)
        m.chunk(chunk(first=1000, n=200, rank=rank, lr__a=np.full(200, 0.1 * rank)))
        shown = take(m)
        assert values(shown, "sync_step") == values(shown, "sync_learning_rate") == {}
        assert values(shown, "learning_rate") == {("a",): 0.1 * rank}


def test_of_many_groups_the_worst_of_the_rest_is_shown(clock: Clock) -> None:
    m = meters(clock)
    rates = {f"lr__g{i}": [0.1] for i in range(12)}
    m.chunk(chunk(**rates))
    expected = {f"lr/g{i}": 0.1 for i in range(12)} | {"lr/g10": 0.3}
    shown = take(m, Newest(0, 0.0, {}, expected, 0.2))
    groups = [(f"g{i}",) for i in range(8)] + [("_worst",)]
    assert list(values(shown, "learning_rate")) == groups
    assert values(shown, "learning_rate_expected")[("_worst",)] == 0.3


def test_what_is_not_finite_is_counted_and_never_observed(clock: Clock) -> None:
    m = meters(clock)
    norms = [1.0] * 8 + [float("nan"), float("inf"), 2.0]
    m.chunk(chunk(n=11, loss=[float("nan")] * 2 + [1.0] * 9, grad_norm=norms, lr__0=[0.1] * 10 + [float("nan")]))
    shown = take(m)
    assert values(shown, "nonfinite_steps_total") == {("loss",): 2.0, ("grad_norm",): 2.0, ("lr",): 1.0}
    ratios = shown.histograms[f"{PREFIX}grad_norm_baseline_ratio"]
    assert dict(ratios.buckets)["1.5"] == 0.0
    assert dict(ratios.buckets)["2.0"] == dict(ratios.buckets)["+Inf"] == 1.0
    assert ratios.total == 2.0
    assert value(shown, "grad_norm") == 2.0


def test_the_time_between_updates_is_a_histogram_and_a_clock_set_back_is_no_time(clock: Clock) -> None:
    m = meters(clock)
    for ts in ([10.0, 10.2], [9.0, 9.4]):
        m.chunk(Chunk({"update": np.arange(2), "ts": np.array(ts)}))
    seconds = take(m).histograms[f"{PREFIX}step_seconds"]
    buckets = dict(seconds.buckets)
    assert (buckets["0.1"], buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (0.0, 1.0, 2.0, 2.0)
    assert seconds.total == pytest.approx(0.6)


def finding(state: Any = "active", **given: Any) -> Finding:
    return Finding("LR101", "drift", Severity.error, "…", first_step=7, cause=Cause("rate"), state=state, **given)


def test_a_finding_is_held_for_five_minutes(clock: Clock) -> None:
    m = meters(clock)
    m.found([finding()])
    assert values(take(m), "finding_active") == {("LR101", "error"): 1.0}
    assert values(take(m), "finding_first_step") == {("LR101",): 7.0}
    assert values(take(m), "finding_cause_info") == {("LR101", "rate"): 1.0}
    m.found([finding("resolved")])
    clock.now += 299.0
    assert values(take(m), "finding_active") == {("LR101", "error"): 1.0}
    clock.now += 2.0
    m.found([finding("resolved")])
    assert values(take(m), "finding_active") == {("LR101", "error"): 0.0}
    m.found([finding()])
    assert values(take(m), "finding_active") == {("LR101", "error"): 1.0}


def test_a_finding_that_is_first_seen_resolved_is_held_too(clock: Clock) -> None:
    m = meters(clock)
    m.found([finding("resolved")])
    assert values(take(m), "finding_active") == {("LR101", "error"): 1.0}
    clock.now += 301.0
    assert values(take(m), "finding_active") == {("LR101", "error"): 0.0}


def test_a_finding_that_is_withdrawn_ends(clock: Clock) -> None:
    m = meters(clock)
    m.found([finding()])
    m.found([])
    clock.now += 301.0
    assert values(take(m), "finding_active") == {("LR101", "error"): 0.0}


def test_one_code_is_one_series_however_many_findings_it_has(clock: Clock) -> None:
    m = meters(clock)
    m.found([finding("resolved", group="a"), finding(group="b")])
    assert values(take(m), "finding_active") == {("LR101", "error"): 1.0}


def test_events_of_rank_0(clock: Clock) -> None:
    m = meters(clock, contract=from_document({**COSINE, "cost": COST, "trace": {"step_deadline": 90}}))
    for event in (
        Event("validation", 10, fields={"metrics": {"val_loss": 2.5, "note": "text"}}),
        Event("checkpoint", 10, ts=555.0, fields={"scheduler_state": True}),
        Event("checkpoint", 20, ts=666.0),
        Event("oom", 20),
    ):
        m.event(event)
    shown = take(m)
    assert values(shown, "validation_metric") == {("val_loss",): 2.5}
    assert values(shown, "checkpoints_total") == {("true",): 1.0, ("false",): 1.0}
    assert value(shown, "checkpoint_timestamp_seconds") == 666.0
    assert value(shown, "gpu_oom_total") == 1.0
    assert (value(shown, "step_deadline_seconds"), value(shown, "linger_seconds")) == (90.0, 0.0)
    assert values(shown, "price_per_gpu_second") == {("EUR",): pytest.approx(0.001)}
    assert values(shown, "run_state")[("starting",)] == 1.0
    m.event(Event("end", 20, fields={"outcome": "converged"}))
    assert {k for k, v in values(take(m), "run_state").items() if v} == {("converged",)}


def test_gpu_seconds_go_on_from_earlier_attempts(clock: Clock) -> None:
    m = meters(clock, gpu_seconds=50.0)
    clock.now += 7.0
    assert value(take(m), "gpu_seconds_total") == 57.0


def full(clock: Clock, rank: int) -> Snapshot:
    """As many series as a worker can have."""
    m = meters(clock, rank, contract=from_document(COSINE))
    rates = {f"lr__g{i}": [0.1] * 20000 for i in range(100)}
    m.chunk(chunk(n=20000, rank=rank, loss=[1.0] * 20000, grad_norm=[1.0] * 20000, **rates))
    codes = [f"LR{n}" for n in range(100, 130)]
    m.found([Finding(code, "x", Severity.error, "…", first_step=1, cause=Cause("rate")) for code in codes])
    return take(m, Newest(19999, 0.0, {}, {f"lr/g{i}": 0.1 for i in range(100)}, 0.0))


def test_a_worker_has_at_most_48_series(clock: Clock) -> None:
    shown = full(clock, 1)
    assert shown.series() == 47  # 41 and two findings of three series
    assert shown.series() <= MAX_SERIES
    assert not shown.histograms


@pytest.mark.parametrize("rank", [0, 1])
def test_nothing_is_shown_that_is_not_in_the_catalogue(clock: Clock, rank: int) -> None:
    allowed = {m.name: m for m in METRICS if m.scope == "rank" or (rank == 0 and m.scope == "rank0")}
    shown = full(clock, rank)
    for name, samples in shown.samples.items():
        assert all(len(labels) == len(allowed[name].labels) for labels, _ in samples)
    assert set(shown.histograms) <= set(allowed)


def test_the_memory_of_the_accelerator_is_shown_where_there_is_one() -> None:
    meters = Meters(rank=1, world=2, attempt=1, contract=None)
    assert not any("memory" in name for name in meters.snapshot(None, 0, 0).samples)
    meters.memory = (1024, 4096)
    samples = meters.snapshot(None, 0, 0).samples
    assert samples["lrwatch_gpu_memory_allocated_bytes"] == (((), 1024.0),)
    assert samples["lrwatch_gpu_memory_reserved_bytes"] == (((), 4096.0),)
