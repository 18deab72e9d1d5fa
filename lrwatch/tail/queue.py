"""Between the thread that reads and the worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from lrwatch.trace.model import Chunk, Item


class Queue:
    """Items on their way to the worker, as it takes the rows of a recorder."""

    def __init__(self, rank: int):
        self.rank = rank
        self.ring: deque[Item] = deque()
        self.notices: deque[str] = deque()
        self.errors = self.dropped = 0
        self.memory: tuple[int, int] | None = None

    @property
    def rows(self) -> int:
        """How many wait; an event or damage counts as one."""
        return sum(len(item) if isinstance(item, Chunk) else 1 for item in tuple(self.ring))

    def ask_memory(self) -> None:
        """No accelerator is seen from here."""

    def take(self, items: Iterable[Item]) -> Iterable[Item]:
        """They are items already."""
        return items
