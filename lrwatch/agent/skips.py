"""Whether a loss scaler skipped an update, told without waiting for a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def skip_evidence(scaler: Any, optimizer: Any, value: Callable[[Any], Any]) -> Any:
    """Non-zero (perhaps only once a copy has arrived) when the update that brought no hook was skipped.

    GradScaler, after its ``update``: a skipped update sets the count of good updates to 0 and lowers the scale; any
    other raises that count, unless it just raised the scale, and then a hook was seen. Before its ``update``: the
    infinities it found are still there. A scaler that shows neither is believed: it was given to be.

    Args:
        scaler: torch's GradScaler or something like it. value: tensor → number by value, or a copy on its way.
    """
    try:
        states = getattr(scaler, "_per_optimizer_states", {})
        found = list(states[id(optimizer)]["found_inf_per_device"].values()) if id(optimizer) in states else []
        if found:
            return _known(value(found[0]))
        count = getattr(scaler, "_growth_tracker", None)
        return 1.0 if count is None else _Zero.of(value(count))
    except Exception:
        return 1.0


def _known(number: Any) -> Any:
    return 1.0 if number is None else number


class _Zero:
    """1 when a copy turns out to be zero, 0 otherwise."""

    def __init__(self, copy: Any):
        self._copy = copy

    @classmethod
    def of(cls, number: Any) -> Any:
        if hasattr(number, "settled"):
            return cls(number)
        return 1.0 if number is None or number == 0 else 0.0

    def settled(self, wait: bool = False) -> bool:
        return bool(self._copy.settled(wait))

    @property
    def value(self) -> float:
        return float(self._copy.value == 0)
