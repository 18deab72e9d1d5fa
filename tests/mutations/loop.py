"""A real torch loop on a parameter of one element: what a trainer does, without the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lrwatch.trace.model import Chunk, Event

Optimizer = torch.optim.Optimizer


@dataclass
class Loop:
    """One worker's loop; records what every update used.

    ``step_scheduler`` decides how often the scheduler moves after update t: t → number of calls.
    """

    optimizer: Optimizer
    scheduler: Any
    step_scheduler: Callable[[int], int] = lambda t: 1
    rows: dict[str, list[float]] = field(default_factory=dict)
    update: int = 0
    attempt: int = 0

    def run(self, steps: int, skips: frozenset[int] = frozenset()) -> Loop:
        """Make ``steps`` attempts; those whose number is in ``skips`` are not applied."""
        for _ in range(steps):
            skipped = self.attempt in skips
            self._record(skipped)
            if not skipped:
                self.optimizer.step()
            for _ in range(self.step_scheduler(self.update if not skips else self.attempt)):
                self.scheduler.step()
            self.update += not skipped
            self.attempt += 1
        return self

    def _record(self, skipped: bool) -> None:
        row: dict[str, float] = {"update": self.update, "attempt": self.attempt, "skipped": int(skipped)}
        row["sched"] = int(getattr(self.scheduler, "last_epoch", -1))
        for i, group in enumerate(self.optimizer.param_groups):
            row[f"lr/{group.get('name', i)}"] = float(group["lr"])
        for name, value in row.items():
            self.rows.setdefault(name, []).append(value)


def sgd(base: float, scales: dict[str, float] | None = None, dtype: torch.dtype | None = None) -> Optimizer:
    """An optimizer over one element per group, which steps in microseconds."""
    groups = [
        {
            "params": [torch.nn.Parameter(torch.zeros(1))],
            "lr": base * scale if dtype is None else torch.tensor(base * scale, dtype=dtype),
            **({"name": name} if scales else {}),
        }
        for name, scale in (scales or {"0": 1.0}).items()
    ]
    return torch.optim.SGD(groups, lr=base if dtype is None else torch.tensor(base, dtype=dtype))


@dataclass(frozen=True)
class Storage:
    """How the trace keeps values: every how many steps, and with how many significant digits (17: exact)."""

    every: int = 1
    digits: int = 17
    with_sched: bool = True

    def chunks(self, rows: dict[str, list[float]], *, rank: int, world: int, segment: int) -> Iterator[Chunk]:
        """The recorded rows as a reader would give them."""
        columns: dict[str, Any] = {}
        for name, values in rows.items():
            if name == "sched" and not self.with_sched:
                continue
            kept = np.array(values)[:: self.every]
            columns[name] = self._stored(kept) if name.startswith("lr/") else kept.astype(np.int64)
        digits = {name: self.digits for name in columns if name.startswith("lr/")}
        yield Chunk(columns, rank=rank, world=world, segment=segment, digits=digits)

    def _stored(self, values: np.ndarray) -> np.ndarray:
        if self.digits >= 17:
            return values
        if self.digits == 9:
            return values.astype(np.float32).astype(np.float64)
        return np.array([float(f"{v:.{self.digits - 1}e}") for v in values])


def start(rank: int, world: int, segment: int, update: int, contract: str, accumulate: int, per_epoch: int) -> Event:
    """The start or resume event of a segment."""
    fields = {
        "run": "bed",
        "world": world,
        "contract": contract,
        "accumulate": accumulate,
        "steps_per_epoch": per_epoch,
    }
    return Event("resume" if segment else "start", update, rank=rank, segment=segment, fields=fields)
