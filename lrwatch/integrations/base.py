"""What the integrations share: one watch at a time, and an optimizer that steps more than once per update."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from torch.optim import Optimizer

from lrwatch.agent import arguments
from lrwatch.agent.running import Watch
from lrwatch.agent.watch import watch as start_watch
from lrwatch.contract.model import Contract
from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.findings import Finding, Severity

Promise = str | os.PathLike[str] | Mapping[str, Any] | Contract | None
"""What may be given as a contract."""


class Options(TypedDict, total=False):
    """What an integration passes on to ``lrwatch.watch`` as it is; the rest it knows from its framework."""

    run_dir: str | os.PathLike[str] | None
    run_id: str | None
    port: int | None
    host: str
    on_finding: Callable[[Finding], object] | None
    fail_on: str | Severity | None
    group_names: Sequence[str] | None
    publish: bool | None
    tls: Mapping[str, Any] | None
    linger_s: float
    handle_sigterm: bool


class Watching:
    """Begins a watch when training begins and ends it when training ends. A context manager.

    A framework that has no hook for exceptions does not say that training failed: leaving the ``with`` block does,
    else the end of the process, or the next training with the same callback.

    Args:
        contract: as for ``lrwatch.watch``; read at once, so that a bad one is found before training.
        options: further arguments of ``lrwatch.watch``.

    Attributes:
        watch: the newest one, None before the first.

    Raises:
        ContractError: the contract cannot be used. LrwatchError: an unknown option.
    """

    def __init__(self, contract: Promise = None, **options: Unpack[Options]):
        super().__init__()
        known = tuple(Options.__annotations__)
        for name in options:
            if name not in known:
                raise LrwatchError(f"{type(self).__name__}({name}=): no such option{did_you_mean(name, known)}")
        self.watch: Watch | None = None
        self._contract, self._options = arguments.promise(contract), options
        self._stand_in: StandIn | None = None
        self._phase: AbstractContextManager[None] | None = None

    def begin(
        self,
        optimizer: Any,
        *,
        scheduler: Any = None,
        scaler: Any = None,
        start_step: int | None = None,
        accumulate: int | None = None,
        grad_norm_every: int | None = None,
        grad_norm_scope: str | None = None,
    ) -> Watch:
        """Training begins. One that began before and did not end has failed."""
        if self.watch is not None:
            self.watch._close("failed")
        self._phase = None
        self._stand_in = optimizer if isinstance(optimizer, StandIn) else stand_in(optimizer)
        self.watch = start_watch(
            self._stand_in or optimizer,
            self._contract,
            scheduler=scheduler,
            scaler=scaler,
            start_step=start_step,
            accumulate=accumulate,
            grad_norm_every=grad_norm_every,
            grad_norm_scope=grad_norm_scope,
            **self._options,
        )
        return self.watch

    def update(self, loss: Any = None, grad_norm: Any = None, epoch: int | None = None) -> None:
        """An update is complete."""
        if self.watch is not None:
            if self._stand_in is not None:
                self._stand_in.complete()
            self.watch.step(loss, grad_norm, epoch=epoch)

    def event(self, kind: str, **fields: Any) -> None:
        """Something happened between updates."""
        if self.watch is not None:
            self.watch.event(kind, **fields)

    def validation_begins(self) -> None:
        """No update will come for a while; may be said again and again."""
        if self.watch is not None and self._phase is None:
            self._phase = self.watch.validating()
            self._phase.__enter__()

    def validation_ends(self) -> None:
        """Updates, or the end, will come."""
        if self._phase is not None:
            self._phase.__exit__(None, None, None)
            self._phase = None

    def end(self, outcome: str) -> None:
        """Training ended. Raises TrainingContractBroken where ``fail_on`` asks for it."""
        if self.watch is not None:
            self.watch.close(outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.watch is not None:
            self.watch.__exit__(kind, error, trace)


class StandIn:
    """Stands in for an optimizer whose steps are not its updates, one for one.

    ZeRO steps the inner optimizer once for each group, and then only the first step since ``complete`` stands for the
    update; meanwhile that optimizer shows one group at a time, so the full list is remembered. Its dicts are the
    optimizer's own. Without ``listen`` the integration itself tells, by ``used``, that an update begins.
    """

    def __init__(self, inner: Any, listen: bool):
        self._inner, self._listen = inner, listen
        self._groups: list[dict[str, Any]] = inner.param_groups
        self._hook: Callable[..., object] | None = None
        self._stepped = False

    @classmethod
    def of(cls, inner: Any, listen: bool, name: str | None = None) -> StandIn:
        """A stand-in that is called like the optimizer, in what the watch says about it."""
        named: type[StandIn] = type(name or type(inner).__name__, (cls,), {})
        return named(inner, listen)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = self._inner.param_groups
        if len(groups) >= len(self._groups):
            self._groups = groups
        return self._groups

    @property
    def state(self) -> Any:
        return self._inner.state

    def register_step_pre_hook(self, hook: Callable[..., object]) -> Any:
        """As torch's; what it returns has ``remove``."""
        self._hook = hook
        return self._inner.register_step_pre_hook(self.used) if self._listen else self

    def remove(self) -> None:
        self._hook = None

    def used(self, *_: Any) -> None:
        """An update begins to use what the groups have now."""
        if not self._stepped and self._hook is not None:
            self._stepped = True
            self._hook(self, (), {})

    def complete(self) -> bool:
        """The update is complete; whether one had begun. The next step is of the next one."""
        stepped, self._stepped = self._stepped, False
        return stepped


def stand_in(optimizer: Any) -> StandIn | None:
    """One for an optimizer in whose chain of ``.optimizer`` something is none of torch, and steps as it likes."""
    inner = arguments.unwrapped(optimizer)
    link, foreign = optimizer, False
    while link is not inner:
        foreign = foreign or not isinstance(link, Optimizer)
        link = link.optimizer
    return StandIn.of(inner, listen=True) if foreign and hasattr(inner, "register_step_pre_hook") else None
