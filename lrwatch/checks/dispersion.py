"""The loss or the gradient norm of one worker is persistently apart from those of the others.

What it checks
    For windows of 32 updates that three or more workers recorded: the median distance of each worker from the median of
    all, measured in the usual spread between workers (their median absolute deviation). A worker is apart while that is
    more than 5 spreads, on the same side, for 3 windows in a row, until none is for 3. Workers that see different
    shards of the data differ by about one spread, in turn. Where all others agree to 6 digits (a gradient norm after
    the all-reduce), any steady difference of 1 % is one. A worker that was apart from the very first window on may have
    other data or only its own part of the model: for the loss that is an info, for the gradient norm nothing, unless
    the others agree.

Why it matters
    One worker with a broken device, corrupt data or weights of its own poisons the average that all of them apply; the
    mean loss hides it.

Example
    dispersion: the loss of rank 3 is apart from that of the other 7 since step 4096: 4.81 where they have 2.05.

Fix
    Look at that worker's data shard, device errors (ECC, XID) and log. Compare a checksum of its weights with that of
    another worker.

Source
    Jiang et al., MegaScale, 2024, and Grattafiori et al., Llama 3, 2024, on finding the one bad rank.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrwatch.checks.base import Aligned as Rows
from lrwatch.checks.base import Check, Context
from lrwatch.findings import Finding, Severity
from lrwatch.schedules.base import FloatArray

WINDOW = 32
"""Updates of a window: the median of 32 strays by a fifth of a spread."""
HELD = 3
"""Windows in a row: 96 updates of chance is none."""
SPREADS = 5.0
"""Distance from the others. Between workers on shards of one data set it is about 1, of different ones up to 3."""
HUGE = 1e100
"""Larger values are left to ``non-finite`` and the divergence checks; their differences would overflow."""
AGREE = 1e-6
"""Share of the value within which the others agree, so that the value is one that they share."""
SHARED = 0.01
"""Share of a shared value that counts as one spread divided by ``SPREADS``."""
WORKERS = 3
"""With two, nobody knows which one is apart."""
MAX_NAMED = 64


@dataclass
class Column:
    """One of ``loss`` and ``grad_norm``. Arrays have one element per worker, in the order in which they appeared.

    Attributes:
        waiting: float64[r, w], of the window that is not whole; steps: its updates, float64[w].
        held: windows in a row that the worker was apart, signed; since: where they began.
        first, last: its steps apart, -1 if it never was. always: it was from the first window on.
        calm: windows in a row in which no worker was that ever had been.
        shared: whether the others agreed when the first one was apart; apart, usual: the values then.
    """

    waiting: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    steps: FloatArray = field(default_factory=lambda: np.empty(0))
    held: FloatArray = field(default_factory=lambda: np.empty(0))
    since: FloatArray = field(default_factory=lambda: np.empty(0))
    first: FloatArray = field(default_factory=lambda: np.empty(0))
    last: FloatArray = field(default_factory=lambda: np.empty(0))
    always: FloatArray = field(default_factory=lambda: np.empty(0))
    windows: int = 0
    calm: int = 0
    end: int = -1
    shared: bool = False
    apart: float = 0.0
    usual: float = 0.0

    def grow(self, workers: int) -> None:
        """Make room for workers that appeared."""
        more = workers - len(self.held)
        if more > 0:
            blank = np.full((more, len(self.steps)), np.nan)
            self.waiting = np.concatenate([self.waiting.reshape(len(self.held), len(self.steps)), blank])
            for name, value in (("held", 0.0), ("since", -1.0), ("first", -1.0), ("last", -1.0), ("always", 0.0)):
                setattr(self, name, np.append(getattr(self, name), np.full(more, value)))

    def take(self, steps: FloatArray, values: FloatArray) -> None:
        """Take in updates, float64[n], and values, float64[r, n], NaN where a worker has none."""
        steps = np.concatenate([self.steps, steps])
        values = np.concatenate([self.waiting, values], axis=1)
        whole = len(steps) // WINDOW * WINDOW
        self.steps, self.waiting = steps[whole:], values[:, whole:]
        if whole:
            self._judge(steps[:whole].reshape(-1, WINDOW), values[:, :whole].reshape(len(values), -1, WINDOW))

    def _judge(self, steps: FloatArray, values: FloatArray) -> None:
        """Whole windows: updates float64[k, 32], values float64[r, k, 32]."""
        several = np.isfinite(values).sum(axis=0) >= WORKERS
        values = np.where(several, values, np.nan)
        usual = _median(values, 0)
        away = values - usual
        distance = np.where(np.isfinite(away).sum(axis=2) >= WINDOW // 2, _median(away, 2), 0.0)
        spread = 1.4826 * _median(_median(np.abs(away), 0), 1)
        level = _median(usual, 1)
        shared = spread <= AGREE * np.abs(level)
        limit = np.where(shared, SHARED * np.abs(level), SPREADS * spread)
        side = np.where(np.abs(distance) > limit, np.sign(distance), 0.0)  # float64[r, k]
        judged = several.sum(axis=1) >= WINDOW // 2
        for k in np.flatnonzero(judged).tolist():
            self.calm += 1
            if self.held.any() or side[:, k].any():
                self._window(steps[k], side[:, k], distance[:, k], float(level[k]), bool(shared[k]))
            self.windows += 1
            self.end = int(steps[k, -1])

    def _window(self, steps: FloatArray, side: FloatArray, distance: FloatArray, level: float, shared: bool) -> None:
        going = (side != 0) & (np.sign(self.held) == side)
        self.since = np.where(going, self.since, steps[0])
        self.always = np.where(going, self.always, float(self.windows == 0))
        self.held = np.where(going, self.held + side, side)
        now = np.abs(self.held) >= HELD
        new = now & (self.first < 0)
        if new.any() and (self.first < 0).all():
            i = int(np.argmax(np.where(new, np.abs(distance), -1.0)))
            self.shared, self.usual, self.apart = shared, level, level + float(distance[i])
        self.first = np.where(new, self.since, self.first)
        self.last = np.where(now, steps[-1], self.last)
        self.calm = 0 if ((side != 0) & (self.first >= 0)).any() else self.calm


def _median(values: FloatArray, axis: int) -> FloatArray:
    """Median along an axis of the values that are no NaN, NaN where all are."""
    ranked = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    size = ranked.shape[-1]
    count = size - np.isnan(ranked).sum(axis=-1)
    if (count == size).all():
        return np.asarray((ranked[..., size // 2] + ranked[..., (size - 1) // 2]) / 2)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, size - 1)
    picked = np.take_along_axis(ranked, np.stack([low, high], axis=-1), axis=-1)
    return np.asarray(picked.mean(axis=-1))


class Dispersion(Check):
    slug = "dispersion"
    code = "LR203"
    title = "one worker's loss or gradient norm is apart"
    scope = "aligned"
    severity = Severity.warning

    def __init__(self, context: Context):
        super().__init__(context)
        self.place: dict[int, int] = {}
        """Rank → its place in the arrays."""
        self.columns = {name: Column() for name in ("loss", "grad_norm")}

    def aligned(self, rows: Rows) -> None:
        if len(rows.ranks) < WORKERS:
            return
        for rank in rows.ranks:
            self.place.setdefault(rank, len(self.place))
        places = [self.place[rank] for rank in rows.ranks]
        for name, column in self.columns.items():
            if name not in rows.columns:
                continue
            values = rows.columns[name]
            whole = np.full((len(self.place), values.shape[1]), np.nan)
            whole[places] = np.where(np.abs(values) <= HUGE, values, np.nan)
            column.grow(len(self.place))
            column.take(rows.updates.astype(np.float64), whole)

    def findings(self) -> list[Finding]:
        ranks = list(self.place)
        result = []
        for name, c in self.columns.items():
            apart = np.flatnonzero(c.first >= 0)
            left = apart[c.always[apart] == 0]
            if not len(apart) or (not len(left) and name == "grad_norm" and not c.shared):
                continue
            # Workers that were always apart may be meant to be; they are named only where no other is.
            odd = sorted(ranks[i] for i in (left if len(left) and not c.shared else apart))
            first, last = int(c.first[apart].min()), int(c.last[apart].max())
            who = f"rank {odd[0]}" if len(odd) == 1 else f"ranks {', '.join(map(str, odd[:8]))}"
            who += f" and {len(odd) - 8} more" if len(odd) > 8 else ""
            result.append(
                self.finding(
                    f"the {name.replace('_', ' ')} of {who} is apart from that of the other {len(ranks) - len(odd)} "
                    f"since step {first}: {c.apart:.4g} where they have {c.usual:.4g}",
                    severity=Severity.warning if len(left) or c.shared else Severity.info,
                    signal=name,
                    rank=odd[0] if len(odd) == 1 else None,
                    ranks=tuple(odd[:MAX_NAMED]),
                    first_step=first,
                    last_step=last,
                    state="active" if c.calm < HELD else "resolved",
                    fix="look at that worker's data, device errors and log; compare a checksum of its weights",
                )
            )
        return result

    def not_checked(self) -> str:
        if any(c.windows for c in self.columns.values()):
            return ""
        return f"fewer than {WORKERS} workers recorded {WINDOW} updates with a loss or gradient norm in common"


CHECK = Dispersion
