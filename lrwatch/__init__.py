"""lrwatch writes the learning-rate schedule down as a contract and says where training parts from it.

    watch = lrwatch.watch(optimizer, contract="contract.yaml")
    lrwatch.check(optimizer, scheduler, total_steps=20_000)

The names below are imported when they are first used: ``import lrwatch`` itself loads neither torch
nor numpy, so that a command line, a test collector or a config module can afford it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lrwatch.agent.peers import check_ranks
    from lrwatch.agent.running import TrainingContractBroken
    from lrwatch.agent.watch import watch
    from lrwatch.integrations.torch import check

__version__ = "0.1.0"

__all__ = ["TrainingContractBroken", "__version__", "check", "check_ranks", "watch"]

_HOME: Final = {
    "TrainingContractBroken": "lrwatch.agent.running",
    "check": "lrwatch.integrations.torch",
    "check_ranks": "lrwatch.agent.peers",
    "watch": "lrwatch.agent.watch",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from lrwatch.errors import MissingExtra

        raise MissingExtra(f"lrwatch.{name}", "torch") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
