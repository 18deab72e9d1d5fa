"""What travels from the training thread to the worker: rows, notes between rows, and what the rows' values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

FIELDS: Final = (
    "attempt",
    "lag",  # attempts before this one that were skipped: the update is attempt - lag
    "micro",  # micro-batches counted when the row was closed, None unless ``micro`` was ever called
    "sched",
    "ts",
    "loss",
    "grad_norm",
    "epoch",
    "samples",
    "tokens",
    "skipped",  # 1 or None
    "values",  # one per column, or None when the update was skipped before its values were seen
)
"""A row is a plain tuple, in this order: making it is what the training thread pays for."""
ATTEMPT, LAG, SCHED, SKIPPED, VALUES = (FIELDS.index(f) for f in ("attempt", "lag", "sched", "skipped", "values"))

Row = tuple[Any, ...]


@dataclass
class Note:
    """An event of the trace, ``start`` and ``resume`` among them."""

    kind: str
    update: int
    ts: float
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """From here on, the ``values`` of a row are these columns."""

    names: tuple[str, ...]


Item = Row | Note | Columns
Later = tuple[Any, Any, Any]
"""(container, key, copy): where the value of a copy belongs once it has arrived."""


def on_its_way(value: Any) -> bool:
    """Whether a value is a copy from a device that may not have arrived (see ``device.Copy``)."""
    return hasattr(value, "settled")


def plain(value: Any, number: Callable[[Any], Any], later: list[Later]) -> Any:
    """What JSON can say, by value; ``number`` makes numbers of tensors.

    A copy that is still on its way leaves a None behind and goes to ``later``.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "__fspath__"):
        return str(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return number(value)
    container: Any = dict(value) if isinstance(value, Mapping) else list(value)
    for key in list(container) if isinstance(container, dict) else range(len(container)):
        container[key] = inner = plain(container[key], number, later)
        if on_its_way(inner):
            later.append((container, key, inner))
            container[key] = None
    return container


_CLOSED_FORM = frozenset({"LambdaLR", "OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts"})
"""torch's schedulers that compute each value from the base; its others compute it from the value before."""


def describe(scheduler: Any) -> dict[str, Any]:
    """``scheduler``: its class · ``recursive``: whether a value is computed from the one before, for torch's own."""
    if scheduler is None:
        return {}
    if members := getattr(scheduler, "members", None):  # of several optimizers
        each = [describe(member) for member in members]
        names = ", ".join(dict.fromkeys(str(d["scheduler"]) for d in each))
        return {"scheduler": names, "recursive": any(d.get("recursive", True) for d in each)}
    name = type(scheduler).__name__
    if not type(scheduler).__module__.startswith("torch."):
        return {"scheduler": name}
    parts = getattr(scheduler, "_schedulers", None) or [scheduler]
    return {"scheduler": name, "recursive": any(type(part).__name__ not in _CLOSED_FORM for part in parts)}


def dtype(groups: Sequence[Mapping[str, Any]]) -> str:
    """The type that the learning rates are kept in."""
    return str(getattr(groups[0]["lr"], "dtype", "float64") if groups else "float64").removeprefix("torch.")
