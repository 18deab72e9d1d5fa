"""What an inference says in words, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lrwatch import __version__
from lrwatch.report._promise import flow
from lrwatch.report.base import Look, counted, plain

if TYPE_CHECKING:
    from lrwatch.infer import Explanation, Found, Inference

TIMES = {"length": "its length", "period": "the first cycle", "up": "the way up", "down": "the way down"}


def sentences(inference: Inference) -> list[str]:
    """How well the contract explains the trace, what it does not show, and what would explain it as well."""
    return [line for found in inference.groups for line in _group(found, len(inference.groups) > 1)] + _whole(inference)


def _group(found: Found, several: bool) -> Iterator[str]:
    who = f"group {found.group}: " if several else ""
    every = found.explained == found.rows
    rows = f"all {counted(found.rows, 'value')}" if every else f"{found.explained:,} of {counted(found.rows, 'value')}"
    if found.scale is not None and found.scale != 1.0:
        yield f"{who}explained by {found.scale:g} times the first group's schedule: {rows}"
        return
    if found.scale is not None:
        return
    if not found.best.fits:
        yield f"{who}no schedule family explains it; the nearest, {found.best.family}, explains {rows}"
        return
    yield f"{who}{found.best.family} explains {rows}, within what their digits allow"
    yield from (f"{who}{said}" for said in found.best.unknown)
    known = [_known(name, value, off) for name, value, off in found.best.loose if name in TIMES and 1e-3 <= off < value]
    if known and not found.best.unknown:
        yield f"{who}known as precisely as the digits allow: {', '.join(known)}"
    if found.best.end is not None and found.best.end > found.last + 1.0 and not found.best.unknown:
        yield f"{who}its end at {found.best.end:,.6g} lies beyond the last row; it follows from the curve's shape"
    for other in found.others:
        word = "as plain, and it would explain as much" if other.rank <= found.best.rank else "would explain as much"
        yield f"{who}{word}: {shown(other)}"


def _whole(inference: Inference) -> list[str]:
    said = [f"assumed: {text}" for text in inference.assumed]
    stairs = {"step", "multi_step", "table"}
    if inference.metrics and any(next(iter(f.best.phases[-1])) in stairs for f in inference.groups):
        said.append(f"a plateau that reacts to {', '.join(inference.metrics)} could have made the same drops")
    if inference.steps_per_epoch:
        said.append(f"the values move only every {inference.steps_per_epoch:,} updates, taken as epochs")
    return said


def _known(name: str, value: float, off: float) -> str:
    return f"{TIMES[name]} {value:,.6g} ± {off:.2g}"


def shown(e: Explanation) -> str:
    """A schedule in the contract's grammar, on one line."""
    return f"base {e.base:.6g}, {flow(list(e.phases))}"


def as_json(inference: Inference, look: Look) -> str:
    """The inference as one JSON document, indented by two."""
    text = json.dumps(plain(_document(inference)), indent=2, ensure_ascii=not look.unicode, allow_nan=False)
    return text + "\n"


def _document(inference: Inference) -> dict[str, Any]:
    return {
        "lrwatch": __version__,
        "verdict": inference.verdict,
        "contract": inference.document,
        "groups": [
            {
                "group": f.group,
                "rows": f.rows,
                "explained": f.explained,
                "families": [next(iter(p)) for p in f.best.phases],
                "scale": f.scale,
                "unknown": f.best.unknown,
                "numbers": [{"name": n, "value": v, "off_by_at_most": off} for n, v, off in f.best.loose],
                "also": [{"base": o.base, "schedule": o.phases, "as_plain": o.rank <= f.best.rank} for o in f.others],
            }
            for f in inference.groups
        ],
        "said": sentences(inference),
    }
