"""A day of a healthy fleet, as Prometheus would have scraped it: input for promtool's rule tests.

Every target has its own moment of scraping within the interval, so two workers never show the same instant. What a
worker shows is a pure function of time; what Prometheus has is that, minus the gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

INTERVAL = 30.0
ENDED_SHOWN = 3600.0
STATES = ("starting", "running", "validating", "checkpointing", "finished")
HOUR = 3600.0

Span = tuple[float, float]
Series = dict[str, list[float | str | None]]
"""Name with labels → one value per tick: a number, "stale", or None where nothing was scraped."""


@dataclass(frozen=True)
class Attempt:
    """One life of a run's processes. ``step0``: the update that it goes on from; ``world``: its workers."""

    start: float
    end: float
    world: int = 1
    step0: int = 0
    startup: float = 120.0
    linger: float = 0.0


@dataclass(frozen=True, eq=False)
class Run:
    """A run. ``rate``: updates per second, or a function of the running time. ``pauses``: (start, end, state).

    ``watched``: ranks that have an agent, all without it. ``clock``: seconds that the trainer's clock is off.
    """

    name: str
    attempts: tuple[Attempt, ...]
    rate: float | Callable[[float], float] = 2.0
    pauses: tuple[tuple[float, float, str], ...] = ()
    watched: int | None = None
    clock: float = 0.0
    deadline: float | None = None
    experiment: str = "gpt"
    labels: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)

    def targets(self) -> Iterator[tuple[int, Attempt, int]]:
        """(number of the attempt, attempt, rank) of every process."""
        for number, attempt in enumerate(self.attempts, 1):
            for rank in range(attempt.world if self.watched is None else self.watched):
                yield number, attempt, rank

    def state(self, attempt: Attempt, t: float) -> str:
        if t < attempt.start + attempt.startup:
            return "starting"
        if t >= attempt.end:
            return "finished"
        return next((state for start, end, state in self.pauses if start <= t < end), "running")

    def trained(self, attempt: Attempt, t: float) -> float:
        """Seconds of this attempt until ``t`` in which updates were made."""
        begin, until = attempt.start + attempt.startup, min(t, attempt.end)
        lost = sum(max(0.0, min(end, until) - max(start, begin)) for start, end, _ in self.pauses)
        return max(0.0, until - begin - lost)

    def steps(self, attempt: Attempt, t: float) -> float:
        rate, seconds = self.rate, self.trained(attempt, t)
        return rate(seconds) if callable(rate) else rate * seconds

    def shows(self, number: int, attempt: Attempt, rank: int, t: float) -> dict[str, float]:
        """What a worker shows at ``t``: name with its own labels → value."""
        made = math.floor(self.steps(attempt, t))
        step = attempt.step0 + made - 1
        shown = {
            "lrwatch_rank_up": 1.0, "lrwatch_world_size": attempt.world, "lrwatch_attempt": number,
            "lrwatch_steps_total": made, "lrwatch_agent_errors_total": 0, "lrwatch_dropped_rows_total": 0,
            "lrwatch_gpu_oom_total": 0, 'lrwatch_contract_info{sha256="aa"}': 1,
        }  # fmt: skip
        if made:
            shown["lrwatch_step"] = step
            shown["lrwatch_drift_ratio"] = 0
            shown["lrwatch_last_step_timestamp_seconds"] = round(self.last(attempt, made) + self.clock, 3)
            for every in (64, 1024):
                at = step - step % every
                shown[f'lrwatch_sync_step{{every="{every}"}}'] = at
                shown[f'lrwatch_sync_learning_rate{{every="{every}"}}'] = 3e-4 * (1 + math.cos(math.pi * at / 3e5)) / 2
        if rank == 0:
            state = self.state(attempt, t)
            shown |= {f'lrwatch_run_state{{state="{s}"}}': s == state for s in STATES}
            shown[f'lrwatch_run_info{{experiment="{self.experiment}"}}'] = 1
            shown["lrwatch_linger_seconds"] = attempt.linger
            shown["lrwatch_step_seconds_sum"] = round(self.trained(attempt, t))
            shown["lrwatch_step_seconds_count"] = max(made - 1, 0)
            if self.deadline is not None:
                shown["lrwatch_step_deadline_seconds"] = self.deadline
            for code, severity in self.findings.items():
                if made:
                    shown[f'lrwatch_finding_active{{code="{code}",severity="{severity}"}}'] = 1
        return shown

    @cache  # noqa: B019  # a run is frozen, and lives as long as its test
    def last(self, attempt: Attempt, made: int) -> float:
        """When update number ``made`` of the attempt was done: by bisection, for the rate may change."""
        low, high = attempt.start, attempt.end
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.steps(attempt, middle) >= made else (middle, high)
        return high


