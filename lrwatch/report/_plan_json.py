"""A plan for programs: strict JSON with stable keys in a stable order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrwatch import __version__
from lrwatch.lint import landmarks
from lrwatch.report import _plan as say
from lrwatch.report.base import Look, finding_data, plain

if TYPE_CHECKING:
    from lrwatch.lint import Inspection


def render(inspection: Inspection, look: Look) -> str:
    """The plan as one JSON document, indented by two."""
    text = json.dumps(plain(document(inspection, look)), indent=2, ensure_ascii=not look.unicode, allow_nan=False)
    return text + "\n"


def document(inspection: Inspection, look: Look) -> dict[str, Any]:
    """The plan as plain data; ``t`` counts the clock's units, ``update`` is None where the clock does not tell it."""
    contract = inspection.contract
    return {
        "lrwatch": __version__,
        "verdict": say.verdict(inspection, look.fail_on),
        "contract": {"path": contract.source, "sha256": contract.sha256},
        "clock": {"axis": contract.clock.axis, "horizon": contract.horizon},
        "landmarks": [
            {"group": plan.group, "name": m.name, "t": m.t, "update": plan.update(m.t), "value": m.value}
            for plan in inspection.plans
            for m in landmarks(plan)
        ],
        "rules": [{"slug": run.slug, "status": run.status, "why": run.why or None} for run in inspection.runs],
        "findings": [finding_data(f) for f in inspection.findings],
    }
