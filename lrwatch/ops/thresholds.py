"""Every number that an alert compares with, as data: rules, runbooks, dashboards and tests read it from here.

``lrwatch ops rules render --set name=value`` replaces values; ``problems`` refuses sets that cannot work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from lrwatch.errors import LrwatchError, did_you_mean

Unit = Literal["duration", "seconds", "ratio", "count"]
"""``duration``: a window or a ``for``, written 5m in rules · ``seconds``: the same as a number to compare with ·
``ratio``: 0 to 1 unless ``why`` says otherwise · ``count``: a number of things."""

LEDGER_SHOWS_ENDED: Final = 3600.0
"""Seconds for which the ledger shows when a run ended."""


@dataclass(frozen=True)
class Threshold:
    """One number. ``value`` is in seconds for durations; ``why`` says where it comes from."""

    name: str
    value: float
    unit: Unit
    why: str


def _minutes(n: float) -> float:
    return 60.0 * n


def _hours(n: float) -> float:
    return 3600.0 * n


_ALL: Final = (
    Threshold("scrape_gap", _minutes(2), "duration",
              "values are carried over gaps in scraping this long: two scrapes of up to 60 s"),
    Threshold("memory", _minutes(45), "duration",
              "how long a run that is gone is remembered; below the hour for which the ledger shows its end"),
    # findings
    Threshold("finding_error_for", 0.0, "duration", "the engine has decided already, and holds it for 5 min"),
    Threshold("finding_warning_for", 0.0, "duration", "the engine has decided already, and holds it for 5 min"),
    Threshold("finding_info_for", 0.0, "duration", "the engine has decided already, and holds it for 5 min"),
    # runs
    Threshold("run_down_for", _minutes(5), "duration",
              "a node restart or a lost switch takes a few minutes; a lost GPU job costs money from then on"),
    Threshold("run_vanished_for", _minutes(10), "duration",
              "a preempted pod is usually placed again within minutes; several scans of the ledger fit in"),
    Threshold("stall_deadline", 600.0, "seconds",
              "without a step this long, where neither the contract nor slow steps say otherwise; a recompilation by "
              "torch.compile takes minutes"),
    Threshold("stall_first", 1800.0, "seconds",
              "the same before the second step, when nobody knows yet how long a step takes"),
    Threshold("stall_factor", 10.0, "count", "times the run's own mean step, for runs with slow steps"),
    Threshold("stall_quiet", _minutes(2), "duration",
              "no alarm while the step counter moves: the trainer's clock may be wrong, its counter is not"),
    Threshold("stall_for", _minutes(1), "duration", "the deadline itself is the wait; this rides out one evaluation"),
    Threshold("phase_for", _minutes(45), "duration",
              "start-up with compilation, a validation or a checkpoint takes less, or has its own alert as a finding"),
    Threshold("phase_quiet", _minutes(15), "duration", "steps within this time: several short phases, not a long one"),
    Threshold("restarts", 3.0, "count", "attempts within restart_window; one or two are preemption or a bad node"),
    Threshold("restart_window", _hours(1), "duration", "a crash loop restarts within minutes"),
    Threshold("restart_for", 0.0, "duration", "the window is the wait"),
    Threshold("throughput_share", 0.5, "ratio",
              "of the run's own median rate; a batch ramp that doubles the batch stays just above"),
    Threshold("throughput_window", _hours(6), "duration", "the median over it is the run's usual rate"),
    Threshold("throughput_age", _hours(1), "duration", "younger runs have no usual rate yet"),
    Threshold("throughput_steps", 30.0, "count", "steps in 15 min below which the rate is too coarse to judge"),
    Threshold("throughput_for", _minutes(30), "duration", "longer than a validation or a slow checkpoint"),
    Threshold("not_judged_for", _minutes(15), "duration", "the first row of a run judges it; a resume takes minutes"),
    # workers
    Threshold("worker_down_for", _minutes(5), "duration", "ranks neither start nor end at the same second"),
    Threshold("worker_window", _hours(6), "duration", "workers seen in it are expected to be there still"),
    Threshold("duplicate_for", _minutes(5), "duration", "the old pod may overlap with its replacement"),
    Threshold("oom_window", _minutes(15), "duration", "an out-of-memory error within it counts as now"),
    Threshold("oom_for", 0.0, "duration", "the run has lost its worker, or will at the next batch of that size"),
    Threshold("desync_rtol", 1e-9, "ratio", "workers that compute the same curve in float64 agree to the last digit"),
    Threshold("desync_hold", _minutes(10), "duration",
              "workers are compared only while all show the same sync step, so one sighting is held this long"),
    Threshold("desync_for", 0.0, "duration", "values frozen at one step cannot differ by chance"),
    Threshold("mismatch_for", 30.0, "duration",
              "a restart replaces the workers within a scrape or two; longer, and what it inhibits would leave first"),
    Threshold("unapproved_for", _minutes(2), "duration", "the approval may be loaded a moment after the run starts"),
    # agents
    Threshold("agent_window", _minutes(15), "duration", "errors and drops within it count as now"),
    Threshold("agent_for", 0.0, "duration", "every one of them is lost evidence"),
    Threshold("series_per_worker", 200.0, "count",
              "rank 0 with both histograms and sixteen finding codes has about 150, any other worker at most 48"),
    Threshold("series_for", _minutes(15), "duration", "scraping costs add up slowly"),
    # ledger
    Threshold("ledger_stale", 900.0, "seconds", "since the ledger last read the runs; it reads them every minute"),
    Threshold("ledger_stale_for", _minutes(5), "duration", "a restart of the ledger takes less"),
    Threshold("budget_streak", 3.0, "count", "runs over budget in a row that page; fewer are a ticket"),
    Threshold("budget_recent", _hours(24), "duration", "an experiment without a finished run in it is at rest"),
    Threshold("anomalous_share", 0.05, "ratio", "target of 95 % runs without an error finding"),
    Threshold("anomalous_window", _hours(7 * 24), "duration", "a week holds a sample"),
    Threshold("anomalous_sample", 20.0, "count", "finished runs; one bad run of fewer would already be over 5 %"),
    Threshold("convergence_objective", 0.8, "ratio", "of the judged runs reach their goal, for mature teams"),
    Threshold("burn_fast", 3.0, "count",
              "times the failures that the objective allows; 5 is the most that 80 % leaves room for"),
    Threshold("burn_fast_long", _hours(24), "duration", "a fast burn shows within a day"),
    Threshold("burn_fast_short", _hours(6), "duration", "and is still going on"),
    Threshold("burn_fast_sample", 10.0, "count", "judged runs in burn_fast_long"),
    Threshold("burn_slow", 1.5, "count", "times the failures that the objective allows"),
    Threshold("burn_slow_long", _hours(7 * 24), "duration", "a slow burn shows within a week"),
    Threshold("burn_slow_short", _hours(24), "duration", "and is still going on"),
    Threshold("burn_slow_sample", 20.0, "count", "judged runs in burn_slow_long"),
    Threshold("kpi_for", 0.0, "duration", "windows and samples are the wait"),
)  # fmt: skip

THRESHOLDS: Final[Mapping[str, Threshold]] = MappingProxyType({t.name: t for t in _ALL})
Values = Mapping[str, float]
"""Threshold name → value, every one of the catalogue."""

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(text: str) -> float:
    """``"90"``, ``"90s"``, ``"1h30m"`` → 90.0, 90.0, 5400.0. Raises ``ValueError``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw]|)", text)
    if not parts or "".join(n + u for n, u in parts) != text or (len(parts) > 1 and any(not u for _, u in parts)):
        raise ValueError(text)
    return sum(float(n) * _UNITS[u] for n, u in parts)


