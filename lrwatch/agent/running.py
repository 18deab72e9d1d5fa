"""A watch while it runs: what the training loop calls, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from lrwatch.agent import arguments, process, summary
from lrwatch.agent.announce import say
from lrwatch.agent.exporter import Exporter
from lrwatch.agent.origin import Locator, Origin
from lrwatch.agent.peers import Start
from lrwatch.agent.ranks import Identity
from lrwatch.agent.recorder import Recorder
from lrwatch.agent.worker import Worker
from lrwatch.contract.model import Contract
from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.findings import Finding, Severity

PATIENT: Final = 10.0
"""Seconds that ``close`` waits for the worker's last turn: a dead disk must not keep a finished training alive."""
KINDS: Final = ("checkpoint", "validation", "restart", "oom", "intervention", "skip", "stale")
"""What may be told to ``Watch.event``; the agent writes ``start``, ``resume`` and ``end`` itself."""


class TrainingContractBroken(LrwatchError):
    """``close`` found what ``fail_on`` was asked to stop at; ``findings`` has all of it."""

    def __init__(self, findings: Sequence[Finding]):
        self.findings = tuple(findings)
        first, more = self.findings[0], f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        super().__init__(f"the training did not keep its contract: {first.code} {first.slug}: {first.message}{more}")


@dataclass(frozen=True)
class Parts:
    """What a watch is made of."""

    optimizer: Any
    contract: Contract | None
    identity: Identity
    locator: Locator
    recorder: Recorder
    worker: Worker
    exporter: Exporter
    fail_on: Severity | None
    linger: float = 0.0


