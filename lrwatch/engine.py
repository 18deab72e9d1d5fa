"""Session: rows and events in, findings out. The only module that names every stage.

    session = Session(contract)
    for item in source:              # chunks, events, damage, in recorded order
        session.feed(item)
    result = session.finish()

``verify`` (files), the agent's worker (a live trainer) and ``tail`` (logs) drive it, and nothing else judges a trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.checks import checks
from lrwatch.checks._series import Part, Series
from lrwatch.checks.base import Batch, Check, Context
from lrwatch.checks.drift import Drift
from lrwatch.checks.stepping import Stepping
from lrwatch.contract.model import Contract
from lrwatch.curve import Metric
from lrwatch.diagnosis.case import Facts, Rows
from lrwatch.diagnosis.casebook import POSITION, Casebook, Question
from lrwatch.diagnosis.causes import CAUSES
from lrwatch.diagnosis.evidence import FIELDS, Columns
from lrwatch.diagnosis.spread import Spread, own_paces
from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.exhibits import sensitivity, series, shown
from lrwatch.expectation import Expectation
from lrwatch.findings import Finding
from lrwatch.result import CheckRun, Result, Samples, Stats, merged
from lrwatch.schedules.base import FloatArray
from lrwatch.tolerance import Precision
from lrwatch.trace.align import Aligner
from lrwatch.trace.model import SIGNALS, Chunk, Event, Item
from lrwatch.trace.picture import Picture

__all__ = ["Newest", "Result", "Session"]


@dataclass(frozen=True)
class Newest:
    """The newest row of a worker: actual and expected values of one and the same update."""

    update: int
    t: float
    values: dict[str, float]
    expected: dict[str, float]
    drift_ratio: float


@dataclass
class Worker:
    """What a session keeps of one rank."""

    checks: list[Check]
    expectation: Expectation
    facts: Facts = Facts()
    identity: str = ""
    newest: Newest | None = None


class Session:
    """One run, judged while it is read.

    Args:
        contract: the promise, None for intrinsic checks only. live: inside a running trainer.
        only: slugs of the checks to run, all without it. metrics: validation values known beforehand, for plateau
            schedules of workers that do not record them.

    Raises:
        LrwatchError: ``only`` names an unknown check.
    """

    def __init__(
        self,
        contract: Contract | None,
        *,
        live: bool = False,
        only: Collection[str] | None = None,
        metrics: Sequence[Metric] = (),
    ):
        self.contract, self.live = contract, live
        self._classes = _chosen(only)
        self._given_metrics = tuple(metrics)
        self._workers: dict[int, Worker] = {}
        self._whole: list[Check] = []
        self._cannot: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        for slug, cls in self._classes.items():
            context = Context(contract, None, live)
            if why := cls.cannot(context):
                self._cannot[slug] = why
            elif cls.scope != "rank":
                self._whole.append(cls(context))
        self._series = Series.of({column for check in self._whole for column in check.follows})
        self._aligner = Aligner() if any(c.scope == "aligned" for c in self._whole) else None
        self._rows, self._steps = 0, (np.inf, -np.inf)
        self._damage: Counter[str] = Counter()
        self._segments: set[tuple[int, int]] = set()
        self._run: str | None = None
        self._book = Casebook()
        self._picture = None if live else Picture()  # nobody draws a run that goes on
        self._finished = False

    # -- taking in ----------------------------------------------------------------------------------

    def feed(self, item: Item) -> None:
        """Take in one chunk, event or damaged place."""
        if self._picture is not None:
            self._picture.take(item)
        if isinstance(item, Chunk):
            if len(item):
                self._chunk(item)
        elif isinstance(item, Event):
            self._event(item)
        else:
            self._damage[item.kind] += 1
            for check in self._whole:
                self._ask(check, check.damage, item)

    def _ask(self, check: Check, method: Callable[..., Any], *given: Any) -> Any:
        """Call a check. Inside a trainer one that breaks is left out from then on, and the others go on."""
        if check.slug in self._broken:
            return None
        if not self.live:
            return method(*given)
        try:
            return method(*given)
        except Exception as e:
            self._broken[check.slug] = f"it broke ({type(e).__name__}: {e}); verify the trace to see where"
            return None

    def _worker(self, rank: int) -> Worker:
        if rank not in self._workers:
            context = Context(self.contract, rank, self.live)
            instances = [
                cls(context) for slug, cls in self._classes.items() if cls.scope == "rank" and slug not in self._cannot
            ]
            batch = self.contract.batch if self.contract else None
            facts = Facts(
                accumulate=batch.accumulate if batch else None, steps_per_epoch=batch.steps_per_epoch if batch else None
            )
            self._workers[rank] = Worker(instances, Expectation(self.contract, self._given_metrics), facts)
        return self._workers[rank]

    def _event(self, event: Event) -> None:
        worker = self._worker(event.rank)
        fields = event.fields
        if event.kind in ("start", "resume"):
            self._run = self._run or fields.get("run")
            worker.facts = _learn(worker.facts, fields)
            worker.identity = str(fields.get("contract") or worker.identity)
            if self.contract is not None and self.contract.clock.axis == "update":
                self._book.begin(event.rank, event.segment, float(event.update))
        worker.expectation.event(event)
        if event.kind == "validation":
            self._follow(self._series.settle())
        for check in (*worker.checks, *(c for c in self._whole if c.scope == "run")):
            self._ask(check, check.event, event)

    def _chunk(self, chunk: Chunk) -> None:
        worker = self._worker(chunk.rank)
        if chunk.world is not None and chunk.world != worker.facts.world:
            worker.facts = replace(worker.facts, world=chunk.world)
        batch = worker.expectation.batch(chunk)
        self._count(chunk)
        for check in worker.checks:
            self._ask(check, check.update, batch)
        for check in self._whole:
            if check.scope == "run":
                self._ask(check, check.update, batch)
        self._follow(self._series.feed(batch))
        if self._aligner is not None:
            self._align(self._aligner.push(chunk))
        self._remember(worker, batch)

    def _follow(self, parts: Iterable[Part]) -> None:
        for part in parts:
            for check in self._whole:
                if part.column in check.follows:
                    self._ask(check, check.follow, part)

    def _align(self, released: Iterable[object]) -> None:
        for rows in released:
            for check in self._whole:
                if check.scope == "aligned":
                    self._ask(check, check.aligned, rows)

    def _count(self, chunk: Chunk) -> None:
        steps = chunk.columns["update"]
        self._rows += len(chunk)
        self._steps = (min(self._steps[0], float(steps.min())), max(self._steps[1], float(steps.max())))
        self._segments.add((chunk.rank, chunk.segment))

    def _remember(self, worker: Worker, batch: Batch) -> None:
        chunk = batch.chunk
        steps = chunk.columns["update"].astype(np.float64)
        t = batch.t if batch.t is not None else steps
        sched, attempt = (
            chunk.columns.get(c, _ABSENT) if c not in chunk.missing else _or_nan(chunk, c) for c in ("sched", "attempt")
        )
        used = _used(chunk)
        ratio, values, expectations = 0.0, {}, {}
        for signal in SIGNALS:
            for group, observed in chunk.signals(signal).items():
                name = f"{signal}/{group}"
                values[name] = float(observed[-1])
                deviation, kept = np.zeros(len(t)), batch.precision.get(name, _UNKNOWN)
                if name in batch.expected and chunk.origin_known:
                    expected = batch.expected[name]
                    expectations[name] = float(expected[-1])
                    ratio = max(ratio, abs(values[name] - expectations[name]) / (worker.expectation.peaks[name] or 1.0))
                    with np.errstate(invalid="ignore", divide="ignore"):
                        deviation = np.abs(observed - expected) / batch.allowed[name]
                columns = (t, steps, observed, kept.absolute, kept.relative, kept.digits, deviation, sched, attempt)
                rows = Columns(dict(zip(FIELDS, columns, strict=True)))
                keep = used & chunk.present(name)
                self._book.remember(chunk.rank, name, chunk.segment, rows if keep.all() else rows.where(keep))
        worker.newest = Newest(int(steps[-1]), float(t[-1]), values, expectations, ratio)

    # -- saying -------------------------------------------------------------------------------------

    def newest(self, rank: int) -> Newest | None:
        """The newest row of a worker, None before the first."""
        worker = self._workers.get(rank)
        return worker.newest if worker else None

    def findings(self) -> tuple[Finding, ...]:
        """Everything found so far, diagnosed, the same trouble of several workers as one."""
        asked = [(rank, self._ask(c, c.findings)) for rank, w in self._workers.items() for c in w.checks]
        raw = [(rank, f) for rank, found in asked for f in found or ()]
        drifting = {(rank, f.details["column"], f.details["segment"]) for rank, f in raw if f.slug == Drift.slug}
        spread = Spread(drifting, {rank: w.identity for rank, w in self._workers.items()})
        found = own_paces([self._diagnosed(rank, f, spread) for rank, f in raw])
        for check in self._whole:
            found.extend(self._ask(check, check.findings) or ())
        return merged(found)

    def finish(self) -> Result:
        """No more rows will come. Safe to call once only."""
        if not self._finished:
            self._finished = True
            self._follow(self._series.settle())
            if self._aligner is not None:
                self._align(self._aligner.flush())
            for check in self._all_checks():
                self._ask(check, check.finish)
        findings, runs, picture = self.findings(), self._check_runs(), self._picture
        ranks, expectations = shown(findings, self._workers), [w.expectation for w in self._workers.values()]
        return Result(
            self.contract,
            runs,
            findings,
            self._stats(),
            sensitivity(
                (e.loosest for e in expectations),
                (e.curves for e in expectations),
                any(c.status == "ran" for c in runs if c.slug == Stepping.slug),
            ),
            series(self._book, findings, {rank: self._workers[rank].expectation.curves for rank in ranks}),
            tuple(Samples(*sample) for sample in picture.samples(ranks)) if picture is not None else (),
            picture.marks() if picture is not None else (),
        )

    def _all_checks(self) -> Iterable[Check]:
        for worker in self._workers.values():
            yield from worker.checks
        yield from self._whole

    def _check_runs(self) -> tuple[CheckRun, ...]:
        runs = []
        for slug, cls in self._classes.items():
            if slug in self._broken:
                runs.append(CheckRun(slug, cls.code, "not_checked", self._broken[slug]))
                continue
            instances = [c for c in self._all_checks() if c.slug == slug]
            ran = any(c.ran() for c in instances)
            reasons = dict.fromkeys(why for c in instances if (why := c.not_checked()))
            why = self._cannot.get(slug) or "; ".join(reasons) or ("" if ran else "the trace has no rows")
            runs.append(CheckRun(slug, cls.code, "ran" if ran else "not_checked", why))
        return tuple(runs)

    def _stats(self) -> Stats:
        names = {name for rank in self._workers for name in self._book.columns(rank)}
        assumed = dict.fromkeys(
            s for w in self._workers.values() for c in w.checks if isinstance(c, Drift) for s in c.assumed()
        )
        return Stats(
            rows=self._rows,
            ranks=tuple(sorted({rank for rank, _ in self._segments})),
            groups=tuple(sorted({n.partition("/")[2] for n in names})),
            segments=max((s for _, s in self._segments), default=-1) + 1,
            first_step=int(self._steps[0]) if self._rows else None,
            last_step=int(self._steps[1]) if self._rows else None,
            damage=MappingProxyType(dict(self._damage)),
            assumed=tuple(assumed),
            run=self._run,
        )

    # -- diagnosis ----------------------------------------------------------------------------------

    def _diagnosed(self, rank: int, finding: Finding, spread: Spread) -> Finding:
        if finding.slug not in (Drift.slug, Stepping.slug):
            return finding
        worker, d = self._workers[rank], finding.details
        curves = worker.expectation.curves
        question = Question(rank, d["column"], d["segment"], finding.first_step or 0, d.get("shifts", (0,)))
        source = question.column
        if source == POSITION:  # judged by its own rows, which are kept beside those of the first learning rate
            source = next((c for c in self._book.columns(rank) if c.startswith("lr/") and c in curves), "")
        if source not in curves:
            return finding
        place = spread.place(rank, source, question.segment, curves)
        diagnosis = self._book.diagnose(question, curves, source, worker.facts, place)
        if diagnosis is None:
            return finding
        info = CAUSES[diagnosis.cause.name]
        severity = finding.severity if info.severity is None else info.severity
        return replace(finding, cause=diagnosis.cause, fix=diagnosis.fix, severity=severity)

    def doubtful(self) -> bool:
        """Whether ``confirm`` could change a named cause."""
        return self._book.doubtful()

    def confirm(self, items: Iterable[Item]) -> None:
        """Read the trace once more and withdraw every named cause that a row contradicts."""
        for item in items:
            worker = self._workers.get(item.rank)
            if not isinstance(item, Chunk) or worker is None:
                continue
            for column in [c for c in self._book.named(item.rank, item.segment) if c in item.columns]:
                batch = worker.expectation.batch(item)
                keep = _used(item) & item.present(column) & np.isfinite(item.columns[column])
                if batch.t is None or not keep.any():
                    continue
                kept, steps = batch.precision[column], item.columns["update"].astype(np.float64)
                values = (batch.t, steps, item.columns[column], kept.absolute, kept.relative, kept.digits)
                rows = Rows(*(v[keep] for v in (*values, _or_nan(item, "sched"), _or_nan(item, "attempt"))))
                self._book.test(item.rank, column, item.segment, rows, worker.expectation.curves[column], worker.facts)


_ABSENT = np.array(np.nan)
_UNKNOWN = Precision(_ABSENT, _ABSENT, _ABSENT)


def _chosen(only: Collection[str] | None) -> dict[str, type[Check]]:
    known = checks()
    for slug in only or ():
        if slug not in known:
            raise LrwatchError(f"--only {slug}: no such check{did_you_mean(slug, known)}")
    return {slug: cls for slug, cls in known.items() if not only or slug in only}


def _used(chunk: Chunk) -> NDArray[np.bool_]:
    """bool[n]: rows whose update was applied, so that it used the recorded values."""
    if "skipped" not in chunk.columns:
        return np.ones(len(chunk), dtype=bool)
    return np.asarray(chunk.columns["skipped"] == 0)


def _or_nan(chunk: Chunk, name: str) -> FloatArray:
    """A column as float64[n], NaN where it was not recorded."""
    if name not in chunk.columns:
        return np.full(len(chunk), np.nan)
    return np.where(chunk.present(name), chunk.columns[name].astype(np.float64), np.nan)


def _learn(facts: Facts, fields: object) -> Facts:
    """Facts with what a start or resume event adds."""
    assert hasattr(fields, "get")
    known = {
        name: fields.get(name)
        for name in ("world", "accumulate", "steps_per_epoch", "scheduler", "recursive")
        if fields.get(name) is not None
    }
    return replace(facts, **known)
