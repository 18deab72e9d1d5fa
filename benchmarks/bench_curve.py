"""The expected curve against the scheduler that it describes: both over the same updates, in one run.

python benchmarks/bench_curve.py                     # 1,000,000 updates; the replays take minutes
python benchmarks/bench_curve.py --replay 50000      # a shorter replay, scaled up (it costs the same per step)

The left side replays the real torch scheduler, step by step, as one would without a closed form; for families that
torch has no class for, LambdaLR with the formula. The right side draws the contract's curve in chunks of 65,536
updates, as ``verify`` does. Each is timed in CPU seconds; of the curve the best of three. The bar is 100 times.
Memory is what Python and numpy hold at most while drawing, for one and for ten times as many updates.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler as torch_lr

from lrwatch.contract import from_document
from lrwatch.curve import Curve

BAR = 100.0
CHUNK = 1 << 16
Make = Callable[[torch.optim.Optimizer, int], Any]


def factor(f: Callable[[int, int], float]) -> Make:
    """A LambdaLR of a function of (t, n)."""
    return lambda optimizer, n: torch_lr.LambdaLR(optimizer, lambda t: f(t, n))


def cyclic(mode: str, gamma: float = 1.0) -> Make:
    return lambda optimizer, n: torch_lr.CyclicLR(optimizer, 0.1, 1.0, 2000, mode=mode, gamma=gamma)


def warm_cosine(optimizer: torch.optim.Optimizer, n: int) -> Any:
    warm = torch_lr.LinearLR(optimizer, 0.01, 1.0, 1000)
    cosine = torch_lr.CosineAnnealingLR(optimizer, n - 1000, 0.001)
    return torch_lr.SequentialLR(optimizer, [warm, cosine], [1000])


def stable(t: int, n: int) -> float:
    return t / 1000 if t < 1000 else 1.0 if t < 0.8 * n else (n - t) / (0.2 * n)


def chained(optimizer: torch.optim.Optimizer, n: int) -> Any:
    steps = torch_lr.StepLR(optimizer, n // 10)
    return torch_lr.ChainedScheduler([torch_lr.ExponentialLR(optimizer, 0.999999), steps])


# family → what torch would run, and the contract's schedule; N stands for the updates
FAMILIES: dict[str, tuple[Make, str]] = {
    "constant": (lambda o, n: torch_lr.ConstantLR(o, 0.5, n // 2), "[{constant: {at: 50%, for: N/2}}, {constant: {}}]"),
    "linear": (lambda o, n: torch_lr.LinearLR(o, 1.0, 0.1, n), "[{linear: {to: 10%, for: N}}]"),
    "cosine": (lambda o, n: torch_lr.CosineAnnealingLR(o, n, 0.001), "[{cosine: {to: 1%, for: N, after: mirror}}]"),
    "warm-up, cosine": (
        warm_cosine, "[{linear: {from: 1%, for: 1000}}, {cosine: {to: 1%, until: N, after: mirror}}]"),
    "cosine_restarts": (
        lambda o, n: torch_lr.CosineAnnealingWarmRestarts(o, 1000, 2),
        "[{cosine_restarts: {period: 1000, multiply: 2}}]"),
    "step": (lambda o, n: torch_lr.StepLR(o, n // 10), "[{step: {every: N/10}}]"),
    "multi_step": (
        lambda o, n: torch_lr.MultiStepLR(o, [n // 3, n // 2]), "[{multi_step: {milestones: [N/3, N/2]}}]"),
    "exponential": (lambda o, n: torch_lr.ExponentialLR(o, 0.999999), "[{exponential: {gamma: 0.999999}}]"),
    "polynomial": (lambda o, n: torch_lr.PolynomialLR(o, n, 0.9), "[{polynomial: {power: 0.9, for: N}}]"),
    "inverse_sqrt": (factor(lambda t, n: 1 / math.sqrt((t + 4000) / 4000)), "[{inverse_sqrt: {timescale: 4000}}]"),
    "inverse_power": (factor(lambda t, n: 1000 / (t + 1000)), "[{inverse_power: {timescale: 1000}}]"),
    "one_cycle": (lambda o, n: torch_lr.OneCycleLR(o, 0.1, n), "[{one_cycle: {for: N}}]"),
    "triangular": (cyclic("triangular"), "[{triangular: {to: 1.0, up: 2000}}]"),
    "triangular2": (cyclic("triangular2"), "[{triangular2: {to: 1.0, up: 2000}}]"),
    "exp_range": (cyclic("exp_range", 0.999999), "[{exp_range: {to: 1.0, up: 2000, gamma: 0.999999}}]"),
    "warmup_stable_decay": (factor(stable), "[{warmup_stable_decay: {warmup: 1000, decay: N/5, for: N}}]"),
    "k_decay": (
        factor(lambda t, n: (1 + math.cos(math.pi * min(t / n, 1.0) ** 1.5)) / 2),
        "[{k_decay: {shape: cosine, k: 1.5, for: N}}]"),
    "tanh": (factor(lambda t, n: (1 - math.tanh(-7 * (1 - t / n) + 3 * t / n)) / 2), "[{tanh: {for: N}}]"),
    "logarithmic": (factor(lambda t, n: math.log(min(t, n - 1) + 1) / math.log(n)), "[{logarithmic: {for: N}}]"),
    "product": (chained, "[{product: {of: [{exponential: {gamma: 0.999999}}, {step: {every: N/10}}]}}]"),
    "table": (
        factor(lambda t, n: (1.0, 0.5, 0.1)[min(3 * t // n, 2)]), "[{table: {values: [0.1, 0.05, 0.01], every: N/3}}]"),
}  # fmt: skip


def curve_of(schedule: str, n: int) -> Curve:
    import re

    import yaml

    text = re.sub(r"\bN(?:/(\d+))?", lambda m: str(n // int(m[1] or 1)), schedule)
    tree = {"lrwatch": 1, "experiment": "bench", "lr": {"base": 0.1, "schedule": yaml.safe_load(text)}}
    return Curve(from_document(tree))


def drawn(curve: Curve, n: int) -> float:
    """The last value; every value is computed on the way, none is kept."""
    last = 0.0
    for start in range(0, n, CHUNK):
        last = float(curve.next(np.arange(start, min(start + CHUNK, n), dtype=np.float64))[-1])
    return last


def replayed(make: Make, n: int, steps: int) -> float:
    """The value after ``steps`` - 1 steps of the real scheduler, planned for n."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = make(optimizer, n)
    group = optimizer.param_groups[0]
    for _ in range(steps - 1):
        _ = group["lr"]
        scheduler.step()
    return float(group["lr"])


