"""A schedule that may have made a column, and how it is held against the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.infer._rows import Column


@dataclass(frozen=True)
class Explanation:
    """A schedule that may have made a column.

    Attributes:
        base: what shares are shares of. phases: as a contract spells them. rank: how many numbers it takes.
        worst: the largest deviation in units of what is allowed, over all rows. end: where the schedule is over, None
            where it has no end. unknown: what the trace does not show. loose: number → how far it may be off.
    """

    base: float
    phases: tuple[dict[str, Any], ...]
    rank: float
    worst: float = math.inf
    end: float | None = None
    unknown: tuple[str, ...] = ()
    loose: tuple[tuple[str, float, float], ...] = ()

    @property
    def fits(self) -> bool:
        return self.worst <= 1.0

    @property
    def family(self) -> str:
        """The families in order, in words."""
        return " then ".join(next(iter(phase)) for phase in self.phases)

    def curve(self, dtype: str = "float64") -> Curve:
        lr = {"base": self.base, "schedule": [dict(p) for p in self.phases], "dtype": dtype}
        return Curve(from_document({"lrwatch": 1, "experiment": "", "lr": lr}))


def checked(e: Explanation, column: Column, *unknown: str) -> Explanation:
    """With its deviation over all rows, drawn from the contract that would be written."""
    try:
        curve = e.curve(column.dtype)
    except ContractError:  # numbers that no contract may have
        return replace(e, worst=math.inf)
    with np.errstate(all="ignore"):
        off = np.abs(curve.at(column.t) - column.y) / column.allowed
    worst = float(np.max(np.where(np.isfinite(off), off, np.inf)))
    return replace(e, worst=worst, unknown=(*e.unknown, *unknown))


def distinct(found: list[Explanation], column: Column) -> list[Explanation]:
    """Without those that are another one in other words: the same curve until it is over, beyond the last row too."""
    kept: list[Explanation] = []
    span = column.t[-1] + 1.0
    limit = 4.0 * float(column.allowed.max())
    for e in found:
        for other in kept:
            over = other.end if other.end is not None and other.end >= span - 1.0 else 2.0 * span
            t = np.unique(np.rint(np.linspace(0.0, min(over, 2.0 * span), 1500)))
            if np.abs(e.curve().at(t) - other.curve().at(t)).max() <= limit:
                break
        else:
            kept.append(e)
    return kept


def whole(value: Any) -> Any:
    """Whole numbers as such."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
