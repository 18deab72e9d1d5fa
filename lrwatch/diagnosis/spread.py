"""Where a deviation shows and where it does not: which workers, which groups, which segments."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from lrwatch.contract.hash import Identity, compare
from lrwatch.diagnosis.case import Place
from lrwatch.findings import Finding


class Spread:
    """All deviations of a run, counted once, so that each can be placed among the others in constant time.

    Args:
        drifting: (rank, column, segment) of every curve that differs from its promise.
        identities: rank → recorded identity of its contract, empty where it recorded none; names every worker.
    """

    def __init__(self, drifting: Collection[tuple[int, str, int]], identities: Mapping[int, str]):
        self._drifting = frozenset(drifting)
        self._workers = Counter((column, segment) for _, column, segment in self._drifting)
        self._identities = identities
        self._first: dict[tuple[int, str], int] = {}
        self._columns: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
        for rank, column, segment in self._drifting:
            self._first[rank, column] = min(segment, self._first.get((rank, column), segment))
            self._columns[rank, segment].add(column)
        held = Counter(identity for identity in identities.values() if identity)
        self._usual = Identity.parse(held.most_common(1)[0][0]) if held else None

    def place(self, rank: int, column: str, segment: int, columns: Iterable[str]) -> Place:
        """Where else the same column drifts, and where it does not; ``columns``: all promised ones of the worker."""
        signal = column.partition("/")[0] + "/"
        mine = {c for c in columns if c.startswith(signal)}
        bad = mine & self._columns[rank, segment]
        off = self._workers[column, segment]
        identity = self._identities.get(rank, "")
        return Place(
            rank_alone=0 < off <= len(self._identities) - off,
            apart=0 < off < len(self._identities),
            companion=signal != "lr/" and not any(c.startswith("lr/") for c in self._columns[rank, segment]),
            group_alone=bool(bad) and bad != mine,
            stale=bool(identity)
            and self._usual is not None
            and compare(Identity.parse(identity), self._usual) == "mismatch",
            drifting=frozenset(c.partition("/")[2] for c in bad),
            since_resume=segment > 0 and self._first.get((rank, column), segment) >= segment,
        )


def own_paces(findings: list[Finding]) -> list[Finding]:
    """Workers whose schedules each run at a rate of their own follow their own progress, whatever the rates are."""
    rates: defaultdict[tuple[str, int], set[float]] = defaultdict(set)
    for f in findings:
        if f.cause is not None and f.cause.name == "rate":
            rates[f.details["column"], f.details["segment"]].add(float(f.cause.params["k"]))
    result = []
    for f in findings:
        if f.cause is not None and f.cause.name == "rate":
            paces = rates[f.details["column"], f.details["segment"]]
            if len(paces) > 1:
                params = MappingProxyType({"slowest": min(paces), "fastest": max(paces)})
                sentence = f"the workers' schedules run at {min(paces):.6g} to {max(paces):.6g} times the promised pace"
                f = replace(f, cause=replace(f.cause, name="rank_progress", params=params, sentence=sentence))
        result.append(f)
    return result
