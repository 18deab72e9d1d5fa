"""Expected and observed values of one signal, drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lrwatch.result import Series

Role = Literal["used", "promised", "mark", "axis"]
Paint = Callable[[Role, str], str]

LABEL = 9
"""Columns that the labels of the vertical axis take."""
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # the bit of each dot of a braille cell
_UNICODE = {"promised": "·", "mark": "▲", "line": "─", "side": "│", "tick": "┤", "corner": "└"}
_ASCII = {"promised": ".", "mark": "^", "line": "-", "side": "|", "tick": "+", "corner": "+"}


def plot(
    series: Series,
    width: int = 60,
    height: int = 12,
    unicode: bool = True,
    *,
    mark: float | None = None,
    unit: str = "step",
    word: str = "used",
    paint: Paint = lambda role, text: text,
) -> str:
    """The two curves on a canvas of ``width`` × ``height`` characters, with axes, a legend and a mark.

    What was used is a braille line of 2 × 4 dots a character (``*`` in ASCII); what was promised is dotted and
    shows only where the two differ, so that a healthy run is one clean line. The vertical axis includes 0.
    Values that are not finite leave a gap. Where t goes back (a rollback) a new line begins.

    Args:
        series: ``t``, ``observed``, ``expected`` float64[m]; ``expected`` may be all NaN.
        mark: position of the first bad step on the t axis. unit: what t counts. word: what the solid line is.
        paint: ``(role, text) -> text``, for colours.
    """
    signs = _UNICODE if unicode else _ASCII
    t, observed, expected = (np.asarray(a, dtype=np.float64) for a in (series.t, series.observed, series.expected))
    values = np.concatenate([observed, expected])
    values = values[np.isfinite(values)]
    if not len(values):
        return "(no finite value to draw)"
    span = float(t.min()), float(t.max())
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:
        high = 1.0
    frame = (*span, low, high)
    used, promised = (_ink(t, v, frame, 2 * width, 4 * height) for v in (observed, expected))
    canvas, roles = _cells(used, promised, signs["promised"], unicode)

    lines = []
    for row in range(height):
        ticked = row in (0, height - 1)
        label = f"{high - (high - low) * row / max(height - 1, 1):.2e}" if ticked else ""
        edge = f"{label:>{LABEL}} {signs['tick'] if ticked else signs['side']}"
        lines.append(paint("axis", edge) + _painted(canvas[row], roles[row], paint))
    column = None if mark is None else int(_scaled(np.array([mark]), *span, width)[0])
    rule = [signs["mark"] if i == column else signs["line"] for i in range(width)]
    spots = ["mark" if i == column else "axis" for i in range(width)]
    lines.append(paint("axis", " " * (LABEL + 1) + signs["corner"]) + _painted(rule, spots, paint))
    left, right = _count(span[0]), f"{_count(span[1])} {unit}"
    lines.append(" " * (LABEL + 2) + paint("axis", left + right.rjust(width - len(left))))
    seen = any(kind == "promised" and sign != " " for row, kinds in zip(canvas, roles, strict=True)
               for sign, kind in zip(row, kinds, strict=True))  # fmt: skip
    said = "where it differs" if seen else "no difference to see" if promised.any() else ""
    lines.append(" " * (LABEL + 2) + _legend(signs, unicode, word, said, mark, unit, paint))
    return "\n".join(lines)


def _legend(
    signs: dict[str, str], unicode: bool, word: str, promised: str, mark: float | None, unit: str, paint: Paint
) -> str:
    parts = [paint("used", "⠒⠒" if unicode else "**") + f" {word}"]
    if promised:
        parts.append(paint("promised", signs["promised"] * 2) + f" promised, {promised}")
    if mark is not None:
        parts.append(paint("mark", signs["mark"]) + f" first bad {unit} {_count(mark)}")
    return "   ".join(parts)


def _count(t: float) -> str:
    return f"{t:,.0f}" if t == math.floor(t) else f"{t:g}"


def _scaled(values: NDArray[np.float64], low: float, high: float, size: int) -> NDArray[np.int64]:
    """``values`` in [low, high] → 0 … size - 1."""
    share = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    return np.clip(np.rint(share * (size - 1)), 0, size - 1).astype(np.int64)


def _ink(
    t: NDArray[np.float64],
    values: NDArray[np.float64],
    frame: tuple[float, float, float, float],
    width: int,
    height: int,
) -> NDArray[np.bool_]:
    """bool[height, width], True where the line through the points passes; row 0 is the top."""
    ink = np.zeros((height, width), dtype=bool)
    finite = np.isfinite(values)
    x = _scaled(t, frame[0], frame[1], width)
    y = height - 1 - _scaled(np.where(finite, values, frame[2]), frame[2], frame[3], height)
    ink[y[finite], x[finite]] = True
    joined = finite[1:] & finite[:-1] & (t[1:] >= t[:-1])
    for i in np.flatnonzero(joined):
        dots = max(abs(int(x[i + 1] - x[i])), abs(int(y[i + 1] - y[i]))) + 1
        if dots > 2:
            along = np.linspace(0.0, 1.0, dots)
            rows = np.rint(y[i] + along * (y[i + 1] - y[i])).astype(int)
            columns = np.rint(x[i] + along * (x[i + 1] - x[i])).astype(int)
            ink[rows, columns] = True
    return ink


def _cells(
    used: NDArray[np.bool_], promised: NDArray[np.bool_], dot: str, unicode: bool
) -> tuple[list[list[str]], list[list[str]]]:
    """Characters and their roles, row by row, from ink of 2 × 4 dots a character."""
    height, width = used.shape[0] // 4, used.shape[1] // 2
    blocks = used.reshape(height, 4, width, 2)
    bits: NDArray[np.int64] = (blocks * _DOTS[None, :, None, :]).sum(axis=(1, 3))
    faint: NDArray[np.bool_] = np.any(promised.reshape(height, 4, width, 2), axis=(1, 3))
    canvas, roles = [], []
    for row in range(height):
        characters, kinds = [], []
        for b, f in zip(bits[row].tolist(), faint[row].tolist(), strict=True):
            solid = chr(0x2800 + b) if unicode else "*"
            characters.append(solid if b else dot if f else " ")
            kinds.append("used" if b else "promised")
        canvas.append(characters)
        roles.append(kinds)
    return canvas, roles


def _painted(characters: list[str], roles: list[str], paint: Paint) -> str:
    text = ""
    end = len("".join(characters).rstrip())
    characters, roles = characters[:end], roles[:end]
    for role, run in groupby(zip(roles, characters, strict=True), key=lambda pair: pair[0]):
        part = "".join(character for _, character in run)
        text += paint(role, part) if part.strip() else part
    return text
