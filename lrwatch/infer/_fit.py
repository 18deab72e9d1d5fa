"""One column → the schedules that explain it, the plainest first."""

from __future__ import annotations

import math

import numpy as np

from lrwatch.infer import _look as look
from lrwatch.infer._explanation import Explanation, checked, distinct
from lrwatch.infer._families import holding, lines, unusual, usual
from lrwatch.infer._plain import constant, stairs, straight
from lrwatch.infer._rows import Column


def explain(column: Column) -> list[Explanation]:
    """The schedules that explain every row, the plainest first; else the nearest one alone."""
    y, allowed = column.y, column.allowed
    found: list[Explanation] = []
    nearest: list[Explanation] = []
    if look.flat(y, allowed) == len(y) - 1:
        return [constant(column)]
    for make in (straight, stairs, lines, usual, holding, unusual):
        best = min((e.rank for e in found if e.fits), default=math.inf)
        for candidate in make(column, best):
            (found if candidate.fits else nearest).append(candidate)
        if any(e.unknown for e in found):  # a line: nothing else is needed, nothing else can be told
            break
    found.sort(key=lambda e: (e.rank, len(str(e.phases)) + len(str(e.base))))  # of equals the one in rounder numbers
    if found:
        found = [e for e in found if e.rank <= found[0].rank + 1.0]
        return distinct(found, column)
    level = checked(Explanation(float(np.median(y)), ({"constant": {}},), 1.0), column)
    return sorted([level, *nearest], key=lambda e: e.worst)[:1]
