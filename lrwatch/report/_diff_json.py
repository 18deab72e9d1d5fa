"""A comparison of two runs for programs: strict JSON with stable keys in a stable order."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lrwatch import __version__
from lrwatch.report import _diff as say
from lrwatch.report.base import Look, cause_data, plain

if TYPE_CHECKING:
    from lrwatch.diff import Difference, Parting, Run, Suspect


def render(d: Difference, look: Look) -> str:
    """The comparison as one JSON document, indented by two."""
    return json.dumps(plain(document(d)), indent=2, ensure_ascii=not look.unicode, allow_nan=False) + "\n"


def document(d: Difference) -> dict[str, Any]:
    """The comparison as plain data."""
    return {
        "lrwatch": __version__,
        "same": d.same,
        "only": d.only,
        "sentence": say.sentence(d),
        "order": say.order(d) or None,
        "parted": [_parting(p) for p in d.parted],
        "compared": d.compared,
        "alone": d.alone,
        "steps_alone": d.lonely,
        "suspects": [_suspect(s) for s in d.suspects],
        "contracts": {
            "fields": [asdict(f) for f in d.contracts],
            "amended": d.amended,
            "mismatch": d.mismatch,
        },
        "recorded": [asdict(f) for f in d.facts],
        "events": [asdict(h) for h in d.happened],
        "a": _run(d.a),
        "b": _run(d.b),
    }


def _parting(p: Parting) -> dict[str, Any]:
    return {
        "column": p.column,
        "first_step": p.step,
        "a": p.a,
        "b": p.b,
        "last_step": p.last,
        "rows": p.rows,
        "differing": p.differing,
        "ranks": p.ranks,
        "worst": p.worst,
        "worst_step": p.worst_step,
    }


def _suspect(s: Suspect) -> dict[str, Any]:
    return {"run": s.side, "cause": cause_data(s.cause), "fix": s.fix, "first_step": s.step, "basis": s.basis or None}


def _run(r: Run) -> dict[str, Any]:
    steps = r.survey.steps or (None, None)
    return {
        "run": r.info.run or r.result.stats.run,
        "paths": r.info.paths,
        "format": r.info.format,
        "rows": r.survey.rows,
        "ranks": r.survey.ranks,
        "first_step": steps[0],
        "last_step": steps[1],
        "outcome": r.survey.outcome,
        "contract": None if r.contract is None else {"path": r.contract.source, "sha256": r.contract.sha256},
        "judged": r.basis or None,
        "verdict": r.result.verdict() if r.contract is not None else None,
        "recorded_contract": r.identity,
    }
