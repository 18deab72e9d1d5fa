"""Summaries as the agent writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ERROR = {"severity": "error", "code": "LR101", "first_step": 75}
GOAL = {"metric": "val_loss", "target": 1.9, "mode": "min", "value": 1.85, "best": 1.8}
COST = {"per_gpu_hour": 2.5, "currency": "USD", "budget": 10.0}


def summary(**changes: Any) -> dict[str, Any]:
    """A run of one worker: 100 updates, one GPU-hour, ended at 10 000."""
    return {
        "lrwatch": "0.1.0",
        "run": "r",
        "experiment": "gpt",
        "rank": 0,
        "world": 1,
        "outcome": "finished",
        "attempt": 1,
        "segment": 0,
        "last_update": 99,
        "findings": [],
        "gpu_seconds": 3600.0,
        "cost": None,
        "goal": None,
        "started": 6400.0,
        "ended": 10000.0,
        **changes,
    }


def leave(folder: Path, *segments: int, **changes: Any) -> Path:
    """A run directory with one more summary, and trace files of the given segments."""
    content = summary(**{"run": folder.name, **changes})
    rank = content["rank"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("summary.json" if rank == 0 else f"summary-rank{rank:05d}.json")).write_text(json.dumps(content))
    for segment in segments:
        (folder / "trace").mkdir(exist_ok=True)
        (folder / "trace" / f"rank{rank:05d}-seg{segment:04d}.jsonl").touch()
    return folder