def duration(value: float) -> str:
    """Seconds as Prometheus writes them: 90 → ``1m30s``, 0 → ``0s``, 0.5 → ``500ms``."""
    rest, out = round(value * 1000), ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        n, rest = divmod(rest, size)
        out += f"{n}{unit}" if n else ""
    return out or "0s"


def written(name: str, values: Values) -> str:
    """A value as it stands in a rule; ``burn_fast_limit`` and ``burn_slow_limit`` are shares of missed runs."""
    if name in ("burn_fast_limit", "burn_slow_limit"):
        return f"{values[name.removesuffix('_limit')] * (1 - values['convergence_objective']):.12g}"
    value = values[name]
    return duration(value) if THRESHOLDS[name].unit == "duration" else f"{value:.12g}"


def resolve(settings: Iterable[str] = ()) -> Values:
    """The catalogue with ``name=value`` settings on top.

    Raises:
        LrwatchError: an unknown name, an unreadable value, or values that cannot work together.
    """
    values = {name: t.value for name, t in THRESHOLDS.items()}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in THRESHOLDS:
            raise LrwatchError(f"--set {setting}: no threshold {name!r}{did_you_mean(name, THRESHOLDS)}")
        try:
            values[name] = seconds(text) if THRESHOLDS[name].unit in ("duration", "seconds") else float(text)
        except ValueError:
            example = {"duration": "5m", "seconds": "600 or 10m", "ratio": "0.05", "count": "3"}
            raise LrwatchError(
                f"--set {setting}: {name} is a {THRESHOLDS[name].unit}, as in {name}={example[THRESHOLDS[name].unit]}"
            ) from None
    if found := problems(values):
        raise LrwatchError("; ".join(found))
    return MappingProxyType(values)


def problems(values: Values) -> list[str]:
    """Why these values cannot work: alerts that could never fire, or that would on healthy fleets."""
    found = []
    for name, value in values.items():
        unit = THRESHOLDS[name].unit
        if not (value >= 0 and value < float("inf")):
            found.append(f"{name}: must be a finite number, 0 or more, got {value:g}")
        elif unit == "ratio" and value > 1:
            found.append(f"{name}: must be at most 1, got {value:g}")
        elif unit == "duration" and value == 0 and not name.endswith("_for"):
            found.append(f"{name}: a window cannot be empty")
    if found:
        return found
    budget = 1.0 - values["convergence_objective"]
    for burn in ("burn_fast", "burn_slow"):
        share = values[burn] * budget
        if share >= 1 - 1e-9:
            most = f"; below {1 / budget:.3g} it can" if budget else ""
            found.append(
                f"{burn}: {values[burn]:g} times the {budget:.3g} that the objective of "
                f"{values['convergence_objective']:g} allows is {share:.3g}: no share of failures exceeds 1, so the "
                f"alert could never fire{most}"
            )
        if share == 0:
            found.append(f"{burn}: times {budget:.3g} is 0: a single failure would fire")
        if values[f"{burn}_short"] >= values[f"{burn}_long"]:
            found.append(f"{burn}_short: must be shorter than {burn}_long")
    if values["memory"] + values["scrape_gap"] > LEDGER_SHOWS_ENDED:
        found.append(
            f"memory: with scrape_gap it is {duration(values['memory'] + values['scrape_gap'])}; the ledger shows an "
            f"ended run for {duration(LEDGER_SHOWS_ENDED)} only, later it would look vanished"
        )
    for wait in ("run_down_for", "run_vanished_for"):
        if values[wait] >= values["memory"]:
            found.append(f"{wait}: must be shorter than memory ({duration(values['memory'])}), or it never fires")
    return found
