"""What ``watch`` is given → what the agent works with. Everything that can be wrong is found here, before training."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lrwatch import contract as contracts
from lrwatch.contract.model import Contract
from lrwatch.errors import LrwatchError, did_you_mean
from lrwatch.findings import Severity

Group = Mapping[str, Any]
Name = Callable[[int, Group], str]

COMPANIONS: Final[Mapping[str, Callable[[Group], Any]]] = {
    "weight_decay": lambda group: group["weight_decay"],
    "momentum": lambda group: group["momentum"] if "momentum" in group else group["betas"][0],
}
"""Signals besides the learning rate; recorded where the contract promises them."""


def unwrapped(optimizer: Any) -> Any:
    """The optimizer at the end of a chain of ``.optimizer``, which has the parameter groups and the hooks.

    Accelerate's wrapper passes for an Optimizer and has no hooks of its own. Raises LrwatchError without groups.
    """
    inner = optimizer
    while hasattr(getattr(inner, "optimizer", None), "param_groups") and inner.optimizer is not inner:
        inner = inner.optimizer
    if not isinstance(getattr(inner, "param_groups", None), list):
        raise LrwatchError(
            f"watch() needs an optimizer with param_groups, got {type(optimizer).__name__}; pass the optimizer itself, "
            "e.g. watch(trainer.optimizer)"
        )
    return inner


def unwrapped_scheduler(scheduler: Any) -> Any:
    """The scheduler inside its wrappers; None where there is none that torch would know."""
    while scheduler is not None and not hasattr(scheduler, "last_epoch") and not hasattr(scheduler, "_schedulers"):
        scheduler = getattr(scheduler, "scheduler", None)
    return scheduler


def with_position(scheduler: Any) -> Any:
    """The scheduler whose ``last_epoch`` counts the steps: of chained ones, which step together, the first."""
    inner = unwrapped_scheduler(scheduler)
    while inner is not None and not hasattr(inner, "last_epoch"):
        inner = inner._schedulers[0] if inner._schedulers else None
    return inner


def promise(contract: str | os.PathLike[str] | Mapping[str, Any] | Contract | None) -> Contract | None:
    """A contract from its path, from plain data, or as it is. Raises ContractError."""
    if contract is None or isinstance(contract, Contract):
        return contract
    if isinstance(contract, Mapping):
        return contracts.from_document(contract)
    return contracts.load(os.fspath(contract))


def severity(fail_on: str | Severity | None) -> Severity | None:
    """Raises LrwatchError on an unknown word."""
    if fail_on is None or isinstance(fail_on, Severity):
        return fail_on
    words = [s.name for s in Severity]
    if fail_on not in words:
        raise LrwatchError(f"fail_on={fail_on!r}: must be one of {', '.join(words)}{did_you_mean(fail_on, words)}")
    return Severity[fail_on]


_TLS = {"certfile": str, "keyfile": str, "client_cafile": str, "client_capath": str, "client_auth_required": bool}


def tls(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """TLS for the metrics, as prometheus_client takes it. With a CA of clients, clients must show a certificate of it.

    Raises:
        LrwatchError: an unknown option, a file that is not there, a certificate without its key.
    """
    if not options:
        return {}
    for name, value in options.items():
        if name not in _TLS:
            raise LrwatchError(f"tls has no {name!r}{did_you_mean(name, _TLS)}")
        if _TLS[name] is str and not os.path.exists(value):
            raise LrwatchError(f"tls {name}: {os.fspath(value)}: no such file")
    if not ("certfile" in options and "keyfile" in options):
        raise LrwatchError("tls needs certfile and keyfile, the server's certificate and its key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options["certfile"], options["keyfile"])
    except (OSError, ValueError) as error:
        raise LrwatchError(f"tls: certfile and keyfile cannot be used: {error}") from None
    asked = "client_cafile" in options or "client_capath" in options
    return {"client_auth_required": asked} | {k: v if _TLS[k] is bool else os.fspath(v) for k, v in options.items()}


def naming(groups: Sequence[Group], names: Sequence[str] | None) -> Name:
    """How parameter groups are called: as the caller says, by their ``name``, else by their index.

    Raises:
        LrwatchError: fewer or more names than groups, or one name twice.
    """
    if names is not None and len(names) != len(groups):
        raise LrwatchError(f"group_names has {len(names)} names for {len(groups)} parameter groups; give one for each")
    given = list(names or ())

    def name(index: int, group: Group) -> str:
        if index < len(given):
            return given[index]
        return str(group.get("name") or index)

    called = [name(i, g) for i, g in enumerate(groups)]
    twice = sorted({n for n in called if called.count(n) > 1})
    if twice:
        raise LrwatchError(
            f"two parameter groups are called {twice[0]!r}; name them apart by their \"name\" or by group_names="
        )
    return name


def unused_groups(contract: Contract | None, called: Sequence[str]) -> list[str]:
    """Groups that the contract has a promise for and the optimizer does not have."""
    if contract is None:
        return []
    lr = contract.signals.get("lr")
    known = {part for name in called for part in (name, *name.split("/"))}
    return [name for name in (lr.groups if lr else ()) if name.rpartition("/")[2] not in known and name not in known]
