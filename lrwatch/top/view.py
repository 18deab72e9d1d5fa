"""A picture of a run as text: at most 80 columns, in the order in which one asks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lrwatch.top.scrape import Worker
from lrwatch.top.sources import Picture

BARS: Final = "▁▂▃▄▅▆▇█"
PLAIN: Final = "_.-~=+*#"
WIDEST: Final = 44
"""Columns of a curve."""
FLAT: Final = 0.01
"""Less than this share of the highest value is drawn as a flat line, not as mountains."""
GROUPS: Final = 6
FINDINGS: Final = 8
COLOURS: Final = {"error": "bold red", "warning": "yellow", "info": "cyan"}
DRIFT: Final = "LR101"
"""Code of the check whose word it is whether a difference is one: rates may be kept in few bits."""


def render(now: Picture, before: Sequence[Picture], plain: bool = False) -> RenderableType:
    """What is shown. ``before``: earlier pictures, oldest first; ``plain``: ASCII only."""
    first = now.workers[min(now.workers)] if now.workers else None
    known = first or _last_known(before)
    return Group(
        _head(now, before, first),
        _section("learning rate", plain), _rates(now, before, known, plain),
        _section("training", plain), _training(now, before, known, plain),
        *([_section("workers", plain), _workers(now)] if len(now.workers) > 1 or now.silent else []),
        _section("findings", plain), _findings(now, before),
    )  # fmt: skip


def _section(name: str, plain: bool) -> Rule:
    return Rule(Text(name, style="bold"), align="left", style="dim", characters="-" if plain else "─")


def _last_known(before: Sequence[Picture]) -> Worker | None:
    return next((p.workers[min(p.workers)] for p in reversed(before) if p.workers), None)


# -- the head -----------------------------------------------------------------------------------------


def state(now: Picture, before: Sequence[Picture]) -> tuple[str, str]:
    """(what the run does, as a sentence; its colour)."""
    first = now.workers[min(now.workers)] if now.workers else None
    if first is not None:
        word = first.word("run_state", "state") or "up"
        return word, {"failed": "bold red", "interrupted": "yellow"}.get(word, "green")
    if now.summary is not None:
        outcome, verdict = str(now.summary.get("outcome")), now.summary.get("verdict")
        colour = "green" if outcome in ("finished", "converged") and verdict != "fail" else "bold red"
        return f"ended: {outcome}" + (f", verdict {verdict}" if verdict else ""), colour
    seen = [p.at for p in before if p.workers]
    since = f" for {_ago(now.at - seen[-1])}" if seen else ""
    if now.silent:
        return f"no worker answers{since}: it died, or hangs, without a word of its end", "bold red"
    return "no worker announced and no summary: it was killed, or runs elsewhere", "bold red"


def _head(now: Picture, before: Sequence[Picture], first: Worker | None) -> Text:
    word, colour = state(now, before)
    known = first or _last_known(before)
    experiment = known.word("run_info", "experiment") if known else (now.summary or {}).get("experiment")
    head = Text(overflow="ellipsis", no_wrap=True)
    head.append(now.run, style="bold")
    head.append(f"  {experiment}" if experiment else "")
    head.append(time.strftime("  %H:%M:%S", time.localtime(now.at)), style="dim")
    head.append("\n")
    head.append(word, style=colour)
    head.append("\n")
    parts = []
    # The trace may know of updates that were made after the last answer of a worker that is gone.
    steps = [known.value("step") if known else None, now.rows[-1].step if now.rows else None,
             (now.summary or {}).get("last_update")]  # fmt: skip
    step = max((s for s in steps if s is not None), default=None)
    if step is not None:
        parts.append(f"step {int(step):,}")
    if (pace := _pace(now, before)) is not None:
        parts.append(f"{pace:.3g}/s")
    moments = [known.value("last_step_timestamp_seconds") if known else None, now.rows[-1].ts if now.rows else None]
    if (last := max((ts for ts in moments if ts is not None), default=None)) is not None:
        parts.append(f"last step {_ago(now.at - last)} ago")
    if known and (attempt := known.value("attempt")) is not None and attempt > 1:
        parts.append(f"attempt {attempt:.0f}")
    if now.announced and now.announced > 1:
        parts.append(f"{len(now.workers)} of {now.announced:,} workers answer")
    head.append(" · ".join(parts))
    return head


def _pace(now: Picture, before: Sequence[Picture]) -> float | None:
    """Updates per second since the oldest picture of the same process."""
    if not now.workers:
        return None
    rank = min(now.workers)
    made, attempt = now.workers[rank].value("steps_total"), now.workers[rank].value("attempt")
    for old in before:
        worker = old.workers.get(rank)
        if worker is not None and worker.value("attempt") == attempt and now.at > old.at:
            then = worker.value("steps_total")
            if made is not None and then is not None and made >= then:
                return (made - then) / (now.at - old.at)
    return None


def _ago(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# -- the curves ---------------------------------------------------------------------------------------


def _rates(now: Picture, before: Sequence[Picture], known: Worker | None, plain: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(word, style="dim") for word in ("group", "used", "expected", "", "")))
    used = known.by("learning_rate", "group") if known else dict(now.rows[-1].rates) if now.rows else {}
    expected = known.by("learning_rate_expected", "group") if known else dict(now.promised)
    if not used:
        return Text("no update yet", style="dim")
    codes = {f.get("code") for f in (now.summary or {}).get("findings", ())}
    drifts = known.value("finding_active", code=DRIFT) == 1 if known else DRIFT in codes or now.summary is None
    for group, rate in list(used.items())[:GROUPS]:
        promise = expected.get(group)
        off = promise is not None and not math.isclose(rate, promise, rel_tol=1e-6, abs_tol=1e-12)
        words = "" if promise is None else "as promised" if not off else _off(rate, promise)
        past = [p.workers[min(p.workers)].by("learning_rate", "group").get(group) for p in before if p.workers]
        curve = [*(row.rates.get(group) for row in now.rows), *(past if not now.rows else ())]
        table.add_row(
            _cut(group, 14), _rate(rate), "-" if promise is None else _rate(promise),
            Text(words, style="bold red" if off and drifts else "" if off else "green"), spark(curve, 24, plain),
        )  # fmt: skip
    if len(used) > GROUPS:
        table.add_row(Text(f"… {len(used) - GROUPS} more", style="dim"))
    return table


def _rate(value: float) -> str:
    return f"{value:.4e}"


def _off(rate: float, promise: float) -> str:
    return f"× {rate / promise:.4g}" if promise else "not 0"


def _training(now: Picture, before: Sequence[Picture], known: Worker | None, plain: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True)
    shown = False
    for name, metric in (("loss", "loss"), ("gradient norm", "grad_norm")):
        past = [p.workers[min(p.workers)].value(metric) for p in before if p.workers]
        curve = [getattr(row, metric) for row in now.rows] or past
        value = known.value(metric) if known else next((v for v in reversed(curve) if v is not None), None)
        if value is not None:
            bad = not math.isfinite(value)
            table.add_row(name, Text(f"{value:.5g}", style="bold red" if bad else ""), spark(curve, WIDEST, plain))
            shown = True
    for name, value in (known.by("validation_metric", "metric") if known else {}).items():
        table.add_row(_cut(name, 14), f"{value:.5g}", "")
        shown = True
    return table if shown else Text("no loss, no gradient norm: watch.step() was given none", style="dim")


def spark(values: Iterable[float | None], width: int, plain: bool) -> Text:
    """A curve in one line, oldest left; what is not finite is a red ``!``.

    >>> spark([0.0, 1.0, float("nan"), 7.0], 8, False).plain
    '▁▂!█'
    """
    kept = [v for v in values if v is not None]
    step = max(1, math.ceil(len(kept) / width))
    # Of each piece the value that is not finite, else its last: a NaN of one update is not to be thinned out.
    pieces = [kept[i : i + step] for i in range(0, len(kept), step)]
    shown = [next((v for v in piece if not math.isfinite(v)), piece[-1]) for piece in pieces]
    finite = [v for v in shown if math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    bars, text = PLAIN if plain else BARS, Text(no_wrap=True)
    for v in shown:
        if not math.isfinite(v):
            text.append("!", style="bold red")
        else:
            text.append(bars[round((v - low) / (high - low) * 7) if high - low > FLAT * abs(high) else 3])
    return text


# -- workers and findings -----------------------------------------------------------------------------


def _workers(now: Picture) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "right", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(word, style="dim") for word in ("rank", "step", "drift", "last step", "")))

    def badness(worker: Worker) -> tuple[float, ...]:
        drift = worker.value("drift_ratio")
        return (-_errors(worker), -(drift if drift is not None and math.isfinite(drift) else 0.0),
                worker.value("last_step_timestamp_seconds") or 0.0, worker.rank)  # fmt: skip

    worst = sorted(now.workers.values(), key=badness)[:5]
    for worker in worst:
        step, drift = worker.value("step"), worker.value("drift_ratio")
        last = worker.value("last_step_timestamp_seconds")
        codes = " ".join(sorted(c for c, on in worker.by("finding_active", "code").items() if on == 1))
        table.add_row(
            str(worker.rank), "-" if step is None else f"{step:,.0f}", "-" if drift is None else f"{drift:.2%}",
            "-" if last is None else f"{_ago(now.at - last)} ago", Text(codes, style="bold red"),
        )  # fmt: skip
    if len(now.workers) > len(worst):
        table.add_row("", "", "", "", Text(f"the worst {len(worst)} of {len(now.workers)}", style="dim"))
    for words in now.silent[:3]:
        table.add_row("", "", "", "", Text(words if " " in words else f"{words} does not answer", style="yellow"))
    if len(now.silent) > 3:
        table.add_row("", "", "", "", Text(f"… and {len(now.silent) - 3} more", style="yellow"))
    return table


def _errors(worker: Worker) -> int:
    found = worker.samples.get("finding_active", ())
    return sum(on == 1 and labels["severity"] == "error" for labels, on in found)


def _findings(now: Picture, before: Sequence[Picture]) -> RenderableType:
    if not now.workers and now.summary is not None:
        return _ended_findings(now.summary)
    picture = now if now.workers else next((p for p in reversed(before) if p.workers), now)
    if not picture.workers:
        return Text("not known: lrwatch verify RUN_DIR judges the trace", style="yellow")
    found: dict[str, tuple[str, set[int], list[float], str | None]] = {}
    for worker in picture.workers.values():
        for labels, on in worker.samples.get("finding_active", ()):
            if on == 1:
                code = labels["code"]
                kept = found.setdefault(code, (labels["severity"], set(), [], None))
                kept[1].add(worker.rank)
                if (first := worker.value("finding_first_step", code=code)) is not None:
                    kept[2].append(first)
                causes = [ls["cause"] for ls, _ in worker.samples.get("finding_cause_info", ()) if ls["code"] == code]
                found[code] = (kept[0], kept[1], kept[2], kept[3] or next(iter(causes), None))
    if not found:
        known = any("drift_ratio" in worker.samples for worker in picture.workers.values())
        return Text("none" if known else "none; there is no contract to compare with", style="green" if known else "")
    order = sorted(found, key=lambda code: (list(COLOURS).index(found[code][0]), code))
    lines = Text()
    for code in order[:FINDINGS]:
        severity, ranks, firsts, cause = found[code]
        where = f"rank {min(ranks)}" if len(ranks) == 1 else f"{len(ranks)} workers"
        since = f" since step {min(firsts):,.0f}" if firsts else ""
        lines.append(f"{severity:<8}", style=COLOURS[severity])
        lines.append(f"{code}{since}, {where}{f', cause {cause}' if cause else ''}\n")
    if len(order) > FINDINGS:
        lines.append(f"… and {len(order) - FINDINGS} more\n")
    lines.append("lrwatch explain CODE says what it means", style="dim")
    return lines


def _ended_findings(summary: Any) -> RenderableType:
    found = [f for f in summary.get("findings", ()) if isinstance(f, dict)]
    if not found:
        return Text("none", style="green")
    lines = Text()
    for f in found[:FINDINGS]:
        severity = str(f.get("severity"))
        lines.append(f"{severity:<8}", style=COLOURS.get(severity, ""))
        lines.append(f"{f.get('code')} {_cut(str(f.get('message')), 160)}\n")
    if len(found) > FINDINGS:
        lines.append(f"… and {len(found) - FINDINGS} more\n")
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
