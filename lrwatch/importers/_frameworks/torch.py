"""torch.optim.lr_scheduler (torch 2.13) and SWALR. t counts ``scheduler.step()`` calls after construction.

Read once per parameter group: ``lr`` is the group's. ``eta_min``, ``base_lr``, ``max_lr`` and ``swa_lr`` are absolute
in torch and here, whatever the group's base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from lrwatch.errors import ContractError
from lrwatch.importers._join import joined, multiplied
from lrwatch.importers._parts import Part, Schedule, part, positive, sequence, share
from lrwatch.importers._table import tabled


def _made(lr: float, *parts: Part | None, recursive: bool = True) -> Schedule:
    return Schedule(positive(lr, "torch", "lr"), sequence(*parts), recursive=recursive)


def step(*, lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """lr·gamma^⌊t/step_size⌋. First value: lr. Past the end: goes on dropping."""
    return _made(lr, part("step", f"StepLR: the drop has happened at t = {step_size}", every=step_size, gamma=gamma))


def multi_step(*, lr: float, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """lr·gamma^#{m ≤ t}; a milestone listed twice counts twice. First value: lr. Past the end: the last value."""
    if not milestones:
        return _made(lr, part("constant", "MultiStepLR without milestones"))
    why = "MultiStepLR: the drop has happened at t = m"
    return _made(lr, part("multi_step", why, milestones=sorted(milestones), gamma=gamma))


def constant(*, lr: float, factor: float = 1 / 3, total_iters: int = 5) -> Schedule:
    """lr·factor for t < total_iters, then lr. First value: lr·factor. Past the end: lr."""
    if total_iters == 0:  # the step that would restore the rest never comes
        return _made(lr, part("constant", "ConstantLR of no length: its factor for ever", at=share(factor)))
    why = f"ConstantLR: {factor:.6g} of the learning rate for {total_iters} steps"
    return _made(lr, part("constant", why, at=share(factor), for_=total_iters), part("constant", "then all of it"))


def linear(*, lr: float, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5) -> Schedule:
    """lr·(s + (e - s)·min(t, n)/n). First value: lr·start_factor. Past the end: lr·end_factor."""
    ends = {"from_": share(start_factor), "to": share(end_factor)}
    if total_iters == 0:
        return _made(lr, part("constant", "LinearLR of no length: its start_factor for ever", at=share(start_factor)))
    return _made(lr, part("linear", "LinearLR", **ends, for_=total_iters))


def exponential(*, lr: float, gamma: float) -> Schedule:
    """lr·gamma^t. First value: lr. Past the end: goes on decaying."""
    return _made(lr, part("exponential", "ExponentialLR", gamma=gamma))


def polynomial(*, lr: float, total_iters: int = 5, power: float = 1.0) -> Schedule:
    """lr·(1 - min(t, n)/n)^power. First value: lr. Past the end: 0."""
    return _made(lr, part("polynomial", "PolynomialLR: 0 from its end on", power=power, to=0, for_=total_iters))


def cosine(*, lr: float, T_max: int, eta_min: float = 0.0) -> Schedule:
    """eta_min + (lr - eta_min)·(1 + cos(π·t/T_max))/2. First value: lr. Past the end: climbs back, period 2·T_max."""
    why = "CosineAnnealingLR: past T_max it climbs back"
    return _made(lr, part("cosine", why, to=eta_min, for_=T_max, after="mirror"))


