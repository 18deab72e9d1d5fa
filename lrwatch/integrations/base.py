"""What the integrations share: one watch at a time, and an optimizer that steps more than once per update."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
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
        self._repeated: Repeated | None = None

    def begin(
        self,
        optimizer: Any,
        *,
        scheduler: Any = None,
        scaler: Any = None,
        start_step: int | None = None,
        accumulate: int | None = None,
    ) -> Watch:
        """Training begins. One that began before and did not end has failed."""
        if self.watch is not None:
            self.watch._close("failed")
        self._repeated = repeated(optimizer)
        self.watch = start_watch(
            self._repeated or optimizer,
            self._contract,
            scheduler=scheduler,
            scaler=scaler,
            start_step=start_step,
            accumulate=accumulate,
            **self._options,
        )
        return self.watch

    def update(self, loss: Any = None, grad_norm: Any = None, epoch: int | None = None) -> None:
        """An update is complete."""
        if self.watch is not None:
            if self._repeated is not None:
                self._repeated.complete()
            self.watch.step(loss, grad_norm, epoch=epoch)

    def event(self, kind: str, **fields: Any) -> None:
        """Something happened between updates."""
        if self.watch is not None:
            self.watch.event(kind, **fields)

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


class Repeated:
    """Stands in for an optimizer that is stepped several times per update, as ZeRO does for each of its groups.

    The first step since ``complete`` stands for the update. While the groups are stepped one by one the optimizer
    shows one group at a time, so the full list is remembered; its dicts are the optimizer's own.
    """

    def __init__(self, inner: Any):
        self._inner = inner
        self._groups: list[dict[str, Any]] = inner.param_groups
        self._hook: Callable[..., object] | None = None
        self._stepped = False

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
        """As torch's."""
        self._hook = hook
        return self._inner.register_step_pre_hook(self._before)

    def complete(self) -> None:
        """The update is complete; the next step is of the next one."""
        self._stepped = False

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._stepped and self._hook is not None:
            self._stepped = True
            self._hook(self, args, kwargs)


def repeated(optimizer: Any) -> Repeated | None:
    """A stand-in, when something in the chain of ``.optimizer`` is no optimizer of torch and steps as it likes."""
    inner = arguments.unwrapped(optimizer)
    link, foreign = optimizer, False
    while link is not inner:
        foreign = foreign or not isinstance(link, Optimizer)
        link = link.optimizer
    if not foreign or not hasattr(inner, "register_step_pre_hook"):
        return None
    named: type[Repeated] = type(type(inner).__name__, (Repeated,), {})  # the banner says what is watched
    return named(inner)
