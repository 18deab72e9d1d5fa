"""What the formats share: how a report should look, and the order of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lrwatch.findings import Finding, Severity

if TYPE_CHECKING:
    from lrwatch.verify import Report


_ASCII: Final = str.maketrans({
    "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "×": "x", "≤": "<=", "≥": ">=",
    "≠": "!=", "“": '"', "”": '"', "’": "'", "π": "pi", "√": "sqrt", "∞": "inf",
})  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a report is judged and drawn.

    Attributes:
        fail_on: the lowest severity that makes the verdict ``fail``.
        colour: whether to use ANSI colours. unicode: whether the output can show more than ASCII.
    """

    fail_on: Severity = Severity.error
    colour: bool = False
    unicode: bool = True


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The gravest first; among equals the earliest, then in the order given."""
    return sorted(findings, key=lambda f: (-f.severity, -1 if f.first_step is None else f.first_step))


def assumed(report: Report) -> list[str]:
    """The conventions taken for granted, by the reader and by the checks, each once."""
    return list(dict.fromkeys((*report.info.assumed, *report.result.stats.assumed)))


def ascii_only(text: str) -> str:
    """The text in ASCII, for terminals that can show nothing else."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def counted(n: int, word: str, plural: str = "") -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{n:,} {word if n == 1 else plural or word + 's'}"
