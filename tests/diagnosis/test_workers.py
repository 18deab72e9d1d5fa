"""Causes that only a comparison of workers, or of signals, can tell; each beside a look-alike that stays quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrwatch.contract import from_document
from lrwatch.engine import Session
from lrwatch.errors import ContractError
from lrwatch.findings import Finding
from lrwatch.result import Result
from lrwatch.trace.model import Chunk, Event, Item

T, BASE = 400, 1e-3


def promise(schedule: Any, **more: Any) -> Any:
    lr = {"base": BASE, "schedule": schedule, **more.pop("lr", {})}
    return from_document({"lrwatch": 1, "experiment": "x", "clock": {"horizon": T}, "lr": lr, **more})


def result(contract: Any, ranks: list[list[Item]], **options: Any) -> Result:
    session = Session(contract, only=["drift", "desync"], **options)
    for item in (item for together in zip(*ranks, strict=True) for item in together):
        session.feed(item)
    return session.finish()


def drift(r: Result) -> list[Finding]:
    return [f for f in r.findings if f.slug == "drift"]


def rows(rank: int, values: Any, world: int = 3, **columns: Any) -> list[Item]:
    chunk = Chunk({"update": np.arange(len(values)), "lr/0": np.asarray(values), **columns}, rank=rank, world=world)
    return [Event("start", 0, rank=rank, fields={"world": world}), chunk]


# -- a plateau schedule on a metric of each worker ---------------------------------------------------------


def on_plateau(rank: int, metrics: list[float], world: int = 3) -> list[Item]:
    """A real ReduceLROnPlateau, stepped on these metrics every 20 updates, and its validations in the trace."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.0)
    items: list[Item] = [Event("start", 0, rank=rank, fields={"world": world})]
    for i, metric in enumerate(metrics):
        used = np.full(20, float(optimizer.param_groups[0]["lr"]))
        items.append(Chunk({"update": np.arange(20 * i, 20 * i + 20), "lr/0": used}, rank=rank, world=world))
        items.append(Event("validation", 20 * i + 20, rank=rank, fields={"metrics": {"val_loss": metric}}))
        scheduler.step(metric)
    return items


PLATEAU = {"plateau": {"metric": "val_loss", "factor": 0.5, "patience": 1, "threshold": 0}}
REDUCED = [3.0, 2.5, 2.0, 2.1, 2.2, 1.9, 1.8, 1.85, 1.84, 1.83, 1.7, 1.6, 1.5, 1.4]
LOCAL = [3.0, 3.1, 3.2, 2.0, 2.1, 2.2, 1.9, 1.8, 1.85, 1.84, 1.83, 1.7, 1.6, 1.5]


def known(contract: Any, metrics: list[float]) -> Any:
    from lrwatch.curve import Metric

    return [Metric(20.0 * (i + 1), "val_loss", m) for i, m in enumerate(metrics)]


def test_a_worker_that_reduces_on_its_own_metric() -> None:
    contract = promise(PLATEAU)
    ranks = [on_plateau(0, REDUCED), on_plateau(1, LOCAL), on_plateau(2, REDUCED)]
    found = result(contract, ranks, metrics=known(contract, REDUCED))
    (finding,) = drift(found)
    assert finding.cause is not None
    assert (finding.rank, finding.cause.name, finding.cause.confidence) == (1, "rank_local_metric", "high")
    assert finding.cause.params["factor"] == 0.5
    assert "a metric of its own" in finding.cause.sentence
    assert [f.rank for f in found.findings if f.slug == "desync"] == [1]


def test_workers_on_the_reduced_metric_agree() -> None:
    contract = promise(PLATEAU)
    ranks = [on_plateau(rank, REDUCED) for rank in range(3)]
    assert result(contract, ranks, metrics=known(contract, REDUCED)).findings == ()


def test_another_factor_on_all_workers_is_no_local_metric() -> None:
    contract = promise({"plateau": {"metric": "val_loss", "factor": 0.3, "patience": 1, "threshold": 0}})
    ranks = [on_plateau(rank, REDUCED) for rank in range(3)]
    (finding,) = drift(result(contract, ranks, metrics=known(contract, REDUCED)))
    assert finding.cause is not None
    assert finding.cause.name != "rank_local_metric"


# -- progress ------------------------------------------------------------------------------------------------

COSINE = [{"linear": {"from": 0, "for": 40}}, {"cosine": {"to": 0, "until": "horizon"}}]


def curve(t: np.ndarray) -> np.ndarray:
    return BASE * np.where(t < 40, t / 40, 0.5 * (1.0 + np.cos(np.pi * (np.minimum(t, T) - 40) / (T - 40))))


STEPS = np.arange(360.0)
AHEAD = STEPS + 0.03 * STEPS + 1.5 * (1.0 - np.cos(STEPS / 60.0))


def test_one_worker_at_a_pace_of_its_own() -> None:
    ranks = [rows(0, curve(STEPS)), rows(1, curve(STEPS)), rows(2, curve(1.04 * STEPS))]
    (finding,) = drift(result(promise(COSINE), ranks))
    assert finding.cause is not None
    assert (finding.rank, finding.cause.name) == (2, "rank_progress")
    assert finding.cause.params["k"] == pytest.approx(1.04)


