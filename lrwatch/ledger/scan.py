"""Reads the directory with the runs, and keeps the book beside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrwatch.errors import LrwatchError
from lrwatch.ledger import book as bookkeeping
from lrwatch.ledger.book import Book
from lrwatch.ledger.run import Part, Run, part, run
from lrwatch.trace.writer import replace_file

STATE = ".lrwatch-ledger.json"
"""The book's file below RUNS_DIR."""
DEPTH = 2
"""RUNS_DIR/<run> and RUNS_DIR/<sweep>/<run>."""
_SUMMARY = re.compile(r"summary(-rank\d+)?\.json")
_SEGMENT = re.compile(r"rank(\d+)-seg(\d+)\.jsonl")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Scan:
    """The runs that have ended, by key, and what could not be read: ``path: why``."""

    runs: tuple[Run, ...]
    problems: tuple[str, ...]


class Scanner:
    """Reads a file again only when it has changed, so that a look every few seconds is cheap."""

    def __init__(self, root: Path):
        self._root = root
        self._read: dict[Path, tuple[_Stamp, Part | str]] = {}
        self._listed: dict[Path, tuple[_Stamp, dict[int, int]]] = {}

    def scan(self) -> Scan:
        """Everything there is now. Raises LrwatchError: the directory itself cannot be read."""
        try:
            with os.scandir(self._root):
                pass
        except OSError as error:
            raise LrwatchError(
                f"{self._root}: cannot be read ({error.strerror}); give the directory that has the run directories"
            ) from None
        runs: list[Run] = []
        problems: list[str] = []
        read: dict[Path, tuple[_Stamp, Part | str]] = {}
        for folder, summaries in _run_dirs(self._root, DEPTH, problems):
            parts: list[Part] = []
            for path in summaries:
                stamped = self._part(path)
                if stamped is None:
                    continue
                read[path] = stamped
                if isinstance(stamped[1], str):
                    problems.append(f"{path}: {stamped[1]}")
                else:
                    parts.append(stamped[1])
            if parts:
                newest = self._segments(folder / "trace").get(min(p.rank for p in parts))
                runs.append(run(folder.relative_to(self._root).as_posix(), parts, newest))
        self._read = read
        return Scan(tuple(runs), tuple(problems))

    def _part(self, path: Path) -> tuple[_Stamp, Part | str] | None:
        """The summary, or why it is none; None when it went away meanwhile."""
        try:
            stamp = _stamp(path)
            known = self._read.get(path)
            if known is not None and known[0] == stamp:
                return known
            return stamp, part(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            return (0, 0, 0), f"cannot be read ({error.strerror})"
        except json.JSONDecodeError as error:
            return stamp, f"is torn or no JSON ({error})"
        except (ValueError, RecursionError) as error:
            return stamp, str(error) or type(error).__name__

    def _segments(self, folder: Path) -> dict[int, int]:
        """Rank → highest segment that has a trace file. A new file changes the directory's time."""
        try:
            stamp = _stamp(folder)
            known = self._listed.get(folder)
            if known is None or known[0] != stamp:
                newest: dict[int, int] = {}
                for name in os.listdir(folder):
                    if found := _SEGMENT.fullmatch(name):
                        rank, segment = map(int, found.groups())
                        newest[rank] = max(segment, newest.get(rank, 0))
                known = self._listed[folder] = stamp, newest
            return known[1]
        except OSError:  # no trace: nothing says that the run goes on
            return {}


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _run_dirs(folder: Path, depth: int, problems: list[str]) -> Iterator[tuple[Path, list[Path]]]:
    """Directories with summaries, and these; what is below a run is not looked at."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        summaries = [Path(entry.path) for entry in entries if _SUMMARY.fullmatch(entry.name) and entry.is_file()]
        below = [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError as error:
        problems.append(f"{folder}: cannot be read ({error.strerror})")
        return
    if summaries:
        yield folder, summaries
    elif depth:
        for path in below:
            yield from _run_dirs(path, depth - 1, problems)


def load_book(path: Path) -> Book:
    """The book that an earlier ledger left, an empty one without.

    Raises:
        LrwatchError: the file is there and is no book; nothing is counted on top of a doubt.
    """
    try:
        return bookkeeping.from_document(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Book()
    except OSError as error:
        raise LrwatchError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise LrwatchError(
            f"{path}: {error}; restore it, or delete it to count the runs that are still there afresh"
        ) from None


def save_book(path: Path, book: Book) -> None:
    """Replace the file, whole or not at all. Raises OSError."""
    replace_file(path, (json.dumps(bookkeeping.to_document(book), indent=1) + "\n").encode())
