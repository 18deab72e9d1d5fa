"""Records tables of values from the frameworks' own schedulers: recorded/<framework>.jsonl, read by test_frameworks.py.

    python -m tests.importers.record_tables timm keras ...       in an environment that has them

Of each schedule's parameters a few are kept, and of each run the steps where something happens.
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from tests.importers import real

RECORDED = Path(__file__).parent / "recorded"
CASES = 6
CORNERS = 5


def steps_worth_keeping(values: np.ndarray) -> list[int]:
    """The first and the last ones, some between, and where the slope changes most."""
    bends = np.argsort(-np.abs(np.diff(values, 2)), kind="stable")[:CORNERS]
    kept = {0, 1, 2, len(values) - 1} | set(range(211, len(values), 389))
    for i in bends.tolist():
        kept |= {i, i + 1, i + 2, i + 3}
    return sorted(t for t in kept if t < len(values))


def record(framework: str) -> list[dict[str, Any]]:
    module = real.load(framework)
    lines: list[dict[str, Any]] = [{"framework": framework, "version": module.VERSION}]
    for name, group in groupby(sorted(module.CASES, key=lambda case: case[0]), key=lambda case: case[0]):
        cases = list(group)
        chosen = sorted(set(np.linspace(0, len(cases) - 1, CASES).round().astype(int).tolist()))
        for _, params in (cases[i] for i in chosen):
            values = module.values(name, params, module.STEPS)
            points = [[t, float(values[t])] for t in steps_worth_keeping(values)]
            lines.append({"schedule": name, "params": params, "points": points})
    return lines


if __name__ == "__main__":
    for framework in sys.argv[1:]:
        text = "".join(json.dumps(line) + "\n" for line in record(framework))
        (RECORDED / f"{framework}.jsonl").write_text(text, encoding="utf-8")
        print(f"{framework}: {text.count(chr(10)) - 1} runs, {len(text)} bytes")
