"""Workers, or the trace and the given contract, do not hold the same contract.

What it checks
    The identity (hash and amendment chain) that every worker recorded at its start: among the workers, from one resume
    to the next, and against the contract that the trace is verified with. A longer chain that begins with another's
    is the same contract, amended: that is legal.

Why it matters
    A worker with a stale configuration trains another model than its neighbours, and a trace judged by another
    contract than its own proves nothing.

Example
    contract-mismatch: rank 2 holds contract 5d1f0c93, the other workers 8a44e1b7.

Fix
    Ship one contract to all workers (a ConfigMap with a hashed name), and restart the one that differs.

Source
    Failure mode "asymmetric behaviour: workers' schedules out of sync after a configuration change".
"""

from __future__ import annotations

from collections import Counter

from lrwatch.checks.base import Check, Context
from lrwatch.contract.hash import Identity, compare
from lrwatch.findings import Finding
from lrwatch.trace.model import Event


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

    def event(self, event: Event) -> None:
        identity = event.fields.get("contract")
        if event.kind in ("start", "resume") and isinstance(identity, str) and identity:
            before, _ = self.held.get(event.rank, (identity, 0))
            if self.changed is None and compare(Identity.parse(before), Identity.parse(identity)) == "mismatch":
                self.changed = (before, identity, event.update)
            self.held[event.rank] = (identity, event.update)

    def findings(self) -> list[Finding]:
        if not self.held:
            return []
        return [*(self._among_workers() or self._over_time()), *self._against_given()]

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
        return "" if self.held else "the trace does not record which contract the workers held"


def _short(identity: str) -> str:
    return Identity.parse(identity).sha256[:8]


CHECK = ContractMismatch
