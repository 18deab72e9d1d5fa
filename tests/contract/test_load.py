"""What a good contract says: the model that comes out of it, written down field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrwatch.contract import from_document, load
from lrwatch.contract.model import Amendment, Batch, Clock, Cost, Goal, Group, Phase, Recording, Tolerance

EVERYTHING = """\
lrwatch: 1
experiment: gpt-small
clock: {axis: update, counts: attempted, horizon: 20_000}
batch: {global: 1024, accumulate: 4, steps_per_epoch: 1250, ramp: [[0, 256], [2e6, 1024]]}
lr:
  base: 3e-4
  dtype: float32
  recursive: true
  schedule: [{linear: {from: 0, for: 200}}, {cosine: {to: 3e-5, until: horizon, after: mirror}}]
  groups:
    head: {scale: 10}
    body: {base: 1e-4}
    gen/0: {schedule: constant}
weight_decay: {base: 0.1, schedule: {linear: {to: 10%, over: 100, offset: 1}}}
goal: {metric: val_loss, target: 1.9}
cost: {per_gpu_hour: 2.50, currency: EUR, budget: 400}
trace: {ranks: changes, step_deadline: 30}
tolerance: {rtol: 1e-6}
amendments:
- {at: 8000, set: {clock.horizon: 30000, lr.groups.head.scale: 5}, join: continuous}
- {at: 9000, until: 9200, multiply: {lr: 0.5}}
- {rewind: {from: 9500, to: 9100}, skip_data: 200}
- {at: 9900, set: {'lr.schedule[1].cosine.to': 0}}
"""


def minimal(**changes: Any) -> Any:
    return from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": "constant"}, **changes})


def test_everything(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(EVERYTHING)
    c = load(path)
    assert (c.experiment, c.source) == ("gpt-small", str(path))
    assert c.clock == Clock("update", "attempted", 20000.0)
    assert c.batch == Batch(1024, 4, 1250, ((0.0, 256), (2e6, 1024)))
    assert c.goal == Goal("val_loss", 1.9, "min")
    assert c.cost == Cost(2.5, "EUR", 400.0)
    assert c.recording == Recording("changes", 30.0)
    assert c.tolerance == Tolerance(1e-6, 1e-10)
    lr, wd = c.signals["lr"], c.signals["weight_decay"]
    assert (lr.base, lr.dtype, lr.recursive, wd.dtype, wd.recursive) == (3e-4, "float32", True, "float64", False)
    # values are (number, is a share of the base)
    warm_up = Phase("linear", {"from": (0.0, False), "to": (1.0, True)}, 0.0, 200.0, 200.0, 0.0, "hold")
    cosine = Phase("cosine", {"from": (1.0, True), "to": (3e-5, False)}, 200.0, None, 19800.0, 0.0, "mirror")
    constant = Phase("constant", {"at": (1.0, True)}, 0.0, None, None, 0.0, "continue")
    decay = Phase("linear", {"from": (1.0, True), "to": (0.1, True)}, 0.0, None, 100.0, 1.0, "hold")
    assert (lr.schedule, wd.schedule) == ((warm_up, cosine), (decay,))
    assert lr.groups == {
        "head": Group("head", None, 10.0, None),
        "body": Group("body", 1e-4, 1.0, None),
        "gen/0": Group("gen/0", None, 1.0, (constant,)),
    }
    assert c.amendments == (
        Amendment(8000.0, None, {"clock.horizon": 30000, "lr.groups.head.scale": 5}, join="continuous"),
        Amendment(9000.0, 9200.0, multiply={"lr": 0.5}),
        Amendment(rewind=(9500.0, 9100.0), skip_data=200.0),
        Amendment(9900.0, None, {"lr.schedule[1].cosine.to": 0}),
    )
    assert [(v.at, v.join, v.clock.horizon) for v in c.versions] == [
        (0.0, "jump", 20000.0),
        (8000.0, "continuous", 30000.0),
        (9900.0, "jump", 30000.0),
    ]
    assert c.horizon == 30000.0
    assert [v.signals["lr"].groups["head"].scale for v in c.versions] == [10.0, 5.0, 5.0]
    assert [v.signals["lr"].schedule[1].length for v in c.versions] == [19800.0, 29800.0, 29800.0]
    assert [v.signals["lr"].schedule[1].params["to"] for v in c.versions] == [
        (3e-5, False),
        (3e-5, False),
        (0.0, False),
    ]


def test_nothing_but_what_is_needed() -> None:
    c = minimal()
    assert c.clock == Clock("update", "applied", None)
    assert (c.batch, c.goal, c.cost, c.recording, c.tolerance) == (Batch(), None, None, Recording(), Tolerance())
    assert (c.amendments, c.horizon, len(c.versions), list(c.signals)) == ((), None, 1, ["lr"])


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("head", 10.0),
        ("adam/head", 10.0),
        ("gen/0", 2.0),
        ("disc/0", 3.0),
        ("0", 3.0),
        ("1", 1.0),
        ("head/x", 10.0),
        ("x/y", 1.0),
    ],
)
def test_a_group_of_one_optimizer_comes_before_the_same_of_any(name: str, scale: float) -> None:
    groups = {"head": {"scale": 10}, "gen/0": {"scale": 2}, "0": {"scale": 3}}
    c = minimal(lr={"base": 1, "schedule": "constant", "groups": groups})
    assert c.signals["lr"].group(name).scale == scale


def test_a_group_called_0_can_be_amended() -> None:
    lr = {"base": 1, "schedule": "constant", "groups": {"0": {"scale": 2}}}
    one = minimal(lr=lr, amendments=[{"at": 5, "set": {"lr.groups.0.scale": 4}}])
    whole = minimal(lr=lr, amendments=[{"at": 5, "set": {"lr.groups.0": {"scale": 4}}}])
    for c in (one, whole):
        assert [v.signals["lr"].group("0").scale for v in c.versions] == [2.0, 4.0]


def test_an_amendment_builds_on_the_one_before_and_leaves_the_base_alone() -> None:
    c = minimal(
        amendments=[{"at": 5, "set": {"lr.base": 2}}, {"at": 5, "set": {"lr.schedule": {"constant": {"at": "50%"}}}}]
    )
    assert [v.signals["lr"].base for v in c.versions] == [1.0, 2.0, 2.0]
    assert [v.signals["lr"].schedule[0].params["at"] for v in c.versions] == [(1.0, True), (1.0, True), (0.5, True)]
    assert c.signals["lr"].base == 1.0 and c.document["lr"]["base"] == 1


@pytest.mark.parametrize(
    "schedule", ["constant", {"constant": None}, {"constant": {}}, ["constant"], [{"constant": {}}]]
)
def test_ways_to_write_one_family(schedule: Any) -> None:
    assert minimal(lr={"base": 1, "schedule": schedule}).signals == minimal().signals


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("10%", (0.1, True)),
        (" 10 %", (0.1, True)),
        ("0%", (0.0, True)),
        (0, (0.0, False)),
        (2, (2.0, False)),
        ("1e-2%", (1e-4, True)),
    ],
)
def test_values_are_absolute_or_a_share(written: Any, read: tuple[float, bool]) -> None:
    phase = minimal(lr={"base": 1, "schedule": {"constant": {"at": written}}}).signals["lr"].schedule[0]
    assert phase.params["at"] == read


def test_for_and_until_say_the_same() -> None:
    def phases(*schedule: Any) -> Any:
        return minimal(clock={"horizon": 30}, lr={"base": 1, "schedule": list(schedule)}).signals["lr"].schedule

    expected = phases({"linear": {"for": 10}}, {"cosine": {"for": 20}})
    assert phases({"linear": {"until": 10}}, {"cosine": {"until": 30}}) == expected
    assert phases({"linear": {"until": 10}}, {"cosine": {"until": "horizon"}}) == expected
    assert [(p.start, p.end, p.length) for p in expected] == [(0.0, 10.0, 10.0), (10.0, None, 20.0)]
