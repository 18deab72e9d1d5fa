"""What a training run is told, and every complaint about it that can be made before torch is imported."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from lrwatch.agent.naming import name_run
from lrwatch.agent.ranks import identify
from lrwatch.errors import ContractError, LrwatchError, OutputExists, did_you_mean

if TYPE_CHECKING:
    from lrwatch.contract import Contract

METRICS = ("val_loss", "val_accuracy")
"""What a validation measures: mean cross-entropy in nats per byte, and the share of bytes guessed right."""


@dataclass(frozen=True)
class Size:
    """A GPT's dimensions; ``batch`` is sequences per micro-batch and worker, ``corpus`` bytes of text."""

    layers: int
    width: int
    heads: int
    context: int
    batch: int
    corpus: int


SIZES = MappingProxyType(
    {
        "tiny": Size(layers=1, width=64, heads=4, context=32, batch=2, corpus=1 << 20),
        "small": Size(layers=6, width=384, heads=6, context=256, batch=16, corpus=8 << 20),
    }
)

GROUPS = ("decay", "no_decay", "embedding", "backbone", "head")
"""Parameter groups that a contract may name; a parameter belongs to the first named one that claims it."""


@dataclass(frozen=True)
class Settings:
    """One run of the trainer.

    Attributes:
        contract: path of the contract; it decides base LR, schedule, groups, accumulation, horizon and goal.
        run_dir: where trace and checkpoints go (default ``runs/<run_id>``).
        workers: processes to start here, None for one (or for what torchrun says).
        steps: stop after so many updates (default: the contract's horizon); the schedule stays as it is.
        stop_after_micro: behave as if SIGTERM arrived during this micro-batch, counted from the run's first.
        port: of the first worker's metrics on each machine, the next worker's is one more (default: any free ones).
        contract_key: public keys, one of which must have signed the contract (default: LRWATCH_CONTRACT_KEY's, if any).
        inject: faults, ``NAME[:key=value,…]``, see ``faults``.
    """

    contract: Path
    run_dir: Path | None = None
    run_id: str | None = None
    workers: int | None = None
    steps: int | None = None
    model: str = "tiny"
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    resume: bool = False
    checkpoint_every: int = 100
    validate_every: int = 50
    inject: tuple[str, ...] = ()
    port: int | None = None
    host: str = "127.0.0.1"
    stop_after_micro: int | None = None
    contract_key: Path | None = None
    quiet: bool = False

    def located(self, experiment: str) -> Settings:
        """The same settings with ``run_dir`` and ``run_id`` filled in, each from the other or from the clock."""
        if self.resume and self.run_dir is None and self.run_id is None:
            raise LrwatchError("--resume needs to know which run: give --run-dir or --run-id")
        run_id, _ = name_run(self.run_id, self.run_dir, experiment, identify())
        return replace(self, run_id=run_id, run_dir=self.run_dir or Path("runs") / run_id)

    def started_by_torchrun(self) -> bool:
        """Whether a launcher has already made this process one of several (torchrun, or anything like it)."""
        return "RANK" in os.environ and "WORLD_SIZE" in os.environ

    @property
    def world(self) -> int:
        """Number of workers."""
        if not self.started_by_torchrun():
            return self.workers or 1
        world = int(os.environ["WORLD_SIZE"])
        if self.workers not in (None, world):
            raise LrwatchError(f"--workers {self.workers}, but the launcher started {world}; leave --workers out")
        return world


def trace_files(run_dir: Path) -> list[Path]:
    """Trace files of a run, sorted by name."""
    return sorted((run_dir / "trace").glob("*.jsonl"))


def refuse_to_overwrite(settings: Settings) -> None:
    """Raise OutputExists where a new run would be mixed into an old one."""
    assert settings.run_dir is not None
    if not settings.resume and (trace_files(settings.run_dir) or (settings.run_dir / "checkpoints").exists()):
        raise OutputExists(settings.run_dir, "pass --resume to continue that run, or another --run-dir")


def total_updates(settings: Settings, contract: Contract) -> int:
    """How many updates (or attempts, if that is what the clock counts) the run is for."""
    if settings.steps is not None:
        return settings.steps
    if contract.horizon is None:
        raise ContractError(
            "is missing, so the trainer does not know when to stop; set it or give --steps",
            source=contract.source,
            path="clock.horizon",
        )
    return math.ceil(contract.horizon)


def accumulation(contract: Contract) -> int:
    """Micro-batches per update."""
    return contract.batch.accumulate or 1


def micro_batch(settings: Settings, contract: Contract) -> int:
    """Sequences per micro-batch and worker: from ``batch.global`` if the contract states it, else the model's."""
    if contract.batch.size is None:
        return SIZES[settings.model].batch
    parts = settings.world * accumulation(contract)
    size, rest = divmod(contract.batch.size, parts)
    if rest or not size:
        raise ContractError(
            f"{contract.batch.size} cannot be shared out evenly to {settings.world} workers x "
            f"{accumulation(contract)} micro-batches; give a multiple of {parts}",
            source=contract.source,
            path="batch.global",
        )
    return size


def validate(settings: Settings, contract: Contract) -> None:
    """Raise LrwatchError for whatever this trainer cannot do, before anything is started or written."""
    if settings.model not in SIZES:
        raise LrwatchError(f"--model {settings.model}: no such model{did_you_mean(settings.model, SIZES)}")
    for name in ("workers", "steps", "checkpoint_every", "validate_every", "stop_after_micro"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise LrwatchError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    total_updates(settings, contract)
    micro_batch(settings, contract)
    _validate_contract(contract)


def _validate_contract(contract: Contract) -> None:
    def refuse(path: str, message: str) -> ContractError:
        return ContractError(message, source=contract.source, path=path)

    if contract.clock.axis not in ("update", "attempt"):
        raise refuse(
            "clock.axis", f"the reference trainer steps its scheduler per update, not per {contract.clock.axis}"
        )
    if contract.clock.ticks != 1:
        raise refuse("clock.ticks", "the reference trainer steps its scheduler once per update; leave it out")
    if contract.batch.ramp:
        raise refuse("batch.ramp", "the reference trainer keeps its batch size; leave it out")
    for name in contract.signals["lr"].groups:
        if name not in GROUPS:
            raise refuse(f"lr.groups.{name}", f"the reference trainer has no such group{did_you_mean(name, GROUPS)}")
    lr = contract.signals["lr"]
    if lr.shift and any(p.family == "plateau" for p in lr.schedule):
        raise refuse("lr.ranks.shift", "a plateau schedule counts no steps that a worker could be ahead; leave it out")
    for signal in contract.signals.values():
        if signal.name != "lr" and [p.family for p in signal.schedule] != ["constant"]:
            raise refuse(f"{signal.name}.schedule", "the reference trainer schedules lr only; here use constant")
    if contract.goal is not None and contract.goal.metric not in METRICS:
        hint = did_you_mean(contract.goal.metric, METRICS)
        raise refuse("goal.metric", f"{contract.goal.metric!r} is not measured by the reference trainer{hint}")
