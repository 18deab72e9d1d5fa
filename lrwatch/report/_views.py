"""From a result to the charts of its page: one view per curve, the one that the gravest finding speaks of first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from lrwatch.findings import Finding
from lrwatch.report._figures import Bar, Drawing, View
from lrwatch.report._markup import clipped
from lrwatch.report._plots import Floats, Line, Plot, thinned
from lrwatch.report._words import chosen, concerns, where
from lrwatch.trace.model import Event

if TYPE_CHECKING:
    from lrwatch.result import Result, Samples, Series

TITLES: Final = {"off": "Off the promise", "loss": "Loss", "grad_norm": "Gradient norm"}
BARS: Final = 10
"""Findings drawn along the steps."""
MOST_VIEWS: Final = 48
MOST_POINTS: Final = 1500
"""Points of the first view; the others share ``REST`` of them."""
REST: Final = 8_000
MOST_METRICS: Final = 6
MOST_DOTS: Final = 200
"""Values drawn of a validation metric."""
LABEL: Final = 80
"""Characters of the name of a curve."""
MOST_MARKS: Final = 128
"""Events of a kind that are drawn."""
SAID: Final = 120
"""Characters of what is said of an event."""
KINDS: Final = ("resume", "restart", "intervention", "oom", "stale", "skip", "checkpoint", "validation", "end")
UPRIGHT: Final = frozenset({"resume", "restart", "intervention", "oom"})
"""Events that change a run: they are drawn across every chart."""


def drawing(result: Result, findings: Sequence[Finding], jumps: int) -> tuple[Drawing, list[Series]]:
    """The charts of a run, with jumps to the first ``jumps`` findings; and the curves of its views, in order."""
    shown, series = views(result, findings)
    marks = dict(events(result))
    rows: list[tuple[str, Sequence[Bar]]] = []
    for f in [f for f in findings if f.first_step is not None][:BARS]:
        first, last = f.first_step or 0, f.last_step
        said = f"{f.code} {' · '.join(where(f))}"
        rows.append((f.slug, [(str(f.severity), first, first if last is None else last, said)]))
    rows += [(kind, [("event", at, at, said) for at, said in found]) for kind, found in marks.items()]
    uprights = [mark for kind, found in marks.items() if kind in UPRIGHT for mark in found]
    targets = [
        (f.first_step, f.last_step, next((i for i, s in enumerate(series) if concerns(f, s)), None))
        for f in findings[:jumps]
    ]
    return Drawing(shown, span(result), TITLES, uprights, rows, targets), series


def views(result: Result, findings: Sequence[Finding]) -> tuple[list[View], list[Series]]:
    """The views of a run, at least one as long as anything was recorded, and their curves: that which the gravest
    finding speaks of first, then those of other findings."""
    first, _ = chosen(result.series, findings)
    metrics = metrics_of(result.samples)
    if first is None:
        ranks = sorted({s.rank for s in result.samples})[:1]
        return [View("", samples_of(result.samples, rank, metrics, MOST_POINTS)) for rank in ranks], []
    rest = [s for s in result.series if s is not first]
    rest.sort(key=lambda s: not any(concerns(f, s) for f in findings))  # stable: those with findings come first
    kept = [first, *rest[: MOST_VIEWS - 1]]
    share = max(min(REST // len(kept), MOST_POINTS // 2), 150)
    several = len(result.stats.ranks) > 1
    least = result.sensitivity.absolute if result.sensitivity is not None else 0.0
    shown: list[View] = []
    recorded: dict[int, dict[str, Plot]] = {}  # what a worker recorded is drawn once, whatever its number of groups
    for s in kept:
        most = MOST_POINTS if s is first else share
        if s.rank not in recorded:
            recorded[s.rank] = samples_of(result.samples, s.rank, metrics, most)
        label = f"{s.signal}, group {clipped(s.group, LABEL)}" + (f", rank {s.rank}" if several else "")
        shown.append(View(label, {**_curve(s, findings, most, least), **recorded[s.rank]}))
    return shown, kept


def _curve(s: Series, findings: Sequence[Finding], most: int, least: float) -> dict[str, Plot]:
    x = steps_of(s)
    explained = s.explained if s.explained is not None else np.full(len(x), np.nan)
    off, left = s.observed - s.expected, s.observed - explained
    bad = first_bad(s, findings)
    keep = [] if bad is None else np.flatnonzero(x == bad)[:2].tolist()
    rows = thinned([s.observed, s.expected, explained, off], most, keep)
    x = x[rows]
    lines = [
        Line("cause", "what the named cause gives", x, explained[rows]),
        Line("promised", "promised", x, s.expected[rows]),
        Line("used", "used", x, s.observed[rows]),
    ]
    drawn = tuple(n for n in lines if np.isfinite(n.y).any())
    plots = {"curve": Plot(drawn, _odd(x, s.observed[rows]), bad)}
    differences = [
        Line("off", "used − promised", x, off[rows]),
        Line("left", "used − what the named cause gives", x, left[rows]),
    ]
    differences = [n for n in differences if np.isfinite(n.y).any()]
    if differences:
        plots["off"] = Plot(tuple(differences), mark=bad, least=least)
    return plots


def samples_of(samples: Sequence[Samples], rank: int, metrics: dict[str, Plot], most: int) -> dict[str, Plot]:
    """Loss and gradient norm of a worker; validation losses beside its loss, other metrics for themselves."""
    plots: dict[str, Plot] = {}
    for s in samples:
        if s.rank == rank and s.name in ("loss", "grad_norm"):
            rows = thinned([s.value], most)
            line = Line("value", s.name.replace("_", " "), s.update[rows], s.value[rows])
            plots[s.name] = Plot((line,), _odd(s.update, s.value))
    losses = [plot for plot in metrics.values() if "loss" in plot.lines[0].name]
    if losses:
        own = plots.get("loss", Plot(()))
        lines = (*own.lines, *(line for plot in losses for line in plot.lines))
        plots["loss"] = Plot(lines, (*own.odd, *(at for plot in losses for at in plot.odd)))
    return {**plots, **{slot: plot for slot, plot in metrics.items() if "loss" not in plot.lines[0].name}}


def metrics_of(samples: Sequence[Samples]) -> dict[str, Plot]:
    """The validation metrics of the run by slot, losses first."""
    found = [(s.name.partition("/")[2], s) for s in samples if s.name.startswith("validation/")]
    found.sort(key=lambda pair: "loss" not in pair[0])
    plots = {}
    for i, (name, s) in enumerate(found[:MOST_METRICS]):
        rows = thinned([s.value], MOST_DOTS)
        line = Line("validation", clipped(name, LABEL), s.update[rows], s.value[rows])
        plots[f"metric-{i}"] = Plot((line,), _odd(s.update, s.value))
    return plots


def _odd(x: Floats, y: Floats) -> tuple[float, ...]:
    return tuple(x[~np.isfinite(y)][:MOST_DOTS].tolist())


def steps_of(s: Series) -> Floats:
    """The steps of a curve's rows, float64[m]."""
    return s.update if s.update is not None else s.t


