"""A table of a trace as CSV: every digit of every number, an empty cell for what is missing."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from lrwatch.readers._exchange import LEADING, Rows


def write(rows: Iterable[Rows], columns: Sequence[str], path: Path) -> None:
    """One file with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*LEADING, *columns])
        for part in rows:
            texts = [[str(part.rank)] * part.n, [str(part.segment)] * part.n, [part.event] * part.n]
            texts.append([part.fields] * part.n)
            texts += [_texts(part, name) for name in columns]
            writer.writerows(zip(*texts, strict=True))


def _texts(part: Rows, name: str) -> list[str]:
    if name not in part.columns:
        return [""] * part.n
    values = list(map(repr, part.columns[name].tolist()))
    if name in part.missing:
        return ["" if no else value for value, no in zip(values, part.missing[name].tolist(), strict=True)]
    return values
