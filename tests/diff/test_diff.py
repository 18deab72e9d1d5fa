"""Two runs side by side: what makes them differ, which bug is suspected, and what cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from lrwatch.contract import Contract, from_document
from lrwatch.diff import Difference, Field, Happened, diff
from lrwatch.errors import TraceError
from lrwatch.trace.model import Item
from tests.diff.rows import Trace, rows, start

STEPS = 200


def contract(base: float = 3e-4, **more: Any) -> Contract:
    schedule = [{"linear": {"from": 0, "for": 20}}, {"cosine": {"to": 0, "until": "horizon"}}]
    lr = {"base": base, "schedule": schedule}
    return from_document({"lrwatch": 1, "experiment": "x", "clock": {"horizon": STEPS}, "lr": lr, **more}, "c.yaml")


def promised(t: float, base: float = 3e-4) -> float:
    """The contract's curve, written out."""
    t = min(t, STEPS)
    return base * t / 20 if t < 20 else base * (1 + math.cos(math.pi * (t - 20) / (STEPS - 20))) / 2


def run(
    lr: Callable[[float], float] = promised, loss: Callable[[int], float] = lambda t: 4.0, n: int = STEPS, **facts: Any
) -> Trace:
    fields = {"experiment": "x", "world": 1, "scheduler": "LambdaLR"} | facts
    items: list[Item] = [
        start(**fields),
        *rows(range(n), lr=[lr(t) for t in range(n)], loss=[loss(t) for t in range(n)]),
        start("end", n, outcome="finished"),
    ]
    return Trace(*items)


def columns(d: Difference) -> dict[str, int]:
    """Column → first step at which it differs."""
    return {p.column: p.step for p in d.parted}


def causes(d: Difference) -> list[tuple[str, str, str]]:
    return [(s.side, s.cause.name, s.basis) for s in d.suspects]


def test_a_run_is_the_same_as_itself() -> None:
    d = diff(run(), run(), (contract(), contract()))
    assert d.same and d.compared == {"lr/0": STEPS, "loss": STEPS}
    assert (d.a.basis, d.a.result.verdict(), d.a.survey.outcome) == ("own contract", "pass", "finished")


def test_the_bug_that_only_one_has_is_suspected() -> None:
    fast = run(lambda t: promised(4 * t), lambda t: 4.0 if t < 3 else 5.0, world=4)
    d = diff(run(), fast, (contract(), contract()))
    assert columns(d) == {"lr/0": 1, "loss": 3}
    assert causes(d) == [("b", "rate", "own contract")]
    assert d.facts == (Field("world", 1, 4),)
    assert causes(diff(fast, run(), (contract(), contract()))) == [("a", "rate", "own contract")]


def test_a_bug_that_shows_twice_is_suspected_once() -> None:
    made = rows(range(STEPS), lr=[promised(4 * t) for t in range(STEPS)], sched=[4 * t for t in range(STEPS)])
    good = rows(range(STEPS), lr=[promised(t) for t in range(STEPS)], sched=list(range(STEPS)))
    d = diff(Trace(start(), *good), Trace(start(), *made), (contract(), contract()))
    assert {f.slug for f in d.b.result.findings} >= {"drift", "stepping"}
    assert causes(d) == [("b", "rate", "own contract")]


def test_the_same_bug_in_another_group_is_another_bug() -> None:
    def made(one: float, other: float) -> Trace:
        lr = [promised(t) for t in range(STEPS)]
        return Trace(start(), *rows(range(STEPS), lr__one=[one * v for v in lr], lr__other=[other * v for v in lr]))

    d = diff(made(2, 1), made(1, 2), (contract(), contract()))
    assert [side for side, _, _ in causes(d)] == ["a", "b"]
    assert not diff(made(2, 1), made(2, 1), (contract(), contract())).suspects


def test_a_bug_that_both_have_is_not_what_parts_them() -> None:
    halved = run(lambda t: promised(t) / 2)
    d = diff(halved, run(lambda t: promised(t) / 2, lambda t: 5.0), (contract(), contract()))
    assert columns(d) == {"loss": 0}
    assert d.suspects == ()


def test_a_run_without_a_contract_is_judged_by_the_others() -> None:
    d = diff(run(), run(lambda t: promised(min(t, 50))), (contract(), None))
    assert (d.a.basis, d.b.basis) == ("own contract", "other's contract")
    assert causes(d) == [("b", "frozen", "other's contract")]
    d = diff(run(lambda t: promised(min(t, 50))), run(), (None, contract()))
    assert causes(d) == [("a", "frozen", "other's contract")]


@pytest.mark.parametrize(
    ("lr", "cause", "params"),
    [
        (lambda t: promised(4 * t), "rate", {"k": 4}),
        (lambda t: promised(t) * 8, "factor", {"c": 8}),
        (lambda t: promised(min(t, 60)), "frozen", {"at": 60}),
        (lambda t: promised(t + 7), "offset", {"d": 7}),
    ],
)
def test_without_any_contract_the_first_run_is_the_promise(
    lr: Callable[[float], float], cause: str, params: dict[str, Any]
) -> None:
    [suspect] = diff(run(), run(lr, world=4)).suspects
    assert (suspect.side, suspect.cause.name, suspect.basis) == ("b", cause, "other run")
    assert params.items() <= dict(suspect.cause.params).items()


