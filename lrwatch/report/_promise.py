"""A contract in few words, and the points of its curves worth knowing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrwatch.contract.model import Contract
from lrwatch.curve import Curve


@dataclass(frozen=True)
class Landmarks:
    """Where the curve of one signal and group begins, peaks and ends; values absolute, positions in clock units.

    ``group`` is None for all groups that the contract does not name. ``final`` is E(horizon - 1), the value of
    the last planned update, and ``after`` is E(horizon); both None without a horizon.
    """

    signal: str
    group: str | None
    first: float
    peak: float
    peak_at: float
    final: float | None
    after: float | None


def words(contract: Contract) -> list[str]:
    """What the contract promises, one line per signal and differing group, in the contract's own grammar.

    >>> from lrwatch.contract import from_document
    >>> print(*words(from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1.0, "schedule": "constant"}})))
    lr 1: constant clock: update, no horizon
    """
    lines = []
    for name in contract.signals:
        said = contract.document.get(name, {})
        lines.append(f"{name} {flow(said.get('base'))}: {_schedule(said.get('schedule'))}")
        for group, entry in (said.get("groups") or {}).items():
            parts = [f"{key} {flow(entry[key])}" for key in ("base", "scale") if key in (entry or {})]
            if "schedule" in (entry or {}):
                parts.append(_schedule(entry["schedule"]))
            lines.append(f"  group {group}: {', '.join(parts)}")
    clock = contract.clock
    axis = clock.axis if clock.counts == "applied" else f"{clock.axis}, {clock.counts} ones"
    axis += "" if clock.ticks == 1 else f", {clock.ticks} ticks each"
    horizon = "no horizon" if clock.horizon is None else f"horizon {clock.horizon:,.0f}"
    lines.append(f"clock: {axis}, {horizon}")
    lines += [f"amended {flow(entry)}" for entry in contract.document.get("amendments") or ()]
    return lines


def _schedule(value: Any) -> str:
    phases = value if isinstance(value, list) else [value]
    return ", ".join(_phase(phase) for phase in phases)


def _phase(phase: Any) -> str:
    if isinstance(phase, dict) and len(phase) == 1:
        name, params = next(iter(phase.items()))
        return f"{name} {flow(params)}" if params else str(name)
    return flow(phase)


def flow(value: Any) -> str:
    """Plain data on one line, as YAML's flow style writes it.

    >>> flow({"from": 0, "to": 3e-05, "until": "horizon"})
    '{from: 0, to: 3e-05, until: horizon}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(v)}" for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value)


def landmarks(contract: Contract) -> Iterator[Landmarks]:
    """The landmarks of every signal and group, amendments applied.

    The peak is looked for at 4,096 points up to the horizon and at every border of a phase.
    """
    for name, signal in contract.signals.items():
        for group in (None, *signal.groups):
            curve = Curve(contract, name, group if group is not None else "")
            ends = [end for phase in curve.phases for end in (phase.start, phase.end) if end is not None]
            horizon = contract.horizon
            stop = horizon - 1 if horizon is not None else max([*ends, 1.0])
            t = np.unique(np.append(np.rint(np.linspace(0.0, stop, 4096)), [e for e in ends if e <= stop]))
            values = curve.at(t)
            top = int(np.argmax(values))
            last = None if horizon is None else curve.at(np.array([max(stop, 0.0), horizon]))
            yield Landmarks(
                name,
                group,
                first=float(values[0]),
                peak=float(values[top]),
                peak_at=float(t[top]),
                final=None if last is None else float(last[0]),
                after=None if last is None else float(last[1]),
            )


def describe(contract: Contract) -> str:
    """The promise and its landmarks as text, ending in a newline."""
    horizon = contract.horizon
    head = ["signal", "group", "first", "peak", "at", "last" if horizon is None else f"at {horizon - 1:g}"]
    rows = [[*head, "after"]]
    for mark in landmarks(contract):
        others = "(others)" if contract.signals[mark.signal].groups else "(all)"
        values = [mark.first, mark.peak, mark.peak_at, mark.final, mark.after]
        rows.append([
            mark.signal,
            others if mark.group is None else mark.group,
            *("—" if value is None else f"{value:.6g}" for value in values),
        ])  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) + 1)]
    lines = [f"{contract.source}: {contract.experiment}, sha256 {contract.sha256[:12]}", ""]
    lines += [f"  {line}" for line in words(contract)]
    lines.append("")
    for row in rows:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  " + "   ".join(cells).rstrip())
    if any(Curve(contract, name).stateful for name in contract.signals):
        lines += ["", "  Plateau: these are the values before any metric; what follows depends on the recorded ones."]
    return "\n".join(lines) + "\n"
