"""Files of several workers read by several processes (``--jobs``), which pays where Python does the parsing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

from lrwatch.errors import TraceError
from lrwatch.readers.base import Options, TraceSource, several
from lrwatch.trace import merge
from lrwatch.trace.model import Item, TraceInfo

_AHEAD: Final = 2
"""Items that a process may be ahead of the one that judges."""

Open = Callable[[str, str, Options], TraceSource]
"""Opens a path whose format is known; a function of a module, for it is sent to another process."""
Parts = tuple[tuple[str, str], ...]
"""Path and format of each file of one group."""


class Shared:
    """Sources of one run, each group of them read by a process of its own; workers advance together."""

    rereadable = True
    rank: int | None = None

    def __init__(self, sources: Sequence[TraceSource], info: TraceInfo, options: Options, jobs: int, start: Open):
        self.info, self.options, self.start = info, options, start
        by_worker: dict[object, list[tuple[str, str]]] = {}
        for i, source in enumerate(sources):
            worker = ("mixed", i) if source.rank is None else source.rank
            by_worker.setdefault(worker, []).append((source.info.paths[0], source.info.format))
        workers = list(by_worker.values())
        groups = [workers[i::jobs] for i in range(min(jobs, len(workers)))]
        self.groups: list[Parts] = [tuple(part for worker in group for part in worker) for group in groups]

    def __iter__(self) -> Iterator[Item]:
        return merge.merge([_remote(group, self.options, self.start) for group in self.groups])


def _remote(parts: Parts, options: Options, start: Open) -> Iterator[Item]:
    """The items that another process reads from these files."""
    context = multiprocessing.get_context("spawn")  # a fork would copy polars' threads in whatever state they are
    ours, theirs = context.Pipe()
    process = context.Process(target=_read, args=(theirs, parts, _plain(options), start), daemon=True)
    process.start()
    theirs.close()
    try:
        for _ in range(_AHEAD):
            ours.send(True)
        while True:
            try:
                kind, value = ours.recv()
            except EOFError:
                raise TraceError("the process that read it was stopped", source=parts[0][0]) from None
            if kind == "end":
                return
            if kind == "error":
                message, source, line = value
                raise TraceError(message, source=source, line=line)
            try:
                ours.send(True)
            except OSError:  # it has ended; what it said last is still to be read
                pass
            yield value
    finally:
        ours.close()
        process.terminate()
        process.join()


def _read(pipe: Connection, parts: Parts, options: dict[str, Any], start: Open) -> None:
    """What the other process does: read, and send an item whenever it may."""
    try:
        for item in several([start(path, format, Options(**options)) for path, format in parts]):
            pipe.recv()
            pipe.send(("item", item))
        pipe.send(("end", None))
    except TraceError as e:
        pipe.send(("error", (e.problem, e.source, e.line)))
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # nobody listens any more


def _plain(options: Options) -> dict[str, Any]:
    """The options as what can be sent to a process."""
    return {**vars(options), "columns": dict(options.columns)}