def test_what_no_known_bug_gives_is_not_named() -> None:
    d = diff(run(), run(lambda t: promised(t) + (1e-5 if t % 7 == 3 else 0.0)))
    assert columns(d) == {"lr/0": 3}
    assert d.suspects == ()


def test_the_first_run_promises_nothing_beyond_its_end() -> None:
    d = diff(run(n=100), run(n=150))
    assert (d.parted, d.suspects, d.lonely) == ((), (), {"a": 0, "b": 50})
    assert d.facts == (Field("steps", "0–99", "0–149"),)
    assert not d.same


def test_contracts_that_differ_are_the_reason_and_not_a_bug() -> None:
    a, b = contract(), contract(6e-4, tolerance={"rtol": 1e-8})
    d = diff(run(), run(lambda t: promised(t, 6e-4)), (a, b))
    assert columns(d) == {"lr/0": 1}
    assert d.contracts == (Field("lr.base", 3e-4, 6e-4), Field("tolerance", None, {"rtol": 1e-8}))
    assert d.suspects == () and not d.amended and not d.mismatch


def test_an_amended_contract_is_said_to_be_one() -> None:
    amended = contract(amendments=[{"at": 100, "set": {"clock.horizon": 300}, "join": "continuous"}])
    d = diff(run(), run(), (contract(), amended))
    assert d.amended
    assert [f.name for f in d.contracts] == ["amendments"]


def test_recorded_identities_tell_two_contracts_apart_without_their_files() -> None:
    a, b = str(contract().identity), str(contract(6e-4).identity)
    assert diff(run(contract=a), run(contract=b)).mismatch
    assert not diff(run(contract=a), run(contract=a)).mismatch
    d = diff(run(contract=a), run())
    assert not d.mismatch and d.same


def test_what_happened_in_one_run_only() -> None:
    a = Trace(start(), *rows(range(9), loss=[1.0] * 9), start("checkpoint", 5, scheduler_state=True))
    b = Trace(
        start(),
        *rows(range(9), loss=[1.0] * 9),
        start("checkpoint", 5, scheduler_state=False),
        start("oom", 7),
        start("end", 9, outcome="failed"),
    )
    d = diff(a, b)
    assert d.happened == (
        Happened("oom", 0, 1, 7, "", "oom"),
        Happened("checkpoint", 1, 1, 5, "checkpoint, scheduler state True", "checkpoint, scheduler state False"),
        Happened("end", 0, 1, 9, "", "end, outcome failed"),
    )
    assert not d.parted and not d.same


def test_times_names_and_values_of_events_are_no_difference() -> None:
    def made(run: str, path: str, loss: float) -> Trace:
        return Trace(
            start(run=run),
            *rows(range(3), loss=[1.0] * 3),
            start("validation", 2, metrics={"val": loss}),
            start("checkpoint", 2, path=path),
        )

    assert diff(made("a", "x", 1.0), made("b", "y", 2.0)).same


def test_columns_that_only_one_has() -> None:
    a = Trace(*rows(range(3), loss=[1.0] * 3, lr__head=[1.0] * 3))
    d = diff(a, Trace(*rows(range(3), loss=[1.0] * 3, grad_norm=[1.0] * 3)))
    assert d.alone == {"a": ("lr/head",), "b": ("grad_norm",)}
    assert not d.same


def test_a_restricted_comparison_minds_nothing_else() -> None:
    b = run(loss=lambda t: 5.0, n=150, world=4)
    assert not diff(run(), b).same
    assert diff(run(), b, only=("lr",)).same
    assert columns(diff(run(), b, only=("loss",))) == {"loss": 0}


@pytest.mark.parametrize(
    ("a", "b", "only", "message"),
    [
        (rows([0], loss=[1.0]), rows([0], rank=1, loss=[1.0]), (), "have no worker in common: ranks 0 and 1"),
        (rows([0], loss=[1.0]), rows([0], lr=[1.0]), (), "have no such column in common: loss and lr/0"),
        (rows([0], loss=[1.0]), rows([0], loss=[1.0]), ("lr",), "have no such column in common: loss and loss"),
        (rows([0, 1], loss=[1, 1]), rows([5, 6], loss=[1, 1]), (), "have no step in common: 0–1 and 5–6"),
    ],
)
def test_runs_with_nothing_in_common_are_no_equal_runs(
    a: list[Item], b: list[Item], only: tuple[str, ...], message: str
) -> None:
    with pytest.raises(TraceError) as caught:
        diff(Trace(*a, name="a"), Trace(*b, name="b"), only=only)
    assert str(caught.value) == f"a and b: {message}; nothing to compare"


def test_a_trace_without_rows_and_one_that_can_be_read_once_only() -> None:
    with pytest.raises(TraceError) as caught:
        diff(run(), Trace(start(), name="empty"))
    assert str(caught.value) == "empty: has no rows; nothing to check"
    with pytest.raises(TraceError) as caught:
        diff(Trace(*run().items, name="pipe", rereadable=False), run())
    assert str(caught.value) == "pipe: can be read once only; give a file"
