"""How near a run came to the goal of its contract, over all its attempts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrwatch.contract.model import Goal


class Progress:
    """Folds validations. ``value``: the last one, ``best``: the best finite one; None before the first."""

    def __init__(self, goal: Goal | None):
        self._goal = goal
        self.value: float | None = None
        self.best: float | None = None

    def take(self, name: str, value: float) -> None:
        """Take in one validated metric."""
        if self._goal is None or name != self._goal.metric:
            return
        self.value = value
        if math.isfinite(value):
            better = min if self._goal.mode == "min" else max
            self.best = value if self.best is None else better(self.best, value)

    def restore(self, summary: Mapping[str, Any]) -> None:
        """Go on from what the summary of an earlier attempt says of the same metric."""
        said = summary.get("goal")
        if self._goal is None or not isinstance(said, Mapping) or said.get("metric") != self._goal.metric:
            return
        for name in ("best", "value"):
            if isinstance(said.get(name), (int, float)):
                self.take(self._goal.metric, float(said[name]))

    def document(self) -> dict[str, Any] | None:
        """The goal and how near it came, for the summary; None without a goal."""
        return None if self._goal is None else {**vars(self._goal), "value": self.value, "best": self.best}
