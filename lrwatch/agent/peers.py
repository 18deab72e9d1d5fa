"""Whether the workers of a job started alike: contract, number of workers, first update.

Each worker compares itself with whoever came first, by one ``compare_set`` on the launcher's rendezvous store (the
store answers with what is there, and waits for nobody), over a connection of its own in a thread of its own. So
nothing here is a collective: it works before ``init_process_group``, and a worker without a watch keeps nobody waiting.
``check_ranks`` is the explicit collective, for who wants to be sure before the first update.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from lrwatch.agent import process
from lrwatch.agent.ranks import identify
from lrwatch.contract.hash import Identity, compare
from lrwatch.errors import LrwatchError
from lrwatch.findings import Finding, Severity

PATIENCE: Final = 120.0
"""Seconds in which the store may come up: some launchers leave that to the first worker."""
ANSWER: Final = 3.0
"""Seconds for one call of the store; the end of a watch may have to wait that long."""
SLUG: Final = "contract-mismatch"
CODE: Final = "LR202"

_named: Counter[str] = Counter()
_checked = 0


@dataclass(frozen=True)
class Start:
    """How a worker started; None where that is not known (``contract``: it holds none)."""

    rank: int
    contract: str | None
    world: int | None
    update: int | None


def address(environ: Mapping[str, str] | None = None) -> tuple[str, int] | None:
    """Host and port of the store, as torchrun and most launchers say it; None where nobody does."""
    environ = os.environ if environ is None else environ
    host, port = environ.get("MASTER_ADDR", ""), environ.get("MASTER_PORT", "")
    return (host, int(port)) if host and port.isdecimal() and 0 < int(port) < 65536 else None


def difference(mine: Start, other: Start) -> Finding | None:
    """What two workers that should have started alike do not share, as a finding of ``mine``."""
    facts, fixes, severity = [], [], Severity.warning
    a, b = mine.contract, other.contract
    if a and b and compare(Identity.parse(a), Identity.parse(b)) == "mismatch":
        facts.append(f"holds contract {_short(a)}, rank {other.rank} {_short(b)}")
        fixes.append("ship one contract to all workers and restart the ones that differ")
        severity = Severity.error
    if None not in (mine.world, other.world) and mine.world != other.world:
        facts.append(f"counts {mine.world} workers, rank {other.rank} {other.world}")
        fixes.append("start all workers with one launcher and one WORLD_SIZE")
        severity = Severity.error
    if None not in (mine.update, other.update) and mine.update != other.update:
        facts.append(f"starts at update {mine.update}, rank {other.rank} at {other.update}")
        fixes.append("restore one checkpoint on all workers, or pass the same start_step=")
    if not facts:
        return None
    return Finding(
        CODE, SLUG, severity, f"rank {mine.rank} " + "; it ".join(facts),
        rank=mine.rank, first_step=mine.update, fix="; ".join(fixes), details={"other": other.rank},
    )  # fmt: skip


def _short(identity: str) -> str:
    return Identity.parse(identity).sha256[:8]


class Comparison:
    """Compares this worker's start with that of the first one, once; the answer is picked up by ``take``.

    Args:
        run: the run's id. rank, world, contract: of this worker. where: of the store.
    """

    def __init__(self, run: str, rank: int, world: int | None, contract: str | None, where: tuple[str, int]):
        _named[run] += 1  # a second watch on the same run, as for a second optimizer, has a key of its own
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._key = f"lrwatch/{run}/{attempt}/{_named[run]}"
        self._rank, self._world, self._contract, self._where = rank, world, contract, where
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._answer: Finding | None = None

    def begin(self, update: int | None) -> None:
        """The first update is known: ask, in another thread."""
        if self._thread is None:
            mine = Start(self._rank, self._contract, self._world, update)
            self._thread = threading.Thread(target=self._run, args=(mine,), name="lrwatch-ranks", daemon=True)
            self._thread.start()

    def take(self) -> list[Finding]:
        """What was found, once."""
        found, self._answer = self._answer, None
        return [] if found is None else [found]

    def end(self) -> None:
        """Ask no more; waits for a call that is on its way, for at the end of the process it must not be."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * ANSWER)

    def _run(self, mine: Start) -> None:
        until = time.monotonic() + PATIENCE
        while True:  # once at least, however soon the watch ends
            try:
                store = connected(self._where, ANSWER)
                said = store.compare_set(self._key, "", json.dumps(asdict(mine)))
                self._answer = difference(mine, Start(**json.loads(said)))
                return
            except Exception:  # not up yet, or no store at all; nobody depends on it
                if self._stop.wait(1.0) or time.monotonic() >= until:
                    return


def connected(where: tuple[str, int], timeout: float) -> Any:
    """A connection of one's own to the store. Raises OSError, RuntimeError: there is none."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available():
        raise RuntimeError("torch.distributed is not there")
    socket.create_connection(where, timeout).close()  # torch would log, at length, that nobody answers
    return distributed.TCPStore(*where, is_master=False, timeout=timedelta(seconds=timeout), wait_for_workers=False)


def check_ranks(timeout: float = 60.0) -> tuple[Start, ...]:
    """Wait until every worker has come here, and compare how they started: a collective, call it on all workers.

    Contract and number of workers are those of the newest watch of each process, its first update where it is known;
    a worker without a watch is only counted.

    Args:
        timeout: seconds to wait for the last worker.

    Returns:
        The workers' starts, by rank.

    Raises:
        LrwatchError: workers that did not come, or what they do not share; no rendezvous store to meet at.

    Example:
        >>> lrwatch.check_ranks(timeout=30)                                      # doctest: +SKIP
    """
    global _checked
    here, watches = identify(), process.members()
    mine = watches[-1].started_as() if watches else Start(here.rank, None, here.world, None)
    if (mine.world or 1) == 1:
        return (mine,)
    _checked += 1
    prefix = f"lrwatch/check/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{_checked}"
    starts = _meet(prefix, mine, mine.world or 1, timeout)
    problems = [f.message for start in starts[1:] if (f := difference(start, starts[0]))]
    if problems:
        raise LrwatchError(f"the workers did not start alike: {'; '.join(problems)}")
    return starts


def _meet(prefix: str, mine: Start, world: int, timeout: float) -> tuple[Start, ...]:
    where = address()
    if where is None:
        raise LrwatchError("check_ranks() needs the launcher's store: set MASTER_ADDR and MASTER_PORT as torchrun does")
    until = time.monotonic() + timeout
    store: Any = None
    while store is None:
        try:
            store = connected(where, max(min(ANSWER, until - time.monotonic()), 1.0))
        except (OSError, RuntimeError) as error:
            if time.monotonic() >= until:
                raise LrwatchError(f"check_ranks(): nobody answers at {where[0]}:{where[1]} ({error})") from None
            time.sleep(0.2)
    store.set(f"{prefix}/{mine.rank}", json.dumps(asdict(mine)))
    keys = [f"{prefix}/{rank}" for rank in range(world)]
    while missing := [rank for rank, key in enumerate(keys) if not store.check([key])]:
        if time.monotonic() >= until:
            who = ", ".join(map(str, missing[:8])) + (" …" if len(missing) > 8 else "")
            raise LrwatchError(
                f"check_ranks(): {len(missing)} of {world} workers did not come within {timeout:g} s: rank {who}; "
                "it is a collective, call it on all workers"
            )
        time.sleep(0.05)
    return _read(store, keys)


def _read(store: Any, keys: Sequence[str]) -> tuple[Start, ...]:
    return tuple(Start(**json.loads(store.get(key))) for key in keys)
