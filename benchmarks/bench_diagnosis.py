"""What diagnosis adds to a verify: the same rows judged with and without it, taking turns in one process.

    python benchmarks/bench_diagnosis.py [--rows 100000]

Prints one row per kind of run: CPU seconds without, with, the difference, the ratio. The worst case is a curve that
nothing explains: every transform is searched, and every two of them; then many of them, one after each resume. Budget:
one second, whatever the length and however many resumes.
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


def items(
    shape: str, bug: str, rows: int, ranks: int, segments: int = 1
) -> tuple[Session, Callable[[], Iterator[Item]]]:
    """A session, and the rows of a run of all workers, 8,192 at a time."""
    lr = {"base": 3e-4, "schedule": SHAPES[shape](rows)}
    contract = from_document({"lrwatch": 1, "experiment": "b", "clock": {"horizon": rows}, "lr": lr})
    values = BUGS[bug](Curve(contract), np.arange(float(rows)))

    def feed() -> Iterator[Item]:
        for rank in range(ranks):
            yield Event("start", 0, rank=rank, fields={"world": ranks, "accumulate": 3})
        size = 8192 if segments == 1 else rows // segments
        for i, begin in enumerate(range(0, rows, size)):
            part, segment = slice(begin, begin + size), i if segments > 1 else 0
            if segment:
                yield Event("resume", begin, segment=segment, fields={"world": ranks, "accumulate": 3})
            columns = {"update": np.arange(rows)[part], "lr/0": values[part]}
            for rank in range(ranks):
                yield Chunk(columns, rank=rank, segment=segment, world=ranks)

    return Session(contract, only=["drift"]), feed


def seconds(shape: str, bug: str, rows: int, ranks: int, segments: int, diagnosed: bool) -> float:
    session, feed = items(shape, bug, rows, ranks, segments)
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
    print(f"{'schedule':20} {'bug':12} {'workers':>7} {'segments':>8} {'without':>9} {'with':>9} {'adds':>9}  ratio")
    worst = 0.0
    cases = [(s, b, 1, 1) for s in SHAPES for b in BUGS] + [("warm-up and cosine", b, 256, 1) for b in BUGS]
    cases += [("warm-up and cosine", b, 1, n) for n in (50, 500) for b in BUGS]
    for shape, bug, ranks, segments in cases:
        turns = [
            tuple(seconds(shape, bug, rows // ranks, ranks, segments, diagnosed) for diagnosed in (False, True))
            for _ in range(repeat)
        ]
        without, with_it = (min(turn[i] for turn in turns) for i in (0, 1))
        worst = max(worst, with_it - without)
        print(
            f"{shape:20} {bug:12} {ranks:7} {segments:8} {without:8.3f}s {with_it:8.3f}s {with_it - without:8.3f}s "
            f"{with_it / without:6.1f}"
        )
    print(f"diagnosis adds at most {worst:.2f} s to {rows:,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
