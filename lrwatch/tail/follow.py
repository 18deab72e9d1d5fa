"""Drives the agent's worker with the rows of a text, until the text or the user ends it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from lrwatch.agent import publish as publishing
from lrwatch.agent import summary
from lrwatch.agent.announce import say
from lrwatch.agent.exporter import Exporter
from lrwatch.agent.meters import Meters
from lrwatch.agent.naming import name_run
from lrwatch.agent.ranks import identify
from lrwatch.agent.worker import Worker
from lrwatch.contract import signature
from lrwatch.contract.kept import keep
from lrwatch.contract.model import Contract
from lrwatch.engine import Session
from lrwatch.errors import LrwatchError, TraceError
from lrwatch.readers import readers
from lrwatch.readers.base import Options, rank_in
from lrwatch.result import Result
from lrwatch.tail.queue import Queue
from lrwatch.tail.recognise import Text
from lrwatch.tail.recorded import Recording, rows_recorded
from lrwatch.tail.rows import Placing
from lrwatch.tail.signals import Told
from lrwatch.tail.sources import GrowingFile, Piece, TextSource
from lrwatch.trace.model import Event, Item, TraceInfo
from lrwatch.trace.writer import last_position
from lrwatch.verify import Report

GRACE: Final = 5.0
"""Seconds that a pipe is still read after Ctrl-C: the trainer got it, too, and may have a last word."""
PATIENT: Final = 60.0
"""Seconds for the last turn: nobody else waits for this process."""
SILENT: Final = 60.0
"""Seconds of text without a row after which that is said."""
STARTS: Final = 8
"""New starts that get a line each."""
FULL: Final = 1 << 14
"""Rows that wait for the worker; then reading waits."""


@dataclass(frozen=True)
class Settings:
    """What the user said.

    Attributes:
        run_id, run_dir: as of ``lrwatch.watch``. host, port: of the metrics, None: any free port.
        linger: seconds that the final state stays readable, at most, until those who scraped have read it twice.
        until_idle: seconds without text after which it ends; None: never. contract_key: as of ``lrwatch.watch``.
    """

    run_id: str | None = None
    run_dir: Path | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    linger: float = 0.0
    until_idle: float | None = None
    contract_key: str | None = None


class Tail:
    """One text, followed.

    Raises:
        LrwatchError: the contract is not signed where that is asked for; a run id that is no file name.
    """

    def __init__(
        self,
        source: TextSource,
        contract: Contract | None,
        options: Options,
        format: str | None,
        settings: Settings,
    ):
        self._source, self._contract, self._settings = source, contract, settings
        signed = signature.required(contract, settings.contract_key) is not None
        identity = identify()
        named = rank_in(Path(source.name)) or 0
        self.identity = identity if named == 0 else type(identity)(named, identity.world)
        experiment = contract.experiment or None if contract else None
        self.run, self.run_dir = name_run(settings.run_id, settings.run_dir, experiment or "run", self.identity)
        rank, last = self.identity.rank, last_position(self.run_dir, self.identity.rank)
        segment = 0 if last is None else last.segment + 1
        self._skip = partial(rows_recorded, self.run_dir, rank, last.segment) if last is not None else None
        self._first_segment = segment
        about = {"run": self.run, "experiment": experiment, "world": self.identity.world, "from": source.name}
        self._placing = Placing(
            rank=rank, named=named, segment=segment, about=about, identity=lambda: source.identity,
            numbered=contract is None or contract.clock.axis == "update",
        )  # fmt: skip
        self._text = Text(source.name, readers(), options, format)
        self._queue = Queue(rank)
        earlier = summary.read(self.run_dir, rank)
        spent = earlier.get("gpu_seconds")
        meters = Meters(
            rank=rank,
            world=self.identity.world,
            attempt=segment + 1,
            contract=contract,
            signed=signed,
            gpu_seconds=spent if isinstance(spent, float) else 0.0,
            linger=settings.linger,
        )
        meters.goal.restore(earlier)
        self.worker = Worker(self._queue, self._queue, Session(contract, live=True), meters, self._writer)
        self._recording: Recording | None = None
        published = publishing.asked_for(None)
        self.exporter = Exporter(
            lambda: self.worker.snapshot,
            run_id=self.run, rank=rank, host=settings.host, port=settings.port,
            run_dir=None if published else self.run_dir,
        )  # fmt: skip
        if published:
            self.worker.publisher = publishing.Publisher(self.run_dir, rank, self.exporter.text)
        if contract is not None and rank == 0:
            self.worker.first.append(("the contract cannot be copied", partial(keep, contract, self.run_dir)))
        self._broken: LrwatchError | None = None
        self._warned = False

    def _writer(self, segment: int) -> Recording:
        if self._recording is None:
            skip = self._skip(self._source.identity) if self._skip is not None else 0
            self._recording = Recording(self.run_dir, self.identity.rank, skip)
        return self._recording(segment)

    # -- the whole of it --------------------------------------------------------------------------------

    def follow(self, told: Told) -> Report:
        """Read until the end, and judge.

        Raises:
            LrwatchError: nothing in the text could be read, or not all of it.
        """
        began = time.time()
        self.exporter.start()
        for problem in self.exporter.problems:
            self.worker.trouble("metrics", problem)
        self._banner()
        self.worker.start()
        outcome = "interrupted"
        try:
            outcome = self._read(told)
        except LrwatchError as e:
            self._broken, outcome = e, "failed"
        finally:
            result = self._finish(outcome, began)
            self._source.close()
        if self._broken is not None:
            raise self._broken
        return Report(result, self._info(), self._contract)

    def _info(self) -> TraceInfo:
        return TraceInfo((self._source.name,), self._text.reader.name if self._text.reader else "")

    def _banner(self) -> None:
        against = "without a contract: only what needs none is checked"
        if self._contract is not None:
            name = ", ".join(filter(None, (self._contract.experiment, self._contract.sha256[:12])))
            against = f"against {self._contract.source} ({name})"
        say(f"following {self._source.name} {against}")
        say(f"run {self.run}: trace in {self.run_dir}, metrics at {self.exporter.url or 'no port'}")
        if isinstance(self._source, GrowingFile) and not self._source.exists and not self._source.path.exists():
            say(f"{self._source.name}: is not there yet; waiting for it")

    # -- reading ----------------------------------------------------------------------------------------

    def _read(self, told: Told) -> str:
        """Until the end; how the run ended, as far as a text tells."""
        idle_since = monotonic = time.monotonic()
        silent_since: float | None = None
        pipe = not isinstance(self._source, GrowingFile)
        while True:
            piece = self._source.read()
            monotonic = time.monotonic()
            if piece is None:
                return self._outcome()
            if piece.data:
                idle_since = monotonic
                silent_since = silent_since or monotonic
            if not self._understood(piece) and not pipe:
                return "failed"
            if self._text.reader is None and silent_since and monotonic - silent_since > SILENT and not self._warned:
                self._warned = True
                say(f"{self._source.name}: no row is recognised yet; --from FORMAT says what it is")
            if told.at is not None and (monotonic - told.at > GRACE if pipe else not piece.data):
                return "interrupted"
            idle = self._settings.until_idle
            if idle is not None and monotonic - idle_since >= idle:
                return self._outcome()

    def _understood(self, piece: Piece) -> bool:
        """Take in a piece. What cannot be understood stops no pipe: the trainer behind it would die of it."""
        if self._broken is not None:
            return False
        try:
            if piece.fresh:
                self._put(self._placing.take(self._text.fresh(), piece))
                self._put(self._placing.fresh())
            known = self._text.reader
            self._put(self._placing.take(self._text.take(piece.data), piece))
            if known is None and self._text.reader is not None:
                say(f"reading {self._source.name} as {self._text.reader.name}")
        except LrwatchError as e:
            self._broken = e
        except Exception as e:
            self._broken = TraceError(f"broke the reader ({type(e).__name__}: {e})", source=self._source.name)
        if self._broken is not None and not isinstance(self._source, GrowingFile):
            say(f"{self._broken}; the text is still handed on, and not checked any more")
        return self._broken is None

    def _put(self, items: Iterable[Item]) -> None:
        for item in items:
            while self._queue.rows >= FULL:
                time.sleep(0.01)
            if isinstance(item, Event) and item.kind in ("start", "resume"):
                self._note_start(item)
            self._queue.ring.append(item)
        if self._placing.foreign > self._queue.dropped:
            if not self._queue.dropped:
                say(f"{self._source.name}: has rows of several workers; only rank {self.identity.rank} is followed")
            self._queue.dropped = self._placing.foreign

    def _note_start(self, event: Event) -> None:
        if event.fields["origin"] == "unknown":
            say(
                f"{self._source.name}: rows have no number, so their rates are compared with nothing; "
                "--steps-per-epoch N or --every N places them"
            )
        elif (again := event.segment - self._first_segment) > 0 and again <= STARTS:
            more = "; further ones are not told" if again == STARTS else ""
            say(f"a new start at step {event.update} (segment {event.segment}){more}")

    # -- the end ----------------------------------------------------------------------------------------

    def _outcome(self) -> str:
        """``finished``, unless the contract says that there should have been more."""
        contract, strides = self._contract, self._placing.strides
        if contract is None or not contract.horizon or contract.clock.axis != "update" or strides is None:
            return "finished"
        before, last = strides
        return "finished" if last + max(last - before, 1) >= contract.horizon else "interrupted"

    def _finish(self, outcome: str, began: float) -> Result:
        if self._broken is None:
            try:
                now = Piece(b"", ts=time.time())
                self._put(self._placing.take(self._text.end(), now))
                self._put(self._placing.release(last=True))
            except LrwatchError as e:
                self._broken = e
        if self._placing.strides is not None:
            end = self._placing.strides[1] + 1
            fields = {"outcome": outcome}
            self._queue.ring.append(
                Event("end", end, self.identity.rank, self._placing.segment, time.time(), fields)
            )
        if not self.worker.stop(PATIENT):
            self.worker.trouble("the end", f"the worker did not end within {PATIENT:g} s")
        try:
            if self.worker.rows:
                self._summarise(outcome, began)
            elif self._broken is None:
                self._broken = self._nothing()
            if self._settings.linger:
                self.exporter.linger(self._settings.linger)
        except KeyboardInterrupt:
            pass  # whoever is there has seen enough
        finally:
            self.exporter.close()
        if self.worker.result is None:
            raise LrwatchError(f"{self._source.name}: the engine did not finish; verify {self.run_dir}")
        return self.worker.result

    def _summarise(self, outcome: str, began: float) -> None:
        content = summary.document(
            self.worker, self._contract, self.identity,
            run=self.run, outcome=outcome, started=began, ended=time.time(),
        )  # fmt: skip
        try:
            summary.write(self.run_dir, self.identity.rank, content)
        except OSError as e:
            self.worker.trouble("the summary cannot be written", e)

    def _nothing(self) -> TraceError:
        if isinstance(self._source, GrowingFile) and not self._source.exists:
            return TraceError("no such file came", source=self._source.name)
        if self._text.reader is None:
            known = ", ".join(name for name, reader in readers().items() if reader.lines is not None)
            return TraceError(
                f"no line of it is of a trace that lrwatch recognises ({known}); say which with --from FORMAT",
                source=self._source.name,
            )
        return TraceError(
            f"has no row with a step that the reader {self._text.reader.name} recognises; nothing to check",
            source=self._source.name,
        )
