"""What a plan says in words, the same in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lrwatch.findings import Severity, worst
from lrwatch.report.base import counted
from lrwatch.result import Result, Series, Stats
from lrwatch.trace.model import TraceInfo
from lrwatch.verify import Report

if TYPE_CHECKING:
    from lrwatch.lint import Inspection
    from lrwatch.lint.base import Plan

Verdict = Literal["pass", "fail"]


def verdict(inspection: Inspection, fail_on: Severity) -> Verdict:
    """``fail``: something at or above ``fail_on`` looks wrong."""
    highest = worst(inspection.findings)
    return "fail" if highest is not None and highest >= fail_on else "pass"


def sentence(inspection: Inspection) -> str:
    """What there is to say about the plan in one sentence."""
    ran = sum(run.status == "ran" for run in inspection.runs)
    if not inspection.findings:
        return f"Nothing looks wrong: {ran} of {counted(len(inspection.runs), 'rule')} could judge it."
    graver = inspection.findings[0]
    others = len(inspection.findings) - 1
    more = f" (and {others} more)" if others else ""
    return f"{graver.message[:1].upper()}{graver.message[1:]}{more}."


def group(plan: Plan) -> str:
    """Whose curve it is."""
    if plan.group is not None:
        return f"group {plan.group}"
    groups = plan.contract.signals["lr"].groups
    scaled = [f"{name} × {g.scale:g}" for name, g in groups.items() if g.base is None and g.schedule is None]
    of = f" ({', '.join(scaled)})" if scaled else ""
    return f"other groups{of}" if groups else "all groups"


def series(plan: Plan) -> Series:
    """The curve as charts show curves."""
    import numpy as np

    nothing = np.full(len(plan.t), np.nan)
    steps = plan.t / plan.contract.clock.ticks
    return Series("lr", group(plan), 0, steps, plan.values, nothing, update=steps)


def report(inspection: Inspection) -> Report:
    """The plan as CI formats want a report: rules are its checks, the contract is its file."""
    result = Result(inspection.contract, inspection.runs, inspection.findings, Stats())
    return Report(result, TraceInfo((inspection.contract.source,), "contract"), inspection.contract)
