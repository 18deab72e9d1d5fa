"""Words on a terminal: wrapping, colours, and characters that every terminal can show."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lrwatch.report.base import ascii_only

WIDTH: Final = 80
GUTTER: Final = 14
_GLUE: Final = "\N{NO-BREAK SPACE}"
_COLOURS: Final = {
    "error": "31;1", "fail": "31;1", "warning": "33;1", "inconclusive": "33;1", "info": "36", "pass": "32;1",
    "head": "1", "used": "36", "promised": "33", "mark": "31;1", "axis": "2", "quiet": "2",
}  # fmt: skip


@dataclass
class Page:
    """Lines of a report, collected top to bottom. ``text()`` gives them all."""

    colour: bool
    unicode: bool

    def __post_init__(self) -> None:
        self.lines: list[str] = []

    def paint(self, role: str, text: str) -> str:
        """``text`` in the colour of its role, if colours are wanted."""
        return f"\x1b[{_COLOURS[role]}m{text}\x1b[0m" if self.colour else text

    def blank(self) -> None:
        """An empty line, never two in a row, never the first."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def verbatim(self, block: str, indent: int = 0) -> None:
        """Lines that are already laid out."""
        self.lines += [(" " * indent + line).rstrip() for line in block.split("\n")]

    def item(
        self, head: str, texts: Sequence[str], *, indent: int = 0, gutter: int = GUTTER, role: str = "head"
    ) -> None:
        """``head`` in a gutter and each text wrapped beside it; nothing when there is no text."""
        shown = head
        for text in texts:
            side = " " * (indent + gutter)
            wrapped = wrap(clean(text), WIDTH - len(side)) or [""]
            first = " " * indent + self.paint(role, shown) + " " * max(gutter - len(shown), 1) if shown else side
            self.lines += [first + wrapped[0], *(side + line for line in wrapped[1:])]
            shown = ""

    def text(self) -> str:
        text = "\n".join(self.lines).rstrip("\n") + "\n"
        return text if self.unicode else ascii_only(text)


def clean(text: str) -> str:
    """The text without control characters: names come from files, and a terminal obeys what it is shown."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width``; what stands in braces or backticks stays on one if it can."""
    glued = re.sub(r"(?:\w+ )?\{[^{}]*\}|`[^`]*`", lambda part: part[0].replace(" ", _GLUE), text)
    return [line.replace(_GLUE, " ") for line in textwrap.wrap(glued, width, break_on_hyphens=False)]


def spans(numbers: Sequence[int]) -> str:
    """``(0, 1, 2, 5)`` → ``0–2, 5``."""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in runs)
