"""One random run, faulty or clean, through the engine, and whether what it said is right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.result import Result
from tests.mutations.bugs import BUGS, CLEAN, Bug, Run, Segments
from tests.mutations.loop import Storage, start
from tests.mutations.shapes import SHAPES, Shape

STORED = (
    Storage(),
    Storage(with_sched=False),
    Storage(digits=9, with_sched=False),
    Storage(digits=4, with_sched=False),
    Storage(every=10, with_sched=False),
)


@dataclass(frozen=True)
class Outcome:
    """What one run showed.

    Attributes:
        visible: some stored row lies further from the promise than the trace's precision. hidden: none lies further
            than half a unit of it; in between, both silence and a finding are right.
        detected: a drift or stepping finding. named: every cause named, the first one first; empty: unexplained.
        confident: the cause was called certain. first_error: |first step found - first visible bad step|.
    """

    bug: str
    shape: str
    storage: Storage
    truth: str
    visible: bool
    hidden: bool
    detected: bool
    named: tuple[str, ...]
    confident: bool
    first_error: int
    result: Result


def random_run(seed: int, shape: Shape | None = None) -> Run:
    """A run with random numbers, the same for the same seed."""
    rng = np.random.default_rng(seed)
    shape = shape or SHAPES[int(rng.integers(len(SHAPES)))]
    steps = int(rng.integers(300, 1500))
    world, accumulate = (int(x) for x in rng.choice([2, 3, 4, 5, 6, 8], size=2, replace=False))
    base = float(10.0 ** rng.uniform(-5, -1))
    return Run(shape, shape.plan(rng, steps), base, world, accumulate, int(rng.integers(11, 60)), seed)


def document(run: Run) -> dict[str, object]:
    """The contract of a run."""
    return {
        "lrwatch": 1,
        "experiment": "bed",
        "clock": {"horizon": run.steps},
        "batch": {"accumulate": run.accumulate, "steps_per_epoch": run.per_epoch},
        "lr": {"base": run.base, "schedule": run.shape.promise(run.plan)},
    }


def judge(run: Run, make: Callable[[Run], Segments], storage: Storage, bug: Bug | None = None) -> Outcome:
    """Make the run, verify it, compare."""
    contract = from_document(document(run))
    session, curve = Session(contract), Curve(contract)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of most of these bugs; that is not what is tested
        segments = make(run)
    bad: list[int] = []
    off: list[int] = []
    for i, loop in enumerate(segments):
        first = int(loop.rows["update"][0])
        session.feed(start(0, run.world, i, first, str(contract.identity), run.accumulate, run.per_epoch))
        for chunk in storage.chunks(loop.rows, rank=0, world=run.world, segment=i):
            session.feed(chunk)
            bad += _beyond(2.0, chunk.columns, curve, storage)
            off += _beyond(0.5, chunk.columns, curve, storage)
    result = session.finish()
    found = [f for f in result.findings if f.slug in ("drift", "stepping")]
    cause = _cause(found)
    return Outcome(
        bug=bug.name if bug else make.__name__,
        shape=run.shape.name,
        storage=storage,
        truth=bug.truth if bug else "",
        visible=bool(bad) or (storage.with_sched and bool(found)),
        hidden=not off and not storage.with_sched,
        detected=bool(found),
        named=_names(cause),
        confident=cause is not None and cause.cause is not None and cause.cause.confidence == "high",
        first_error=abs((cause.first_step or 0) - min(bad)) if cause and bad and cause.slug == "drift" else 0,
        result=result,
    )


def _beyond(units: float, columns: dict[str, np.ndarray], curve: Curve, storage: Storage) -> list[int]:
    """Updates whose stored value differs from the promise by more than so many units of its last digit."""
    used = columns["skipped"] == 0
    steps, seen = columns["update"][used], columns["lr/0"][used]
    promised = curve.at(steps.astype(np.float64))
    unit = {17: 1e-9, 9: 1.2e-7, 4: 1e-3}[storage.digits]
    return steps[np.abs(seen - promised) > units * unit * np.abs(promised) + 1e-10 * curve.peak()].tolist()


def _cause(found: list[Finding]) -> Finding | None:
    drift = [f for f in found if f.slug == "drift"]
    return (drift or found or [None])[0]


def _names(finding: Finding | None) -> tuple[str, ...]:
    if finding is None or finding.cause is None or finding.cause.name == "unexplained":
        return ()
    return (finding.cause.name, *(a.split(":")[0] for a in finding.cause.also_consistent))


def faulty(seed: int) -> Outcome:
    """A random bug in a random run."""
    rng = np.random.default_rng(10_000 + seed)
    bug = BUGS[seed % len(BUGS)]
    shapes = [s for s in SHAPES if bug.where(s)]
    run = random_run(seed, shapes[int(rng.integers(len(shapes)))])
    return judge(run, bug.make, STORED[int(rng.integers(len(STORED)))], bug)


def healthy(seed: int) -> Outcome:
    """A random run without a bug."""
    rng = np.random.default_rng(20_000 + seed)
    make = CLEAN[seed % len(CLEAN)]
    return judge(random_run(seed), make, STORED[int(rng.integers(len(STORED)))])
