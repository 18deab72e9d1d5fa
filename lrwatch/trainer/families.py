"""Which torch scheduler computes which schedule family, and with which arguments.

Nothing here uses lrwatch's own curve: a phase that torch cannot do gets no piece, and ``schedule`` says so.
A new family with a torch class is one row of ``_IN_TORCH``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)

from lrwatch.contract.model import Phase

Native = tuple[type[LRScheduler], dict[str, Any]]
Multiplier = Callable[[int], float]
"""Scheduler steps since the piece began → multiplier of the group's base LR: what ``LambdaLR`` wants."""


@dataclass(frozen=True)
class Piece:
    """A stretch of one group's schedule.

    Attributes:
        start: scheduler step at which it begins. multiplier: its values, for ``LambdaLR``.
        native: torch's class for it and its arguments, where one may drive the optimizer itself.
        on_curve: whether ``multiplier`` is lrwatch's own curve.
    """

    start: float
    multiplier: Multiplier
    native: Native | None = None
    on_curve: bool = False


@dataclass
class Replay:
    """A torch scheduler's values, read off an optimizer of its own.

    For parameter groups that need different arguments, which torch's classes do not take, and for classes
    that rewrite the optimizer's ``initial_lr``, which spoils their neighbours in a ``SequentialLR``.
    """

    native: Native
    base: float
    values: list[float] = field(default_factory=list)

    def at(self, t: int) -> float:
        """The value after ``t`` steps as a multiple of ``base``."""
        if not self.values:
            kind, arguments = self.native
            self._optimizer = SGD([torch.zeros(1)], lr=self.base)
            self._scheduler = kind(self._optimizer, **arguments)
            self.values.append(self._optimizer.param_groups[0]["lr"])
        while len(self.values) <= t:
            self._optimizer.step()
            self._scheduler.step()
            self.values.append(self._optimizer.param_groups[0]["lr"])
        return self.values[t] / self.base


@dataclass(frozen=True)
class Asked:
    """A phase as a builder sees it: ``p`` has the values as multiples of the base; ``lr`` is the group's base LR."""

    phase: Phase
    p: Mapping[str, Any]
    lr: float

    @property
    def length(self) -> int:
        return int(self.phase.length or 0)

    def native(self, kind: type[LRScheduler], **arguments: Any) -> list[Piece]:
        """One piece by a class that may drive the optimizer itself."""
        native = (kind, arguments)
        return [Piece(self.phase.start, Replay(native, self.lr).at, native)]

    def replayed(self, kind: type[LRScheduler], **arguments: Any) -> list[Piece]:
        """One piece by a class that may not."""
        return [Piece(self.phase.start, Replay((kind, arguments), self.lr).at)]

    def held(self, value: float) -> list[Piece]:
        """A constant piece past the length, where the phase goes on that far."""
        end = self.phase.start + self.length
        over = self.phase.end is not None and self.phase.end <= end
        return [] if over else [Piece(end, lambda t: value)]


def in_torch(phase: Phase, base: float, scale: float) -> list[Piece]:
    """The phase as pieces by torch's classes, empty if there is none for it.

    Args:
        base: what the phase's absolute values are relative to. scale: what the group's LRs are multiplied with.
    """
    build = _IN_TORCH.get(phase.family)
    counts = [phase.start, phase.length or 0.0]
    shaped = phase.offset or any(x is not None for x in (phase.low, phase.high, phase.stairs))
    if build is None or shaped or not all(float(c).is_integer() for c in counts):
        return []
    values = {
        name: value[0] if value[1] else value[0] / base
        for name, value in phase.params.items()
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], bool)
    }
    return build(Asked(phase, {**phase.params, **values}, base * scale))


def _constant(a: Asked) -> list[Piece]:
    return [Piece(a.phase.start, lambda t: float(a.p["at"]))]


