"""Counters that survive restarts, resumes and rewritten summaries, and never go down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.ledger.book import Book, count, from_document, to_document
from lrwatch.ledger.run import Run, part, run
from tests.ledger.helpers import ERROR, GOAL, summary

LATER = 20000.0
"""Long after the run ended."""


def one(key: str = "a", newest_segment: int | None = None, **changes: Any) -> Run:
    return run(key, [part(summary(**changes))], newest_segment)


def test_a_finished_run_is_counted_once() -> None:
    book = count(Book(), [one(goal=GOAL, findings=[ERROR])], now=10000.0)
    assert book.runs == {("gpt", "converged"): 1}
    assert book.gpu_seconds == {("gpt", "converged"): 3600.0}
    assert book.anomalous == {"gpt": 1}
    assert count(book, [one(goal=GOAL, findings=[ERROR])], now=LATER) is book


def test_an_experiment_without_anomalies_shows_zero() -> None:
    assert count(Book(), [one()], now=LATER).anomalous == {"gpt": 0}


@pytest.mark.parametrize("outcome", ["failed", "stopped", "interrupted"])
def test_what_may_be_restarted_is_given_time(outcome: str) -> None:
    assert count(Book(), [one(outcome=outcome)], now=10299.0) == Book()
    book = count(Book(), [one(outcome=outcome)], now=10300.0)
    assert book.gpu_seconds == {("gpt", outcome): 3600.0}


def test_a_finished_run_whose_other_workers_have_not_said_so_is_given_time() -> None:
    assert count(Book(), [one(world=2)], now=10001.0) == Book()
    assert count(Book(), [one(world=2)], now=10300.0).runs == {("gpt", "finished"): 1}


def test_an_interrupted_run_is_counted_when_it_has_ended_for_good() -> None:
    book = count(Book(), [one(outcome="interrupted")], now=LATER)
    assert (book.runs, book.gpu_seconds) == ({}, {("gpt", "interrupted"): 3600.0})
    resumed = one(outcome="interrupted", newest_segment=1)
    assert count(book, [resumed], now=LATER) is book
    done = one(attempt=2, segment=1, started=30000.0, ended=31000.0, gpu_seconds=4600.0)
    book = count(book, [done], now=31000.0)
    assert book.runs == {("gpt", "finished"): 1}
    assert book.gpu_seconds == {("gpt", "interrupted"): 3600.0, ("gpt", "finished"): 1000.0}


def test_a_run_that_failed_and_was_resumed_late_keeps_its_count_and_adds_its_seconds() -> None:
    book = count(Book(), [one(outcome="failed")], now=LATER)
    done = one(attempt=2, segment=1, started=30000.0, ended=31000.0, gpu_seconds=4600.0, findings=[ERROR])
    book = count(book, [done], now=31000.0)
    assert book.runs == {("gpt", "failed"): 1}
    assert book.gpu_seconds == {("gpt", "failed"): 3600.0, ("gpt", "finished"): 1000.0}
    assert book.anomalous == {"gpt": 1}
    assert count(book, [done], now=99999.0) is book


def test_an_attempt_that_forgot_what_was_spent_before_takes_nothing_back() -> None:
    book = count(Book(), [one(outcome="failed")], now=LATER)
    for spent, expected in ((1000.0, 0.0), (4000.0, 400.0)):
        book = count(book, [one(attempt=2, segment=1, gpu_seconds=spent)], now=LATER)
        assert book.gpu_seconds[("gpt", "failed")] == 3600.0
        assert book.gpu_seconds.get(("gpt", "finished"), 0.0) == expected


def test_another_run_in_the_same_directory_is_another_run() -> None:
    book = count(Book(), [one(findings=[ERROR])], now=LATER)
    book = count(book, [one(started=50000.0, ended=51000.0, gpu_seconds=1000.0)], now=51000.0)
    assert book.runs == {("gpt", "finished"): 2}
    assert book.gpu_seconds == {("gpt", "finished"): 4600.0}
    assert book.anomalous == {"gpt": 1}


def test_runs_whose_directories_are_gone_stay_counted() -> None:
    book = count(Book(), [one("a"), one("b")], now=LATER)
    assert count(book, [], now=LATER) is book
    assert count(book, [one("a"), one("b")], now=LATER).runs == {("gpt", "finished"): 2}


def test_the_book_survives_being_written_down() -> None:
    runs = [one("a", findings=[ERROR]), one('x/"y"\n', experiment="ex\\p", outcome="failed")]
    book = count(Book(), runs, now=LATER)
    again = from_document(json.loads(json.dumps(to_document(book))))
    assert again == book
    assert count(again, runs, now=LATER) is again


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "not what the ledger writes (KeyError: 'lrwatch_ledger')"),
        ([], "not what the ledger writes (TypeError: list indices must be integers or slices, not str)"),
        ({"lrwatch_ledger": 7}, "version 7, this lrwatch knows 1"),
    ],
)
def test_what_is_no_book_is_refused(content: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        from_document(content)
    assert str(raised.value) == message


attempts = st.lists(
    st.tuples(
        st.sampled_from(["finished", "converged", "stopped", "failed", "interrupted"]),
        st.floats(0, 1e5),  # GPU-seconds
        st.floats(1, 1000),  # until the ledger looks
        st.booleans(),  # a later attempt has begun
        st.booleans(),  # an error finding
    ),
    max_size=8,
)


@given(attempts)
def test_whatever_becomes_of_a_run_no_counter_goes_down_and_it_counts_once(
    story: list[tuple[str, float, float, bool, bool]],
) -> None:
    book, now, spent = Book(), 0.0, 0.0
    for i, (outcome, seconds, wait, resumed, bad) in enumerate(story):
        started, ended, spent = now + 1, now + 2, spent + seconds
        now = ended + wait
        made = one(
            outcome=outcome, attempt=i + 1, segment=i, newest_segment=i + resumed, started=started, ended=ended,
            gpu_seconds=spent, findings=[ERROR] if bad else [],
        )  # fmt: skip
        before, book = book, count(book, [made], now)
        assert all(book.runs[k] >= n for k, n in before.runs.items())
        assert all(book.gpu_seconds[k] >= n for k, n in before.gpu_seconds.items())
        assert all(book.anomalous[k] >= n for k, n in before.anomalous.items())
    assert sum(book.runs.values()) <= 1
    assert sum(book.anomalous.values()) <= sum(book.runs.values())
    assert sum(book.gpu_seconds.values()) <= spent * (1 + 1e-9)
