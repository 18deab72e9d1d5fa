"""Being told to stop: SIGTERM and SIGINT end the micro-batch at hand, not the process."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType

EXIT_BASE = 128
"""A process that was stopped by signal n exits with 128 + n: 143 for SIGTERM, 130 for Ctrl-C."""


class Stop:
    """Whether, and by which signal, this process has been told to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        parent = multiprocessing.parent_process()
        self._parent = parent.sentinel if parent is not None else None

    @property
    def requested(self) -> bool:
        """True once a signal has come, or once the process that started this one is gone."""
        if self.signal is None and self._parent is not None and wait([self._parent], timeout=0):
            self.signal = signal.SIGTERM
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        return EXIT_BASE + (self.signal or signal.SIGTERM)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signal = self.signal or signum


@contextmanager
def listening() -> Iterator[Stop]:
    """Note SIGTERM and SIGINT instead of dying of them; the handlers of before are put back.

    Outside the main thread, where Python allows no handlers, only ``Stop.requested``'s other reason remains.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, stop._note) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
