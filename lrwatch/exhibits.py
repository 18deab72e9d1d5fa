"""What a report shows of the rows: the curves of the workers that matter, and how small a fault they could show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from lrwatch.curve import Curve
from lrwatch.diagnosis.casebook import Casebook
from lrwatch.diagnosis.evidence import FIELDS
from lrwatch.findings import Finding
from lrwatch.result import Sensitivity, Series


def shown(findings: Iterable[Finding], ranks: Collection[int]) -> list[int]:
    """The lowest rank, and the lowest of every finding that concerns some workers only."""
    named = (_ranks(f) for f in findings)
    return sorted(({min(ranks)} if ranks else set()) | {min(some) for some in named if some} & set(ranks))


def series(
    book: Casebook, findings: Iterable[Finding], curves: Mapping[int, Mapping[str, Curve]]
) -> tuple[Series, ...]:
    """The kept rows of some workers beside what was promised; ``curves``: rank → column name → curve."""
    first_bad: dict[tuple[int, str], int] = {}
    for f in findings:
        if f.slug == "drift" and f.first_step is not None:
            for rank in _ranks(f):
                first_bad.setdefault((rank, str(f.details.get("column", ""))), f.first_step)
    result = []
    for rank, promised in curves.items():
        for name in book.columns(rank):
            kept, explained = book.kept(rank, name)
            t, update, observed = (kept[:, FIELDS.index(field)] for field in ("t", "update", "observed"))
            expected = promised[name].at(t) if name in promised else np.full(len(t), np.nan)
            signal, _, group = name.partition("/")
            bad = first_bad.get((rank, name))
            result.append(Series(signal, group, rank, t, observed, expected, bad, update, explained))
    return tuple(result)


def sensitivity(
    loosest: Iterable[tuple[float, float]], curves: Iterable[Mapping[str, Curve]], stepped: bool
) -> Sensitivity | None:
    """What these rows could have shown; None where nothing was compared.

    Args:
        loosest: of each worker, its smallest relative and largest absolute tolerance. stepped: the scheduler's own
            position was compared, too.
    """
    relatives, absolutes = zip(*loosest, strict=True) if (loosest := tuple(loosest)) else ((), ())
    relative, absolute = min(relatives, default=np.inf), max(absolutes, default=0.0)
    if not np.isfinite(relative):
        return None
    sentence = f"a constant factor off by {relative:.1e} would have been seen, and any single row off by {absolute:.1e}"
    if not stepped and any(_flat(c) for worker in curves for name, c in worker.items() if name.startswith("lr/")):
        sentence += "; a constant schedule cannot reveal stepping faults without the scheduler's position"
    return Sensitivity(relative, absolute, sentence)


def _ranks(f: Finding) -> tuple[int, ...]:
    return f.ranks or ((f.rank,) if f.rank is not None else ())


def _flat(curve: Curve) -> bool:
    values = curve.at(np.linspace(0.0, curve.horizon or 1e4, 257))
    return bool(np.all(values == values[0]))
