"""Ctrl-C and SIGTERM ask for the end, with the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Told:
    """What signal handlers leave: when they were told to end, on the monotonic clock."""

    at: float | None = None


def on_signals(told: Told) -> Callable[[int, Any], None]:
    """A handler: the first time asks for the end, the second time insists."""

    def handler(number: int, frame: Any) -> None:
        if told.at is not None:
            raise KeyboardInterrupt
        told.at = time.monotonic()

    return handler