def cosine_restarts(*, lr: float, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> Schedule:
    """Cosine cycles of T_0, T_0·T_mult, … steps, whose last step is above eta_min. First value: lr.
    Past the end: restarts for ever.
    """
    cycle = {"period": T_0, "multiply": None if T_mult == 1 else T_mult, "to": eta_min}
    return _made(lr, part("cosine_restarts", "CosineAnnealingWarmRestarts", **cycle), recursive=False)


def cyclic(
    *,
    base_lr: float,
    max_lr: float,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """Straight lines from base_lr to max_lr and back; ``triangular2`` halves the height in each cycle, ``exp_range``
    multiplies it by gamma^t. First value: base_lr, whatever lr was. Past the end: cycles on.
    """
    low = "100%" if base_lr > 0 else base_lr
    ends = {"from_": None if base_lr > 0 else low, "to": max_lr, "up": step_size_up, "down": step_size_down}
    why = f"CyclicLR, {mode}: base_lr has replaced the optimizer's learning rate"
    extra = {"gamma": gamma} if mode == "exp_range" else {}
    return _made(base_lr or max_lr, part(mode, why, **ends, **extra), recursive=False)


def cyclic_momentum(
    *,
    base_momentum: float = 0.8,
    max_momentum: float = 0.9,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """The momentum (Adam: beta1), moved against the learning rate. First value: max_momentum.
    Past the end: cycles on.
    """
    ends = {"to": base_momentum, "up": step_size_up, "down": step_size_down}
    extra = {"gamma": gamma} if mode == "exp_range" else {}
    return _made(max_momentum, part(mode, "cycle_momentum: down while the learning rate goes up", **ends, **extra))


def one_cycle(
    *,
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Up to max_lr at t = pct_start·N - 1, down to max_lr/div_factor/final_div_factor at N - 1, along cosines or lines.
    First value: max_lr/div_factor. Past the end: t = N overshoots (below 0 when linear), t = N + 1 raises; here held.
    """
    cycle = part(
        "one_cycle",
        f"OneCycleLR: the peak at t = {pct_start * total_steps - 1:g}; step {total_steps + 1} would raise",
        from_=share(1 / div_factor),
        to=share(1 / div_factor / final_div_factor),
        peak_at=pct_start,
        anneal=None if anneal_strategy == "cos" else anneal_strategy,
        three_phase=three_phase or None,
        for_=total_steps,
    )
    return _made(max_lr, cycle, recursive=False)


def one_cycle_momentum(
    *,
    total_steps: int,
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    three_phase: bool = False,
) -> Schedule:
    """The momentum (Adam: beta1), moved against the learning rate. First value: max_momentum.
    Past the end: max_momentum.
    """
    shape = "cosine" if anneal_strategy == "cos" else "linear"
    first, last = pct_start * total_steps - 1, total_steps - 1
    second = 2 * pct_start * total_steps - 2 if three_phase else float(last)
    if not 0 < first < second <= last:
        raise ContractError(
            f"has phases of no length with pct_start {pct_start:g}", source="torch.one_cycle_momentum", path="pct_start"
        )
    down = part(shape, "down while the learning rate goes up", from_=max_momentum, to=base_momentum, for_=first)
    up = part(shape, "and back up", from_=base_momentum, to=max_momentum, for_=second - first)
    stay = part("constant", "third phase: stays", at=max_momentum) if three_phase else None
    return _made(max_momentum, down, up, stay, recursive=False)


def swa(*, lr: float, swa_lr: float, anneal_epochs: int = 10, anneal_strategy: str = "cos") -> Schedule:
    """lr + (swa_lr - lr)·g(min(t, n)/n), g a cosine or a line. First value: lr. Past the end: swa_lr."""
    if anneal_epochs == 0:
        return _made(lr, part("constant", "SWALR of no length", at=swa_lr))
    shape = "cosine" if anneal_strategy == "cos" else "linear"
    return _made(lr, part(shape, "SWALR", to=swa_lr, for_=anneal_epochs))


def sequential(*, schedules: Sequence[Schedule], milestones: Sequence[int]) -> Schedule:
    """Each on its own time, from its milestone on. First value: the first one's. Past the end: the last one's."""
    return joined(schedules, milestones)


def chained(*, schedules: Sequence[Schedule]) -> Schedule:
    """The product, where each one multiplies the last value. First value: the product. Past the end: as each does."""
    return multiplied(schedules, "ChainedScheduler")


def lambda_(*, lr: float, lr_lambda: Callable[[int], float], steps: int) -> Schedule:
    """lr·λ(t), sampled for ``steps`` steps. First value: lr·λ(0). Past the end: λ again; here held."""
    values = [lr * float(lr_lambda(t)) for t in range(steps)]
    return Schedule(positive(lr, "torch", "lr"), (tabled(values, f"LambdaLR: {steps} samples"),))


def multiplicative(*, lr: float, lr_lambda: Callable[[int], float], steps: int) -> Schedule:
    """lr·λ(1)·λ(2)·…·λ(t), sampled for ``steps`` steps. First value: lr. Past the end: λ again; here held."""
    factors = [float(lr_lambda(t)) for t in range(1, steps)]
    values = list(accumulate(factors, lambda value, factor: value * factor, initial=lr))
    return Schedule(
        positive(lr, "torch", "lr"), (tabled(values, f"MultiplicativeLR: {steps} samples"),), recursive=True
    )


def plateau(
    *,
    lr: float,
    metric: str,
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
) -> Schedule:
    """Reduced when a recorded metric stops improving. First value: lr. Past the end: the same rule."""
    rule = {"metric": metric, "mode": mode, "factor": factor, "patience": patience, "threshold": threshold,
            "threshold_mode": threshold_mode, "cooldown": cooldown, "floor": min_lr, "eps": eps}  # fmt: skip
    return _made(lr, part("plateau", "ReduceLROnPlateau, on the metric as the trace records it", **rule))


SCHEDULES = {
    "StepLR": step,
    "MultiStepLR": multi_step,
    "ConstantLR": constant,
    "LinearLR": linear,
    "ExponentialLR": exponential,
    "PolynomialLR": polynomial,
    "CosineAnnealingLR": cosine,
    "CosineAnnealingWarmRestarts": cosine_restarts,
    "CyclicLR": cyclic,
    "CyclicLR momentum": cyclic_momentum,
    "OneCycleLR": one_cycle,
    "OneCycleLR momentum": one_cycle_momentum,
    "SWALR": swa,
    "SequentialLR": sequential,
    "ChainedScheduler": chained,
    "LambdaLR": lambda_,
    "MultiplicativeLR": multiplicative,
    "ReduceLROnPlateau": plateau,
}
