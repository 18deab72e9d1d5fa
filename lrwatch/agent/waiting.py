"""Rows and notes that wait for a device, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lrwatch.agent.notes import ATTEMPT, UPDATE, VALUES, Later, Note, on_its_way

MOST: Final = 4096
"""How many may wait; then the oldest is waited for."""


@dataclass
class Held:
    """One that waits.

    Attributes:
        item: a row that is still a list, or a note. later: its values that are on their way.
        found_inf: what told a fused optimizer to skip, if it was told anything.
        evidence: for a ``step`` without a hook: not zero if the update was skipped. Such a row has no numbers yet.
    """

    item: list[Any] | Note
    later: Sequence[Later] = ()
    found_inf: Any = None
    evidence: Any = None

    def settled(self, wait: bool) -> bool:
        """Whether everything has arrived."""
        copies = [*(copy for _, _, copy in self.later), self.found_inf, self.evidence]
        return all(copy.settled(wait) for copy in copies if on_its_way(copy))

    @property
    def numbered(self) -> bool:
        """Whether it is a row that counted as an update when it was made."""
        return isinstance(self.item, list) and self.evidence is None


class Waiting:
    """The queue."""

    def __init__(self) -> None:
        self._queue: deque[Held] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def row(self, row: list[Any], found_inf: Any = None, evidence: Any = None) -> None:
        """Queue a row."""
        later: list[Later] = [(row, i, x) for i, x in enumerate(row[:VALUES]) if on_its_way(x)]
        if row[VALUES] is not None:
            values = row[VALUES] = list(row[VALUES])
            later += [(values, i, x) for i, x in enumerate(values) if on_its_way(x)]
        self._queue.append(Held(row, later, found_inf, evidence))

    def note(self, note: Note, later: Sequence[Later]) -> None:
        """Queue a note."""
        self._queue.append(Held(note, later))

    def ready(self, wait: bool = False) -> Iterator[Held]:
        """Those from the front that have everything, filled in. ``wait`` waits for all."""
        queue = self._queue
        while queue and queue[0].settled(wait or len(queue) > MOST):
            held = queue.popleft()
            for container, key, copy in held.later:
                container[key] = copy.value
            yield held

    def numbered(self) -> int:
        """How many of those that wait counted as updates when they were made."""
        return sum(held.numbered for held in self._queue)

    def renumber(self, updates: int, attempts: int) -> None:
        """One before them turned out to be skipped: add this to the counters of all that wait."""
        for held in self._queue:
            if isinstance(held.item, Note):
                held.item.update += updates
            elif held.numbered:
                held.item[UPDATE] += updates
                held.item[ATTEMPT] += attempts

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()


def truth(value: Any) -> bool:
    """Whether a number, or the number that a settled copy holds, is not zero."""
    return bool(value.value if on_its_way(value) else value)
