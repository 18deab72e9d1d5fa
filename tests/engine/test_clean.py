"""A run that keeps its promise has no finding, however it was stored; one row that does not is found, and no other.

Random contracts over all families. The trace is the curve itself, so what is tested is everything after the curve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrwatch.contract import Contract, from_document
from lrwatch.curve import Curve
from lrwatch.engine import Session
from lrwatch.errors import ContractError
from lrwatch.findings import Finding
from lrwatch.schedules import families
from lrwatch.schedules.base import Param
from lrwatch.trace.model import Chunk

FAMILIES = families()
SEEDS = range(5)
PROMISE = ["drift", "stepping", "trace-damage"]
STORED = {
    "float64": (17, lambda e: e),
    "float32": (9, lambda e: np.array([float(f"{v:.9g}") for v in e.astype(np.float32)])),
    "4 digits": (4, lambda e: np.array([float(f"{v:.4g}") for v in e])),
}


def drawn(p: Param, rng: np.random.Generator, base: float) -> Any:
    """A random value of a family's parameter."""
    low = p.ge if p.ge is not None else p.gt if p.gt is not None else 0.0
    if p.kind == "value":
        return f"{rng.integers(0, 200)}%" if rng.random() < 0.5 else float(base * rng.uniform(0, 2))
    if p.kind == "values":
        return [float(base * x) for x in rng.uniform(0, 2, size=rng.integers(2, 6))]
    if p.kind == "number":
        return float(rng.uniform(low + 1e-3, min(low + 1.0, np.inf if p.le is None else p.le)))
    if p.kind == "counts":
        return sorted(int(x) for x in rng.integers(1, 300, size=rng.integers(2, 6)))
    if p.kind == "schedules":
        return [{"cosine": {"for": 100}}, [{"linear": {"from": "10%", "for": 50}}, {"constant": {}}]]
    if p.kind == "choice":
        return str(rng.choice(p.choices))
    if p.kind == "flag":
        return bool(rng.random() < 0.5)
    return {"text": "loss", "whole": int(low + rng.integers(0, 3)), "count": int(rng.integers(1, 80))}[p.kind]


def promise(name: str, seed: int) -> Contract:
    """A contract with this family, random in everything that it lets one choose."""
    rng, family = np.random.default_rng([seed, *name.encode()]), FAMILIES[name]
    for _ in range(200):
        base, length = float(10.0 ** rng.uniform(-6, 0)), int(rng.integers(20, 300))
        params: dict[str, Any] = {p.name: drawn(p, rng, base) for p in family.params if rng.random() < 0.8}
        params |= {"for": length, "after": str(rng.choice(family.after)), "offset": int(rng.integers(0, 2))}
        schedule = [{"linear": {"from": 0, "for": int(rng.integers(1, 50))}}] * int(rng.integers(0, 2)) + [
            {name: params}
        ]
        groups = {"1": {"scale": float(rng.uniform(0.1, 10))}}
        try:
            return from_document(
                {"lrwatch": 1, "experiment": "x", "lr": {"base": base, "schedule": schedule, "groups": groups}}
            )
        except ContractError:
            continue  # the family refuses the combination, or a parameter that it cannot do without is missing
    raise AssertionError(f"no random contract of {name} is accepted")


def judged(contract: Contract, columns: dict[str, Any], digits: int) -> tuple[Finding, ...]:
    session = Session(contract, only=PROMISE)
    chunk = Chunk(columns, digits={name: digits for name in columns if name.startswith("lr/")})
    for start in range(0, len(chunk), 97):
        session.feed(chunk.take(slice(start, start + 97)))
    result = session.finish()
    assert [c.slug for c in result.checks if c.status == "ran"] == ["drift", "trace-damage"]
    return result.findings


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_kept_promise_has_no_finding(name: str, stored: str, every: int) -> None:
    digits, store = STORED[stored]
    for seed in SEEDS:
        contract = promise(name, seed)
        t = np.arange(0, 500, every)
        columns = {f"lr/{g}": store(Curve(contract, group=g).at(t.astype(np.float64))) for g in "01"}
        assert judged(contract, {"update": t, **columns}, digits) == (), f"seed {seed}: {contract.document}"


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("name", FAMILIES)
def test_one_row_off_by_a_thousandth_is_found_where_it_is(
    name: str, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "_diagnosed", lambda self, rank, finding, spread: finding)
    digits, store = STORED[stored]
    for seed in SEEDS:
        contract, t = promise(name, seed), np.arange(500)
        right = Curve(contract).at(t.astype(np.float64))
        at = int(np.random.default_rng(seed).integers(len(t)))
        wrong = right.copy()
        wrong[at] *= 1.001
        found = judged(contract, {"update": t, "lr/0": store(wrong)}, digits)
        assert {(f.slug, f.first_step, f.last_step) for f in found} <= {("drift", at, at)}, f"seed {seed}"
        # A value of less than a five-millionth of the peak is nothing; a 4th digit must have moved by more than one.
        unit = 10.0 ** (np.floor(np.log10(right[at])) - 3) if right[at] > 0 else 0.0
        tiny = abs(right[at]) < 2e-7 * np.abs(right).max()
        rounded_away = stored == "4 digits" and abs(store(wrong)[at] - store(right)[at]) < 1.5 * unit
        assert len(found) == 1 or tiny or rounded_away, f"seed {seed}, row {at}: {contract.document}"
