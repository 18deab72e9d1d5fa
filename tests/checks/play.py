"""Traces written in a few words, played to a session.

    contract: {lr: {base: 1, schedule: {cosine: {until: horizon}}}, clock: {horizon: 100}}    # the head is added
    trace:
    - {event: start, world: 2}                            # of ranks: [0] unless it says otherwise
    - {rows: 0..99, ranks: [0, 1], lr: E(t), loss: 3}     # a, a..b (both included), a..b/stride, or a list
    - {event: end, outcome: finished}
    - {damage: torn, line: 7}

The value of a column is a number, a list, or an expression of ``t`` (the row's update), ``i`` (its place), ``rank``,
the columns written before it, ``E(t)`` (what the contract promises for this column) and some functions of numpy.
``set`` replaces single values (``set: {lr: {50: 0.1}}``, by update), ``missing`` takes them out; ``digits`` and
``quantum`` round what is stored and say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lrwatch.checks._state import pack, unpack
from lrwatch.contract import Contract, from_document
from lrwatch.curve import Curve
from lrwatch.engine import Session
from lrwatch.findings import Finding
from lrwatch.trace.model import COUNTERS, Chunk, Damage, Event, Item
from lrwatch.trace.names import canonical

FUNCTIONS = {name: getattr(np, name) for name in ("floor", "minimum", "maximum", "where", "sqrt", "sin", "nan", "inf")}
CHUNK = {"ranks", "segment", "world", "lr_read", "origin", "digits", "quantum", "missing", "set", "rows"}


def contract_of(case: dict[str, Any]) -> Contract | None:
    if "contract" not in case:
        return None
    return from_document({"lrwatch": 1, "experiment": "x", **case["contract"]})


def steps(said: Any) -> np.ndarray:
    """``3`` · ``0..99`` · ``0..990/10`` · a list of those, as int64[n]."""
    if isinstance(said, list):
        return np.concatenate([steps(part) for part in said])
    first, last, stride = re.fullmatch(r"(\d+)(?:\.\.(\d+))?(?:/(\d+))?", str(said)).groups()  # type: ignore[union-attr]
    return np.arange(int(first), int(last or first) + 1, int(stride or 1))


def items(case: dict[str, Any], size: int | None = None) -> Iterator[Item]:
    """The items of a case, chunks cut to ``size`` rows, workers in turn."""
    contract = contract_of(case)
    for said in case["trace"]:
        ranks = said.get("ranks", [0])
        if "event" in said:
            fields = {k: v for k, v in said.items() if k not in ("event", "ranks", "update", "segment")}
            for rank in ranks:
                ts, segment = said.get("ts"), said.get("segment", 0)
                yield Event(said["event"], said.get("update", 0), rank, segment, ts, fields)
        elif "damage" in said:
            yield Damage(said["damage"], "run.jsonl", said.get("line", 1), said.get("message", "cut off"), ranks[0])
        else:
            whole = {rank: chunk(said, rank, contract) for rank in ranks}
            n = max(len(c) for c in whole.values())
            for start in range(0, n, size or n):
                for c in whole.values():
                    if start < len(c):
                        yield c.take(slice(start, start + (size or n)))


def chunk(said: dict[str, Any], rank: int, contract: Contract | None) -> Chunk:
    """All rows of one worker of a ``rows`` item."""
    update = steps(said["rows"])
    columns: dict[str, Any] = {"update": update}
    digits, quantum = ({canonical(k): v for k, v in said.get(key, {}).items()} for key in ("digits", "quantum"))
    for key, value in said.items():
        if key in CHUNK:
            continue
        name = canonical(key)
        column = _evaluate(value, name, columns, rank, contract)
        for at, single in said.get("set", {}).get(key, {}).items():
            column[update == at] = _evaluate(single, name, {"update": update[update == at]}, rank, contract)
        if name in digits:
            column = np.array([float(f"{v:.{digits[name] - 1}e}") for v in column])
        if name in quantum:
            column = np.round(column / quantum[name]) * quantum[name]
        columns[name] = column.astype(np.int64) if name in COUNTERS else column
    missing = {}
    for key, where in said.get("missing", {}).items():
        name = canonical(key)
        missing[name] = np.isin(update, steps(where))
        columns[name] = np.where(missing[name], 0 if name in COUNTERS else np.nan, columns[name])
    return Chunk(
        columns,
        rank=rank,
        world=said.get("world"),
        segment=said.get("segment", 0),
        missing=missing,
        quantum=quantum,
        digits=digits,
        lr_read=said.get("lr_read", "used"),
        origin_known=said.get("origin") != "unknown",
        source="run.jsonl",
    )


def _evaluate(said: Any, name: str, columns: dict[str, Any], rank: int, contract: Contract | None) -> np.ndarray:
    n = len(columns["update"])
    if isinstance(said, str):
        signal, _, group = name.partition("/")

        def promised(t: Any) -> np.ndarray:
            assert contract is not None
            return Curve(contract, signal, group).at(np.broadcast_to(np.asarray(t, dtype=np.float64), n))

        known = {"t": columns["update"].astype(np.float64), "i": np.arange(n), "rank": rank, "E": promised}
        said = eval(said, {"__builtins__": {}}, {**FUNCTIONS, **columns, **known})
    value = np.asarray(said, dtype=np.float64)
    assert value.ndim == 0 or len(value) == n, f"{name}: {len(value)} values for {n} rows"
    return np.array(np.broadcast_to(value, n))


def play(case: dict[str, Any], only: Sequence[str] | None = None, size: int | None = None) -> Session:
    """A session that has been fed the whole case and not yet been finished."""
    session = Session(contract_of(case), only=only, live=case.get("live", False))
    for item in items(case, size):
        session.feed(item)
    return session


def play_interrupted(case: dict[str, Any], only: Sequence[str] | None = None, size: int = 7) -> Session:
    """The same, but half-way every check, and what it follows, is made anew from its state, which went through JSON."""
    session = Session(contract_of(case), only=only, live=case.get("live", False))
    every = list(items(case, size))
    for i, item in enumerate(every):
        if i == len(every) // 2:
            for worker in session._workers.values():
                worker.checks[:] = [revived(check) for check in worker.checks]
            session._whole[:] = [revived(check) for check in session._whole]
            session._series = unpack(json.loads(json.dumps(pack(session._series))))
        session.feed(item)
    return session


def revived(check: Any) -> Any:
    other = type(check)(check.context)
    other.restore(json.loads(json.dumps(check.state())))
    return other


def plain(finding: Finding) -> Finding:
    """Without what diagnosis adds."""
    return replace(finding, cause=None, fix="")
