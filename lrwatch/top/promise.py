"""What was promised of the last update of a run that is silent: from its trace and its copy of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lrwatch.contract.kept import kept
from lrwatch.errors import LrwatchError
from lrwatch.expectation import Expectation
from lrwatch.trace.model import COUNTERS, Chunk


def promised(run_dir: Path, header: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, float]:
    """Group → learning rate. Empty where it cannot be known: no contract or origin, a schedule that goes by metrics."""
    try:
        contract = kept(run_dir, header.get("contract"))
    except LrwatchError:
        return {}
    if contract is None or header.get("origin") == "unknown":
        return {}
    columns: dict[str, Any] = {
        name: np.array([value])
        for name, value in row.items()
        if isinstance(value, (int, float)) and (name in COUNTERS or name.startswith("lr/"))
    }
    if "update" not in columns:
        return {}
    read = header.get("lr_read")
    batch = Expectation(contract).batch(Chunk(columns, lr_read=read if read in ("used", "after") else "used"))
    return {
        name.removeprefix("lr/"): float(values[0])
        for name, values in batch.expected.items()
        if name.startswith("lr/") and not batch.curves[name].stateful
    }
