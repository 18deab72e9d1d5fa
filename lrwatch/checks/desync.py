"""Workers used different learning rates for the same update.

What it checks
    For every update that several workers recorded: each signal and group must be equal on all of them. Where most
    agree, the workers that differ from them are named; without a majority all are. No contract is needed. A signal
    that the contract shifts from worker to worker on purpose is excepted: each worker is held to its own curve.

Why it matters
    Data-parallel workers average gradients and then each applies its own learning rate. With different rates the
    replicas' weights drift apart, silently: the loss of each looks healthy.

Example
    desync: rank 2 used 1.5e-04 at step 40 where the other workers used 3e-04.

Fix
    Give every worker the same contract and scheduler, resume all of them from the same checkpoint, and reduce the
    metric that a plateau scheduler reacts to before it is used.

Source
    DALLE-pytorch #268, returnn #1493 (plateau on a local metric); nanochat #857 (progress per rank).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrwatch.checks.base import Aligned as Rows
from lrwatch.checks.base import Check, Context, split
from lrwatch.findings import Finding
from lrwatch.trace.model import SIGNALS

RTOL = 1e-9
MAX_NAMED = 64
"""Workers named in one finding; of more, only the number is given."""


@dataclass
class Spread:
    """A signal on which workers differ."""

    first: int
    last: int
    rows: int = 0
    odd: dict[int, int] = field(default_factory=dict)
    odd_value: float = 0.0
    usual: float = 0.0
    first_odd: int = 0
    first_usual: int | None = None
    """A worker with the usual value, where at the first such update no majority had it."""


class Desync(Check):
    slug = "desync"
    code = "LR201"
    title = "workers used different learning rates"
    scope = "aligned"

    def __init__(self, context: Context):
        super().__init__(context)
        self.spreads: dict[str, Spread] = {}
        self.ranks = 0
        self.compared = 0
        self.last = -1
        promised = context.contract.signals if context.contract is not None else {}
        self.shifted = sorted(name for name, signal in promised.items() if signal.shift)

    def aligned(self, rows: Rows) -> None:
        self.ranks = max(self.ranks, len(rows.ranks))
        if len(rows.ranks) < 2:
            return
        for name, values in rows.columns.items():
            signal = name.partition("/")[0]
            if signal not in SIGNALS or signal in self.shifted:
                continue
            seen = np.isfinite(values)
            several = seen.sum(axis=0) >= 2
            if not several.any():
                continue
            self.compared += int(several.sum())
            self.last = max(self.last, int(rows.updates[several][-1]))
            high = np.where(seen, values, -np.inf).max(axis=0)
            low = np.where(seen, values, np.inf).min(axis=0)
            bad = several & (high - low > RTOL * np.abs(high) + rows.quantum.get(name, 0.0))
            if bad.any():
                self._take(name, rows, values[:, bad], np.flatnonzero(bad))

    def _take(self, name: str, rows: Rows, values: np.ndarray, where: np.ndarray) -> None:
        # The lower median is a value that a worker really used, so the majority has distance 0 from it.
        seen = np.isfinite(values)
        usual = np.nanquantile(np.where(seen, values, np.nan), 0.5, axis=0, method="lower")
        off = seen & (np.abs(values - usual) > RTOL * np.abs(usual) + rows.quantum.get(name, 0.0))
        majority = 2 * (seen & ~off).sum(axis=0) > seen.sum(axis=0)
        counts = (off | (seen & ~majority)).sum(axis=1)
        spread = self.spreads.get(name)
        if spread is None:
            first, i = int(rows.updates[where[0]]), int(np.argmax(off[:, 0]))
            spread = self.spreads[name] = Spread(
                first, first, usual=float(usual[0]), odd_value=float(values[i, 0]), first_odd=rows.ranks[i]
            )
            if not majority[0]:
                spread.first_usual = rows.ranks[int(np.argmax(seen[:, 0] & ~off[:, 0]))]
        spread.last = int(rows.updates[where[-1]])
        spread.rows += len(where)
        for r in np.flatnonzero(counts):
            spread.odd[rows.ranks[r]] = spread.odd.get(rows.ranks[r], 0) + int(counts[r])

    def findings(self) -> list[Finding]:
        result = []
        for name, s in self.spreads.items():
            signal, optimizer, group = split(name)
            odd = sorted(s.odd)
            who = f"rank {odd[0]}" if len(odd) == 1 else f"ranks {', '.join(map(str, odd[:8]))}"
            who += f" and {len(odd) - 8} more" if len(odd) > 8 else ""
            verb = "differs" if len(odd) == 1 else "differ"
            whom, others = (
                ("the others", "others") if s.first_usual is None else ("each other", f"rank {s.first_usual} used")
            )
            result.append(
                self.finding(
                    f"{who} of {self.ranks} {verb} from {whom} in group {group}: at step {s.first} rank "
                    f"{s.first_odd} used {s.odd_value:.6g}, {others} {s.usual:.6g}; {s.rows} updates",
                    signal=signal,
                    optimizer=optimizer,
                    group=group,
                    rank=odd[0] if len(odd) == 1 else None,
                    ranks=tuple(odd[:MAX_NAMED]),
                    first_step=s.first,
                    last_step=s.last,
                    state="active" if s.last == self.last else "resolved",
                    fix="give every worker the same contract and resume all of them from the same checkpoint",
                )
            )
        return result

    def not_checked(self) -> str:
        if self.compared:
            return ""
        if self.ranks < 2:
            return "the trace has one worker"
        if self.shifted:
            return f"the contract shifts {', '.join(self.shifted)} between workers; each is held to its own curve"
        return "no update was recorded by two workers"


CHECK = Desync
