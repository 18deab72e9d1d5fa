"""Rows, events and findings → one immutable snapshot of every metric. Runs in the worker's thread.

A scrape sees one snapshot: the learning rate, what was expected of it and the drift are of one and the same update.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lrwatch.agent.goal import Progress
from lrwatch.agent.phases import PHASES, Phases
from lrwatch.contract.model import Contract
from lrwatch.engine import Newest
from lrwatch.findings import Finding, Severity
from lrwatch.metrics import MAX_GROUPS, MAX_SERIES, PREFIX, SYNC_EVERY, by_name
from lrwatch.trace.model import Chunk, Event

HELD_SECONDS: Final = 300.0
"""How long a finding is shown as active after it ended, so that no evaluation of an alert rule misses it."""
BASELINE: Final = 64
"""Gradient norms whose median is the baseline; it needs ``WARM`` of them, and is taken anew every few."""
WARM: Final = 8
STATES: Final = ("starting", "running", *PHASES, "finished", "converged", "stopped", "failed", "interrupted")
PATIENCE: Final = 600.0
"""Seconds after a phase within which an update must come, or ten mean steps, where the contract has no deadline."""

Labels = tuple[str, ...]
Samples = tuple[tuple[Labels, float], ...]


@dataclass(frozen=True)
class Histogram:
    """Cumulative counts per upper bound (the last is ``+Inf``) and the sum of what was observed."""

    buckets: tuple[tuple[str, float], ...]
    total: float


@dataclass(frozen=True)
class Snapshot:
    """Every series at one moment: metric name → label values (without run_id and rank) and value."""

    samples: Mapping[str, Samples]
    histograms: Mapping[str, Histogram]

    def series(self) -> int:
        """Number of series; a histogram counts as its buckets, its sum and its count."""
        return sum(map(len, self.samples.values())) + sum(len(h.buckets) + 2 for h in self.histograms.values())


class Buckets:
    """A histogram that is being filled."""

    def __init__(self, bounds: tuple[float, ...]):
        self._bounds = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1)
        self._total = 0.0

    def observe(self, values: Any) -> None:
        """Take in float64[n]; what is not finite is left out, for it would poison the sum."""
        values = values[np.isfinite(values)]
        if len(values):
            where = np.searchsorted(self._bounds, values, side="left")
            self._counts += np.bincount(where, minlength=len(self._counts))
            self._total += float(values.sum())

    def mean(self) -> float:
        """Of what was observed; 0 before."""
        return self._total / max(float(self._counts.sum()), 1.0)

    def freeze(self) -> Histogram:
        words = [repr(float(b)) for b in self._bounds] + ["+Inf"]
        counts = np.cumsum(self._counts).tolist()
        return Histogram(tuple(zip(words, counts, strict=True)), self._total)


@dataclass
class Shown:
    """A finding's code as the metrics show it."""

    severity: Severity
    first_step: int | None
    cause: str | None
    until: float
    """On the monotonic clock: when it stops being active, infinity while it lasts."""


