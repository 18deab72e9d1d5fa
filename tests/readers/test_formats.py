"""The same small run in every format gives the same verdict, a healthy one and a broken one."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrwatch.contract import load
from lrwatch.errors import MissingExtra
from lrwatch.findings import Severity
from lrwatch.readers import open_trace
from lrwatch.readers.base import Options
from lrwatch.verify import Report, verify

FIXTURES = Path(__file__).parent / "fixtures"
HORIZON = {"healthy": 40, "broken": 60}


def rows(kind: str) -> Iterator[tuple[int, float, float]]:
    """Update, rate and loss of the run that the fixtures have, too."""
    for t in range(40):
        part = t / 8 if t < 8 else 0.5 * (1.0 + math.cos(math.pi * (t - 8) / (HORIZON[kind] - 8)))
        yield t, 1e-3 * part, 2.0 * 0.97**t


def text(kind: str, line: str, head: str = "") -> str:
    """The run as lines; ``{t}``, ``{k}`` (from 1), ``{lr}``, ``{loss}``."""
    return head + "".join(line.format(t=t, k=t + 1, lr=lr, loss=loss) + "\n" for t, lr, loss in rows(kind))


def table(kind: str) -> str:
    return text(kind, "{t},{lr!r},{loss!r}", "step,lr,loss\n")


def arrow(path: Path, kind: str, how: str) -> None:
    pa = pytest.importorskip("pyarrow")
    found = list(rows(kind))
    columns = {"step": [r[0] for r in found], "lr": [r[1] for r in found], "loss": [r[2] for r in found]}
    data = pa.table(columns)
    if how == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(data, path)
        return
    ipc = pytest.importorskip("pyarrow.ipc")
    with (ipc.new_file if how == "file" else ipc.new_stream)(str(path), data.schema) as writer:
        writer.write_table(data, max_chunksize=7)


def zstd(path: Path, kind: str) -> None:
    path.write_bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(table(kind).encode()))


def ranks(path: Path, kind: str) -> None:
    path.mkdir()
    for rank in range(2):
        (path / f"train_rank{rank}.csv").write_text(table(kind))


def exported(path: Path, kind: str) -> None:
    """As the web page of W&B writes it."""
    name = "sunny-sun-1 - train/learning_rate"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["Step", name, f"{name}__MIN", f"{name}__MAX"])
        writer.writerows([t, lr, lr, lr] for t, lr, _ in rows(kind))


def old_state(path: Path, kind: str) -> None:
    """A checkpoint folder of transformers 4.40, which logged the next update's rate."""
    checkpoint = path / "checkpoint-40"
    checkpoint.mkdir(parents=True)
    rates = [*(lr for _, lr, _ in rows(kind)), 1e-3 * 0.5 * (1 + math.cos(math.pi * 32 / (HORIZON[kind] - 8)))]
    history = [{"step": t + 1, "learning_rate": rates[t + 1], "loss": loss} for t, _, loss in rows(kind)]
    (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": history, "global_step": 40}))
    (checkpoint / "config.json").write_text(json.dumps({"transformers_version": "4.40.1"}))


WRITTEN: dict[str, tuple[str, Callable[[Path, str], Any]]] = {
    "csv": ("run.csv", lambda p, k: p.write_text(table(k))),
    "csv, tabs": ("run.tsv", lambda p, k: p.write_text(table(k).replace(",", "\t"))),
    "csv, gzip": ("run.csv.gz", lambda p, k: p.write_bytes(gzip.compress(table(k).encode()))),
    "csv, zstd": ("run.csv.zst", zstd),
    "csv, rounded": ("run.csv", lambda p, k: p.write_text(text(k, "{t},{lr:.6f},{loss:.3f}", "step,lr,loss\n"))),
    "csv, ranks": ("ranks", ranks),
    "wandb_csv": ("export.csv", exported),
    "jsonl": (
        "run.jsonl",
        lambda p, k: p.write_text(
            "".join(json.dumps({"step": t, "lr": lr, "loss": x, "host": "a"}) + "\n" for t, lr, x in rows(k))
        ),
    ),
    "jsonl, nested": (
        "run.jsonl",
        lambda p, k: p.write_text(
            "".join(json.dumps({"step": t, "train": {"learning_rate": lr, "loss": x}}) + "\n" for t, lr, x in rows(k))
        ),
    ),
    "lrwatch": (
        "rank00000-seg0000.jsonl",
        lambda p, k: p.write_text(text(k, '{{"update":{t},"lr":{lr!r},"loss":{loss!r}}}')),
    ),
    "key_value": (
        "train.log",
        lambda p, k: p.write_text(text(k, "12:00:01 INFO step={t} lr={lr:.6e} loss={loss:.4f}")),
    ),
    "key_value, colons": (
        "train.log",
        lambda p, k: p.write_text(text(k, "[rank0] Step {t}/40 | lr: {lr:.3e} | loss: {loss:.4f}")),
    ),
    "nanogpt": (
        "train.log",
        lambda p, k: p.write_text(text(k, "step {t:4d} | loss: {loss:.6f} | lr {lr:.4e} | norm: 1.2000 | dt: 90.00ms")),
    ),
    "huggingface_log": (
        "train.log",
        lambda p, k: p.write_text(
            text(k, "{{'loss': {loss:.4f}, 'learning_rate': {lr!r}, 'epoch': {t}.0}}").replace(
                "'epoch': ", "'epoch': 1"
            )
        ),
    ),
    "trainer_state": ("out", old_state),
    "parquet": ("run.parquet", lambda p, k: arrow(p, k, "parquet")),
    "arrow": ("run.arrow", lambda p, k: arrow(p, k, "file")),
    "arrow, stream": ("run.arrows", lambda p, k: arrow(p, k, "stream")),
}
"""Formats that are nobody's own, or whose tool is no library: written here."""

MADE = {
    "huggingface_log": "huggingface.log",
    "trainer_state": "trainer_state.json",
    "lightning": "lightning.csv",
    "keras_csv": "keras.csv",
    "keras_log": "keras.log",
    "megatron": "megatron.log",
    "deepspeed": "deepspeed.log",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlruns",
    "mlflow, sqlite": "mlflow.db",
}
"""Formats written by the real tool: see fixtures/make_*.py."""

STEPS = {"huggingface_log": Options(steps_per_epoch=20)}
EPOCHS = ("keras_csv", "keras_log")


def check(path: Path, format: str) -> Report:
    contract = load(FIXTURES / ("epochs.yaml" if format in EPOCHS else "run.yaml"))
    options = Options(every=1) if "train.log" in path.name else STEPS.get(format)
    try:
        source = open_trace([path], options=options)
        assert source.info.format.split(", ")[0] == format
        return verify(contract, source)
    except MissingExtra as e:
        pytest.skip(str(e))


def judged(report: Report, kind: str) -> None:
    result = report.result
    ran = {run.slug for run in result.checks if run.status == "ran"}
    assert {"drift", "run-length"} <= ran
    if kind == "healthy":
        assert (result.verdict(Severity.error), [f.message for f in result.findings]) == ("pass", [])
    else:
        (drift,) = [f for f in result.findings if f.slug == "drift"]
        assert result.verdict(Severity.error) == "fail"
        assert drift.cause is not None and drift.cause.name == "horizon", drift
        assert drift.cause.params["horizon"] == pytest.approx(60, abs=1)
    assert result.stats.rows == (80 if len(result.stats.ranks) == 2 else 40) and result.stats.damage == {}


@pytest.mark.parametrize("kind", HORIZON)
@pytest.mark.parametrize("format", WRITTEN)
def test_written_by_hand(tmp_path: Path, format: str, kind: str) -> None:
    name, write = WRITTEN[format]
    write(tmp_path / name, kind)
    judged(check(tmp_path / name, format.partition(",")[0]), kind)


@pytest.mark.parametrize("kind", HORIZON)
@pytest.mark.parametrize("format", MADE)
def test_written_by_the_real_tool(format: str, kind: str) -> None:
    judged(check(FIXTURES / f"{kind}-{MADE[format]}", format.partition(",")[0]), kind)


def test_torchtitan_prints_no_rate_and_that_is_said() -> None:
    healthy, broken = (verify(load(FIXTURES / "run.yaml"), open_trace([FIXTURES / f"{kind}-torchtitan.log"]))
                       for kind in HORIZON)  # fmt: skip
    why = {run.slug: run.why for run in healthy.result.checks if run.status == "not_checked"}
    assert why["drift"] == "the trace has no column of a signal that the contract promises"
    assert healthy.result.verdict(Severity.error) == "inconclusive"
    assert "its log has no learning rate" in healthy.info.assumed[0]
    assert next(f.first_step for f in broken.result.findings if f.slug == "non-finite") == 29
