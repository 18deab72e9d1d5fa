"""The thread beside the training: empties the ring, feeds the engine, writes the trace, publishes the snapshot.

It wakes by the clock, never by a row, makes no call to a device, and outlives its own exceptions: each is counted,
the first of a kind is said on stderr, and the next turn goes on.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from lrwatch.agent.announce import Announcer, say
from lrwatch.agent.meters import Meters, Snapshot
from lrwatch.agent.peers import Comparison
from lrwatch.agent.publish import Publisher
from lrwatch.agent.rows import alike, joined
from lrwatch.agent.thinning import Thinner
from lrwatch.engine import Newest, Result, Session
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Chunk, Damage, Event, Item

PERIOD: Final = (0.2, 0.8)
"""Seconds between turns: the longer, the more a turn takes; what is recorded is on disk within a second."""
JUDGED: Final = 4.0
"""Seconds that a row waits, at most, until it is judged: a thousand rows cost the engine hardly more than one."""
HELD: Final = 8192
"""Rows that wait for it, at most."""
SHARE: Final = 0.005
"""Of the interpreter's time, which the training needs: for the turns, and for judging, until they are as rare as may
be."""
LOOKS: Final = 0.02
"""Of it, at most, for asking the engine what it has found, while there is anything to diagnose."""


class Writer(Protocol):
    """What the worker needs of ``trace.writer``."""

    def write(self, item: Chunk | Event) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class Rows(Protocol):
    """Where rows come from: a recorder in the training loop, or what follows a log."""

    ring: deque[Any]
    notices: deque[str]
    errors: int
    dropped: int
    memory: tuple[int, int] | None

    def ask_memory(self) -> None: ...


class Maker(Protocol):
    """Makes what the ring holds into items of a trace."""

    rank: int

    def take(self, items: Iterable[Any]) -> Iterable[Item]: ...


class Worker:
    """Drives a live session.

    Args:
        recorder, assembler, session, meters: what it connects.
        writer: makes the writer of a segment, given its number; None where no trace is written.
        on_finding: called once with each new finding, in this thread.
    """

    def __init__(
        self,
        recorder: Rows,
        assembler: Maker,
        session: Session,
        meters: Meters,
        writer: Callable[[int], Writer] | None,
        on_finding: Callable[[Finding], object] | None = None,
    ):
        self._recorder, self._assembler, self._session = recorder, assembler, session
        self.meters = meters
        self._make_writer, self._on_finding = writer, on_finding
        self._writer: Writer | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lrwatch", daemon=True)
        self._troubles: Counter[str] = Counter()
        self._announcer = Announcer(assembler.rank, self._call)
        self._held: list[Chunk] = []
        self._next_feed = self._next_look = 0.0
        self._fed = False
        self._apart: list[Finding] = []
        self.rows = 0
        self.first_update: int | None = None
        self.last_update: int | None = None
        self.origin: str | None = None
        self.segment: int | None = None
        self.started: int | None = None
        """The first update, None before it and where nobody knows it."""
        self.thinner: Thinner | None = None
        self.publisher: Publisher | None = None
        self.comparison: Comparison | None = None
        self.keep_beside: Callable[[], object] | None = None
        """Leaves this worker's contract for who looks into why it is another one."""
        self.first: list[tuple[str, Callable[[], object]]] = []
        """What this thread does before anything else, each after what to say if it fails."""
        self.findings: tuple[Finding, ...] = ()
        self.result: Result | None = None
        self.snapshot: Snapshot = meters.snapshot(None, 0, 0)

    @property
    def errors(self) -> int:
        """Exceptions of the agent so far, on both sides."""
        return self._recorder.errors + sum(self._troubles.values())

    @property
    def dropped(self) -> int:
        """Rows for which there was no room in the ring."""
        return self._recorder.dropped

    def trouble(self, what: str, error: object) -> None:
        """Count something that went wrong; say it the first time."""
        self._troubles[what] += 1
        if self._troubles[what] == 1:
            say(f"{what}: {error}; the training is not affected")

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Have the last turn made; False if that took longer than ``timeout`` seconds."""
        self._stop.set()
        if self._thread is threading.current_thread():  # on_finding closes the watch: the turn ends first
            return True
        if not self._thread.is_alive():
            self._finish()
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """In a forked child, where the thread does not exist: let go of the file without writing to it."""
        self._stop.set()
        if self._writer is not None:
            self._writer.abandon()
        self._writer = self._make_writer = None

    # -- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        self._begin()
        shortest, longest = PERIOD
        pause = shortest
        while not self._stop.wait(pause):
            began = time.thread_time()
            self._attempt("the agent's worker failed", self.turn)
            pause = min(max(shortest, (time.thread_time() - began) / SHARE), longest)
        self._finish()

    def _begin(self) -> None:
        first, self.first = self.first, []
        for what, function in first:
            self._attempt(what, function)

    def _finish(self) -> None:
        self._begin()  # of a thread that could not be started
        self._next_feed = 0.0
        self._attempt("the agent's worker failed", self.turn)
        if self.comparison is not None:
            self.comparison.end()
            self._differs(self.comparison.take())
        self.result = self._attempt("the engine failed", self._session.finish)
        if self.result is not None:
            self.findings = (*self.result.findings, *self._apart)
            self.meters.found(self.findings)
        self._announcer.take(self.findings, last=True)
        self._write_on(None)
        self._attempt("the agent's worker failed", self._publish, True)

    def turn(self) -> None:
        """Everything that happened since the last turn."""
        ring, notices = self._recorder.ring, self._recorder.notices
        while notices:
            say(notices.popleft())
        items = [ring.popleft() for _ in range(len(ring))]
        for item in self._assembler.take(items):
            self._item(item)
        if items and self._writer is not None:
            self._attempt("the trace cannot be written", self._writer.flush)
        if self._held and (time.monotonic() >= self._next_feed or sum(map(len, self._held)) >= HELD):
            self._feed()
        if self.comparison is not None and (apart := self.comparison.take()):
            self._differs(apart)
            self._fed = True
        if self._fed and time.monotonic() >= self._next_look:
            self._look()
        self._announcer.take(self.findings)
        self._publish()

    def _item(self, item: Item) -> None:
        if isinstance(item, Chunk):
            self.rows += len(item)
            self.last_update = int(item.columns["update"][-1])
            if self.first_update is None:
                self.first_update = int(item.columns["update"][0])
            if self._held and not alike(self._held[0], item):
                self._feed()
            self._held.append(item)
        elif isinstance(item, Damage):
            self._feed()
            self._judge(item)
            return
        else:
            self._feed()
            if item.kind in ("start", "resume"):
                self._starts(item)
                self._write_rest()
                self._write_on(item.segment)
            self._attempt("the agent's worker failed", self.meters.event, item)
            self._judge(item)
        if self._writer is not None:
            self._write(self._writer, item)

    def _write(self, writer: Writer, item: Chunk | Event) -> None:
        if isinstance(item, Event):
            self._write_rest()
        elif self.thinner is not None:
            item = self.thinner.take(item)
        if isinstance(item, Event) or len(item):
            self._attempt("the trace cannot be written", writer.write, item)

    def _differs(self, apart: list[Finding]) -> None:
        self._apart += apart
        if self.keep_beside is not None and any(f.severity == Severity.error for f in apart):
            self._attempt("the contract cannot be copied", self.keep_beside)

    def _write_rest(self) -> None:
        rest = self.thinner.rest() if self.thinner is not None else None
        if rest is not None and self._writer is not None:
            self._attempt("the trace cannot be written", self._writer.write, rest)

    def _starts(self, event: Event) -> None:
        self.origin, self.segment = event.fields["origin"], event.segment
        if self.thinner is not None:
            self.thinner.begin()
        if self.origin != "unknown":
            self.started = event.update
        if self.comparison is not None:
            self.comparison.begin(self.started)

    def _feed(self) -> None:
        """Have the rows judged that wait, and shown: the values and what was expected of them belong together."""
        if self._held:
            began = time.thread_time()
            chunk, self._held = joined(self._held), []
            self._attempt("the agent's worker failed", self.meters.chunk, chunk)
            self._judge(chunk)
            self._next_feed = time.monotonic() + min((time.thread_time() - began) / SHARE, JUDGED)

    def _judge(self, item: Item) -> None:
        self._attempt("the engine failed", self._session.feed, item)
        self._fed = True

    def _write_on(self, segment: int | None) -> None:
        """End the file of one segment and begin that of the next, None for no next one."""
        if self._writer is not None:
            self._attempt("the trace cannot be written", self._writer.close)
        make = self._make_writer
        self._writer = make(segment) if make is not None and segment is not None else None

    def _look(self) -> None:
        """Ask the engine what it has found."""
        self._fed = False
        began = time.thread_time()
        findings = self._attempt("the engine failed", self._session.findings)
        self._next_look = time.monotonic() + (time.thread_time() - began) / LOOKS
        if findings is not None:
            self.findings = (*findings, *self._apart)
            self.meters.found(self.findings)

    def _call(self, finding: Finding) -> None:
        if self._on_finding is not None:
            self._attempt("on_finding failed", self._on_finding, finding)

    def _publish(self, ended: bool = False) -> None:
        self.meters.memory = self._recorder.memory
        self._recorder.ask_memory()
        newest: Newest | None = self._session.newest(self._assembler.rank)
        self.snapshot = self.meters.snapshot(newest, self._recorder.dropped, self.errors)
        if self.publisher is not None:
            self._attempt("the snapshot cannot be published", self.publisher.publish, ended)

    def _attempt(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:
            self.trouble(what, f"{type(error).__name__}: {error}")
            return None
