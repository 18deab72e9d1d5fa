"""Workers, or the trace and the given contract, do not hold the same contract.

What it checks
    The identity (hash and amendment chain) that every worker recorded at its start: among the workers, from one resume
    to the next, and against the contract that the trace is verified with. A longer chain that begins with another's
    is the same contract, amended: that is legal. Also, of workers that were running at the same time, how many workers
    each counted, and at which update each began.

Why it matters
    A worker that counts other workers, or begins elsewhere, follows another schedule. A worker with a stale
    configuration trains another model than its neighbours, and a trace judged by another contract than its own proves
    nothing.

Example
    contract-mismatch: rank 2 holds contract 5d1f0c93, the other workers 8a44e1b7.
    contract-mismatch: rank 1 starts at update 900, the others at 1000.

Fix
    Ship one contract to all workers (a ConfigMap with a hashed name), and restart the one that differs. Start all
    workers with one launcher, and restore one checkpoint on all of them.

Source
    Failure mode "asymmetric behaviour: workers' schedules out of sync after a configuration change".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lrwatch.checks.base import Batch, Check, Context
from lrwatch.contract.hash import Identity, compare
from lrwatch.findings import Finding, Severity
from lrwatch.trace.model import Event


@dataclass
class Attempt:
    """The newest start of a worker.

    Attributes:
        began, last: Unix seconds of the start and of the newest row. update: the first one, None where nobody knows.
    """

    segment: int
    world: int | None
    update: int | None
    began: float
    last: float

    def beside(self, other: Attempt) -> bool:
        """Whether the two ran at the same time: for half of the shorter one, as clocks and ends differ a little."""
        shorter = min(self.last - self.began, other.last - other.began)
        both = min(self.last, other.last) - max(self.began, other.began)
        return shorter > 0 and 2 * both >= shorter


class ContractMismatch(Check):
    slug = "contract-mismatch"
    code = "LR202"
    title = "workers hold different contracts"
    scope = "run"

    def __init__(self, context: Context):
        super().__init__(context)
        self.held: dict[int, tuple[str, int]] = {}
        """Newest identity of each rank and the update from which it holds."""
        self.changed: tuple[str, str, int] | None = None
        """The first change that is no amendment: from, to, and the update."""
        self.attempts: dict[int, Attempt] = {}

    def event(self, event: Event) -> None:
        identity = event.fields.get("contract")
        if event.kind in ("start", "resume") and isinstance(identity, str) and identity:
            before, _ = self.held.get(event.rank, (identity, 0))
            if self.changed is None and compare(Identity.parse(before), Identity.parse(identity)) == "mismatch":
                self.changed = (before, identity, event.update)
            self.held[event.rank] = (identity, event.update)
        if event.kind in ("start", "resume") and event.ts is not None:
            world = event.fields.get("world")
            self.attempts[event.rank] = Attempt(
                event.segment,
                world if isinstance(world, int) else None,
                None if event.fields.get("origin") == "unknown" else event.update,
                event.ts,
                event.ts,
            )

    def update(self, batch: Batch) -> None:
        rank, ts = batch.chunk.rank, batch.chunk.columns.get("ts")
        if rank in self.attempts and ts is not None and batch.chunk.present("ts")[-1]:
            self.attempts[rank].last = float(ts[-1])

    def findings(self) -> list[Finding]:
        found = [] if not self.held else [*(self._among_workers() or self._over_time()), *self._against_given()]
        return found + self._starts()

    def _starts(self) -> list[Finding]:
        """What workers that ran at the same time as the lowest one should have started with alike, and did not."""
        lowest = self.attempts[min(self.attempts)] if self.attempts else None
        here = {rank: a for rank, a in sorted(self.attempts.items()) if a is lowest or (lowest and a.beside(lowest))}
        worlds = {rank: a.world for rank, a in here.items() if a.world is not None}
        segments = Counter(a.segment for a in here.values())
        usual = max(segments, default=0, key=lambda s: segments[s])
        updates = {rank: a.update for rank, a in here.items() if a.update is not None and a.segment == usual}
        return [
            *self._apart(worlds, "counts {} workers", "{}", Severity.error, "start all workers with one launcher"),
            *self._apart(
                updates, "starts at update {}", "at {}", Severity.warning,
                "restore one checkpoint on all workers, or pass the same start_step=",
            ),
        ]  # fmt: skip

    def _apart(self, values: dict[int, int], one: str, other: str, severity: Severity, fix: str) -> list[Finding]:
        counts = Counter(values.values())
        if len(counts) < 2:
            return []
        usual = max(counts, key=lambda v: (counts[v], v == values[min(values)]))
        odd = [rank for rank, value in values.items() if value != usual]
        more = "" if len(odd) == 1 else f" (and {len(odd) - 1} more differ)"
        message = f"rank {odd[0]} {one.format(values[odd[0]])}, the others {other.format(usual)}{more}"
        at = self.attempts[odd[0]].update
        rank = odd[0] if len(odd) == 1 else None
        return [self.finding(message, rank=rank, ranks=tuple(odd), severity=severity, first_step=at, fix=fix)]

    def _among_workers(self) -> list[Finding]:
        counts = Counter(identity for identity, _ in self.held.values())
        usual = max(counts, key=lambda i: (counts[i], i == self.held[min(self.held)][0]))
        odd = {
            rank: (identity, at)
            for rank, (identity, at) in sorted(self.held.items())
            if compare(Identity.parse(identity), Identity.parse(usual)) == "mismatch"
        }
        if not odd:
            return []
        rank, (identity, at) = next(iter(odd.items()))
        who = f"rank {rank} holds" if len(odd) == 1 else f"ranks {', '.join(map(str, odd))} hold"
        return [
            self.finding(
                f"{who} contract {_short(identity)}, the other workers {_short(usual)}",
                rank=rank if len(odd) == 1 else None,
                ranks=tuple(odd),
                first_step=at,
                fix="ship one contract to all workers and restart the ones that differ",
            )
        ]

    def _over_time(self) -> list[Finding]:
        if self.changed is None:
            return []
        before, after, at = self.changed
        return [
            self.finding(
                f"the run went on under contract {_short(after)} at step {at}, it had begun under {_short(before)}",
                first_step=at,
                fix="write the change into the contract as an amendment, or resume with the contract it began with",
            )
        ]

    def _against_given(self) -> list[Finding]:
        if self.context.contract is None or not self.context.contract.experiment:
            return []  # a promise made of options is of no experiment: it was never the run's own contract
        given = self.context.contract.identity
        if any(compare(Identity.parse(identity), given) != "mismatch" for identity, _ in self.held.values()):
            return []
        identity, at = self.held[min(self.held)]
        return [
            self.finding(
                f"the trace was recorded under contract {_short(identity)}, it is verified with {_short(str(given))}",
                first_step=at,
                fix="verify with the contract in the run directory, or find out who changed it",
            )
        ]

    def not_checked(self) -> str:
        return "" if self.held or self._compared() else "the trace does not record which contract the workers held"

    def _compared(self) -> bool:
        return any(own.world is not None for own in self.attempts.values()) and len(self.attempts) > 1


def _short(identity: str) -> str:
    return Identity.parse(identity).sha256[:8]


CHECK = ContractMismatch
