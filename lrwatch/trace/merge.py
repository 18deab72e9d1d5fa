"""Several sources of one run as one stream, so that all workers advance together.

``chain`` puts the parts of one worker one after the other; ``merge`` takes the next item from the worker that has
come the shortest way. The way is the sum of its steps forward: a worker that was rolled back does not fall behind
by it, or it would be read alone until it has caught up, while the others, rolled back as well, would wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from lrwatch.trace.model import Chunk, Item


def chain(sources: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """All items of the first source, then of the second, …"""
    for source in sources:
        yield from source


def merge(sources: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """Items of all sources; next comes the source that is behind, of equal ones the first.

    One item per source is read at a time; a source that is not started does not hold a file open.
    """
    iterators = [iter(source) for source in sources]
    ways = [_Way() for _ in iterators]
    heap = [(-1, index) for index in range(len(iterators))]
    while heap:
        _, index = heap[0]
        item = next(iterators[index], None)
        if item is None:
            heapq.heappop(heap)
            continue
        if isinstance(item, Chunk) and len(item):
            heapq.heapreplace(heap, (ways[index].on(item), index))
        yield item


class _Way:
    """How many updates forward a source has come."""

    def __init__(self) -> None:
        self.length = -1
        self.last: dict[int, int] = {}

    def on(self, chunk: Chunk) -> int:
        steps = chunk.columns["update"]
        last = self.last.get(chunk.rank, -1)
        forward = max(int(steps[0]) - last, 0) + int((steps[1:] - steps[:-1]).clip(min=0).sum())
        self.last[chunk.rank] = int(steps[-1])
        if chunk.rank == next(iter(self.last)):  # of a source with many workers the first one tells
            self.length += forward
        return self.length
