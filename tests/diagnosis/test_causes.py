"""The first causes, each made by driving a real torch scheduler wrongly, with and without its recorded position.

Many random runs of every bug are in tests/mutations; here the numbers are fixed and every word of the answer counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, SequentialLR, StepLR

from lrwatch.contract import from_document
from lrwatch.engine import Session
from lrwatch.findings import Finding
from tests.mutations.loop import Loop, Storage, sgd, start

T, W, BASE, RESUMED = 400, 40, 3e-4, 160
Build = Callable[[Optimizer], Any]
SCHEDULES: dict[str, tuple[Any, Build]] = {
    "warm-up and cosine": (
        [{"linear": {"from": "1%", "for": W}}, {"cosine": {"to": 3e-5, "until": "horizon"}}],
        lambda o: SequentialLR(o, [LinearLR(o, 0.01, 1.0, W), CosineAnnealingLR(o, T - W, 3e-5)], milestones=[W]),
    ),
    "cosine": ({"cosine": {"until": "horizon"}}, lambda o: CosineAnnealingLR(o, T)),
    "lambda": ({"linear": {"to": 0, "until": "horizon"}}, lambda o: LambdaLR(o, lambda t: max(0.0, 1.0 - t / T))),
    "step": ({"step": {"every": 100}}, lambda o: StepLR(o, 100, 0.1)),
    "constant": ("constant", lambda o: LambdaLR(o, lambda t: 1.0)),
}
SMOOTH = ["warm-up and cosine", "cosine", "lambda"]
MOVING = [*SMOOTH, "step"]


@pytest.fixture(autouse=True)
def torch_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is done here on purpose
        yield


def run(name: str, *, base: float = BASE, build: Build | None = None, steps: Any = 1, ahead: int = 0) -> list[Loop]:
    """A run of T updates: on another base, with another scheduler, stepped ``steps`` times or ``ahead`` at first."""
    optimizer = sgd(base)
    loop = Loop(optimizer, (build or SCHEDULES[name][1])(optimizer))
    loop.step_scheduler = steps if callable(steps) else lambda t: steps
    for _ in range(ahead):
        loop.scheduler.step()
    return [loop.run(T)]


def interrupted(name: str, restored: str) -> list[Loop]:
    """A run that stops at RESUMED and goes on with what was ``restored``: optimizer, scheduler, both, neither."""
    build = SCHEDULES[name][1]
    first, optimizer = sgd(BASE), sgd(BASE)
    before = Loop(first, build(first)).run(RESUMED)
    scheduler = build(optimizer)
    if restored in ("both", "optimizer", "both, the scheduler of the old optimizer"):
        optimizer.load_state_dict(first.state_dict())
    if restored == "both":
        scheduler.load_state_dict(before.scheduler.state_dict())
    if restored == "both, the scheduler of the old optimizer":
        scheduler = before.scheduler
    return [before, Loop(optimizer, scheduler, update=RESUMED, attempt=RESUMED).run(T - RESUMED)]


def findings(name: str, segments: list[Loop], sched: bool, world: int = 4, accumulate: int = 3) -> dict[str, Finding]:
    """What drift and stepping say, by slug; at most one each."""
    document = {
        "lrwatch": 1,
        "experiment": "x",
        "clock": {"horizon": T},
        "lr": {"base": BASE, "schedule": SCHEDULES[name][0]},
    }
    session = Session(from_document(document), only=["drift", "stepping"])
    for i, loop in enumerate(segments):
        session.feed(start(0, world, i, int(loop.rows["update"][0]), "", accumulate, 50))
        for chunk in Storage(with_sched=sched).chunks(loop.rows, rank=0, world=world, segment=i):
            session.feed(chunk)
    found = session.finish().findings
    assert len({f.slug for f in found}) == len(found), [f.message for f in found]
    return {f.slug: f for f in found}


def assert_cause(found: dict[str, Finding], slugs: set[str], name: str, params: dict[str, Any], sentence: str) -> None:
    assert set(found) == slugs
    for f in found.values():
        assert f.cause is not None
        assert (f.cause.name, f.cause.confidence, f.cause.also_consistent) == (name, "high", ()), f.cause
        assert {k: f.cause.params[k] for k in params} == pytest.approx(params)
        assert (f.cause.explains, f.cause.missing_evidence) == (pytest.approx(1.0, abs=1e-9), ())
        assert f.cause.sentence == sentence
        assert f.fix


def slugs(sched: bool) -> set[str]:
    return {"drift", "stepping"} if sched else {"drift"}


WITH_OR_WITHOUT = pytest.mark.parametrize("sched", [True, False], ids=["position", "no position"])


@WITH_OR_WITHOUT
@pytest.mark.parametrize("name", SCHEDULES)
def test_right(name: str, sched: bool) -> None:
    assert findings(name, run(name), sched) == {}
    assert findings(name, interrupted(name, "both"), sched) == {}


RATES = [(name, True) for name in MOVING] + [("warm-up and cosine", False), ("step", False)]


@pytest.mark.parametrize(("name", "sched"), RATES)
def test_once_per_worker(name: str, sched: bool) -> None:
    said = "the scheduler was stepped once per worker (k = 4 = world size)"
    assert_cause(findings(name, run(name, steps=4), sched), slugs(sched), "rate", {"k": 4}, said)


@pytest.mark.parametrize("sched", [True, False])
def test_once_per_micro_batch(sched: bool) -> None:
    said = "the scheduler was stepped once per micro-batch (k = 3 = accumulation)"
    found = findings("warm-up and cosine", run("warm-up and cosine", steps=3), sched)
    assert_cause(found, slugs(sched), "rate", {"k": 3}, said)


@WITH_OR_WITHOUT
@pytest.mark.parametrize("name", SMOOTH)
def test_once_every_four_updates(name: str, sched: bool) -> None:
    found = findings(name, run(name, steps=lambda t: int(t % 4 == 3)), sched)
    assert_cause(
        found, slugs(sched), "staircase", {"width": 4}, "the scheduler is stepped once every 4 updates (the world size)"
    )


@WITH_OR_WITHOUT
@pytest.mark.parametrize("name", MOVING)
def test_one_step_ahead(name: str, sched: bool) -> None:
    found = findings(name, run(name, ahead=1), sched)
    assert_cause(found, slugs(sched), "offset", {"d": 1}, "the scheduler is 1 step ahead")


@WITH_OR_WITHOUT
@pytest.mark.parametrize("name", SMOOTH)
def test_not_stepped_any_more(name: str, sched: bool) -> None:
    said = "the scheduler was not stepped any more after step 150"
    found = findings(name, run(name, steps=lambda t: int(t < 150)), sched)
    assert_cause(found, slugs(sched), "frozen", {"at": 150}, said)
    assert (found["drift"].first_step, found["drift"].last_step) == (151, 399)


@WITH_OR_WITHOUT
@pytest.mark.parametrize("name", SCHEDULES)
def test_half_the_base(name: str, sched: bool) -> None:
    floor = ", the floor is not" if name == "warm-up and cosine" else ""
    found = findings(name, run(name, base=BASE / 2), sched)
    assert_cause(
        found, {"drift"}, "factor", {"c": 0.5}, f"the learning rate is multiplied by 0.5{floor} (1/√world size)"
    )


HORIZONS: dict[str, Build] = {
    "warm-up and cosine": lambda o: SequentialLR(
        o, [LinearLR(o, 0.01, 1.0, W), CosineAnnealingLR(o, 300 - W, 3e-5)], milestones=[W]
    ),
    "cosine": lambda o: CosineAnnealingLR(o, 300),
    "lambda": lambda o: LambdaLR(o, lambda t: max(0.0, 1.0 - t / 300)),
}


@pytest.mark.parametrize(("name", "sched"), [*((name, True) for name in SMOOTH), ("warm-up and cosine", False)])
def test_planned_for_300(name: str, sched: bool) -> None:
    said = "the schedule was planned to end at 300, the contract says 400"
    found = findings(name, run(name, build=HORIZONS[name]), sched)
    assert_cause(found, {"drift"}, "horizon", {"horizon": 300, "planned": 400}, said)


@WITH_OR_WITHOUT
@pytest.mark.parametrize("restored", ["optimizer", "neither"])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_scheduler_was_not_restored(name: str, restored: str, sched: bool) -> None:
    said = "the schedule began again at the resume at step 160: the scheduler's state was not restored"
    found = findings(name, interrupted(name, restored), sched)
    assert_cause(found, slugs(sched), "restart_at_resume", {"at": 160}, said)
    assert found["drift"].first_step == (161 if restored == "optimizer" else 160)  # its value came back with it


@pytest.mark.parametrize("name", SMOOTH)
def test_the_scheduler_steps_the_old_optimizer(name: str) -> None:
    said = "after the resume at step 160 the learning rate does not move"
    found = findings(name, interrupted(name, "both, the scheduler of the old optimizer"), sched=False)
    assert_cause(found, {"drift"}, "frozen_at_resume", {"at": 160}, said)
    assert found["drift"].first_step == 161


# -- what cannot be told is said ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cosine", "lambda"])
def test_without_a_warm_up_rate_and_horizon_are_one_curve(name: str) -> None:
    cause = findings(name, run(name, steps=4), sched=False)["drift"].cause
    assert cause is not None
    assert (cause.name, cause.params["k"], cause.confidence) == ("rate", 4, "ambiguous")
    assert cause.also_consistent == ("horizon: the schedule was planned to end at 100, the contract says 400",)
    assert cause.missing_evidence == (
        "the scheduler's own position (pass scheduler= to lrwatch.watch) would tell them apart",
    )
    other = findings(name, run(name, build=HORIZONS[name]), sched=False)["drift"].cause
    assert other is not None and other.confidence == "ambiguous"
    assert {other.name, *(words.partition(":")[0] for words in other.also_consistent)} == {"rate", "horizon"}


@WITH_OR_WITHOUT
def test_two_numbers_of_the_run_that_are_equal(sched: bool) -> None:
    cause = findings("warm-up and cosine", run("warm-up and cosine", steps=4), sched, world=4, accumulate=4)[
        "drift"
    ].cause
    assert cause is not None
    assert (cause.name, cause.params["k"], cause.confidence, cause.also_consistent) == ("rate", 4, "ambiguous", ())
    assert (
        cause.sentence
        == "the scheduler was stepped 4 times per update (k = 4), which equals world size and accumulation"
    )
    assert cause.missing_evidence == (
        "a run with world size and accumulation different from each other would tell which one it is",
    )


@pytest.mark.parametrize("steps", [0, 2, 4])
@pytest.mark.parametrize("ahead", [0, 3])
def test_a_constant_shows_no_stepping_without_the_position(steps: int, ahead: int) -> None:
    assert findings("constant", run("constant", steps=steps, ahead=ahead), sched=False) == {}


@pytest.mark.parametrize(
    ("steps", "ahead", "name", "params"),
    [(4, 0, "rate", {"k": 4}), (1, 3, "offset", {"d": 3}), (lambda t: int(t < 150), 0, "frozen", {"at": 150})],
)
def test_a_constant_shows_stepping_by_the_position(steps: Any, ahead: int, name: str, params: dict[str, Any]) -> None:
    found = findings("constant", run("constant", steps=steps, ahead=ahead), sched=True)
    cause = found["stepping"].cause
    assert set(found) == {"stepping"} and cause is not None
    assert (cause.name, dict(cause.params), cause.confidence) == (name, params, "high")


def test_what_nobody_knows_is_not_named() -> None:
    optimizer = sgd(BASE)
    loop = Loop(optimizer, LambdaLR(optimizer, lambda t: 0.3 + 0.5 * ((t * 7919) % 101) / 101)).run(T)
    cause = findings("cosine", [loop], sched=False)["drift"].cause
    assert cause is not None
    assert (cause.name, cause.confidence, dict(cause.params)) == ("unexplained", "low", {})


# -- where it could do better ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["step", "constant"])
def test_once_every_four_updates_by_the_position(name: str) -> None:
    cause = findings(name, run(name, steps=lambda t: int(t % 4 == 3)), sched=True)["stepping"].cause
    assert cause is not None and (cause.name, cause.params["width"]) == ("staircase", 4)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_scheduler_steps_the_old_optimizer_and_its_position_goes_on(name: str) -> None:
    found = findings(name, interrupted(name, "both, the scheduler of the old optimizer"), sched=True)
    assert set(found) == {"drift"} and found["drift"].cause is not None
    assert found["drift"].cause.name == "frozen_at_resume"


def test_a_stair_hides_where_it_froze() -> None:
    cause = findings("step", run("step", steps=lambda t: int(t < 150)), sched=False)["drift"].cause
    assert cause is not None and cause.name == "frozen"
    assert dict(cause.params) == {"at": 199, "bound": "at the latest"}
