"""Charts as static SVG: what a page shows before its script runs, where scripts are forbidden, and on paper.

page.js draws the same picture again when somebody zooms; the two share the classes of page.css and these measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lrwatch.report._markup import Markup, join, tag
from lrwatch.report._plots import Floats, Line, Plot

WIDTH: Final = 960
LEFT, RIGHT, TOP, BOTTOM = 104, 14, 12, 26
ROW: Final = 22
"""Height of a row of the strip of events."""


@dataclass(frozen=True)
class Scale:
    """A range of values onto a range of pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, values: Floats) -> Floats:
        return self.start + (values - self.low) / (self.high - self.low) * (self.end - self.start)

    def one(self, value: float) -> float:
        return float(self(np.array([value]))[0])


def chart(
    plot: Plot, span: tuple[float, float], height: int, label: str, events: Sequence[tuple[float, str]] = ()
) -> Markup:
    """One chart over the steps of ``span``, ``height`` pixels high of ``WIDTH``; ``events`` are steps and words."""
    values = np.concatenate([line.y for line in plot.lines] or [np.empty(0)])
    x = Scale(*span, LEFT, WIDTH - RIGHT)
    y = Scale(*bounds(values, plot.least), height - BOTTOM, TOP)
    uprights = [_upright("event", x.one(at), height, words) for at, words in events]
    if plot.mark is not None:
        uprights.append(_upright("mark", x.one(plot.mark), height, f"first bad step {plot.mark:,.0f}"))
    odd = [tag("path", class_="odd", d=_cross(x.one(at), TOP + 6)) for at in plot.odd]
    strokes = [_stroke(line, x, y) for line in plot.lines]
    return _svg(height, label, _axes(x, y, height), *uprights, *strokes, *odd)


def strip(
    rows: Sequence[tuple[str, Sequence[tuple[str, float, float, str]]]], span: tuple[float, float], label: str
) -> Markup:
    """Rows of marks over the steps of ``span``: name → (class, first step, last step, words) of each."""
    x, height = Scale(*span, LEFT, WIDTH - RIGHT), strip_height(len(rows))
    drawn = []
    for i, (name, marks) in enumerate(rows):
        middle = TOP + ROW * i + ROW / 2
        drawn.append(
            tag(
                "text",
                tag("title", name),
                fitted(name),
                class_="name",
                x=LEFT - 8,
                y=_px(middle + 4),
                text_anchor="end",
            )
        )
        drawn.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=_px(middle), y2=_px(middle)))
        for kind, first, last, words in marks:
            a, b = x.one(first), x.one(last)
            wide = max(b - a, 4.0)
            drawn.append(
                tag("rect", tag("title", words), class_=f"bar {kind}", x=_px(min(a, WIDTH - RIGHT - wide)),
                    y=_px(middle - 6), width=_px(wide), height=12, rx=2)
            )  # fmt: skip
    return _svg(height, label, _steps(x, height), *drawn)


def fitted(name: str) -> str:
    """A name in as many characters as there is room for beside a row."""
    return name if len(name) <= 15 else name[:14] + "…"


def strip_height(rows: int) -> int:
    """Pixels that a strip of so many rows takes."""
    return TOP + ROW * rows + BOTTOM


def bounds(values: Floats, least: float | None) -> tuple[float, float]:
    """The range of an axis that shows the finite values, with some air; never empty."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if least is not None:
        low, high = min(low, -least), max(high, least)
    if high == low:
        low, high = (low - abs(low) * 0.1, high + abs(high) * 0.1) if high else (-1.0, 1.0)
    air = 0.04 * (high - low)
    return low - air, high + air


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers within a range, about so many, at distances of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 3.1e-4, 4)
    [0.0, 0.0001, 0.0002, 0.0003]
    """
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999)
    return [float(f"{k * step:.12g}") for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number for an axis or a sentence, four digits at most.

    >>> [short(v) for v in (0.0, 20000, 0.25, 3e-4, 0.00012345)]
    ['0', '20,000', '0.25', '3e-4', '1.234e-4']
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    if 1e4 <= abs(value) < 1e15 and value == int(value):
        return f"{value:,.0f}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


# -- pieces ------------------------------------------------------------------------------------------


def _svg(height: int, label: str, *children: Markup) -> Markup:
    return tag("svg", *children, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)


def _axes(x: Scale, y: Scale, height: int) -> Markup:
    lines = []
    for at in ticks(y.low, y.high, max(height // 36, 3)):
        row = _px(y.one(at))
        lines.append(tag("line", class_="zero" if at == 0 else "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=row, y2=row))
        lines.append(tag("text", short(at), class_="tick", x=LEFT - 8, y=_px(y.one(at) + 4), text_anchor="end"))
    return join(lines, _steps(x, height))


def _steps(x: Scale, height: int) -> Markup:
    marks = []
    for at in ticks(x.low, x.high, 8):
        if at.is_integer():
            column, anchor = x.one(at), "end" if x.one(at) > WIDTH - RIGHT - 20 else "middle"
            marks.append(tag("text", f"{at:,.0f}", class_="tick", x=_px(column), y=height - 8, text_anchor=anchor))
    return join(marks)


def _stroke(line: Line, x: Scale, y: Scale) -> Markup:
    points = np.stack([x(line.x), y(line.y)], axis=1)
    path = tag("path", class_=f"line {line.role}", d=path_of(line.x, points))
    if not line.dots:
        return path
    spots = [tag("circle", class_=f"dot {line.role}", cx=_px(a), cy=_px(b), r=2.5) for a, b in points.tolist()]
    return join(path, spots)


def path_of(steps: Floats, points: Floats) -> Markup:
    """Strokes through points, float64[m, 2]; a new one after a gap and where the steps go back."""
    parts, pen = [], "M"
    back = np.diff(steps, prepend=-np.inf) < 0
    for (a, b), returns in zip(points.tolist(), back.tolist(), strict=True):
        if not math.isfinite(b):
            pen = "M"
            continue
        parts.append(f"{'M' if returns else pen}{_px(a)} {_px(b)}")
        pen = "L"
    return Markup("".join(parts))


def _upright(kind: str, column: float, height: int, words: str) -> Markup:
    line = tag("line", x1=_px(column), x2=_px(column), y1=TOP, y2=height - BOTTOM)
    return tag("g", tag("title", words), line, class_=kind)


def _cross(x: float, y: float) -> str:
    return f"M{_px(x - 4)} {_px(y - 4)}l8 8m0 -8l-8 8"


def _px(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
