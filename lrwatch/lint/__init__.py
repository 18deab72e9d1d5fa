"""What looks wrong with a contract before anything is trained: rules that read its curve.

    for finding in inspect(load("contract.yaml")).findings: ...
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from lrwatch.contract.model import Contract
from lrwatch.findings import Finding
from lrwatch.lint._landmarks import Landmark, landmarks
from lrwatch.lint.base import Plan, Rule
from lrwatch.plugins import load
from lrwatch.result import CheckRun

__all__ = ["Inspection", "Landmark", "inspect", "landmarks", "plans", "rules"]


def rules() -> dict[str, Rule]:
    """Every rule by its slug."""
    found = {rule.slug: rule for rule in load("lrwatch.lint", "RULE").values()}
    return dict(sorted(found.items(), key=lambda item: item[1].code))


@dataclass(frozen=True)
class Inspection:
    """What the rules say of a contract.

    Attributes:
        plans: one for each group whose curve has a shape of its own, that of the other groups first.
        runs: whether each rule could judge. findings: what is wrong, by severity and place.
    """

    contract: Contract
    plans: tuple[Plan, ...]
    runs: tuple[CheckRun, ...]
    findings: tuple[Finding, ...]


def plans(contract: Contract, updates: float | None = None) -> tuple[Plan, ...]:
    """The curves of a contract: that of all groups, and of each group that differs in more than a scale.

    Declared interventions (``multiply``) are left out: they were meant.
    """
    planned = replace(contract, amendments=tuple(a for a in contract.amendments if not a.multiply))
    groups = contract.signals["lr"].groups.values()
    own = [g.name for g in groups if g.schedule is not None or g.base is not None]
    return tuple(Plan(planned, group, updates) for group in (None, *own))


def inspect(contract: Contract, updates: float | None = None) -> Inspection:
    """Ask every rule about every curve of the contract.

    Args:
        updates: how many updates the trainer will make; without it rules that compare with it cannot judge.

    Raises ContractError: amendments that cannot be joined.
    """
    drawn = plans(contract, updates)
    runs, found = [], []
    for rule in rules().values():
        gaps = [rule.gap(plan) for plan in drawn]
        problems = [
            (plan, problem)
            for plan, gap in zip(drawn, gaps, strict=True)
            if not gap and (problem := rule.judge(plan)) is not None
        ]
        found += _together([rule.finding(plan, problem) for plan, problem in problems])
        why = "; ".join(dict.fromkeys(gap for gap in gaps if gap))
        runs.append(CheckRun(rule.slug, rule.code, "not_checked" if all(gaps) else "ran", why))
    found.sort(key=lambda f: (-f.severity, f.code))
    return Inspection(contract, drawn, tuple(runs), tuple(found))


def _together(findings: list[Finding]) -> list[Finding]:
    """The same trouble of several groups once; with their names where it is not that of all the others."""
    kept: dict[tuple[object, ...], list[Finding]] = {}
    for f in findings:
        kept.setdefault((f.code, f.first_step, f.last_step), []).append(f)
    result = []
    for same in kept.values():
        named = len(same) > 1 and same[0].group is not None
        details = MappingProxyType({"groups": [f.group for f in same]}) if named else same[0].details
        result.append(replace(same[0], group=None if named else same[0].group, details=details))
    return result
