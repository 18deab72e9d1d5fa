"""What diagnosis adds to a verify: the same rows judged with and without it, taking turns in one process.

    python benchmarks/bench_diagnosis.py [--rows 100000]

Prints one row per kind of run: CPU seconds without, with, the difference, the ratio. The worst case is a curve that
nothing explains: every transform is searched. Budget: one second, whatever the length.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.trace.model import Chunk, Event, Item

SHAPES = {
    "warm-up and cosine": lambda n: [{"linear": {"from": 0, "for": n // 20}}, {"cosine": {"until": "horizon"}}],
    "stable and decay": lambda n: {"warmup_stable_decay": {"warmup": n // 20, "decay": n // 5, "until": "horizon"}},
    "one cycle": lambda n: {"one_cycle": {"until": "horizon"}},
    "step decay": lambda n: {"step": {"every": n // 5}},
}
BUGS: dict[str, Callable[[Curve, np.ndarray], np.ndarray]] = {
    "rate 4": lambda curve, t: curve.at(4.0 * t),
    "factor 2": lambda curve, t: 2.0 * curve.at(t),
    "unexplained": lambda curve, t: curve.at(t) * (1.0 + 0.01 * np.sin(t / 977.0)),
}


def items(shape: str, bug: str, rows: int, ranks: int) -> tuple[Session, Callable[[], Iterator[Item]]]:
    """A session, and the rows of a run of all workers, 8,192 at a time."""
    lr = {"base": 3e-4, "schedule": SHAPES[shape](rows)}
    contract = from_document({"lrwatch": 1, "experiment": "b", "clock": {"horizon": rows}, "lr": lr})
    values = BUGS[bug](Curve(contract), np.arange(float(rows)))

    def feed() -> Iterator[Item]:
        for rank in range(ranks):
            yield Event("start", 0, rank=rank, fields={"world": ranks, "accumulate": 3})
        for begin in range(0, rows, 8192):
            part = slice(begin, begin + 8192)
            for rank in range(ranks):
                yield Chunk({"update": np.arange(rows)[part], "lr/0": values[part]}, rank=rank, world=ranks)

    return Session(contract, only=["drift"]), feed


def seconds(shape: str, bug: str, rows: int, ranks: int, diagnosed: bool) -> float:
    session, feed = items(shape, bug, rows, ranks)
    if not diagnosed:
        session._diagnosed = _as_it_is  # type: ignore[method-assign]  # the same session without diagnosis
    begin = time.process_time()
    for item in feed():
        session.feed(item)
    session.finish()
    return time.process_time() - begin


def _as_it_is(rank: int, finding: Finding, spread: object) -> Finding:
    return finding


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what diagnosis adds to a verify.")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each run, over all workers")
    parser.add_argument("--repeat", type=int, default=3, help="turns; the fastest counts")
    rows, repeat = (vars(parser.parse_args())[k] for k in ("rows", "repeat"))
    print(f"{'schedule':20} {'bug':12} {'workers':>7} {'without':>9} {'with':>9} {'adds':>9}  ratio")
    worst = 0.0
    cases = [(s, b, 1) for s in SHAPES for b in BUGS] + [("warm-up and cosine", b, 256) for b in BUGS]
    for shape, bug, ranks in cases:
        turns = [
            (seconds(shape, bug, rows // ranks, ranks, False), seconds(shape, bug, rows // ranks, ranks, True))
            for _ in range(repeat)
        ]
        without, with_it = (min(turn[i] for turn in turns) for i in (0, 1))
        worst = max(worst, with_it - without)
        print(
            f"{shape:20} {bug:12} {ranks:7} {without:8.3f}s {with_it:8.3f}s {with_it - without:8.3f}s "
            f"{with_it / without:6.1f}"
        )
    print(f"diagnosis adds at most {worst:.2f} s to {rows:,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
