"""A contract's schedule as torch's own schedulers.

Each phase becomes the torch class that computes it, and ``SequentialLR`` joins them, so that verifying the
trace compares two independent computations. What torch has no class for runs on ``CurveLR``, lrwatch's own
curve: verify then proves only that the scheduler was stepped rightly, and the class name, which the trace's
start event records, says so. ``families`` says which family is which class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from lrwatch.contract.model import Contract, Phase
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.trainer.families import Piece, in_torch


class CurveLR(LambdaLR):
    """``LambdaLR`` on lrwatch's own curve: its values cannot be an independent check of themselves."""


class SequentialCurveLR(SequentialLR):
    """``SequentialLR`` of which at least one part is a ``CurveLR``."""


def build(optimizer: Optimizer, contract: Contract, rank: int = 0) -> LRScheduler:
    """The scheduler that the contract's ``lr`` describes.

    Args:
        optimizer: its groups carry the contract's group names and base LRs (see ``model.adamw``).
        rank: of the worker. Where workers are ahead of each other by contract (``ranks.shift``), all follow lrwatch's
            own curve, for torch's classes go on past their end, where the curve holds its last value.

    Raises:
        ContractError: no torch scheduler can do it, with the reason.

    Example:
        >>> describe(build(optimizer, contract))             # doctest: +SKIP
        'LambdaLR → CosineAnnealingLR → LambdaLR'
    """
    names = [str(group.get("name", i)) for i, group in enumerate(optimizer.param_groups)]
    try:
        if any(phase.family == "plateau" for name in names for phase in _phases(contract, name)):
            return _on_metric(optimizer, contract, names)
        return _on_steps(optimizer, contract, names, rank)
    except ValueError as error:
        raise _refused(contract, f"torch does not accept it: {error}") from None


def describe(scheduler: LRScheduler) -> str:
    """The torch classes in order, e.g. ``LinearLR → CosineAnnealingLR``."""
    return " → ".join(type(part).__name__ for part in getattr(scheduler, "_schedulers", [scheduler]))


def fast_forward(scheduler: LRScheduler, steps: int) -> None:
    """Bring a fresh ``CurveLR`` to where ``steps`` calls of ``step()`` lead: how amended contracts and workers
    that are ahead of each other resume."""
    assert isinstance(scheduler, CurveLR)
    lrs = [base * at(steps) for base, at in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    position = {"last_epoch": steps, "_step_count": steps + 1, "_last_lr": lrs}
    scheduler.load_state_dict({**scheduler.state_dict(), **position})
    for group, lr in zip(scheduler.optimizer.param_groups, lrs, strict=True):
        group["lr"] = lr


def _on_steps(optimizer: Optimizer, contract: Contract, names: Sequence[str], rank: int) -> LRScheduler:
    rows = [_pieces(contract, name, rank) for name in names]
    starts = [piece.start for piece in rows[0]]
    aligned = all([piece.start for piece in row] == starts for row in rows)
    if (
        contract.amendments
        or contract.signals["lr"].shift
        or not aligned
        or not all(float(start).is_integer() for start in starts)
    ):
        rows, starts = [[_on_curve(contract, name, 0.0, rank)] for name in names], [0.0]
    parts = [_part(optimizer, column) for column in zip(*rows, strict=True)]
    if len(parts) == 1:
        return parts[0]
    kind = SequentialCurveLR if any(isinstance(part, CurveLR) for part in parts) else SequentialLR
    return kind(optimizer, parts, milestones=[int(start) for start in starts[1:]])


def _part(optimizer: Optimizer, pieces: Sequence[Piece]) -> LRScheduler:
    """One scheduler for the same stretch of every group's schedule: torch's class where one serves them all."""
    native = pieces[0].native
    if native is not None and all(piece.native == native for piece in pieces):
        return native[0](optimizer, **native[1])
    kind = CurveLR if any(piece.on_curve for piece in pieces) else LambdaLR
    return kind(optimizer, [piece.multiplier for piece in pieces])


def _pieces(contract: Contract, name: str, rank: int) -> list[Piece]:
    base, scale = _base(contract, name)
    result: list[Piece] = []
    for phase in _phases(contract, name):
        result += in_torch(phase, base, scale) or [_on_curve(contract, name, phase.start, rank)]
    return result


def _on_curve(contract: Contract, name: str, start: float, rank: int) -> Piece:
    curve, (base, scale) = Curve(contract, "lr", name, rank), _base(contract, name)
    return Piece(start, lambda t: float(curve.at(np.array([start + t]))[0]) / (base * scale), on_curve=True)


def _base(contract: Contract, name: str) -> tuple[float, float]:
    signal = contract.signals["lr"]
    group = signal.group(name)
    return signal.base if group.base is None else group.base, group.scale


def _phases(contract: Contract, name: str) -> tuple[Phase, ...]:
    signal = contract.signals["lr"]
    own = signal.group(name).schedule
    return signal.schedule if own is None else own


def _on_metric(optimizer: Optimizer, contract: Contract, names: Sequence[str]) -> LRScheduler:
    """``ReduceLROnPlateau``, the one that steps on a metric: it can neither follow a phase nor differ by group."""
    phases = [_phases(contract, name) for name in names]
    phase = phases[0][0]
    if any(p != phases[0] for p in phases) or len(phases[0]) > 1 or contract.amendments:
        raise _refused(contract, "torch's plateau cannot be joined to other schedules; make it the only phase")
    p = dict(phase.params)
    (floor, relative), bases = p["floor"], [_base(contract, name) for name in names]
    return ReduceLROnPlateau(
        optimizer,
        min_lr=[(floor * base if relative else floor) * scale for base, scale in bases],
        **{key: p[key] for key in ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")},
    )


def _refused(contract: Contract, message: str) -> ContractError:
    return ContractError(message, source=contract.source, path="lr.schedule")
