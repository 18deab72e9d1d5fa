"""The training loop of one worker, from its place among the workers to its exit code."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from lrwatch.contract import Contract
from lrwatch.trainer import checkpoint, data, job, schedule
from lrwatch.trainer.behaviour import Behaviour
from lrwatch.trainer.faults import behaviour
from lrwatch.trainer.model import parameters
from lrwatch.trainer.place import Place
from lrwatch.trainer.settings import Settings, total_updates
from lrwatch.trainer.stop import Stop, listening

CLIP = 1.0
"""Gradients are scaled down to this norm; the watch is given the norm before."""
VALIDATION = (8, 16)
"""Batches, and sequences in each, of a validation."""
OK = 0


class Watch(Protocol):
    """What the loop needs of a watch."""

    def step(self, *, loss: Any, grad_norm: Any, epoch: int, samples: int) -> None: ...
    def event(self, kind: str, **fields: Any) -> None: ...
    def validating(self) -> AbstractContextManager[None]: ...
    def checkpointing(self) -> AbstractContextManager[None]: ...
    def state_dict(self) -> Mapping[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
    def close(self, *, outcome: str) -> None: ...


MakeWatch = Callable[..., Watch]
"""``lrwatch.watch`` or a stand-in with its arguments."""


def work(settings: Settings, contract: Contract, place: Place, make_watch: MakeWatch) -> int:
    """Train as worker ``place`` until the horizon, the goal or a signal; returns the exit code.

    0 finished, converged or stopped by ``steps`` · 143, 130 checkpointed because of SIGTERM, SIGINT (128 + signal).
    """
    assert settings.run_dir is not None
    how = behaviour(settings.inject, place.rank, place.world)
    mine = job.build(settings, how.built_from(contract), place)
    for deed in how.once_built:
        deed(mine, contract)
    folder = checkpoint.newest(settings.run_dir) if settings.resume else None
    seen = checkpoint.restore(folder, mine, place, contract, how.restores_scheduler) if folder else None
    for deed in how.once_resumed if folder else ():
        deed(mine, contract)
    with listening() as stop:
        watch = make_watch(
            mine.optimizer,
            contract=how.told(contract),
            scheduler=mine.scheduler,
            scaler=mine.scaler if mine.scaler.is_enabled() else None,
            start_step=mine.counters.update,
            run_dir=settings.run_dir,
            run_id=settings.run_id,
            port=None if settings.port is None else settings.port + place.local_rank,
            host=settings.host,
            accumulate=mine.accumulate,
            contract_key=settings.contract_key,
        )
        loop = Loop(settings, contract, place, mine, watch, stop, how, saved=folder)
        if seen is not None:
            watch.load_state_dict(seen)
        outcome = "failed"
        try:
            loop.announce(folder)
            outcome = loop.run()
        finally:
            watch.close(outcome=outcome)
    return stop.exit_code if outcome == "interrupted" else OK


@dataclass
class Loop:
    """One worker's way through the run.

    Attributes:
        behaviour: right, unless a fault was asked for. saved: the newest checkpoint, None before the first.
    """

    settings: Settings
    contract: Contract
    place: Place
    job: job.Job
    watch: Watch
    stop: Stop
    behaviour: Behaviour
    saved: Path | None = None

    def run(self) -> str:
        """The outcome: ``finished``, ``converged``, ``interrupted``, or ``stopped`` by ``steps`` before the horizon."""
        done, total = self.job.counters, total_updates(self.settings, self.contract)
        if not done.scheduled:
            self._step_scheduler(self.behaviour.ahead)
        while (done.update if self._counts_applied else done.attempt) < total:
            if not self._window():
                return self._interrupted()
            applied = self._update()
            if applied and done.update % self.settings.validate_every == 0 and self._reached(self._validate()):
                self._save()
                return "converged"
            if applied and done.update % self.settings.checkpoint_every == 0:
                self._save()
        self._save()
        outcome = "finished" if total >= (self.contract.horizon or 0) else "stopped"
        self._say(f"{outcome} after {done.update} updates")
        return outcome

    # -- one update ---------------------------------------------------------------------------------

    def _window(self) -> bool:
        """Backward passes until the gradients of one update are there; False if told to stop before.

        Workers meet in the last backward pass, so that is where they agree to go on or to stop: a worker that
        is told to stop goes there at once, the others when they get there, each with its own gradients so far.
        """
        j = self.job
        for k in range(j.inside_window, j.accumulate):
            last, told = k == j.accumulate - 1, self._told_to_stop()
            if (last or told) and self.place.any(told):
                return False
            inputs, targets = j.batches.next()
            if last:
                self._backward(inputs, targets)
            else:
                with j.unsynchronised():
                    self._backward(inputs, targets)
            j.counters.micro += 1
            if not last:
                self._step_scheduler(self.behaviour.micro_steps(j.counters.update))
        return True

    def _backward(self, inputs: Tensor, targets: Tensor) -> None:
        j = self.job
        loss, _ = j.forward(inputs, targets)
        loss = loss / j.accumulate
        if j.counters.update == self.behaviour.nan_at:
            loss = loss * math.nan
        if self.behaviour.overflows(j.counters.attempt):
            loss = loss * math.inf
        j.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        j.window_loss += loss.detach()

    def _update(self) -> bool:
        """Clip, update, schedule, record; False if the loss scaler skipped the update."""
        j, update = self.job, self.job.counters.update
        j.scaler.unscale_(j.optimizer)
        norm = clip_grad_norm_(parameters(j.optimizer), CLIP)
        used = j.optimizer.param_groups[0]["lr"]
        scale = j.scaler.get_scale()
        j.scaler.step(j.optimizer)
        j.scaler.update()
        applied = j.scaler.get_scale() >= scale  # it only ever shrinks because of a skipped update
        j.optimizer.zero_grad(set_to_none=True)
        j.counters.attempt += 1
        j.counters.update += applied
        if self.behaviour.saves_first and j.counters.update % self.settings.checkpoint_every == 0:
            self._save()
        if (applied or self.behaviour.steps_on_skips or not self._counts_applied) and not self._on_metric:
            self._step_scheduler(self.behaviour.scheduler_steps(update))
        before = j.batches.position - j.accumulate  # micro-batches of this worker before this update
        samples = before * j.batches.size * self.place.world
        self.watch.step(loss=j.window_loss, grad_norm=norm, epoch=before // j.batches.per_epoch, samples=samples)
        self._progress(j.window_loss, used, norm)
        j.window_loss = torch.zeros_like(j.window_loss)
        return applied

    def _step_scheduler(self, times: int, *metric: float) -> None:
        for _ in range(times):
            self.job.scheduler.step(*metric)  # type: ignore[arg-type]  # ReduceLROnPlateau wants the metric
            self.job.counters.scheduled += 1

    @property
    def _counts_applied(self) -> bool:
        clock = self.contract.clock
        return clock.axis == "update" and clock.counts == "applied"

    @property
    def _on_metric(self) -> bool:
        return self.contract.signals["lr"].schedule[0].family == "plateau"

    # -- between updates ----------------------------------------------------------------------------

    def _validate(self) -> dict[str, float]:
        """Metrics over the first windows of the held-out text, shared out among the workers."""
        j, (batches, size) = self.job, VALIDATION
        context = self.job.module.place.num_embeddings
        loss = right = count = 0.0
        j.module.eval()
        with torch.no_grad(), self.watch.validating():
            for i in range(self.place.rank, batches, self.place.world):
                which = torch.arange(i * size, (i + 1) * size)
                inputs, targets = data.windows(j.held_out, which, context)
                mean, logits = j.forward(inputs, targets, j.module)
                loss += float(mean) * targets.numel()
                right += float((logits.argmax(-1).cpu() == targets).sum())
                count += targets.numel()
        j.module.train()
        if not self.behaviour.local_metric:
            loss, right, count = self.place.total(loss, right, count)
        metrics = {"val_loss": loss / count, "val_accuracy": right / count}
        self.watch.event("validation", metrics=metrics)
        if self._on_metric:
            metric = str(self.contract.signals["lr"].schedule[0].params["metric"])
            self._step_scheduler(self.behaviour.scheduler_steps(j.counters.update - 1), metrics[metric])
        self._say(f"update {j.counters.update}  " + "  ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        return metrics

    def _reached(self, metrics: Mapping[str, float]) -> bool:
        goal = self.contract.goal
        if goal is None:
            return False
        value = metrics[goal.metric]
        reached = value <= goal.target if goal.mode == "min" else value >= goal.target
        if reached:
            self._say(f"goal reached: {goal.metric} {value:.4f}, wanted {goal.target:g}")
        return reached

    def _save(self, suffix: str = "") -> None:
        name = f"update{self.job.counters.update:08d}{suffix}"
        if suffix or self.saved is None or self.saved.name != name:
            state = self.watch.state_dict()
            with self.watch.checkpointing():
                self.saved = checkpoint.save(self._run_dir, name, self.job, self.place, self.contract, state)
            self.watch.event("checkpoint", scheduler_state=True, path=str(self.saved))

    def _told_to_stop(self) -> bool:
        return self.stop.requested or self.job.counters.micro == self.settings.stop_after_micro

    def _interrupted(self) -> str:
        self._save("-stopped")
        why = signal.Signals(self.stop.signal).name if self.stop.signal else "request"
        self._say(f"stopped by {why}; checkpoint {self.saved}; --resume continues from there")
        return "interrupted"

    @property
    def _run_dir(self) -> Path:
        assert self.settings.run_dir is not None
        return self.settings.run_dir

    # -- what it says about itself, on stderr --------------------------------------------------------

    def announce(self, resumed: Path | None) -> None:
        """Say what is about to happen."""
        s, j = self.settings, self.job
        size = sum(p.numel() for p in j.module.parameters())
        self._say(
            f"{self.place.world} x {self.place.device.type} {s.precision}, GPT {s.model} ({size / 1e6:.2f} M), "
            f"{total_updates(s, self.contract)} updates of "
            f"{j.accumulate} x {j.batches.size} x {self.place.world} sequences, {schedule.describe(j.scheduler)}"
        )
        for fault in s.inject:
            self._say(f"doing wrong on request: {fault}")
        if resumed is not None:
            self._say(f"resumed from {resumed}")
        elif s.resume:
            self._say(f"nothing to resume in {s.run_dir}: starting at update 0")

    def _progress(self, loss: Tensor, lr: float, norm: Tensor) -> None:
        update, every = self.job.counters.update, max(1, total_updates(self.settings, self.contract) // 10)
        if self.place.rank == 0 and not self.settings.quiet and update % every == 0:
            self._say(f"update {update}  loss {float(loss):.4f}  lr {lr:.3e}  grad_norm {float(norm):.3f}")

    def _say(self, text: str) -> None:
        if self.place.rank == 0 and not self.settings.quiet:
            print(f"train: {text}", file=sys.stderr, flush=True)
