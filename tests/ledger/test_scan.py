"""The directory with the runs: what is found, what is left out, and what is said of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lrwatch.errors import LrwatchError
from lrwatch.ledger.book import Book, count
from lrwatch.ledger.scan import Scanner, load_book, save_book
from tests.ledger.helpers import leave


def keys(root: Path) -> list[str]:
    return [run.key for run in Scanner(root).scan().runs]


def test_runs_are_found_one_and_two_levels_deep_and_not_below_a_run(tmp_path: Path) -> None:
    for name in ("a", "sweep/b", "sweep/c", "x/y/z", "a/copy", ".hidden/d"):
        leave(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert keys(tmp_path) == ["a", "sweep/b", "sweep/c"]
    assert keys(tmp_path / "a") == ["."]


def test_the_workers_of_a_run_are_one_run(tmp_path: Path) -> None:
    leave(tmp_path / "a", world=2)
    leave(tmp_path / "a", rank=1, world=2)
    (run,) = Scanner(tmp_path).scan().runs
    assert (run.complete, run.gpu_seconds) == (True, 7200.0)


def test_a_run_whose_first_worker_was_killed_is_told_by_the_next(tmp_path: Path) -> None:
    leave(tmp_path / "a", rank=1, world=2, outcome="failed")
    (run,) = Scanner(tmp_path).scan().runs
    assert (run.outcome, run.complete) == ("failed", False)


def test_torn_and_foreign_files_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    leave(tmp_path / "good")
    torn = {"torn": '{"lrwatch": "0.1', "foreign": '{"accuracy": 0.9}', "empty": "", "deep": "[" * 99999}
    for name, text in torn.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(text)
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / "summary.json").write_bytes(b'{"lrwatch": "\xff\xfe"}')
    scan = Scanner(tmp_path).scan()
    assert [run.key for run in scan.runs] == ["good"]
    assert [p.partition(": ")[0] for p in scan.problems] == [
        str(tmp_path / name / "summary.json") for name in ("bytes", "deep", "empty", "foreign", "torn")
    ]
    assert scan.problems[3].endswith("foreign/summary.json: is no summary of lrwatch")
    assert "is torn or no JSON (Unterminated string" in scan.problems[4]


def test_a_later_attempt_is_seen_by_its_trace(tmp_path: Path) -> None:
    folder = leave(tmp_path / "a", 0)
    scanner = Scanner(tmp_path)
    assert [run.resumed for run in scanner.scan().runs] == [False]
    leave(folder, 1)
    os.utime(folder / "trace", (1, 1))  # what the file system's clock would do, were it fine enough
    assert [run.resumed for run in scanner.scan().runs] == [True]
    leave(folder, segment=1, attempt=2)
    assert [run.resumed for run in scanner.scan().runs] == [False]


def test_a_rewritten_summary_is_read_again_and_a_deleted_one_forgotten(tmp_path: Path) -> None:
    leave(tmp_path / "a", outcome="failed")
    scanner = Scanner(tmp_path)
    assert [run.outcome for run in scanner.scan().runs] == ["failed"]
    assert scanner.scan() == scanner.scan()
    leave(tmp_path / "a", outcome="converged", attempt=2)
    assert [run.outcome for run in scanner.scan().runs] == ["converged"]
    (tmp_path / "a" / "summary.json").unlink()
    assert scanner.scan().runs == ()


def test_a_missing_directory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(LrwatchError) as raised:
        Scanner(tmp_path / "runs").scan()
    assert str(raised.value) == (
        f"{tmp_path}/runs: cannot be read (No such file or directory); give the directory that has the run directories"
    )


def test_the_book_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "book.json"
    assert load_book(path) == Book()
    leave(tmp_path / "a")
    book = count(Book(), Scanner(tmp_path).scan().runs, now=20000.0)
    save_book(path, book)
    assert load_book(path) == book
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["book.json"]


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"lrwatch_ledger": 2})])
def test_a_damaged_book_stops_the_ledger_before_it_counts_anything_twice(tmp_path: Path, text: str) -> None:
    path = tmp_path / "book.json"
    path.write_text(text)
    with pytest.raises(LrwatchError, match="restore it, or delete it to count the runs that are still there afresh"):
        load_book(path)
    assert path.read_text() == text
