"""The same deviation means another bug on one worker, or in one group: made by real torch optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from lrwatch.contract import from_document
from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.result import Result
from lrwatch.trace.model import Chunk, Event

STEPS, WARM = 400, 40


def contract(base: float = 3e-4, **lr: Any):
    schedule = [{"linear": {"from": 0, "for": WARM}}, {"cosine": {"to": 0, "until": "horizon"}}]
    return from_document(
        {"lrwatch": 1, "experiment": "x", "clock": {"horizon": STEPS}, "lr": {"base": base, "schedule": schedule, **lr}}
    )


def shape(t: int) -> float:
    return t / WARM if t < WARM else 0.5 * (1.0 + np.cos(np.pi * (t - WARM) / (STEPS - WARM)))


def recorded(rates: dict[str, float], lambdas: dict[str, Any] | None = None) -> dict[str, Any]:
    """Columns of a real loop over groups with these base rates and factors of t."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate, "name": n} for n, rate in rates.items()]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    scheduler = LambdaLR(optimizer, [(lambdas or {}).get(name, shape) for name in rates])
    columns: dict[str, list[float]] = {f"lr/{name}": [] for name in rates}
    for _ in range(STEPS):
        for group in optimizer.param_groups:
            columns[f"lr/{group['name']}"].append(group["lr"])
        optimizer.step()
        scheduler.step()
    return {"update": np.arange(STEPS), **{k: np.array(v) for k, v in columns.items()}}


def verified(promise, ranks: list[dict[str, Any]], held: list[str] | None = None) -> Result:
    session = Session(promise)
    for rank, columns in enumerate(ranks):
        identity = held[rank] if held else str(promise.identity)
        session.feed(Event("start", 0, rank=rank, fields={"run": "a", "world": len(ranks), "contract": identity}))
        session.feed(Chunk(columns, rank=rank, world=len(ranks)))
    return session.finish()


def drift(result: Result) -> list[Finding]:
    return [f for f in result.findings if f.slug == "drift"]


def test_one_worker_on_another_base_rate():
    good, bad = recorded({"0": 3e-4}), recorded({"0": 6e-4})
    result = verified(contract(), [good, good, bad, good])
    (finding,) = drift(result)
    assert (finding.rank, finding.cause.name, finding.cause.params["c"]) == (2, "rank_factor", 2)
    assert [f.rank for f in result.findings if f.slug == "desync"] == [2]


def test_one_worker_some_steps_behind():
    late = recorded({"0": 3e-4}, {"0": lambda t: shape(max(t - 3, 0))})
    (finding,) = drift(verified(contract(), [late, *[recorded({"0": 3e-4})] * 3]))
    assert (finding.rank, finding.cause.name, finding.cause.params["d"]) == (0, "rank_offset", -3)


def test_one_worker_with_a_stale_contract():
    good, bad = recorded({"0": 3e-4}), recorded({"0": 1e-4})
    new, old = str(contract().identity), str(contract(base=1e-4).identity)
    result = verified(contract(), [good, bad, good], [new, old, new])
    (finding,) = drift(result)
    assert (finding.rank, finding.cause.name) == (1, "rank_stale_contract")
    assert "multiplied by 0.333333" in finding.cause.sentence
    (mismatch,) = [f for f in result.findings if f.slug == "contract-mismatch"]
    assert mismatch.rank == 1


def test_all_workers_wrong_is_no_matter_of_a_worker():
    bad = recorded({"0": 6e-4})
    (finding,) = drift(verified(contract(), [bad] * 4))
    assert (finding.rank, finding.ranks, finding.cause.name) == (None, (0, 1, 2, 3), "factor")


GROUPS = {"body": {}, "head": {"scale": 10}}


def test_a_group_that_the_scheduler_does_not_know():
    columns = recorded({"body": 3e-4, "head": 3e-3}, {"head": lambda t: 0.0})
    (finding,) = drift(verified(contract(groups=GROUPS), [columns]))
    assert (finding.group, finding.cause.name) == ("head", "group_unscheduled")


def test_a_group_that_lost_its_ratio():
    columns = recorded({"body": 3e-4, "head": 3e-4})
    (finding,) = drift(verified(contract(groups=GROUPS), [columns]))
    assert (finding.group, finding.cause.name) == ("head", "group_ratio")
    assert dict(finding.cause.params) == {"with": "body", "scale": 10.0}


def test_one_group_scaled():
    columns = recorded({"body": 3e-4, "head": 6e-3})
    (finding,) = drift(verified(contract(groups=GROUPS), [columns]))
    assert (finding.group, finding.cause.name, finding.cause.params["c"]) == ("head", "group_factor", 2)


def test_two_groups_swapped():
    columns = recorded({"body": 3e-3, "head": 3e-4})
    found = drift(verified(contract(groups=GROUPS), [columns]))
    assert {(f.group, f.cause.name, f.cause.params["with"]) for f in found} == {
        ("body", "group_swapped", "head"),
        ("head", "group_swapped", "body"),
    }


def test_the_same_bug_in_all_groups_is_one_finding():
    columns = recorded({"body": 3e-4, "head": 3e-3}, dict.fromkeys(GROUPS, lambda t: shape(min(2 * t, STEPS))))
    (finding,) = drift(verified(contract(groups=GROUPS), [columns]))
    assert (finding.group, finding.details["groups"], finding.cause.name) == (None, ["body", "head"], "rate")
