"""Which schedule did this run follow? The plainest one that gives every recorded value, and what else would.

    found = infer(open_trace(["runs/1"]))
    found.document            # a contract, as plain data
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from math import gcd
from typing import Any, Literal

import numpy as np

from lrwatch.contract import Contract, from_document
from lrwatch.infer import _look
from lrwatch.infer._explanation import Explanation
from lrwatch.infer._fit import explain
from lrwatch.infer._rows import Column, Recorded, read
from lrwatch.infer._solve import shorter
from lrwatch.trace.model import Source

__all__ = ["Explanation", "Found", "Inference", "infer"]

Verdict = Literal["explained", "cannot tell", "unexplained"]


@dataclass(frozen=True)
class Found:
    """One group's schedule.

    Attributes:
        group: its name. rows, last: how many values there are, and the last update. explained: how many the schedule
            gives within what is allowed. best: the schedule; others: those that explain as much, the plainest first.
        scale: set where the group is a multiple of the first one, whose schedule ``best`` then is.
    """

    group: str
    rows: int
    last: float
    explained: int
    best: Explanation
    others: tuple[Explanation, ...] = ()
    scale: float | None = None

    @property
    def rivals(self) -> tuple[Explanation, ...]:
        """Others that are as plain as the best: the trace cannot decide."""
        return tuple(e for e in self.others if e.rank <= self.best.rank)


@dataclass(frozen=True)
class Inference:
    """What a trace says about its schedule.

    Attributes:
        groups: the first one leads the contract. steps_per_epoch: set where the schedule moved once per epoch.
        assumed: conventions taken for granted. metrics: validations that a plateau could have reacted to.
    """

    groups: tuple[Found, ...]
    experiment: str
    dtype: str
    rank: int
    digits: int
    steps_per_epoch: int | None = None
    assumed: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``explained``: by one schedule, whose numbers are known · ``cannot tell``: by several, or part of it was
        not seen · ``unexplained``: no family gives every value."""
        if not all(found.best.fits for found in self.groups):
            return "unexplained"
        return "cannot tell" if any(f.best.unknown or f.rivals for f in self.groups) else "explained"

    @property
    def document(self) -> dict[str, Any]:
        """The contract as plain data."""
        first = self.groups[0].best
        clock: dict[str, Any] = {"axis": "epoch"} if self.steps_per_epoch else {}
        end = self.horizon
        clock |= {} if end is None else {"horizon": int(end)}
        tree: dict[str, Any] = {"lrwatch": 1, "experiment": self.experiment, "clock": clock}
        if self.steps_per_epoch:
            tree["batch"] = {"steps_per_epoch": self.steps_per_epoch}
        lr: dict[str, Any] = {"base": first.base, "schedule": _until(first.phases, end)}
        if self.dtype != "float64":
            lr["dtype"] = self.dtype
        entries = {f.group: entry for f in self.groups[1:] if (entry := _entry(f, first, end))}
        tree["lr"] = lr | ({"groups": entries} if entries else {})
        return tree

    @property
    def horizon(self) -> float | None:
        """The end of the run, where the schedule ends with the last row; a longer one was not seen."""
        end, last = self.groups[0].best.end, self.groups[0].last
        return end if end is not None and end == last + 1.0 else None

    def contract(self, source: str = "inferred") -> Contract:
        """The contract."""
        return from_document(self.document, source=source)


def infer(source: Source) -> Inference:
    """The schedule that a trace followed.

    Args:
        source: read once; the lowest rank stands for all.

    Raises TraceError: no learning rate in it, or fewer than three updates.
    """
    recorded = read(source)
    first = recorded.columns[0]
    candidates, steps_per_epoch = _explained(first)
    leading = _found(first, candidates, steps_per_epoch)
    groups = [leading, *(_other(column, first, leading, steps_per_epoch) for column in recorded.columns[1:])]
    return _inference(recorded, tuple(groups), steps_per_epoch)


def _inference(recorded: Recorded, groups: tuple[Found, ...], steps_per_epoch: int | None) -> Inference:
    first = recorded.columns[0]
    return Inference(
        groups, recorded.experiment, first.dtype, recorded.rank, first.digits, steps_per_epoch, recorded.assumed,
        recorded.metrics,
    )  # fmt: skip


def _explained(column: Column) -> tuple[list[Explanation], int | None]:
    """The explanations, and the updates of an epoch where the values move only between epochs."""
    found = explain(column)
    plain = found[0].fits and "table" not in found[0].family
    steps = None if plain else _look.levels(column.y, column.allowed)
    if steps is None or len(steps) < 3:
        return found, None
    per_epoch = reduce(gcd, column.t[steps].astype(int).tolist())
    if per_epoch < 2:
        return found, None
    epochs = explain(_by_epoch(column, per_epoch))
    better = epochs[0].fits and (not found[0].fits or epochs[0].rank < found[0].rank)
    return (epochs, per_epoch) if better else (found, None)


def _by_epoch(column: Column, per_epoch: int) -> Column:
    """One value per epoch: the first recorded one."""
    epochs = np.floor(column.t / per_epoch)
    rows = np.flatnonzero(np.diff(epochs, prepend=-1.0) > 0)
    return replace(column, t=epochs[rows], y=column.y[rows], allowed=column.allowed[rows])


def _found(column: Column, candidates: list[Explanation], per_epoch: int | None, scale: float | None = None) -> Found:
    best = candidates[0]
    t = column.t if per_epoch is None else np.floor(column.t / per_epoch)
    values = (scale or 1.0) * best.curve(column.dtype).at(t)
    with np.errstate(invalid="ignore"):
        good = int(np.count_nonzero(np.abs(values - column.y) <= column.allowed))
    best = best if good == len(t) else replace(best, worst=max(best.worst, 1.0 + 1e-9))
    return Found(column.name, len(t), float(t[-1]), good, best, tuple(candidates[1:]), scale)


def _other(column: Column, first: Column, leading: Found, per_epoch: int | None) -> Found:
    """A further group: a multiple of the first one, or with a schedule of its own."""
    t, mine, its = np.intersect1d(column.t, first.t, assume_unique=True, return_indices=True)
    moving = first.y[its] != 0.0
    if len(t) == len(column.t) and moving.any() and leading.best.fits:
        ratio = float(np.median(column.y[mine][moving] / first.y[its][moving]))
        for scale in shorter(ratio) if ratio > 0 else ():
            found = _found(column, [leading.best, *leading.others], per_epoch, scale)
            if found.explained == found.rows:
                return found
    own = _by_epoch(column, per_epoch) if per_epoch else column
    return _found(column, explain(own), per_epoch)


def _entry(found: Found, first: Explanation, end: float | None) -> dict[str, Any]:
    """A group's entry in the contract; empty where it follows the first one."""
    if found.scale is not None:
        scale = int(found.scale) if found.scale.is_integer() else found.scale
        return {} if scale == 1 else {"scale": scale}
    base = {} if found.best.base == first.base else {"base": found.best.base}
    same = found.best.phases == first.phases
    return base | ({} if same else {"schedule": _until(found.best.phases, end)})


def _until(phases: tuple[dict[str, Any], ...], horizon: float | None) -> list[dict[str, Any]]:
    """The phases; one that ends with the run says so."""
    begins = sum(next(iter(p.values())).get("for", 0) for p in phases[:-1])
    name, params = next(iter(phases[-1].items()))
    if horizon is None or "for" not in params or begins + params["for"] != horizon:
        return list(phases)
    return [*phases[:-1], {name: {**{k: v for k, v in params.items() if k != "for"}, "until": "horizon"}}]


