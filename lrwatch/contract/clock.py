"""Counters of a row → its position on the contract's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrwatch.contract.model import Batch, Contract
from lrwatch.errors import NotCheckable

FloatArray = NDArray[np.float64]


def positions(contract: Contract, columns: Mapping[str, NDArray[Any]]) -> FloatArray:
    """t, float64[n], of rows with these counters (each int64[n] or float64[n]).

    axis ``update``: the applied updates before the row, or the attempted ones with ``counts: attempted`` ·
    ``attempt``: attempts · ``epoch``: whole epochs before the row · ``sample``, ``token``: how many were
    consumed before the row · ``round``: rounds before the row. Times ``clock.ticks``: with 4 of them, updates
    0, 1, 2 stand at t = 0, 4, 8.

    Raises:
        NotCheckable: a counter is needed that was neither recorded nor derivable; names it and the remedy.
    """
    steps, ticks = _steps(contract, columns), contract.clock.ticks
    return steps if ticks == 1 else steps * ticks


def needs(contract: Contract, columns: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """The columns of these that ``positions`` reads."""
    axis, counts = contract.clock.axis, contract.clock.counts
    counter = {"attempt": "attempt", "epoch": "epoch", "sample": "samples", "token": "tokens", "round": "round"}
    wanted = "attempt" if axis == "update" and counts == "attempted" else counter.get(axis, "update")
    return (wanted,) if wanted in columns else ()


def shown_after(contract: Contract, columns: Mapping[str, NDArray[Any]]) -> FloatArray:
    """t, float64[n], whose value rows show that read the learning rate after the scheduler's step: the next update's.

    Raises:
        NotCheckable: where the next update stands cannot be told from this row.
    """
    next_row = {name: columns[name] + 1 for name in ("update", "attempt") if name in columns}
    axis = contract.clock.axis
    recorded = {"epoch": "epoch", "sample": "samples", "token": "tokens", "round": "round"}.get(axis, "")
    derivable = contract.batch.steps_per_epoch if axis == "epoch" else contract.batch.size or contract.batch.ramp
    if axis in ("update", "attempt") or (derivable and axis in ("epoch", "sample") and recorded not in columns):
        return positions(contract, next_row)
    if axis == "sample" and contract.batch.size and not contract.batch.ramp:
        return positions(contract, {**next_row, "samples": columns["samples"] + contract.batch.size})
    raise NotCheckable(
        f"the learning rate was read after scheduler.step(), and where the next update stands in {axis}s is unknown: "
        "read it before, or use a clock that counts updates"
    )


def _steps(contract: Contract, columns: Mapping[str, NDArray[Any]]) -> FloatArray:
    """Steps of the axis before each row, float64[n]."""
    axis, batch = contract.clock.axis, contract.batch
    update: FloatArray = columns["update"].astype(np.float64)
    if axis == "update" and contract.clock.counts == "applied":
        return update
    if axis in ("update", "attempt"):
        if "attempt" in columns:
            return columns["attempt"].astype(np.float64)
        raise NotCheckable("the contract counts attempted updates, and the trace has no `attempt` column")
    if axis == "epoch":
        if "epoch" in columns:
            return np.asarray(np.floor(columns["epoch"]), dtype=np.float64)
        if batch.steps_per_epoch:
            return np.asarray(np.floor(update / batch.steps_per_epoch), dtype=np.float64)
        raise NotCheckable("the clock counts epochs: record `epoch` or give batch.steps_per_epoch")
    if axis == "sample":
        if "samples" in columns:
            return columns["samples"].astype(np.float64)
        if batch.size or batch.ramp:
            return samples(batch, update)
        raise NotCheckable("the clock counts samples: record `samples` or give batch.global")
    column = "tokens" if axis == "token" else "round"
    if column in columns:
        return columns[column].astype(np.float64)
    raise NotCheckable(f"the clock counts {axis}s: record `{column}`")


def samples(batch: Batch, update: FloatArray) -> FloatArray:
    """Samples consumed before each update, float64[n], with a batch-size ramp.

    The size of an update is that of the last ramp point at or below the samples consumed so far:
    with ramp [[0, 2], [4, 10]], updates 0, 1, 2, 3 begin at samples 0, 2, 4, 14.
    """
    if not batch.ramp:
        return update * float(batch.size or 0)
    starts, sizes, begins = [0.0], [], [0.0]  # update index and sample count at which each size begins
    for i, (_, size) in enumerate(batch.ramp):
        sizes.append(float(size))
        if i + 1 < len(batch.ramp):
            steps = max(0.0, np.ceil((batch.ramp[i + 1][0] - begins[-1]) / size))
            starts.append(starts[-1] + steps)
            begins.append(begins[-1] + steps * size)
    which = np.searchsorted(np.array(starts), update, side="right") - 1
    into: FloatArray = (update - np.array(starts)[which]) * np.array(sizes)[which]
    return np.array(begins)[which] + into