def seconds(what: Callable[[], float]) -> tuple[float, float]:
    """CPU seconds and the result."""
    begin = time.process_time()
    result = what()
    return time.process_time() - begin, result


def held(curve: Curve, n: int) -> float:
    """MiB held at most while drawing n values."""
    tracemalloc.start()
    drawn(curve, n)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=1_000_000, help="updates drawn")
    options.add_argument("--replay", type=int, help="steps of the real scheduler, scaled up to --steps")
    options.add_argument("--only", action="append", choices=FAMILIES, help="one family; repeatable")
    given = options.parse_args()
    n, steps = given.steps, min(given.replay or given.steps, given.steps)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    replayed(FAMILIES["linear"][0], 100, 100)  # what the first step imports
    scaled = "" if steps == n else f" (of {steps:,} steps, scaled)"
    print(f"{n:,} updates, CPU seconds; replay: torch {torch.__version__}{scaled}\n")
    print(f"{'family':<22}{'replay':>10}{'curve':>10}{'ratio':>9}   {'MiB':>6}{'MiB ×10':>9}   same value")
    missed = []
    for name in given.only or FAMILIES:
        make, schedule = FAMILIES[name]
        curve = curve_of(schedule, n)
        slow, real = seconds(lambda: replayed(make, n, steps))  # noqa: B023  # called before the loop goes on
        slow *= n / steps
        # called before the loop goes on
        fast = min(seconds(lambda: drawn(curve, n))[0] for _ in range(3))  # noqa: B023  # the same
        mine = float(curve.at(np.array([steps - 1.0]))[0])
        same = math.isclose(mine, real, rel_tol=1e-8, abs_tol=1e-11)
        missed += [name] if slow < BAR * fast or not same else []
        small, large = held(curve, n), held(curve, 10 * n)
        print(f"{name:<22}{slow:>10.2f}{fast:>10.4f}{slow / fast:>8.0f}×   {small:>6.1f}{large:>9.1f}   {same}")
    print(f"\nbelow {BAR:.0f}×, or another value: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
