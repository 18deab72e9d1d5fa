"""Which workers are concerned by what: a cell for each, and the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lrwatch.findings import Finding, Severity
from lrwatch.report._markup import Markup, tag
from lrwatch.report._page import spans
from lrwatch.report._words import steps

if TYPE_CHECKING:
    from lrwatch.result import Result

CELLS: Final = 1024
"""Cells at most; of more workers several share one, which shows the worst."""
COLUMNS: Final = 64
CELL: Final = 14
MOST_ROWS: Final = 40


def workers(result: Result) -> Markup | None:
    """The part of the page on workers; nothing for a single one."""
    ranks = result.stats.ranks
    if len(ranks) < 2:
        return None
    by_rank: dict[int, list[Finding]] = {rank: [] for rank in ranks}
    for f in result.findings:
        for rank in f.ranks or (() if f.rank is None else (f.rank,)):
            if rank in by_rank:
                by_rank[rank].append(f)
    heading = tag("h2", "Workers", id="workers-title")
    return tag("section", heading, _cells(ranks, by_rank), _words(by_rank), id="workers",
               aria_labelledby="workers-title")  # fmt: skip


def _cells(ranks: Sequence[int], by_rank: dict[int, list[Finding]]) -> Markup:
    each = -(-len(ranks) // CELLS)
    cells = []
    for i in range(0, len(ranks), each):
        part = ranks[i : i + each]
        found = [f for rank in part for f in by_rank[rank]]
        worst = max((f.severity for f in found), default=None)
        row, column = divmod(i // each, COLUMNS)
        name = f"rank {part[0]:,}" if len(part) == 1 else f"ranks {part[0]:,}–{part[-1]:,}"
        what = ", ".join(dict.fromkeys(f"{f.code} {f.slug}" for f in found[:8])) or "nothing found"
        cells.append(
            tag("rect", tag("title", f"{name}: {what}"), class_=f"cell {worst or 'none'}", x=column * CELL + 1,
                y=row * CELL + 1, width=CELL - 2, height=CELL - 2, rx=2)
        )  # fmt: skip
    wide, high = min(len(cells), COLUMNS) * CELL, -(-len(cells) // COLUMNS) * CELL
    return tag("svg", cells, class_="cells", viewBox=f"0 0 {wide} {high}", width=wide, height=high, role="img",
               aria_label="Workers, one cell each, in the colour of their gravest finding")  # fmt: skip


def _words(by_rank: dict[int, list[Finding]]) -> Markup:
    """Workers with the same findings share a line, the gravest first."""
    alike: dict[tuple[int, ...], list[int]] = {}
    found: dict[int, Finding] = {}
    for rank, fs in by_rank.items():
        found |= {id(f): f for f in fs}
        alike.setdefault(tuple(id(f) for f in fs), []).append(rank)

    def gravity(item: tuple[tuple[int, ...], list[int]]) -> int:
        return -max((found[key].severity for key in item[0]), default=Severity(1) - 1)

    lines = []
    for keys, ranks in sorted(alike.items(), key=gravity)[:MOST_ROWS]:
        said = "; ".join(_said(found[key]) for key in keys[:8]) or "nothing found"
        more = f"; {len(keys) - 8} more" if len(keys) > 8 else ""
        word = "rank" if len(ranks) == 1 else "ranks"
        lines.append(tag("li", tag("b", f"{word} {spans(ranks)}"), f" {said}{more}"))
    over = len(alike) - len(lines)
    return tag("ul", lines, tag("li", f"and {over:,} other sets of workers") if over else None, class_="lines")


def _said(f: Finding) -> str:
    where = "" if f.first_step is None else f" ({steps(f.first_step, f.last_step or f.first_step)})"
    return f"{f.slug}{where}"