def _linear(a: Asked) -> list[Piece]:
    start, end, length = a.p["from"], a.p["to"], a.length
    if a.phase.after != "hold":
        return []
    if 0.0 < start <= 1.0 and 0.0 <= end <= 1.0:
        return a.native(LinearLR, start_factor=start, end_factor=end, total_iters=length)
    # LinearLR computes each value from the last one, so it cannot leave 0.
    return [Piece(a.phase.start, lambda t: start + (end - start) * min(t, length) / length)]


def _cosine(a: Asked) -> list[Piece]:
    floor = a.p["to"] * a.lr
    if a.p["from"] != 1.0:
        return []
    if a.phase.after == "restart":
        return a.native(CosineAnnealingWarmRestarts, T_0=a.length, eta_min=floor)
    held = a.held(a.p["to"]) if a.phase.after == "hold" else []
    return a.native(CosineAnnealingLR, T_max=a.length, eta_min=floor) + held


def _cosine_restarts(a: Asked) -> list[Piece]:
    if a.p["from"] != 1.0 or a.p["decay"] != 1.0 or not float(a.p["period"]).is_integer():
        return []
    held = a.held(a.p["to"]) if a.phase.after == "hold" and a.phase.length else []
    cycles = {"T_0": int(a.p["period"]), "T_mult": int(a.p["multiply"]), "eta_min": a.p["to"] * a.lr}
    return a.native(CosineAnnealingWarmRestarts, **cycles) + held


def _step(a: Asked) -> list[Piece]:
    if not float(a.p["every"]).is_integer():
        return []
    return a.native(StepLR, step_size=int(a.p["every"]), gamma=a.p["gamma"])


def _multi_step(a: Asked) -> list[Piece]:
    milestones = a.p["milestones"]
    if not all(m > 0 and float(m).is_integer() for m in milestones):  # torch never drops at 0
        return []
    return a.native(MultiStepLR, milestones=[int(m) for m in milestones], gamma=a.p["gamma"])


def _exponential(a: Asked) -> list[Piece]:
    return a.native(ExponentialLR, gamma=a.p["gamma"] ** (1.0 / a.p["every"]))


def _polynomial(a: Asked) -> list[Piece]:
    if a.p["from"] != 1.0 or a.p["to"] != 0.0:
        return []
    return a.native(PolynomialLR, total_iters=a.length, power=a.p["power"])


def _one_cycle(a: Asked) -> list[Piece]:
    if not 0.0 < a.p["to"] <= a.p["from"]:
        return []
    cycle = a.replayed(
        OneCycleLR,
        max_lr=a.lr,
        total_steps=a.length,
        pct_start=float(a.p["peak_at"]),
        anneal_strategy=a.p["anneal"],
        div_factor=1.0 / a.p["from"],
        final_div_factor=a.p["from"] / a.p["to"],
        three_phase=a.p["three_phase"],
        cycle_momentum=False,
    )
    return cycle + a.held(a.p["to"])


def _cyclic(mode: str) -> Callable[[Asked], list[Piece]]:
    def build(a: Asked) -> list[Piece]:
        return a.replayed(
            CyclicLR,
            base_lr=a.p["from"] * a.lr,
            max_lr=a.p["to"] * a.lr,
            step_size_up=a.p["up"],
            step_size_down=a.p["down"] or a.p["up"],
            mode=mode,
            gamma=a.p.get("gamma", 1.0),
            cycle_momentum=False,
        )

    return build


_IN_TORCH: Mapping[str, Callable[[Asked], list[Piece]]] = {
    "constant": _constant,
    "cosine": _cosine,
    "cosine_restarts": _cosine_restarts,
    "exp_range": _cyclic("exp_range"),
    "exponential": _exponential,
    "linear": _linear,
    "multi_step": _multi_step,
    "one_cycle": _one_cycle,
    "polynomial": _polynomial,
    "step": _step,
    "triangular": _cyclic("triangular"),
    "triangular2": _cyclic("triangular2"),
}