def test_workers_each_at_another_pace() -> None:
    ranks = [rows(r, curve(k * STEPS)) for r, k in enumerate((0.96, 1.02, 1.05))]
    found = drift(result(promise(COSINE), ranks))
    assert {f.cause.name for f in found if f.cause} == {"rank_progress"}
    assert found[0].cause is not None
    assert found[0].cause.sentence == "the workers' schedules run at 0.96 to 1.05 times the promised pace"


def test_a_worker_whose_progress_changes_its_pace() -> None:
    ranks = [rows(0, curve(STEPS)), rows(1, curve(AHEAD)), rows(2, curve(STEPS))]
    (finding,) = drift(result(promise(COSINE), ranks))
    assert finding.cause is not None
    assert (finding.rank, finding.cause.name, finding.cause.confidence) == (1, "rank_progress", "low")
    assert "the scheduler's own position" in finding.cause.missing_evidence[0]


def test_its_recorded_position_makes_that_certain() -> None:
    where = np.floor(AHEAD)
    ranks = [rows(r, curve(at), sched=at.astype(np.int64)) for r, at in enumerate((STEPS, where, STEPS))]
    (finding,) = drift(result(promise(COSINE), ranks))
    assert finding.cause is not None
    assert (finding.rank, finding.cause.name, finding.cause.confidence) == (1, "rank_progress", "high")


def test_a_worker_that_swings_about_the_promise_has_no_progress_of_its_own() -> None:
    ranks = [rows(0, curve(STEPS)), rows(1, curve(STEPS) * (1.0 + 0.1 * np.sin(STEPS / 17.0))), rows(2, curve(STEPS))]
    (finding,) = drift(result(promise(COSINE), ranks))
    assert finding.cause is not None
    assert finding.cause.name == "unexplained"


def test_the_same_rate_on_all_workers_is_a_rate() -> None:
    (finding,) = drift(result(promise(COSINE), [rows(r, curve(3 * STEPS)) for r in range(3)]))
    assert finding.cause is not None
    assert finding.cause.name == "rate"


# -- shifts that the contract declares -----------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "by"), [(25, [0, 25, 50]), ([10, 0, 7], [10, 0, 7])])
def test_declared_shifts_between_workers_are_legal(shift: Any, by: list[int]) -> None:
    contract = promise(COSINE, lr={"ranks": {"shift": shift}})
    found = result(contract, [rows(rank, curve(STEPS + d)) for rank, d in enumerate(by)])
    assert found.findings == ()
    reasons = {c.slug: c.why for c in found.checks}
    assert reasons["desync"] == "the contract shifts lr between workers; each is held to its own curve"


def test_a_worker_that_does_not_keep_its_declared_shift() -> None:
    contract = promise(COSINE, lr={"ranks": {"shift": 25}})
    (finding,) = drift(result(contract, [rows(rank, curve(STEPS + d)) for rank, d in enumerate([0, 25, 46])]))
    assert finding.cause is not None
    assert (finding.rank, finding.cause.name, finding.cause.params["d"]) == (2, "rank_offset", -4)


def test_a_shift_that_is_none() -> None:
    with pytest.raises(ContractError, match=r"lr.ranks.shift\[1\]: must be >= 0, got -3"):
        promise(COSINE, lr={"ranks": {"shift": [0, -3]}})


# -- what should follow the learning rate --------------------------------------------------------------------

MOMENTUM = {"momentum": {"base": 0.95, "schedule": {"linear": {"to": 0.85, "until": "horizon"}}}}


def with_momentum(values: Any, lr: Any = None) -> list[Item]:
    return rows(0, curve(STEPS) if lr is None else lr, 1, **{"momentum/0": np.asarray(values)})


@pytest.mark.parametrize("value", [0.95, 0.9])
def test_momentum_that_stays_while_the_learning_rate_moves(value: float) -> None:
    (finding,) = drift(result(promise(COSINE, **MOMENTUM), [with_momentum(np.full(360, value))]))
    assert finding.cause is not None
    assert (finding.signal, finding.cause.name) == ("momentum", "companion_broken")
    assert f"it stays at {value:g}" in finding.cause.sentence


def test_momentum_on_another_counter() -> None:
    (finding,) = drift(result(promise(COSINE, **MOMENTUM), [with_momentum(0.95 - 0.1 * np.minimum(2 * STEPS, T) / T)]))
    assert finding.cause is not None
    assert (finding.signal, finding.cause.name) == ("momentum", "companion_broken")
    assert "2 times per update" in finding.cause.sentence


def test_momentum_that_follows() -> None:
    assert result(promise(COSINE, **MOMENTUM), [with_momentum(0.95 - 0.1 * STEPS / T)]).findings == ()


def test_momentum_and_learning_rate_both_too_fast_are_one_rate() -> None:
    late = with_momentum(0.95 - 0.1 * np.minimum(2 * STEPS, T) / T, curve(np.minimum(2 * STEPS, T)))
    found = drift(result(promise(COSINE, **MOMENTUM), [late]))
    assert {f.cause.name for f in found if f.cause} == {"rate"}
