"""A finished run's trace → annotations on our dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import LrwatchError
from lrwatch.ops.dashboards.base import PREFIX, TAG
from lrwatch.readers import open_trace
from lrwatch.trace.model import Chunk, Event

MARK: Final = "lrwatch-trace"
"""On every annotation of ours, beside ``lrwatch`` and the run's name: only what carries it is taken away again."""
BOARDS: Final = (f"{PREFIX}debug", f"{PREFIX}on-call")
"""An annotation without a dashboard would be the whole organisation's."""
SHOWN: Final = ("start", "resume", "restart", "oom", "intervention", "end")
CHECKPOINTS: Final = 100
"""The newest ones that are shown."""

Document = dict[str, Any]


def of_run(folder: Path) -> tuple[str, tuple[Document, ...]]:
    """The run's name, and an annotation for each event of rank 0 and each finding of its summary.

    Raises:
        LrwatchError: no trace there, or one of a run without a name.
    """
    source = open_trace([folder])
    run = source.info.run
    if not run:
        raise LrwatchError(f"{folder}: the trace does not say which run it is of; annotations need its name")
    findings = _findings(folder)
    wanted = sorted({step for step, _ in findings})
    times: dict[int, float] = {}
    marks: list[tuple[float, str]] = []
    checkpoints: list[tuple[float, str]] = []
    for item in source:
        if item.rank != 0:
            continue
        if isinstance(item, Event) and item.ts is not None:
            if item.kind in SHOWN:
                marks.append((item.ts, _words(item)))
            elif item.kind == "checkpoint":
                checkpoints.append((item.ts, _words(item)))
        elif isinstance(item, Chunk) and item.has("ts"):
            for step in wanted:
                at = item.columns["update"].searchsorted(step) if step not in times else len(item)
                if at < len(item) and int(item.columns["update"][at]) == step:
                    times[step] = float(item.columns["ts"][at])
    marks += checkpoints[-CHECKPOINTS:]
    marks += [(times[step], text) for step, text in findings if step in times]
    return run, tuple(
        {"dashboardUID": board, "time": round(1000 * ts), "tags": [TAG, run, MARK], "text": text}
        for board in BOARDS
        for ts, text in dict.fromkeys(sorted(marks))
    )


def _words(event: Event) -> str:
    fields, more = event.fields, ""
    if event.kind == "resume":
        more = f", origin {fields.get('origin', 'unknown')}"
    elif event.kind == "checkpoint" and not fields.get("scheduler_state"):
        more = ", without the scheduler's state"
    elif event.kind == "end":
        more = f": {fields.get('outcome', 'unknown')}"
    elif event.kind == "intervention":
        more = f": {json.dumps({k: v for k, v in fields.items() if k in ('set', 'multiply')})}"
    return f"{event.kind} at update {event.update}{more}"


def _findings(folder: Path) -> list[tuple[int, str]]:
    """(first step, words) of each finding in the summary; none without one."""
    return [
        (int(f["first_step"]), f"{f['code']} {f['severity']}: {f['message']}")
        for f in _summary(folder)
        if f.get("first_step") is not None
    ]


def _summary(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "summary.json"
    if not path.exists():
        return
    try:
        yield from json.loads(path.read_text(encoding="utf-8"))["findings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LrwatchError(f"{path}: not a summary of lrwatch: {type(error).__name__}: {error}") from None
