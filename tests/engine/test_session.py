"""A session: what it says in mid-run and at the end, over workers, groups and segments."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from lrwatch.checks import checks
from lrwatch.checks.non_finite import NonFinite
from lrwatch.engine import Session
from lrwatch.errors import LrwatchError
from lrwatch.trace.model import Chunk, Damage, DamageKind, Event, EventKind
from tests.checks.play import contract_of, items, play

NO_SIGNAL = "the trace has no column of a signal that the contract promises"
LINE = {"clock": {"horizon": 100}, "lr": {"base": 1, "schedule": {"linear": {"to": 0, "until": "horizon"}}}}


def case(*trace: Any, **contract: Any) -> dict[str, Any]:
    return {"contract": contract or LINE, "trace": list(trace)}


def found(session: Session) -> list[tuple[Any, ...]]:
    return [(f.slug, f.first_step, f.last_step, f.state) for f in session.findings()]


# -- over time --------------------------------------------------------------------------------------


def test_a_finding_grows_and_is_resolved() -> None:
    wrong = "where((t >= 10) & (t < 30), 0.5, E(t))"
    session = Session(contract_of(case()), only=["drift"])
    said = []
    for item in items(case({"rows": "0..99", "lr": wrong}), size=10):
        session.feed(item)
        said.append(found(session))
    one = [("drift", 10, 19, "active")]
    assert said[:5] == [[], one, [("drift", 10, 29, "active")], *[[("drift", 10, 29, "resolved")]] * 2]
    assert found(session) == said[-1]
    result = session.finish()
    assert (result.findings, session.finish().findings) == (session.findings(), result.findings)


def test_the_same_trouble_keeps_its_key_and_its_first_step() -> None:
    session = Session(contract_of(case()), only=["drift"])
    keys = set()
    for item in items(case({"rows": "0..99", "lr": "E(2 * t)"}), size=9):
        session.feed(item)
        keys |= {f.key for f in session.findings()}
    assert len(keys) == 1


def test_what_only_the_end_can_say() -> None:
    short = case({"rows": "0..49", "lr": "E(t)"}, {"event": "end", "outcome": "finished", "update": 50})
    session = Session(contract_of(short))
    for item in list(items(short))[:-1]:
        session.feed(item)
    assert session.findings() == ()
    assert [f.slug for f in play(short).finish().findings] == ["run-length"]


def test_workers_are_compared_only_when_all_have_come_so_far() -> None:
    session = Session(None, only=["desync"])
    one, other = (Chunk({"update": np.arange(5), "lr/0": np.full(5, lr)}, rank=r) for r, lr in ((0, 1.0), (1, 2.0)))
    session.feed(one)
    session.feed(other)
    assert session.findings() == ()
    assert [(f.slug, f.ranks) for f in session.finish().findings] == [("desync", (0, 1))]


def test_nothing_was_fed() -> None:
    result = Session(contract_of(case())).finish()
    assert (result.findings, result.series, result.sensitivity, result.verdict()) == ((), (), None, "inconclusive")
    assert {c.status for c in result.checks} == {"not_checked"} and all(c.why for c in result.checks)
    assert (result.stats.rows, result.stats.segments, result.stats.first_step) == (0, 0, None)


def test_an_empty_chunk_is_nothing() -> None:
    session = Session(contract_of(case()))
    session.feed(Chunk({"update": np.arange(0), "lr/0": np.arange(0.0)}))
    assert (session.newest(0), session.finish().stats.rows) == (None, 0)


# -- the newest row ---------------------------------------------------------------------------------


def test_newest_is_one_row_with_its_own_expectation() -> None:
    session = play(case({"rows": "0..40", "lr/a": "E(t)", "lr/b": "E(t) + 0.25", "loss": 7}))
    newest = session.newest(0)
    assert newest is not None
    assert (newest.update, newest.t) == (40, 40.0)
    assert newest.values == pytest.approx({"lr/a": 0.6, "lr/b": 0.85})
    assert newest.expected == pytest.approx({"lr/a": 0.6, "lr/b": 0.6})
    assert newest.drift_ratio == pytest.approx(0.25)
    assert session.newest(1) is None


def test_newest_without_a_contract() -> None:
    newest = play({"trace": [{"rows": "0..40", "lr": 0.5}]}).newest(0)
    assert newest is not None
    assert (newest.update, newest.values, newest.expected, newest.drift_ratio) == (40, {"lr/0": 0.5}, {}, 0.0)


# -- verdicts and reasons ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "verdict", "why"),
    [
        ({"rows": "0..99", "lr": "E(t)"}, "pass", ""),
        ({"rows": "0..99", "lr": 1}, "fail", ""),
        ({"rows": "0..99", "lr": 1, "origin": "unknown"}, "inconclusive",
         "segment 0: nobody knows at which update it started; pass start_step"),
        ({"rows": "0..99", "loss": 1}, "inconclusive", NO_SIGNAL),
        ({"rows": "0..99", "lr": "nan"}, "fail", NO_SIGNAL),
    ],
)  # fmt: skip
def test_verdict(trace: dict[str, Any], verdict: str, why: str) -> None:
    result = play(case(trace)).finish()
    assert (result.verdict(), next(c.why for c in result.checks if c.slug == "drift")) == (verdict, why)


def test_verdict_of_a_clock_that_cannot_be_read() -> None:
    tokens = {"clock": {"axis": "token"}, "lr": {"base": 1, "schedule": "constant"}}
    result = play(case({"rows": "0..9", "lr": 1}, **tokens)).finish()
    assert result.verdict() == "inconclusive"
    assert [c.why for c in result.checks if c.slug == "drift"] == ["the clock counts tokens: record `tokens`"]


def test_a_segment_that_cannot_be_judged_makes_the_whole_inconclusive() -> None:
    result = play(
        case({"rows": "0..49", "lr": "E(t)"}, {"rows": "0..9", "segment": 1, "lr": 1, "origin": "unknown"})
    ).finish()
    assert (result.findings, result.verdict()) == ((), "inconclusive")


def test_without_a_contract_only_what_a_trace_shows_by_itself() -> None:
    result = play({"trace": [{"rows": "0..99", "ranks": [0, 1], "lr": 1, "loss": 2, "sched": 5}]}).finish()
    assert (result.findings, result.verdict(), result.sensitivity) == ((), "pass", None)
    states = {c.slug: c.status for c in result.checks}
    assert {states[s] for s in ("desync", "non-finite", "trace-damage")} == {"ran"}
    assert {c.why for c in result.checks if c.slug in ("drift", "stepping", "run-length")} == {"no contract was given"}


# -- choosing checks -----------------------------------------------------------------------------------


def test_only() -> None:
    rows = {"rows": "0..99", "lr": 0, "loss": "nan", "momentum/0": 5}
    result = play(case(rows), only=["non-finite", "trace-damage"]).finish()
    assert [(c.slug, c.status) for c in result.checks] == [("non-finite", "ran"), ("trace-damage", "ran")]
    assert {f.slug for f in result.findings} == {"non-finite"}


@pytest.mark.parametrize("only", [None, [], ()])
def test_all_without_only(only: Any) -> None:
    assert [c.slug for c in Session(None, only=only).finish().checks] == list(checks())


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(LrwatchError) as caught:
        Session(None, only=["drift", "desink"])
    assert str(caught.value) == "--only desink: no such check; did you mean 'desync'?"
    with pytest.raises(LrwatchError, match=r"^--only zzz: no such check; one of .*\bdesync, .*\btrace-damage$"):
        Session(None, only=["zzz"])


# -- what it counts -------------------------------------------------------------------------------------


def test_stats() -> None:
    session = play(
        case(
            {"event": "start", "ranks": [0, 2], "run": "r7"},
            {"rows": "5..9", "ranks": [0, 2], "lr/a": "E(t)", "momentum/b": 1},
            {"rows": "7..20", "ranks": [2], "segment": 1, "lr/a": "E(t)"},
            {"damage": "torn"},
            {"damage": "torn"},
        )
    )
    stats = session.finish().stats
    assert (stats.rows, stats.ranks, stats.groups, stats.segments) == (24, (0, 2), ("a", "b"), 2)
    assert (stats.first_step, stats.last_step, dict(stats.damage), stats.run) == (5, 20, {"torn": 2}, "r7")


@pytest.mark.parametrize(
    ("rows", "assumed"),
    [
        ({"rows": "0..99", "lr": "E(t)"}, []),
        ({"rows": "0..99", "lr": "E(t)", "lr_read": "unknown"},
         ["the learning rate was taken as read before scheduler.step(), steps as counted from 0"]),
        ({"rows": "0..98", "lr": "E(t + 1)", "lr_read": "unknown"},
         ["the learning rate was taken as read after scheduler.step() (or steps as counted from one less)"]),
        ({"rows": "1..100", "lr": "E(t - 1)", "lr_read": "unknown"}, ["steps were taken as counted from 1"]),
    ],
)  # fmt: skip
def test_assumptions_are_told(rows: dict[str, Any], assumed: list[str]) -> None:
    last = "an offset of one step cannot be told from these conventions: state them with --lr-read and --first-step"
    assert list(play(case(rows)).finish().stats.assumed) == [*assumed, last][: len(assumed) + bool(assumed)]


def test_sensitivity() -> None:
    exact = play(case({"rows": "0..99", "lr": "E(t)"})).finish().sensitivity
    coarse = play(case({"rows": "0..99", "lr": "E(t)", "digits": {"lr": 3}})).finish().sensitivity
    assert exact is not None and coarse is not None
    # rtol 1e-9 and atol 1e-10 of the peak 1, at the peak; three digits of 1.00 may hide 0.005, of 0.99 0.0005
    assert (exact.relative, exact.absolute) == pytest.approx((1.1e-9, 1.1e-9))
    assert (coarse.relative, coarse.absolute) == pytest.approx((0.0005 / 0.99, 0.005), rel=1e-5)
    assert exact.sentence == (
        "a constant factor off by 1.1e-09 would have been seen, and any single row off by 1.1e-09"
    )


def test_a_constant_schedule_cannot_show_stepping() -> None:
    constant = {"lr": {"base": 1, "schedule": "constant"}}
    blind = play(case({"rows": "0..9", "lr": 1}, **constant)).finish().sensitivity
    seeing = play(case({"rows": "0..9", "lr": 1, "sched": "t"}, **constant)).finish().sensitivity
    assert blind is not None and seeing is not None
    words = "; a constant schedule cannot reveal stepping faults without the scheduler's position"
    assert blind.sentence == seeing.sentence + words


def test_series_are_the_worker_with_the_finding_and_the_lowest() -> None:
    result = play(
        case({"rows": "0..49", "ranks": [0, 1, 2, 3], "lr": "where((rank == 2) & (t > 9), 0, E(t))"})
    ).finish()
    assert [(s.signal, s.group, s.rank, s.first_bad) for s in result.series] == [
        ("lr", "0", 0, None),
        ("lr", "0", 2, 10),
    ]
    assert result.series[1].observed.tolist() == [1 - t / 100 if t < 10 else 0.0 for t in range(50)]
    assert result.series[1].expected.tolist() == pytest.approx([1 - t / 100 for t in range(50)])


# -- many -----------------------------------------------------------------------------------------------


def test_a_thousand_workers() -> None:
    ranks = list(range(1000))
    rows = {"rows": "0..63", "ranks": ranks, "lr": "where((rank == 617) & (t > 40), 0.5, E(t))", "loss": "1 + rank"}
    result = play(case({"event": "start", "ranks": ranks, "world": 1000}, rows), size=32).finish()
    assert result.stats.ranks == tuple(ranks) and result.stats.rows == 64_000
    assert {(f.slug, f.rank, f.first_step) for f in result.findings} == {("drift", 617, 41), ("desync", 617, 41)}


def test_many_workers_with_one_bug_are_one_finding() -> None:
    ranks = list(range(200))
    rows = {"rows": "0..49", "ranks": ranks, "lr": "E(2 * t)"}
    result = play(case({"event": "start", "ranks": ranks, "world": 200}, rows)).finish()
    assert [(f.slug, f.ranks, f.first_step, f.cause and f.cause.name) for f in result.findings] == [
        ("drift", tuple(ranks), 1, "rate")
    ]


def test_twenty_groups_with_one_bug_are_one_finding() -> None:
    groups = {f"layer{i}": {"scale": 0.5**i} for i in range(20)}
    rows = {"rows": "0..49", **{f"lr/{g}": "E(2 * t)" for g in groups}}
    result = play(case(rows, lr={**LINE["lr"], "groups": groups}, clock=LINE["clock"])).finish()
    assert [(f.slug, f.group, f.details["groups"]) for f in result.findings] == [("drift", None, list(groups))]


# -- what must not stop it -------------------------------------------------------------------------------


def test_events_and_damage_of_any_kind() -> None:
    session = Session(contract_of(case()))
    for event in get_args(EventKind):
        session.feed(Event(event, 0))
    for damage in get_args(DamageKind):
        session.feed(Damage(damage, "run.jsonl", 1, "what"))
    assert {f.slug for f in session.finish().findings} <= {"trace-damage"}


def test_columns_may_come_and_go() -> None:
    trace = [
        {"rows": "0..9", "lr/a": "E(t)"},
        {"rows": "10..19", "loss": 1},
        {"rows": "20..29", "lr/a": "E(t)", "lr/b": "E(t)"},
        {"rows": "30..39", "lr/b": 0, "sched": "t"},
    ]
    result = play(case(*trace), only=["drift", "stepping", "trace-damage"]).finish()
    assert [(f.slug, f.group, f.first_step, f.last_step) for f in result.findings] == [("drift", "b", 30, 39)]
    assert result.stats.groups == ("a", "b")


def test_a_position_is_diagnosed_without_a_learning_rate() -> None:
    result = play(case({"rows": "0..99", "lr": "nan", "sched": 0})).finish()
    assert {f.slug: f.cause and f.cause.name for f in result.findings} == {"non-finite": None, "stepping": "frozen"}


@pytest.mark.parametrize(
    ("clock", "counters"),
    [
        ({"counts": "attempted"}, {"attempt": "t", "lr": "E(t)"}),
        ({"axis": "epoch"}, {"epoch": "floor(t / 10)", "lr": "E(floor(t / 10))"}),
        ({"axis": "sample"}, {"samples": "8 * t", "lr": "E(8 * t)"}),
    ],
)
def test_a_row_without_the_counter_of_the_clock_is_not_judged(clock: dict[str, Any], counters: dict[str, Any]) -> None:
    line = {"base": 1, "schedule": {"linear": {"to": 0, "for": 1000}}}
    rows = {"rows": "0..99", **counters, "missing": {next(iter(counters)): "15..99/20"}}
    assert [f for f in play(case(rows, clock=clock, lr=line)).finish().findings if f.slug == "drift"] == []


def test_newest_expects_nothing_where_nobody_knows_the_position() -> None:
    newest = play(case({"rows": "0..9", "lr": "E(t + 50)", "origin": "unknown"})).newest(0)
    assert newest is not None
    assert (newest.expected, newest.drift_ratio) == ({}, 0.0)


def test_a_check_that_breaks_in_a_trainer_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: NonFinite, batch: object) -> None:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr(NonFinite, "update", broken)
    session = Session(None, live=True)
    session.feed(Chunk({"update": np.array([0, 1, 1, 2]), "loss": np.ones(4)}))
    runs = {c.slug: c for c in session.finish().checks}
    assert runs["non-finite"].status == "not_checked" and "ZeroDivisionError: of its own" in runs["non-finite"].why
    assert [f.slug for f in session.findings()] == ["trace-damage"]
    with pytest.raises(ZeroDivisionError):
        Session(None).feed(Chunk({"update": np.array([0]), "loss": np.ones(1)}))
