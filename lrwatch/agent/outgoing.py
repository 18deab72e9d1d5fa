"""The way from the training thread to the worker: numbering, order, and waiting for devices.

A row counts as an applied update when it is made. A fused optimizer, or a loss scaler on a device, may say only later
that it was skipped: then the rows behind it, which wait as well, get other numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lrwatch.agent.notes import ATTEMPT, LAG, SCHED, SKIPPED, VALUES, Columns, Item, Later, Note, on_its_way

CAPACITY: Final = 65536
"""Rows that fit into the ring; the worker empties it several times a second."""
MOST_WAITING: Final = 4096
"""How many may wait for a device; then the oldest is waited for."""


@dataclass
class Held:
    """One that waits.

    Attributes:
        item: a row that is still a list, or what stands between rows. later: its values that are on their way.
        found_inf: what told a fused optimizer to skip, if it was told anything.
        evidence: for a ``step`` without a hook: not zero if the update was skipped. Such a row has no numbers yet.
    """

    item: list[Any] | Note | Columns
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


class Outgoing:
    """The ring, the counters, and the queue of what waits."""

    # What every update touches, the recorder's part of it too, lies side by side: caches are cold in a training step.
    __slots__ = (
        "_capacity", "_odd", "_open", "_position", "_queue", "_sched", "_simple", "_unusual", "attempt", "dropped",
        "lag", "limit", "micros", "ring",
    )  # fmt: skip

    def __init__(self, capacity: int = CAPACITY):
        self.ring: deque[Item] = deque()
        self.attempt = 0
        self.lag = 0  # attempts that were skipped: update = attempt - lag
        self.dropped = 0
        self.limit = 0  # the attempt from which on a row needs more than an append
        self._odd = False  # whether the row being made does
        self._capacity = capacity
        self._queue: deque[Held] = deque()

    @property
    def update(self) -> int:
        """Applied updates so far, as far as it is known which were skipped."""
        return self.attempt - self.lag

    def count_from(self, update: int, attempt: int) -> None:
        """Go on from other counters."""
        self.attempt, self.lag = attempt, attempt - update

    def put(self, item: Item) -> None:
        """Into the ring; a row for which there is no room is counted instead."""
        if isinstance(item, tuple) and len(self.ring) >= self._capacity:
            self.dropped += 1
        else:
            self.ring.append(item)

    def mark_odd(self) -> None:
        """The row being made needs more than an append."""
        self._odd, self.limit = True, -1

    def look_around(self, open_row: bool) -> None:
        """Let rows be appended again for as long as there is room, unless something waits or the row is odd."""
        self._odd = self._odd and open_row
        if self._odd or self._queue:
            self.limit = -1
        else:
            self.limit = self.attempt + self._capacity - len(self.ring)

    def between(self, item: Note | Columns, later: Sequence[Later] = ()) -> None:
        """What stands between rows: out, or behind those that wait."""
        if self._queue or later:
            self._queue.append(Held(item, later))
        else:
            self.put(item)

    def hold(self, row: list[Any], found_inf: Any = None, evidence: Any = None) -> None:
        """A row that needs more than an append; ``release`` lets it out."""
        later: list[Later] = [(row, i, x) for i, x in enumerate(row[:VALUES]) if on_its_way(x)]
        if row[VALUES] is not None:
            values = row[VALUES] = list(row[VALUES])
            later += [(values, i, x) for i, x in enumerate(values) if on_its_way(x)]
        self._queue.append(Held(row, later, found_inf, evidence))

    def release(self, wait: bool = False) -> list[list[Any]]:
        """Let out, in order, what has everything; ``wait`` waits for all.

        Returns the rows without a hook that were no skipped updates either; what they were is not decided here.
        """
        undecided = []
        queue = self._queue
        while queue and queue[0].settled(wait or len(queue) > MOST_WAITING):
            held = queue.popleft()
            for container, key, copy in held.later:
                container[key] = copy.value
            item = held.item
            if not isinstance(item, list):
                self.put(item)
            elif held.evidence is not None and not truth(held.evidence):
                undecided.append(item)
            else:
                self._number(item, held)
                self.put(tuple(item))
        return undecided

    def _number(self, row: list[Any], held: Held) -> None:
        if held.evidence is not None:
            behind = sum(h.numbered for h in self._queue)
            row[ATTEMPT], row[LAG] = self.attempt - behind, self.lag
            row[SCHED], row[SKIPPED] = None, 1  # the scheduler was read after the attempt
            self.attempt += 1
            self._renumber(updates=0, attempts=1)
        elif held.found_inf is not None and truth(held.found_inf):
            row[SKIPPED] = 1
            self._renumber(updates=-1, attempts=0)

    def _renumber(self, updates: int, attempts: int) -> None:
        """One more was skipped; those that wait were numbered before that was known."""
        self.lag += 1
        for held in self._queue:
            if isinstance(held.item, Note):
                held.item.update += updates
            elif isinstance(held.item, list) and held.numbered:
                held.item[ATTEMPT] += attempts
                held.item[LAG] += 1


def truth(value: Any) -> bool:
    """Whether a number, or the number that a settled copy holds, is not zero."""
    return bool(value.value if on_its_way(value) else value)
