"""A log that arrives in small pieces is judged as the whole log is, in every text format, and so is what was recorded
of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrwatch.contract import load
from lrwatch.readers import open_trace
from lrwatch.readers.base import Options
from lrwatch.verify import Report, verify
from tests.readers.test_formats import EPOCHS, FIXTURES, MADE, STEPS, WRITTEN
from tests.tail.helpers import cut, followed

LINES = ("jsonl", "jsonl, nested", "csv, rounded", "csv, tabs", "key_value", "nanogpt", "huggingface_log")
TOOLS = ("huggingface_log", "lightning", "keras_csv", "keras_log", "megatron", "deepspeed")


def said(report: Report) -> tuple[object, ...]:
    """What must not depend on how the rows came."""
    found = [
        (f.code, f.severity, f.group, f.first_step, f.last_step, f.cause.name if f.cause else None)
        for f in report.result.findings
        if f.slug != "run-length"  # a file does not say that the run has ended
    ]
    return report.result.verdict(), found, report.result.stats.rows


def compare(path: Path, format: str, tmp_path: Path) -> None:
    contract = FIXTURES / ("epochs.yaml" if format in EPOCHS else "run.yaml")
    options = STEPS.get(format) or Options(every=1 if "train.log" in path.name else None)
    whole = verify(load(contract), open_trace([path], options=options))
    size = max(len(path.read_bytes()) // 23, 1)
    live = followed(cut(path.read_bytes(), size), contract, tmp_path / "run", options, path.name)
    assert live.info.format == format
    assert said(live) == said(whole)
    assert said(verify(load(contract), open_trace([tmp_path / "run"]))) == said(whole)


@pytest.mark.parametrize("format", LINES)
def test_written_by_hand(tmp_path: Path, format: str) -> None:
    name, write = WRITTEN[format]
    write(tmp_path / name, "broken")
    compare(tmp_path / name, format.partition(",")[0], tmp_path)


@pytest.mark.parametrize(("format", "kind"), [*((f, "broken") for f in TOOLS), ("megatron", "healthy")])
def test_written_by_the_real_tool(tmp_path: Path, format: str, kind: str) -> None:
    compare(FIXTURES / f"{kind}-{MADE[format]}", format, tmp_path)
