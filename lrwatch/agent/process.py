"""What outlives a single watch: forks of the process, and its end."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from typing import Any, Protocol


class Member(Protocol):
    """A watch, as the process sees it."""

    _began: float

    def _abandon(self) -> None: ...
    def _close(self, outcome: str, linger: bool = True) -> bool: ...


_live: weakref.WeakSet[Any] = weakref.WeakSet()


def join(member: Member) -> None:
    """From now on, tell it about forks and the end of the process."""
    _live.add(member)


def leave(member: Member) -> None:
    _live.discard(member)


def members() -> list[Any]:
    """All that are running, in the order in which they began."""
    return sorted(_live, key=lambda member: member._began)


def _in_child() -> None:
    """The parent goes on recording; its copy in the child must not."""
    for member in members():
        member._abandon()
    _live.clear()


def _at_exit() -> None:
    """Nobody closed these. An exception that ended the process is still to be seen here."""
    error = getattr(sys, "last_value", None)
    for member in members():
        member._close("failed" if isinstance(error, Exception) else "interrupted")


def handle_sigterm() -> str | None:
    """From now on SIGTERM ends the watches before it ends the process; why not, where that cannot be.

    A handler that is there already knows how the training ends: it is called, and nothing is closed before it.
    """
    if threading.current_thread() is not threading.main_thread():
        return "only the main thread may handle signals"
    before = signal.getsignal(signal.SIGTERM)
    if before is None:
        return "SIGTERM has a handler that is not Python's"
    if before in (signal.SIG_IGN, _told_to_end) or callable(before):
        return None
    signal.signal(signal.SIGTERM, _told_to_end)
    return None


def _told_to_end(number: int, frame: object) -> None:
    for member in members():
        member._close("interrupted", linger=False)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