class Watch:
    """A running watch, made by ``lrwatch.watch``. A context manager: an exception makes the outcome ``failed``.

    Attributes:
        run_id: the run's name. run_dir: where its trace, targets and summary are.
    """

    def __init__(self, run_id: str, run_dir: Path, parts: Parts):
        self.run_id, self.run_dir, self._parts = run_id, run_dir, parts
        self._closed, self._began = False, time.time()
        # One call less per update than going through the method below.
        self.__dict__["step"] = parts.recorder.step
        parts.exporter.start()
        for problem in parts.exporter.problems:
            parts.worker.trouble("metrics", problem)
        if parts.identity.rank == 0:
            self._banner()
        process.join(self)
        parts.worker.start()

    # -- what the training loop calls ---------------------------------------------------------------------

    def step(
        self,
        loss: Any = None,
        grad_norm: Any = None,
        *,
        epoch: int | None = None,
        samples: int | None = None,
        tokens: int | None = None,
    ) -> None:
        """Call once per update, after ``optimizer.step()``. Never raises, never waits for a device.

        Args:
            loss, grad_norm: numbers or scalar tensors, taken by value; the norm is that before clipping.
            epoch, samples, tokens: how many were consumed before this update.
        """
        self._parts.recorder.step(loss, grad_norm, epoch=epoch, samples=samples, tokens=tokens)

    def micro(self) -> None:
        """Count one backward pass; only needed where their number per update varies."""
        self._parts.recorder.micro()

    def before_clipping(self) -> None:
        """With ``grad_norm_every``: read the gradients now, before the loop clips them (and after ``scaler.unscale_``).

        Without this call they are read as ``optimizer.step`` uses them.
        """
        self._parts.recorder.before_clipping()

    def event(self, kind: str, **fields: Any) -> None:
        """Record what happened between updates. Never raises.

        Example:
            >>> watch.event("validation", metrics={"val_loss": 2.1})             # doctest: +SKIP
            >>> watch.event("checkpoint", scheduler_state=True)                  # doctest: +SKIP
        """
        if kind not in KINDS:
            self._parts.worker.trouble(f"event {kind!r} is not recorded", f"no such kind{did_you_mean(kind, KINDS)}")
            return
        if kind == "validation" and "metrics" not in fields:
            fields = {"metrics": fields}
        self._parts.recorder.event(kind, fields)

    def validating(self) -> AbstractContextManager[None]:
        """``with watch.validating(): ...``: no update will come for a while, and nothing has stalled."""
        return self._phase("validating")

    def checkpointing(self) -> AbstractContextManager[None]:
        """``with watch.checkpointing(): ...``: likewise."""
        return self._phase("checkpointing")

    @contextmanager
    def _phase(self, state: str) -> Iterator[None]:
        phases = self._parts.worker.meters.phases
        before = phases.enter(state)
        try:
            yield
        finally:
            phases.leave(before)

    def state_dict(self) -> dict[str, Any]:
        """The counters, as plain data for a checkpoint. Waits for values that are on their way from a device."""
        recorder = self._parts.recorder
        try:
            at = recorder.position()
        except Exception as error:
            self._parts.worker.trouble("state_dict", error)
            at = Origin(recorder.update, recorder.attempt, "state", recorder.micros)
        return {"lrwatch": 1, "run": self.run_id, "update": at.update, "attempt": at.attempt, "micro": at.micro}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was called: before the first update, or in mid-run as a new segment."""
        counts = [state.get(key) if isinstance(state, Mapping) else None for key in ("update", "attempt")]
        if not all(isinstance(n, int) and n >= 0 for n in counts):
            self._parts.worker.trouble("load_state_dict", "this is no state of a watch; it is ignored")
        elif self._parts.recorder.started:
            try:
                self._parts.recorder.restart(Origin(state["update"], state["attempt"], "state", state.get("micro")))
            except Exception as error:
                self._parts.worker.trouble("load_state_dict", error)
        else:
            self._parts.locator.state = dict(state)

    def close(self, outcome: str = "finished") -> None:
        """End the watch: flush, judge, write the summary. A second call does nothing.

        Args:
            outcome: ``finished``, ``converged``, ``stopped``, ``failed`` or ``interrupted``.

        Raises:
            TrainingContractBroken: ``fail_on`` was given and something of that severity was found.
        """
        least = self._parts.fail_on
        if self._close(outcome) and least is not None:
            broken = [f for f in self.findings if f.severity >= least]
            if broken:
                raise TrainingContractBroken(broken)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._close("failed" if issubclass(kind, Exception) else "interrupted")

    # -- what can be asked --------------------------------------------------------------------------------

    @property
    def optimizer(self) -> Any:
        """The optimizer that is watched, without wrappers."""
        return self._parts.optimizer

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far; complete after ``close``."""
        return self._parts.worker.findings

    @property
    def url(self) -> str | None:
        """Where the metrics are, None when they are not served."""
        return self._parts.exporter.url

    @property
    def port(self) -> int | None:
        """The port of the metrics, None when they are not served."""
        return self._parts.exporter.port

    def started_as(self) -> Start:
        """What should be the same on all workers."""
        p = self._parts
        contract = str(p.contract.identity) if p.contract else None
        return Start(p.identity.rank, contract, p.identity.world, p.worker.started)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, deep or pickled, belongs to a copied trainer: it has the name and records nothing."""
        return Copied, (self.run_id, self.run_dir)

    # -- life ---------------------------------------------------------------------------------------------

    def _banner(self) -> None:
        p = self._parts
        called = p.recorder.names()
        against = "without a contract: only what needs none is checked"
        if p.contract is not None:
            against = f"against {p.contract.source} ({p.contract.experiment}, {p.contract.sha256[:12]})"
        workers = "" if p.identity.world == 1 else f"{p.identity.world or 'several'} workers, "
        say(f"watching {type(p.optimizer).__name__} (groups {', '.join(called)}) {against}")
        say(f"run {self.run_id}: {workers}trace in {self.run_dir}, metrics at {self.url or 'no port'}")
        if unused := arguments.unused_groups(p.contract, called):
            say(
                f"the contract names the group {', '.join(unused)}, this optimizer has only {', '.join(called)}; "
                'give groups a "name", or pass group_names='
            )

    def _close(self, outcome: str, linger: bool = True) -> bool:
        """False when it was closed before. ``linger``: not where the process was told to end."""
        if self._closed:
            return False
        self._closed = True
        process.leave(self)
        p = self._parts
        p.recorder.close(outcome)
        if not p.worker.stop(PATIENT):
            p.worker.trouble("close", f"the worker did not end within {PATIENT:g} s, so the trace may lack its end")
        try:
            content = summary.document(
                p.worker, p.contract, p.identity,
                run=self.run_id, outcome=outcome, started=self._began, ended=time.time(),
            )  # fmt: skip
            summary.write(self.run_dir, p.identity.rank, content)
        except Exception as error:
            p.worker.trouble("the summary cannot be written", error)
        try:
            if p.linger and linger:
                p.exporter.linger(p.linger)
        except KeyboardInterrupt:
            pass  # whoever is there has seen enough
        finally:
            p.exporter.close()
        return True

    def _abandon(self) -> None:
        self._closed = True
        self._parts.recorder.abandon()
        self._parts.worker.abandon()
        self._parts.exporter.abandon()


class Copied(Watch):
    """A copy of a watch: nothing happens in it."""

    findings = ()
    optimizer = url = port = None

    def __init__(self, run_id: str, run_dir: Path):
        self.run_id, self.run_dir, self._closed = run_id, run_dir, True

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    micro = before_clipping = event = load_state_dict = close = step

    def validating(self) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()

    checkpointing = validating

    def state_dict(self) -> dict[str, Any]:
        """Nothing to restore."""
        return {}