def first_bad(s: Series, findings: Sequence[Finding]) -> int | None:
    """The first step at which a finding says that this curve is off the promise."""
    found = [f.first_step for f in findings if f.slug == "drift" and f.first_step is not None and concerns(f, s)]
    return min(found, default=s.first_bad)


def span(result: Result) -> tuple[float, float]:
    """From the first step to the end of the last one."""
    first, last = result.stats.first_step or 0, result.stats.last_step or 0
    return float(first), float(last + 1)


def events(result: Result) -> Iterator[tuple[str, list[tuple[float, str]]]]:
    """Kind → steps and words of its events, the grave kinds first."""
    for kind in KINDS:
        marks = [m for m in result.marks if m.event.kind == kind]
        marks = marks[:: -(-len(marks) // MOST_MARKS) or 1]
        if marks:
            yield kind, [(float(m.event.update), _said(m.event, m.workers)) for m in marks]


def _said(event: Event, workers: int) -> str:
    said = [f"{event.kind} at step {event.update:,}"]
    fields = event.fields
    if event.kind == "validation":
        said += [f"{name} {value:.6g}" for name, value in list((fields.get("metrics") or {}).items())[:8]]
    elif event.kind == "checkpoint" and fields.get("scheduler_state") is False:
        said.append("without the scheduler's state")
    elif event.kind == "end" and fields.get("outcome"):
        said.append(str(fields["outcome"]))
    elif event.kind == "intervention":
        said += [f"{key} {value}" for key, value in fields.items() if key in ("set", "multiply")]
    if workers > 1:
        said.append(f"{workers:,} workers")
    return clipped(", ".join(said), SAID)