def encoded(values: Iterable[float | str | None]) -> str:
    """promtool's notation: ``1x3`` four ones, ``0+2x3`` 0 2 4 6, ``_`` nothing."""
    out: list[str] = []
    pending = list(values)
    i = 0
    while i < len(pending):
        first = pending[i]
        j = i
        if first is None or isinstance(first, str):
            while j + 1 < len(pending) and pending[j + 1] == first:
                j += 1
            out.append(f"_x{j - i + 1}" if first is None else str(first))
            i = j + 1
            continue
        second = pending[i + 1] if i + 1 < len(pending) else None
        difference = second - first if isinstance(second, (int, float)) else 0.0
        whole = float(first).is_integer() and float(difference).is_integer()
        if difference == 0 or whole:
            while j + 1 < len(pending) and isinstance(pending[j + 1], (int, float)):
                if float(pending[j + 1]) - float(pending[j]) != difference:  # type: ignore[arg-type]
                    break
                j += 1
        number = f"{float(first):.17g}"
        out.append(number if j == i else f"{number}{difference:+.17g}x{j - i}")
        i = j + 1
    return " ".join(out)


def scraped(runs: Iterable[Run], gaps: Mapping[str, tuple[Span, ...]], ticks: int) -> Series:
    """Series → one value per tick. ``gaps``: run → spans in which scraping its targets fails."""
    series: Series = {}

    def put(name: str, tick: int, value: float | str) -> None:
        series.setdefault(name, [None] * ticks)[tick] = value

    for index, run in enumerate(runs):
        for number, attempt, rank in run.targets():
            target = {"job": "lrwatch", "instance": f"{run.name}-{number}:{rank}", **run.labels}
            own = {"run_id": run.name, "rank": str(rank), **target}
            offset = (index * 7.3 + rank * 11.9 + number * 3.1) % INTERVAL
            present: set[str] = set()
            for tick in range(ticks):
                t = tick * INTERVAL - offset
                if not attempt.start <= t < attempt.end + attempt.linger:
                    fresh = {}
                elif any(start <= t < end for start, end in gaps.get(run.name, ())):
                    fresh = {named("up", target): 0.0}
                else:
                    shown = run.shows(number, attempt, rank, t)
                    fresh = {named(name, own): float(value) for name, value in shown.items()}
                    fresh[named("up", target)] = 1.0
                    fresh[named("scrape_samples_post_metric_relabeling", target)] = float(len(shown))
                for name, value in fresh.items():
                    put(name, tick, value)
                for name in present - set(fresh):
                    put(name, tick, "stale")
                present = set(fresh)
    return series


def named(name: str, labels: Mapping[str, str]) -> str:
    """A series with its labels, those that stand in the name already first."""
    base, _, inner = name.partition("{")
    rest = ", ".join(f'{k}="{v}"' for k, v in labels.items())
    return f"{base}{{{inner.rstrip('}') + ', ' if inner else ''}{rest}}}"


def ledger(
    ended: Iterable[tuple[float, str, str, str]], interrupted: Iterable[tuple[str, float, float]], ticks: int,
    lag: float = 60.0,
) -> Series:
    """The ledger's series; it scans every minute.

    ``ended`` is (when, run, experiment, outcome); ``interrupted`` (run, when it stopped, when it was seen to go on).
    """
    ended, interrupted = sorted(ended), sorted(interrupted)
    series: Series = {}
    for tick in range(ticks):
        t = tick * INTERVAL
        scan = t - t % 60
        shown: dict[str, float] = {"lrwatch_ledger_scan_timestamp_seconds": scan}
        for when, run, experiment, outcome in ended:
            if when + lag <= scan:
                total = f'lrwatch_runs_total{{experiment="{experiment}", outcome="{outcome}"}}'
                shown[total] = shown.get(total, 0) + 1
                shown[f'lrwatch_runs_anomalous_total{{experiment="{experiment}"}}'] = 0
                shown[f'lrwatch_runs_over_budget_streak{{experiment="{experiment}"}}'] = float(run == "costly")
                if t < when + ENDED_SHOWN:
                    shown[f'lrwatch_run_ended_timestamp_seconds{{run_id="{run}"}}'] = round(when)
        for run, when, resumed in interrupted:  # neither an end nor a count, but known
            if when + lag <= scan and scan < min(resumed + lag, when + ENDED_SHOWN):
                shown[f'lrwatch_run_ended_timestamp_seconds{{run_id="{run}"}}'] = round(when)
        for name, value in shown.items():
            full = named(name, {"job": "lrwatch-ledger", "instance": "ledger:1"})
            series.setdefault(full, [None] * ticks)[tick] = value
        for values in series.values():
            if tick and values[tick] is None and isinstance(values[tick - 1], float):
                values[tick] = "stale"
    return series
