"""Runs with random parameters: healthy ones of many kinds, and faults put into them.

A loss falls with the learning rate that was spent so far and is higher while the learning rate is high, so that warm
restarts, warm-ups and decays leave in it what they leave in real ones. Everything is drawn from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrwatch.contract import from_document
from lrwatch.contract.model import Contract
from lrwatch.curve import Curve
from lrwatch.engine import Session
from lrwatch.result import Result
from lrwatch.trace.model import Chunk, Event, Item

Rng = np.random.Generator
Floats = np.ndarray[Any, np.dtype[np.float64]]

SCHEDULES: Mapping[str, Callable[[int], Any]] = {
    "cosine": lambda n: {"cosine": {"to": "1%", "until": "horizon"}},
    "warmup_cosine": lambda n: [
        {"linear": {"from": 0, "for": max(2, n // 20)}},
        {"cosine": {"to": "10%", "until": "horizon"}},
    ],
    "constant": lambda n: "constant",
    "warmup_linear": lambda n: [
        {"linear": {"from": 0, "for": max(2, n // 30)}},
        {"linear": {"to": 0, "until": "horizon"}},
    ],
    "stable_decay": lambda n: [
        {"linear": {"from": 0, "for": max(2, n // 50)}},
        {"constant": {"for": n * 3 // 4}},
        {"linear": {"to": 0, "until": "horizon"}},
    ],
    "restarts": lambda n: {"cosine_restarts": {"period": max(2, n // 4), "to": "1%"}},
    "growing_restarts": lambda n: {"cosine_restarts": {"period": max(2, n // 15), "multiply": 2, "to": "1%"}},
    "many_restarts": lambda n: {"cosine_restarts": {"period": max(2, n // 10), "to": "1%"}},
    "steps": lambda n: {"multi_step": {"milestones": [max(1, n * 3 // 10), n * 6 // 10, n * 9 // 10], "gamma": 0.1}},
    "one_cycle": lambda n: {"one_cycle": {"until": "horizon"}},
    "triangular": lambda n: {"triangular": {"from": "10%", "to": "100%", "up": max(1, n // 12)}},
    "inverse_sqrt": lambda n: [{"linear": {"from": 0, "for": max(2, n // 20)}}, {"inverse_sqrt": {"timescale": n}}],
}


def contract_of(schedule: str, steps: int, **more: Any) -> Contract:
    """A contract with this schedule over ``steps`` updates."""
    document = {
        "lrwatch": 1,
        "experiment": "simulated",
        "clock": {"horizon": steps},
        "lr": {"base": 3e-4, "schedule": SCHEDULES[schedule](steps)},
        **more,
    }
    return from_document(document)


@dataclass
class Run:
    """What a trainer would have recorded. Arrays hold one value per recorded row."""

    name: str
    contract: Contract
    steps: Floats
    lr: Floats
    loss: Floats
    grad_norm: Floats
    events: list[Event] = field(default_factory=list)
    skipped: Floats | None = None
    scale: float = 1.0
    """How far the loss falls."""
    noise: float = 0.0
    """Standard deviation of a row, roughly."""
    ranks: int = 1

    def items(self, rng: Rng | None = None, rows: int = 4096) -> Iterator[Item]:
        """Events and chunks in order, chunks of ``rows`` rows; of random sizes with ``rng``."""
        cuts = [0]
        while cuts[-1] < len(self.steps):
            cuts.append(cuts[-1] + (rows if rng is None else int(rng.integers(1, rows + 1))))
        pending = sorted(self.events, key=lambda e: e.update)
        marks = np.searchsorted(self.steps, [e.update for e in pending], side="left")
        borders = sorted({min(c, len(self.steps)) for c in (*cuts, *marks.tolist())})
        for low, high in zip(borders, [*borders[1:], len(self.steps)], strict=True):
            while pending and marks[len(marks) - len(pending)] <= low:
                yield pending.pop(0)
            if high > low:
                yield self.chunk(slice(low, high))
        yield from pending

    def chunk(self, rows: slice) -> Chunk:
        columns = {
            "update": self.steps[rows].astype(np.int64),
            "lr/0": self.lr[rows],
            "loss": self.loss[rows],
            "grad_norm": self.grad_norm[rows],
            "ts": 1.7e9 + 0.5 * self.steps[rows],
        }
        if self.skipped is not None:
            columns["skipped"] = self.skipped[rows].astype(np.int64)
        return Chunk(columns)

    def judged(self, only: list[str], rng: Rng | None = None, rows: int = 4096, promised: bool = True) -> Result:
        """What these checks say about it."""
        session = Session(self.contract if promised else None, only=only)
        for item in self.items(rng, rows):
            session.feed(item)
        return session.finish()


def wandering(rng: Rng, n: int, phi: float) -> Floats:
    """Autocorrelated noise of unit variance: each value phi times the one before, plus a shock."""
    memory = phi ** np.arange(int(np.ceil(np.log(1e-4) / np.log(phi))))
    shocks = rng.standard_normal(n + len(memory)) * np.sqrt(1 - phi * phi)
    return np.convolve(shocks, memory, "valid")[:n]


def noise_of(rng: Rng, n: int, kind: str) -> Floats:
    """Noise of about unit scale."""
    if kind == "gauss":
        return rng.standard_normal(n)
    if kind == "t5":
        return rng.standard_t(5, n) * 0.77
    if kind == "t3":
        return rng.standard_t(3, n) * 0.58
    if kind == "skewed":  # a few hard examples among easy ones
        return rng.lognormal(0.0, 0.8, n) - 1.38
    if kind == "mixture":  # batches of several tasks
        return np.where(rng.random(n) < 0.15, 3.0, -0.5) + 0.3 * rng.standard_normal(n)
    phi = float(rng.choice([0.8, 0.95, 0.99]))  # "wander": data order, environments
    return 0.8 * wandering(rng, n, phi) + 0.6 * rng.standard_normal(n)


NOISES = ("gauss", "t5", "t3", "skewed", "mixture", "wander")
KINDS = ("language", "classifier", "interpolating", "finetune", "plateau", "reward", "policy", "regression")


def healthy(
    rng: Rng,
    kind: str | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    noise: str | None = None,
    longest: int = 20000,
) -> Run:
    """A healthy run: a kind of task, a schedule, a kind of noise, a way of logging, all drawn at random."""
    kind = kind or str(rng.choice(KINDS))
    schedule = schedule or str(rng.choice(list(SCHEDULES)))
    sort = noise or str(rng.choice(NOISES))
    n = steps or int(10 ** rng.uniform(1.7, np.log10(longest)))
    every = 10 if steps is None and n > 400 and rng.random() < 0.35 else 1
    contract = contract_of(schedule, n)
    at = np.arange(0, n, every, dtype=np.float64)
    lr = Curve(contract).at(at)
    heat = lr / 3e-4
    spent = np.cumsum(heat) * every / n  # 1 for a constant learning rate
    relative = rng.uniform(0.002, 0.03)
    e = noise_of(rng, len(at), sort)
    bump = rng.uniform(0.0, 0.25) * heat * (1 - np.exp(-spent * rng.uniform(5, 50)))
    fall = np.exp(-spent * rng.uniform(3, 60))
    if kind == "language":
        floor, drop = rng.uniform(1.8, 3.5), rng.uniform(5, 8)
        loss = floor + drop * (1 + spent * 10 ** rng.uniform(1, 4)) ** -rng.uniform(0.3, 0.7) + 0.3 * bump
        loss *= 1 + relative * e
    elif kind == "classifier":
        drop = 2.3
        loss = (0.05 + 2.25 * fall + 0.8 * bump) * (1 + 5 * relative * np.maximum(e, -3))
    elif kind == "interpolating":
        drop = 2.3
        loss = 1e-4 + 2.3 * np.exp(-spent * rng.uniform(8, 40)) + 0.2 * bump
        loss *= np.exp(rng.uniform(0.1, 0.8) * np.minimum(e, 4))
    elif kind == "finetune":
        level, drop = rng.uniform(0.3, 1.3), rng.uniform(0.15, 0.5)
        loss = level * (1 - drop + drop * np.exp(-spent * rng.uniform(10, 100)) + 0.05 * bump + 3 * relative * e)
        drop *= level
    elif kind == "plateau":  # low from early on
        drop = rng.uniform(0.05, 0.3)
        loss = 0.03 + drop * np.exp(-spent * 100) + 0.01 * rng.uniform(0.05, 0.5) * e
    elif kind == "reward":  # minus the reward of a policy
        drop = 10 ** rng.uniform(0, 3)
        loss = -drop / (1 + np.exp(-(spent / spent[-1] - rng.uniform(0.2, 0.5)) * 10)) + drop * rng.uniform(
            0.02, 0.08
        ) * noise_of(rng, len(at), "wander")
    elif kind == "policy":  # no trend: the advantage-weighted loss stays around 0
        drop = 0.0
        loss = 0.02 * e
    else:
        drop = 10 ** rng.uniform(-6, 6)
        loss = drop * (0.01 + fall + 0.1 * bump) * (1 + 2 * relative * e)
    norm = 10 ** rng.uniform(-1, 1) * (
        0.3 + 3 * fall + rng.uniform(0, 2) * spent / spent[-1] + rng.uniform(0, 3) * bump
    )
    norm = norm * np.exp(rng.uniform(0.05, 0.5) * noise_of(rng, len(at), str(rng.choice(["gauss", "t5", "wander"]))))
    if kind == "interpolating" and rng.random() < 0.5:
        norm = norm * loss / loss[0]
    run = Run(f"{kind}/{schedule}/{sort}/{n}", contract, at, lr, loss, norm, scale=drop)
    run.noise = float(np.median(np.abs(np.diff(loss)))) / 0.954
    run.events = list(_events(rng, run, n))
    if rng.random() < 0.3:  # loss scaling: a search at the start, then now and then one
        run.skipped = (rng.random(len(at)) < 1 / 500) * 1.0
        run.skipped[: int(rng.integers(0, 20))] = 1.0
        run.grad_norm = np.where(run.skipped == 1, np.inf, run.grad_norm)
    return run


def smooth(values: Floats, rows: int) -> Floats:
    """Running mean over the rows before, as a validation on many batches sees a loss."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    low = np.maximum(np.arange(1, len(values) + 1) - rows, 0)
    return (total[1:] - total[low]) / (np.arange(1, len(values) + 1) - low)


