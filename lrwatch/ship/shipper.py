"""Block after block to the receiver; what was sent is remembered, what cannot be sent is counted and left behind.

The place is noted before a block is sent and again when it was taken. After a kill the same block is sent with the
same times: a receiver that has it says so, and nothing is sent twice or left out.
"""

from __future__ import annotations

import http.client
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lrwatch.agent.announce import say
from lrwatch.convert.openmetrics import FAMILIES, PREFIX
from lrwatch.errors import LrwatchError
from lrwatch.ship import encode
from lrwatch.ship.clock import place
from lrwatch.ship.positions import Positions, Shipped
from lrwatch.ship.remote import Answer, Receiver
from lrwatch.ship.spool import Block, Place, Worker, segments
from lrwatch.trace.model import SIGNALS

T = TypeVar("T")

BACKOFF: Final = (0.5, 30.0)
"""Seconds until the next attempt: the first time, and at most; it doubles, and varies by a quarter."""
PATIENCE: Final = 120.0
"""Seconds without an answer after which ``once`` gives up; who follows a run waits for ever."""
POLL: Final = 1.0
"""Seconds between two looks for new rows."""
WINDOW: Final = 3_600_000
"""Milliseconds behind its newest sample that a Prometheus takes at all."""
HOPELESS: Final = 16
"""Rows refused one by one, one after the other, after which the rest of their block is given up."""


