"""Reading goes on in a thread of its own while what was read is judged."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextvars import copy_context
from typing import Final

from lrwatch.readers.base import TraceSource
from lrwatch.trace.model import Item

_AHEAD: Final = 2
"""Items that wait to be judged."""
_POLL: Final = 0.5


class Ahead:
    """A source that is read ahead; worth it where the reading is done outside of Python."""

    def __init__(self, source: TraceSource):
        self.source, self.rereadable = source, source.rereadable
        self.info, self.rank = source.info, source.rank

    def __iter__(self) -> Iterator[Item]:
        return ahead(self.source)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, the next ones being read meanwhile; what reading raises is raised here."""
    waiting: queue.Queue[Item | BaseException | None] = queue.Queue(_AHEAD)
    gone = threading.Event()

    def put(item: Item | BaseException | None) -> None:
        while not gone.is_set():
            try:
                return waiting.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                if gone.is_set():
                    return
                put(item)
            put(None)
        except BaseException as e:  # for the other thread to raise
            put(e)

    thread = threading.Thread(target=copy_context().run, args=(read,), name="lrwatch-reader", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        gone.set()
        while not waiting.empty():
            waiting.get_nowait()
        thread.join()
