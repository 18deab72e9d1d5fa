"""Validation values in bounded memory, for the checks that judge them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrwatch.checks._levels import Levels
from lrwatch.checks._statistics import middle
from lrwatch.checks.base import Batch, Check, Context, Part
from lrwatch.contract.model import Contract
from lrwatch.schedules.base import FloatArray
from lrwatch.trace.model import Event

MOST = 256
"""Validations kept; of more, every second is, then every fourth …"""
HIGHER_IS_BETTER = ("acc", "auc", "bleu", "f1", "iou", "map", "precision", "psnr", "recall", "reward", "rouge", "score")

# rows of ``kept``
UPDATE, SHARE, RATE, VALUE = range(4)


@dataclass
class Validations:
    """The validations of the first worker that recorded any, of one metric.

    Attributes:
        metric: the goal's, else the first with ``loss`` in its name, else the first. sign: 1 where lower is better, -1
            where higher is: ``kept`` holds sign × value.
        kept: float64[4, n]: update, share of the planned run, learning rate as a share of the peak so far, value.
        first, best: columns like those of ``kept``. count: all that were seen.
    """

    metric: str = ""
    sign: float = 1.0
    rank: int | None = None
    kept: FloatArray = field(default_factory=lambda: np.empty((4, 0)))
    first: FloatArray | None = None
    best: FloatArray | None = None
    count: int = 0
    every: int = 1
    share: float = np.nan
    rate: float = np.nan
    peak: float = 0.0

    def row(self, batch: Batch) -> None:
        """Remember where the run is; validations do not say it themselves."""
        self.share, rates = float(batch.shares[-1]), batch.rates
        self.peak = max(self.peak, rates.high)
        if self.peak > 0 and rates.newest == rates.newest:
            self.rate = rates.newest / self.peak

    def take(self, event: Event, contract: Contract | None) -> float | None:
        """Take in an event; sign × value if it was a validation with this metric and a finite value."""
        metrics = event.fields.get("metrics")
        if event.kind != "validation" or not isinstance(metrics, dict) or self.rank not in (None, event.rank):
            return None
        if not self.metric and not self._choose(list(metrics), contract):
            return None
        value = metrics.get(self.metric)
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            return None
        self.rank = event.rank
        value = self.sign * float(value)
        row = np.array([event.update, self.share, self.rate, value])
        if self.count % self.every == 0:
            self.kept = np.concatenate([self.kept, row[:, None]], axis=1)
            if self.kept.shape[1] > MOST:
                self.kept, self.every = self.kept[:, ::2], 2 * self.every
        self.count += 1
        if self.first is None or self.best is None:
            self.first = self.best = row
        elif value < self.best[VALUE]:
            self.best = row
        return value

    def _choose(self, names: list[str], contract: Contract | None) -> bool:
        goal = contract.goal if contract is not None else None
        if goal is not None and goal.metric in names:
            self.metric, self.sign = goal.metric, -1.0 if goal.mode == "max" else 1.0
        elif names:
            self.metric = next((n for n in names if "loss" in n.lower()), names[0])
            higher = any(word in self.metric.lower() for word in HIGHER_IS_BETTER) and "loss" not in self.metric.lower()
            self.sign = -1.0 if higher else 1.0
        return bool(names)

    def noise(self) -> float:
        """Standard deviation of a value, from the differences of neighbours; 0 for fewer than 4."""
        if self.kept.shape[1] < 4:
            return 0.0
        return middle(np.abs(np.diff(self.kept[VALUE]))) / 0.954

    def shown(self, value: float) -> str:
        """A value as it was recorded, in words."""
        return f"{self.sign * value:.4g}"


class Validating(Check):
    """What the checks of validations beside a training loss have in common.

    Attributes:
        validations: so far. levels: of the training loss; training: whether there is one.
    """

    scope = "run"
    follows = ("loss",)

    def __init__(self, context: Context):
        super().__init__(context)
        self.validations = Validations()
        self.levels = Levels()
        self.training = False

    def update(self, batch: Batch) -> None:
        self.validations.row(batch)

    def follow(self, part: Part) -> None:
        self.levels, self.training = part.levels, True

    def event(self, event: Event) -> None:
        value = self.validations.take(event, self.context.contract)
        if value is not None:
            self.validated(event, value)

    def validated(self, event: Event, value: float) -> None:
        """Judge a new validation: sign × value of its metric."""
        raise NotImplementedError