class Meters:
    """Folds what the worker sees. ``monotonic`` is the clock for holding findings."""

    def __init__(
        self,
        *,
        rank: int,
        world: int | None,
        attempt: int,
        contract: Contract | None,
        signed: bool = False,
        gpu_seconds: float = 0.0,
        linger: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        catalogue = by_name()
        self._rank, self._world, self._contract = rank, world, contract
        self.attempt, self._signed = attempt, signed
        self._compared = contract is None or not contract.signals["lr"].shift
        """Workers that are ahead of each other by contract are compared with their own curves, not with each other."""
        self._monotonic, self._begun, self._gpu_seconds = monotonic, monotonic(), gpu_seconds
        self._newest: tuple[int, dict[str, float]] | None = None
        self._origin_known = True
        self._loss: float | None = None
        self._norm: float | None = None
        self._ts: float | None = None
        self._at: tuple[int, int] | None = None
        self._steps = self._skipped = self._ooms = 0
        self._nonfinite = dict.fromkeys(("loss", "grad_norm", "lr"), 0)
        self._sync: dict[int, tuple[int, float]] = {}
        self._norms: deque[float] = deque(maxlen=BASELINE)
        self._seconds = Buckets(catalogue[f"{PREFIX}step_seconds"].buckets)
        self._ratios = Buckets(catalogue[f"{PREFIX}grad_norm_baseline_ratio"].buckets)
        self._validations: dict[str, float] = {}
        self.goal = Progress(contract.goal if contract else None)
        self._checkpoints = {"true": 0, "false": 0}
        self._checkpoint_ts: float | None = None
        self._state, self._linger = "starting", linger
        self.phases = Phases(monotonic)
        self.memory: tuple[int, int] | None = None
        """Bytes of the accelerator that tensors use, and that the allocator holds."""
        self._shown: dict[str, Shown] = {}

    # -- taking in ------------------------------------------------------------------------------------

    def chunk(self, chunk: Chunk) -> None:
        """Take in rows."""
        self._state = "running"
        self.phases.moved()
        self._origin_known = chunk.origin_known
        applied = ~(chunk.columns["skipped"] == 1) if chunk.has("skipped") else np.ones(len(chunk), dtype=bool)
        strides = self._strides(chunk)
        self._steps += int(strides[applied].sum())
        self._skipped += int((~applied).sum())
        lrs = chunk.signals("lr")
        self._count_nonfinite(chunk, lrs)
        self._times(chunk, strides)
        self._gradients(chunk)
        if chunk.has("loss"):
            self._loss = _last(chunk, "loss", self._loss)
        for name in lrs:
            applied &= chunk.present(f"lr/{name}")
        where = np.flatnonzero(applied)
        if len(where) and lrs:
            steps = chunk.columns["update"]
            self._newest = int(steps[where[-1]]), {f"lr/{g}": float(v[where[-1]]) for g, v in lrs.items()}
            for every in SYNC_EVERY if self._compared else ():
                at = where[steps[where] % every == 0]
                if len(at):
                    self._sync[every] = int(steps[at[-1]]), float(sum(v[at[-1]] for v in lrs.values()))

    def _count_nonfinite(self, chunk: Chunk, lrs: Mapping[str, Any]) -> None:
        for name in ("loss", "grad_norm"):
            if chunk.has(name):
                self._nonfinite[name] += int((~np.isfinite(chunk.columns[name]) & chunk.present(name)).sum())
        if lrs:
            bad = [~np.isfinite(v) & chunk.present(f"lr/{g}") for g, v in lrs.items()]
            self._nonfinite["lr"] += int(np.logical_or.reduce(bad).sum())

    def _strides(self, chunk: Chunk) -> Any:
        """int64[n], updates from the row before to each row: a log may have every tenth only."""
        updates = chunk.columns["update"]
        goes_on = self._at is not None and self._at[0] == chunk.segment
        before = self._at[1] if self._at is not None and goes_on else int(updates[0]) - 1
        self._at = chunk.segment, int(updates[-1])
        return np.maximum(np.diff(updates, prepend=before), 1)

    def _times(self, chunk: Chunk, strides: Any) -> None:
        if not chunk.has("ts"):  # a log that nobody saw being written
            return
        ts = chunk.columns["ts"]
        seconds = np.diff(ts if self._ts is None else np.concatenate([[self._ts], ts]))
        seconds = seconds / strides[len(strides) - len(seconds) :]
        self._seconds.observe(seconds[seconds >= 0])  # the system's clock may be set back
        self._ts = _last(chunk, "ts", self._ts)

    def _gradients(self, chunk: Chunk) -> None:
        if not chunk.has("grad_norm"):
            return
        norms = chunk.columns["grad_norm"]
        i = 0
        while i < len(norms):
            some = norms[i : i + (WARM if len(self._norms) < BASELINE else BASELINE // 2)]
            i += len(some)
            if len(self._norms) >= WARM and (median := float(np.median(self._norms))) > 0:
                self._ratios.observe(some / median)
            self._norms.extend(some[np.isfinite(some)].tolist())
        self._norm = _last(chunk, "grad_norm", self._norm)

    def _deadline(self) -> float:
        stated = self._contract.recording.step_deadline if self._contract is not None else None
        return stated if stated is not None else max(10.0 * self._seconds.mean(), PATIENCE)

    def event(self, event: Event) -> None:
        """Take in what happened between rows."""
        if event.kind == "validation":
            metrics = event.fields.get("metrics")
            for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
                if isinstance(value, (int, float)):
                    self._validations[str(name)] = float(value)
                    self.goal.take(str(name), float(value))
        elif event.kind == "checkpoint":
            self._checkpoints["true" if event.fields.get("scheduler_state") else "false"] += 1
            self._checkpoint_ts = event.ts
        elif event.kind == "oom":
            self._ooms += 1
        elif event.kind == "end":
            outcome = str(event.fields.get("outcome"))
            self._state = outcome if outcome in STATES else "stopped"

    def found(self, findings: Iterable[Finding]) -> None:
        """Take in what the engine says now. A code lasts while any finding of it does."""
        now = self._monotonic()
        by_code: dict[str, list[Finding]] = {}
        for finding in findings:
            by_code.setdefault(finding.code, []).append(finding)
        for code, fs in by_code.items():
            active = any(f.state == "active" for f in fs)
            old = self._shown.get(code)
            until = now + HELD_SECONDS if old is None or old.until == np.inf else old.until
            steps = [f.first_step for f in fs if f.first_step is not None]
            causes = [f.cause.name for f in fs if f.cause is not None]
            self._shown[code] = Shown(
                max(f.severity for f in fs),
                min(steps, default=None),
                causes[0] if causes else None,
                np.inf if active else until,
            )
        for code, shown in self._shown.items():
            if code not in by_code and shown.until == np.inf:
                shown.until = now + HELD_SECONDS

    # -- saying ---------------------------------------------------------------------------------------

    def gpu_seconds(self) -> float:
        """Seconds of this worker's accelerator so far, earlier attempts included where they are known."""
        return self._gpu_seconds + self._monotonic() - self._begun

    def snapshot(self, newest: Newest | None, dropped: int, errors: int) -> Snapshot:
        """Every series now. ``newest``: what the engine expects; ``dropped``, ``errors``: the agent's own counts."""
        out: dict[str, Samples] = {}

        def put(name: str, *samples: tuple[Labels, float | None]) -> None:
            kept = tuple((labels, float(value)) for labels, value in samples if value is not None)
            if kept:
                out[PREFIX + name] = kept

        self._put_rates(put, newest)
        for i, name in enumerate(("sync_step", "sync_learning_rate")):
            put(name, *(((str(every),), at[i]) for every, at in sorted(self._sync.items())))
        put("steps_total", ((), self._steps))
        put("last_step_timestamp_seconds", ((), self._ts))
        put("nonfinite_steps_total", *(((signal,), count) for signal, count in self._nonfinite.items()))
        put("skipped_steps_total", ((), self._skipped))
        if self._contract is not None:
            put("contract_info", ((self._contract.sha256,), 1))
            put("contract_signed", ((), self._signed))
        put("rank_up", ((), 1))
        put("attempt", ((), self.attempt))
        put("world_size", ((), self._world))
        put("gpu_seconds_total", ((), self.gpu_seconds()))
        if self.memory is not None:
            put("gpu_memory_allocated_bytes", ((), self.memory[0]))
            put("gpu_memory_reserved_bytes", ((), self.memory[1]))
        put("gpu_oom_total", ((), self._ooms))
        put("dropped_rows_total", ((), dropped))
        put("agent_errors_total", ((), errors))
        histograms: dict[str, Histogram] = {}
        if self._rank == 0:
            self._put_rank0(put)
            histograms = {
                f"{PREFIX}grad_norm_baseline_ratio": self._ratios.freeze(),
                f"{PREFIX}step_seconds": self._seconds.freeze(),
            }
        room = MAX_SERIES - sum(map(len, out.values())) if self._rank else MAX_SERIES
        self._put_findings(put, room)
        return Snapshot(out, histograms)

    def _put_rates(self, put: Callable[..., None], newest: Newest | None) -> None:
        if self._newest is None:
            return
        update, values = self._newest
        put("step", ((), update))
        expected: Mapping[str, float] = {}
        if newest is not None and newest.update == update and self._origin_known:
            expected = {name: e for name, e in newest.expected.items() if name in values}
            if expected:
                put("drift_ratio", ((), newest.drift_ratio))
        shown = dict.fromkeys(list(values)[:MAX_GROUPS])
        names = {name: name.removeprefix("lr/") for name in shown}
        if rest := [name for name in values if name not in shown]:
            names[max(rest, key=lambda n: _badness(values[n], expected.get(n)))] = "_worst"
        put("learning_rate", *(((group,), values[name]) for name, group in names.items()))
        put("learning_rate_expected", *(((group,), expected.get(name)) for name, group in names.items()))

    def _put_rank0(self, put: Callable[..., None]) -> None:
        put("loss", ((), self._loss))
        put("grad_norm", ((), self._norm))
        put("validation_metric", *(((name,), value) for name, value in sorted(self._validations.items())))
        put("checkpoint_timestamp_seconds", ((), self._checkpoint_ts))
        put("checkpoints_total", *(((kind,), count) for kind, count in self._checkpoints.items()))
        now = self._state
        if now in ("starting", "running"):
            now = self.phases.state(now, self._deadline())
        put("run_state", *(((state,), state == now) for state in STATES))
        put("linger_seconds", ((), self._linger))
        if self._contract is not None:
            put("step_deadline_seconds", ((), self._contract.recording.step_deadline))
            put("run_info", ((self._contract.experiment,), 1))
            if self._contract.cost is not None:
                cost = self._contract.cost
                put("price_per_gpu_second", ((cost.currency,), cost.per_gpu_hour / 3600.0))

    def _put_findings(self, put: Callable[..., None], room: int) -> None:
        """The worst codes first, as many as there is room for three series each."""
        now = self._monotonic()
        order = sorted(self._shown.items(), key=lambda item: (-item[1].severity, item[0]))[: max(room, 0) // 3]
        put("finding_active", *(((code, str(s.severity)), now < s.until) for code, s in order))
        put("finding_first_step", *(((code,), s.first_step) for code, s in order))
        put("finding_cause_info", *(((code, s.cause), 1) for code, s in order if s.cause is not None))


def _last(chunk: Chunk, name: str, before: float | None) -> float | None:
    where = np.flatnonzero(chunk.present(name))
    return float(chunk.columns[name][where[-1]]) if len(where) else before


def _badness(value: float, expected: float | None) -> float:
    if expected is None:
        return abs(value)
    deviation = abs(value - expected) / max(abs(expected), 1e-300)
    return np.inf if np.isnan(deviation) else deviation
