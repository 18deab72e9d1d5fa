"""``summary.json``: how a run ended, in one file that is either whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrwatch import __version__
from lrwatch.agent.ranks import Identity
from lrwatch.agent.worker import Worker
from lrwatch.contract.model import Contract
from lrwatch.report.base import finding_data, plain
from lrwatch.trace.writer import replace_file


def name(rank: int) -> str:
    """The run's summary is rank 0's; what the other workers have to say stands beside it."""
    return "summary.json" if rank == 0 else f"summary-rank{rank:05d}.json"


def document(
    worker: Worker,
    contract: Contract | None,
    identity: Identity,
    *,
    run: str,
    outcome: str,
    started: float,
    ended: float,
) -> dict[str, Any]:
    """What is said about a run that ended; times in Unix seconds."""
    result = worker.result
    return {
        "lrwatch": __version__,
        "run": run,
        "experiment": contract.experiment if contract else None,
        "rank": identity.rank,
        "world": identity.world,
        "contract": {"path": contract.source, "identity": str(contract.identity)} if contract else None,
        "outcome": outcome,
        "verdict": result.verdict() if result else None,
        "attempt": worker.meters.attempt,
        "segment": worker.segment,
        "origin": worker.origin,
        "rows": worker.rows,
        "first_update": worker.first_update,
        "last_update": worker.last_update,
        "findings": [finding_data(f) for f in worker.findings],
        "checks": [vars(run) for run in result.checks] if result else [],
        "dropped_rows": worker.dropped,
        "agent_errors": worker.errors,
        "gpu_seconds": worker.meters.gpu_seconds(),
        "cost": vars(contract.cost) if contract and contract.cost else None,
        "goal": worker.meters.goal.document(),
        "started": started,
        "ended": ended,
    }


def write(run_dir: Path, rank: int, content: Mapping[str, Any]) -> Path:
    """Replace the summary of this worker. Raises OSError."""
    path = run_dir / name(rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, text.encode())
    return path


def read(run_dir: Path, rank: int) -> dict[str, Any]:
    """The summary that an earlier attempt left, empty without a readable one."""
    try:
        content = json.loads((run_dir / name(rank)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