class Shipper:
    """Ships one run.

    Args:
        labels: further labels of every series. stop: set to end soon, wherever it is.
    """

    def __init__(
        self, run_dir: Path, receiver: Receiver, labels: Mapping[str, str], stop: threading.Event | None = None
    ):
        self._run_dir, self._receiver, self._labels = run_dir, receiver, labels
        self.stop = stop or threading.Event()
        self.done = Shipped()
        self._workers: dict[int, Worker] = {}
        self._next: dict[int, Block] = {}
        self._files: dict[int, list[int]] = {}
        self._look = 0.0
        self._in_a_row = 0
        self._silent = True
        self._patience: float | None = None

    def ship(self, once: bool = False, until_idle: float | None = None) -> Shipped:
        """Ship what is there; then what comes, until the run has ended.

        Args:
            once: what is there is enough. until_idle: seconds without a new row after which it ends, too.

        Raises:
            LrwatchError: nothing can be sent to this receiver; there is no trace.
        """
        self._patience = PATIENCE if once else None
        self._positions = Positions(self._run_dir, self._receiver.url, self._labels)
        try:
            self._resend()
            since = time.monotonic()
            while not self.stop.is_set():
                if self._some():
                    since = time.monotonic()
                    continue
                found = bool(self._workers)
                ended = found and all(worker.ended for worker in self._workers.values())
                idle = until_idle is not None and time.monotonic() - since >= until_idle
                if once or ended or idle:
                    if not found:
                        raise LrwatchError(f"{self._run_dir}: has no trace to ship (trace/rank00000-seg0000.jsonl)")
                    break
                self.stop.wait(POLL)
        finally:
            self._positions.close()
            self._receiver.close()
        return self.done

    # -- blocks -----------------------------------------------------------------------------------------

    def _some(self) -> bool:
        """Ship the block that begins first of all workers' next ones; False when there is none."""
        if time.monotonic() >= self._look:
            self._files, self._look = segments(self._run_dir), time.monotonic() + POLL / 2
        for rank, files in self._files.items():
            if rank not in self._workers:
                self._workers[rank] = Worker(self._run_dir, rank, self._position(rank)[0])
            if rank not in self._next and (block := self._workers[rank].next(files)) is not None:
                self._next[rank] = block
        if not self._next:
            return False
        first = min(self._next.values(), key=lambda block: block.times[0] if len(block) else 0.0)
        del self._next[first.rank]
        self._ship(first)
        return True

    def _position(self, rank: int) -> tuple[Place, int]:
        return self._positions.ranks.get(rank, (Place(), 0))

    def _ship(self, block: Block) -> None:
        self.done.untimed += block.untimed
        self.done.damaged += block.damaged
        last = self._position(block.rank)[1]
        if len(block) and (now := self._now()) is not None:
            placed = place((block.times * 1000).astype(np.int64), last, now)
            ahead = (placed.last - now) / 1000
            if ahead > 10:
                say(f"what was sent last is {ahead:.0f} s later than the receiver's clock; waiting until it is not")
            if ahead > 0 and self.stop.wait(ahead):
                return
            self.done.moved += placed.moved
            begin, end = block.begin, block.end
            self._positions.pending = {
                "rank": block.rank, "segment": begin.segment, "offset": begin.offset, "until": end.offset, "now": now,
            }  # fmt: skip
            self._positions.write()
            if not self._deliver(block, placed.times, now):
                return
            last = placed.last
        elif len(block):
            return
        self._positions.ranks[block.rank] = block.end, last
        self._positions.pending = None
        self._positions.write()

    def _resend(self) -> None:
        """The block that was on its way when an earlier process was killed: exactly that, with the same times."""
        pending = self._positions.pending
        if pending is None:
            return
        rank, begin = int(pending["rank"]), Place(int(pending["segment"]), int(pending["offset"]))
        worker = Worker(self._run_dir, rank, begin)
        block = worker.next(until=int(pending["until"]))
        if block is None or not len(block):
            self._positions.pending = None
            return
        placed = place((block.times * 1000).astype(np.int64), self._position(rank)[1], int(pending["now"]))
        answer = self._post(block, placed.times)
        if answer is None:
            return
        known = "out of order" in answer.text or "duplicate" in answer.text
        if answer.meaning == "taken" or (answer.meaning == "refused" and known):
            self._took(block)
        elif not self._unhappy(answer, block, placed.times, int(pending["now"])):
            return
        self._positions.ranks[rank] = block.end, placed.last
        self._positions.pending = None
        self._positions.write()

    # -- requests ---------------------------------------------------------------------------------------

    def _deliver(self, block: Block, times: NDArray[np.int64], now: int) -> bool:
        """Whether nothing more is to be done about these rows; False only when told to stop."""
        if not len(block):
            return True
        answer = self._post(block, times)
        if answer is None:
            return False
        if answer.meaning == "taken":
            self._in_a_row = 0
            self._took(block)
            return True
        return self._unhappy(answer, block, times, now)

    def _unhappy(self, answer: Answer, block: Block, times: NDArray[np.int64], now: int) -> bool:
        """One sample that cannot be taken makes the receiver refuse all: find it, the oldest rows first."""
        old = times < now - WINDOW
        if ("out of bounds" in answer.text or "too old" in answer.text) and old.any():
            self._give_up(int(old.sum()), answer)
            return self._deliver(block.take(~old), times[~old], now)
        if len(block) == 1 or self._in_a_row >= HOPELESS:
            self._in_a_row += len(block) == 1
            self._give_up(len(block), answer)
            return True
        half = len(block) // 2
        return self._deliver(block.take(slice(half)), times[:half], now) and self._deliver(
            block.take(slice(half, None)), times[half:], now
        )

    def _took(self, block: Block) -> None:
        self.done.rows += len(block)
        self.done.samples += sum(int(block.present[name].sum()) for name, _, _ in _families(block))

    def _give_up(self, rows: int, answer: Answer) -> None:
        first = not self.done.refused
        self.done.refused += rows
        reason = f"{answer.status} {answer.text.splitlines()[0][:160] if answer.text else ''}".strip()
        self.done.reasons[reason] += rows
        if first:
            say(f"{self._receiver.url}: refuses rows, they are left out ({reason})")

    def _now(self) -> int | None:
        """The receiver's time, None when told to stop before it could be asked."""
        return self._patiently(self._receiver.now)

    def _post(self, block: Block, times: NDArray[np.int64]) -> Answer | None:
        """The answer, when there is one that will not change; None when told to stop before."""
        body = encode.request(self._series(block, times))

        def once() -> Answer | None:
            self.done.requests += 1
            answer = self._receiver.send(body)
            if answer.meaning == "wrong":
                raise LrwatchError(self._explained(answer))
            if answer.meaning == "later":
                raise _Later(answer)
            return answer

        return self._patiently(once)

    def _patiently(self, ask: Callable[[], T]) -> T | None:
        """Ask until the receiver answers; None when told to stop."""
        pause, longest = BACKOFF
        began = time.monotonic()
        while True:
            try:
                answer = ask()
                if not self._silent:
                    self._silent = True
                    say(f"{self._receiver.url}: answers again")
                return answer
            except ssl.SSLCertVerificationError as error:
                raise LrwatchError(
                    f"{self._receiver.url}: its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE "
                    "names the file of who is"
                ) from None
            except (OSError, http.client.HTTPException, _Later) as error:
                asked = error.answer.after if isinstance(error, _Later) else None
                if self._silent:
                    self._silent = False
                    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    say(f"{self._receiver.url}: {why}; trying again, nothing is lost")
                if self._patience is not None and time.monotonic() - began > self._patience:
                    raise LrwatchError(
                        f"{self._receiver.url}: did not take anything for {self._patience:g} s; ship again later, it "
                        "goes on where it stopped"
                    ) from None
            if self.stop.wait(asked if asked is not None else pause * random.uniform(0.75, 1.25)):
                return None
            pause = min(pause * 2, longest)

    def _explained(self, answer: Answer) -> str:
        remedy = {
            401: "give --token-file, or LRWATCH_SHIP_TOKEN, and --user where it asks for one",
            403: "this token may not write there",
            404: "nothing receives there; start Prometheus with --web.enable-remote-write-receiver, or check the path",
            405: "nothing receives there; check the path",
        }.get(answer.status, "redirects are not followed" if answer.status // 100 == 3 else "check the address")
        text = f" ({answer.text.splitlines()[0][:160]})" if answer.text else ""
        return f"{self._receiver.url}: answers {answer.status}{text}: {remedy}"

    def _series(self, block: Block, times: NDArray[np.int64]) -> Iterator[bytes]:
        common = {**self._labels, "run_id": block.run or self._run_dir.absolute().name, "rank": str(block.rank)}
        for name, family, group in _families(block):
            labels = {"__name__": PREFIX + family, **common, **({"group": group} if group is not None else {})}
            there = block.present[name]
            yield encode.series(labels, times[there], block.columns[name][there])


class _Later(Exception):
    """The receiver asks to come again."""

    def __init__(self, answer: Answer):
        self.answer = answer
        super().__init__(f"answers {answer.status} {answer.text[:160]}".strip())


def _families(block: Block) -> list[tuple[str, str, str | None]]:
    """Column, family and group of every series that a block has values for."""
    found: list[tuple[str, str, str | None]] = []
    for family, (column, _) in FAMILIES.items():
        if column in SIGNALS:
            names = [name for name in block.columns if name.startswith(column + "/")]
            found += [(name, family, name.removeprefix(column + "/")) for name in names]
        elif column in block.columns:
            found.append((column, family, None))
    return [one for one in found if block.present[one[0]].any()]
