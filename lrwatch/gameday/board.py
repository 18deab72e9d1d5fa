"""The outcome of a game day, for a terminal and for a browser."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence

from lrwatch.gameday.play import WAITS, WITHIN, Outcome

_HEAD = ("scenario", "expected", "heard by", "detected", "resolved", "false alerts", "outcome")


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """One row per scenario, in the order of ``_HEAD``."""
    made: list[tuple[str, ...]] = []
    for o in outcomes:
        expects = o.scenario.expects
        expected = "nothing" if expects is None else " ".join((expects.alert, "/".join(expects.codes))).strip()
        verdict = "ok" if o.passed else f"FAILED{': ' + o.problem if o.problem else ''}"
        made.append(
            (
                o.scenario.name + (f" ({o.scenario.seed})" if o.scenario.seed else ""),
                expected,
                "-" if expects is None else o.receiver or "nobody",
                _seconds(o.detected, expects is not None),
                _seconds(o.resolved, expects is not None),
                ", ".join(o.false_alerts) or "none",
                verdict,
            )
        )
    return made


def _seconds(value: float | None, expected: bool) -> str:
    if value is None:
        return f"not in {WITHIN:.0f} s" if expected else "-"
    return f"{value:.1f} s"


def summary(outcomes: Sequence[Outcome]) -> str:
    """One sentence."""
    good = sum(o.passed for o in outcomes)
    count = sum(len(o.false_alerts) for o in outcomes)
    false = f"{count} false alert{'' if count == 1 else 's'}"
    times = sorted(o.detected for o in outcomes if o.detected is not None)
    middle = f"; median time to detect {times[len(times) // 2]:.1f} s" if times else ""
    return f"{good} of {len(outcomes)} scenarios as expected, {false}{middle}"


def text(outcomes: Sequence[Outcome]) -> str:
    """The scoreboard for a terminal."""
    table = [_HEAD, *rows(outcomes)]
    widths = [max(len(row[i]) for row in table) for i in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([*lines, "", summary(outcomes) + ".", *_small_print()]) + "\n"


def _small_print() -> list[str]:
    return [
        "Real trainers, Prometheus and Alertmanager; scrapes and evaluations every second, group_wait 3 s.",
        "Times are from the trouble's beginning, or its end, to the webhook; where a check judges no earlier than "
        "after hundreds of updates, from that update on. The rules are the shipped ones but for these shorter waits:",
        f"{', '.join(WAITS)}.",
    ]


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>lrwatch game day</title>
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 15%, transparent); }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }} p {{ max-width: 60rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }}
td:first-child {{ min-width: 13rem; }}
td small {{ display: block; opacity: .7; }} td.number {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
.ok, .bad {{ font-weight: 600; }}
.ok {{ color: light-dark(#116329, #56d364); }} .bad {{ color: light-dark(#a40e26, #ff7b72); }}
</style>
<h1>Game day, {when}</h1>
<p><strong class="{mood}">{summary}.</strong></p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<p><small>{small}</small></p>
</html>
"""


def page(outcomes: Sequence[Outcome]) -> str:
    """The scoreboard as one HTML file without anything from elsewhere."""
    body = []
    for outcome, row in zip(outcomes, rows(outcomes), strict=True):
        cells = [f"<td>{html.escape(row[0])}<small>{html.escape(outcome.scenario.story)}</small></td>"]
        cells += [f"<td>{html.escape(row[1])}</td><td>{html.escape(row[2])}</td>"]
        cells += [f'<td class="number">{html.escape(cell)}</td>' for cell in row[3:5]]
        cells += [f"<td>{html.escape(row[5])}</td>"]
        cells += [f'<td class="{"ok" if outcome.passed else "bad"}">{html.escape(row[6])}</td>']
        body.append(f"<tr>{''.join(cells)}</tr>")
    return _PAGE.format(
        when=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        mood="ok" if all(o.passed for o in outcomes) else "bad",
        summary=html.escape(summary(outcomes)),
        head="".join(f'<th scope="col">{name}</th>' for name in _HEAD),
        body="\n".join(body),
        small=html.escape(" ".join(_small_print())),
    )