def _events(rng: Rng, run: Run, n: int) -> Iterator[Event]:
    yield Event("start", 0, fields={"run": "r", "world": 4, "origin": "fresh"}, ts=1.7e9)
    every = max(2, n // int(rng.integers(4, 60)))
    level = smooth(run.loss, max(8, len(run.loss) // 50))
    wiggle = max(run.noise / 4, 1e-9) * noise_of(rng, n // every + 1, "gauss")
    for i, at in enumerate(range(every, n, every)):
        row = min(int(np.searchsorted(run.steps, at)), len(level) - 1)
        yield Event("validation", at, fields={"metrics": {"val_loss": float(level[row] * 1.02 + wiggle[i])}}, ts=None)
    saves = max(2, n // int(rng.integers(3, 30)))
    for at in range(saves, n, saves):
        yield Event("checkpoint", at, fields={"scheduler_state": True}, ts=1.7e9 + 0.5 * at)
    yield Event("end", n, fields={"outcome": "finished"}, ts=1.7e9 + 0.5 * n)


# -- faults ------------------------------------------------------------------------------------------

Fault = Callable[[Rng], tuple[Run, str, int]]
"""A run with a fault, the slug that must name it, and the step at which it begins."""

LEARNING = ("language", "classifier", "finetune", "regression")
"""Kinds whose loss falls clearly."""


def _row(rng: Rng, run: Run, low: float, high: float) -> int:
    return int(rng.uniform(low, high) * len(run.steps))


def _learning(rng: Rng, schedule: str | None = None, low: int = 600) -> Run:
    steps = int(np.exp(rng.uniform(np.log(low), np.log(10 * low))))
    kind, noise = str(rng.choice(LEARNING)), str(rng.choice(["gauss", "t5", "wander"]))
    return healthy(rng, kind, schedule or str(rng.choice(["cosine", "warmup_cosine"])), steps, noise)


def spiked(rng: Rng) -> tuple[Run, str, int]:
    """A single row, or up to 40 rows, far up."""
    run = _learning(rng)
    at, length = _row(rng, run, 0.3, 0.9), int(rng.choice([1, 1, 4, 16, 40]))
    height = rng.uniform(1.5, 5.0) * abs(run.loss[at]) if length == 1 else rng.uniform(0.5, 3.0) * abs(run.loss[at])
    run.loss[at : at + length] += max(height, (150 if length == 1 else 30) * run.noise)
    return run, "spike", int(run.steps[at])


def diverged(rng: Rng) -> tuple[Run, str, int]:
    """Abruptly or slowly up to more than half of the way back, and no return."""
    run = _learning(rng)
    at = _row(rng, run, 0.3, 0.6)
    after = np.arange(len(run.loss) - at)
    length = rng.choice([1.0, 0.05 * len(run.loss), 0.3 * len(run.loss)])
    run.loss[at:] += rng.uniform(0.7, 3.0) * run.scale * (1 - np.exp(-after / length))
    return run, "divergence", int(run.steps[at])


def diverged_late(rng: Rng) -> tuple[Run, str, int]:
    run = _learning(rng)
    at = _row(rng, run, 0.8, 0.88)
    after = np.arange(len(run.loss) - at)
    run.loss[at:] += rng.uniform(0.6, 2.0) * run.scale * (1 - np.exp(-after / (0.01 * len(run.loss))))
    return run, "late-divergence", int(run.steps[at])


def exploded(rng: Rng) -> tuple[Run, str, int]:
    """The gradient norm up by 100 to 10⁶, at once or exponentially, for good or for a while."""
    run = _learning(rng)
    at = _row(rng, run, 0.2, 0.8)
    after = np.arange(len(run.loss) - at)
    decades = rng.uniform(2, 6)
    growth = np.minimum(after / rng.choice([1.0, 100.0, 400.0]), 1.0) * decades
    if rng.random() < 0.5:
        growth = np.where(after < 600, growth, np.maximum(decades - (after - 600) / 20, 0.0))
    run.grad_norm[at:] *= 10**growth
    return run, "gradient-explosion", int(run.steps[at])


def vanished(rng: Rng) -> tuple[Run, str, int]:
    run = _learning(rng)
    at = _row(rng, run, 0.1, 0.8)
    run.grad_norm[at:] = float(rng.choice([0.0, 1e-6, 1e-9])) * np.minimum(run.grad_norm[at:], 1e3)
    run.loss[at:] = run.loss[at] + run.noise * rng.standard_normal(len(run.loss) - at)
    run.loss[at:] = np.maximum(run.loss[at:], 0.3 * run.loss[0])
    return run, "gradient-vanishing", int(run.steps[at])


def exploded_at_restart(rng: Rng) -> tuple[Run, str, int]:
    run = _learning(rng, "restarts", 1200)
    at = max(2, len(run.steps) // 4) * int(rng.integers(1, 4))
    length = int(rng.choice([24, 100, 2000]))
    run.grad_norm[at : at + length] *= 10 ** rng.uniform(2, 5)
    return run, "explosion-at-restart", int(run.steps[at])


def stuck(rng: Rng) -> tuple[Run, str, int]:
    """Nothing is learned at all."""
    run = _learning(rng, None, 2500)
    level = rng.uniform(0.5, 10.0)
    run.loss = level * (1 + rng.uniform(0.001, 0.03) * noise_of(rng, len(run.loss), str(rng.choice(["gauss", "t5"]))))
    return run, "no-progress", 0


def swinging(rng: Rng) -> tuple[Run, str, int]:
    """Restarts every 10 to 400 steps that throw away what was gained."""
    run = _learning(rng, "constant", 1200)
    cycles = int(rng.integers(12, 60))
    period = max(10, len(run.steps) // cycles)
    run.contract = from_document(
        {
            "lrwatch": 1,
            "experiment": "simulated",
            "clock": {"horizon": len(run.steps)},
            "lr": {"base": 3e-4, "schedule": {"cosine_restarts": {"period": period, "to": "1%"}}},
        }
    )
    run.lr = Curve(run.contract).at(run.steps)
    height = rng.uniform(0.4, 1.0) * run.scale
    run.loss = run.loss.min() + height * run.lr / 3e-4 + run.noise * rng.standard_normal(len(run.loss))
    run.loss[: period // 2] += run.scale * np.exp(-np.arange(period // 2) / max(period / 16, 1))
    return run, "oscillation", period


def starved(rng: Rng) -> tuple[Run, str, int]:
    """The schedule was planned for a quarter to two thirds of the run."""
    run = _learning(rng, "cosine", 1000)
    at = _row(rng, run, 0.25, 0.65)
    run.lr[at:] = 0.0 if at > 0.48 * len(run.lr) else 0.01 * 3e-4
    return run, "lr-at-floor", int(run.steps[at])


def overfitted(rng: Rng) -> tuple[Run, str, int]:
    run = _learning(rng, "cosine", 1000)
    run.events = [e for e in run.events if e.kind != "validation"]
    n = len(run.loss)
    best = _row(rng, run, 0.3, 0.5)
    run.loss -= np.maximum(np.arange(n) - best, 0) / n * 0.6 * run.scale
    level = smooth(run.loss, max(8, n // 50))
    for at in range(n // 40, n, n // 40):
        gap = max(at - best, 0) / n * rng.uniform(1.0, 1.2) * run.scale
        value = float(level[min(at, best)] + gap + 0.1 * run.noise * rng.standard_normal())
        run.events.append(Event("validation", at, fields={"metrics": {"val_loss": value}}))
    return run, "overfitting", best


FAULTS: Mapping[str, Fault] = {
    f.__name__: f
    for f in (
        spiked, diverged, diverged_late, exploded, vanished, exploded_at_restart, stuck, swinging, starved, overfitted
    )
}  # fmt: skip
