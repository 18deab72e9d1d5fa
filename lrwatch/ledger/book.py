"""What was counted so far: counters that never go down and count every run once, across restarts of the ledger.

A summary is rewritten by every attempt of its run. Hence a run is counted

- once it ended for good: ``finished`` and ``converged`` at once when every worker has said so; anything else when
  ``settle`` seconds passed without a new attempt. Being ``interrupted`` is never an end;
- in the outcome that it has then. If it is resumed later nevertheless, that count stays: what a counter has said cannot
  be taken back. The table of ``lrwatch ledger``, which is no counter, shows the newest outcome;
- with its accelerator seconds, of which a later attempt adds only what is new.

A directory that is used again for another run (attempt 1 again, begun after the last end) counts as another run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lrwatch.ledger.run import Run

VERSION = 1
SETTLE = 300.0
"""Seconds that an elastic launcher or a scheduler is given to start the next attempt."""

Labels = tuple[str, str]
"""Experiment and outcome."""


@dataclass(frozen=True)
class Entry:
    """What was counted of one run. ``outcome``: in which it was counted, None while only its seconds are."""

    attempt: int
    ended: float
    outcome: str | None = None
    anomalous: bool = False
    gpu_seconds: float = 0.0


@dataclass(frozen=True)
class Book:
    """Totals, and by key the runs that are in them."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    runs: Mapping[Labels, float] = field(default_factory=dict)
    gpu_seconds: Mapping[Labels, float] = field(default_factory=dict)
    anomalous: Mapping[str, float] = field(default_factory=dict)


def count(book: Book, runs: Iterable[Run], now: float, settle: float = SETTLE) -> Book:
    """The book with what is new in ``runs``; the same one if nothing is. ``now`` in Unix seconds."""
    entries, totals = dict(book.entries), dict(book.runs)
    seconds, anomalous = dict(book.gpu_seconds), dict(book.anomalous)
    for run in runs:
        if not _settled(run, now, settle):
            continue
        old = entries.get(run.key)
        if old is None or (run.attempt <= old.attempt and run.started > old.ended):
            old = Entry(run.attempt, run.ended)
        labels = run.experiment, run.judged
        new = replace(old, attempt=run.attempt, ended=run.ended, gpu_seconds=max(run.gpu_seconds, old.gpu_seconds))
        if new.gpu_seconds > old.gpu_seconds:
            seconds[labels] = seconds.get(labels, 0.0) + new.gpu_seconds - old.gpu_seconds
        if old.outcome is None and run.outcome != "interrupted":
            new = replace(new, outcome=run.judged)
            totals[labels] = totals.get(labels, 0) + 1
            anomalous.setdefault(run.experiment, 0)
        if new.outcome is not None and run.anomalous and not old.anomalous:
            new = replace(new, anomalous=True)
            anomalous[run.experiment] = anomalous.get(run.experiment, 0) + 1
        entries[run.key] = new
    after = Book(entries, totals, seconds, anomalous)
    return book if after == book else after


def _settled(run: Run, now: float, settle: float) -> bool:
    if run.resumed:
        return False
    return (run.complete and run.outcome in ("finished", "converged")) or now - run.ended >= settle


def to_document(book: Book) -> dict[str, Any]:
    """The book as plain data."""
    return {
        "lrwatch_ledger": VERSION,
        "entries": {key: asdict(entry) for key, entry in sorted(book.entries.items())},
        "runs": [[*labels, n] for labels, n in sorted(book.runs.items())],
        "gpu_seconds": [[*labels, n] for labels, n in sorted(book.gpu_seconds.items())],
        "anomalous": [[name, n] for name, n in sorted(book.anomalous.items())],
    }


def from_document(content: Any) -> Book:
    """The book from plain data. Raises ValueError: this is none, or one of another version."""
    try:
        if content["lrwatch_ledger"] != VERSION:
            raise ValueError(f"version {content['lrwatch_ledger']!r}, this lrwatch knows {VERSION}")
        return Book(
            {str(key): Entry(**entry) for key, entry in content["entries"].items()},
            {(str(e), str(o)): float(n) for e, o, n in content["runs"]},
            {(str(e), str(o)): float(n) for e, o, n in content["gpu_seconds"]},
            {str(e): float(n) for e, n in content["anomalous"]},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what the ledger writes ({type(error).__name__}: {error})") from None
