"""Files as people have them: what tools put around, between and into the rows."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from lrwatch.errors import TraceError
from lrwatch.readers import open_trace
from lrwatch.readers.base import Options
from lrwatch.trace.model import Chunk, Event, Item

ROWS = "".join(f"{t},{0.5 / (t + 1)!r},{3 - t / 10:.1f}\n" for t in range(20))
TABLE = "step,lr,loss\n" + ROWS


def rows(path: Path, **options: object) -> dict[int, tuple[list[int], list[float]]]:
    """Rank → updates and rates."""
    result: dict[int, tuple[list[int], list[float]]] = {}
    for item in open_trace([path], options=Options(**options)):  # type: ignore[arg-type]
        assert isinstance(item, Chunk), item
        steps, rates = result.setdefault(item.rank, ([], []))
        steps += item.columns["update"].tolist()
        rates += item.columns["lr/0"].tolist()
    return result


WHOLE = {0: (list(range(20)), [0.5 / (t + 1) for t in range(20)])}


@pytest.mark.parametrize(
    "text",
    [
        "# run 17 on host a, lr 0.5\n# git abcdef\n" + TABLE,
        "sep=;\n" + TABLE.replace(",", ";"),
        "\ufeffsep=,\r\n" + TABLE.replace("\n", "\r\n"),
        "#step,lr,loss\n" + ROWS,
        "# a, comment\n# step,lr,loss\n" + ROWS,
        TABLE.replace(",", ";").replace(".", ","),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 1 << 16])
def test_what_stands_before_a_table(tmp_path: Path, text: str, chunk: int) -> None:
    (tmp_path / "run.csv").write_bytes(text.encode())
    assert rows(tmp_path / "run.csv", chunk_rows=chunk) == WHOLE
    first = next(item for item in open_trace([tmp_path / "run.csv"]) if isinstance(item, Chunk))
    number = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("0"))
    assert first.columns["line"].tolist() == list(range(number, number + 20))


def test_decimal_commas_are_told(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("step;lr;note\n0;0,5;1.2.2026\n1;2,5E-1;a,b\n")
    source = open_trace([tmp_path / "run.csv"])
    assert f"numbers of {tmp_path}/run.csv have decimal commas" in source.info.assumed
    assert rows(tmp_path / "run.csv") == {0: ([0, 1], [0.5, 0.25])}
    (tmp_path / "run.csv").write_text("step;lr\n0;0.5\n1;2,5E-1\n")  # mixed: nobody knows what the comma means
    (chunk, _) = sorted(open_trace([tmp_path / "run.csv"]), key=lambda i: not isinstance(i, Chunk))
    assert isinstance(chunk, Chunk) and chunk.columns["lr/0"].tolist() == [0.5]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("rows_of", ["run.csv", "run.jsonl", "run.log"])
def test_utf_16_as_powershell_writes_it(tmp_path: Path, encoding: str, rows_of: str) -> None:
    text = {
        "run.csv": TABLE,
        "run.jsonl": "".join(f'{{"step": {t}, "lr": {0.5 / (t + 1)!r}, "n": "ä"}}\n' for t in range(20)),
        "run.log": "Größe 3\n" + "".join(f"step={t} lr={0.5 / (t + 1)!r}\n" for t in range(20)),
    }[rows_of]
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / rows_of).write_bytes((mark + text.replace("\n", "\r\n")).encode(encoding))
    assert rows(tmp_path / rows_of) == WHOLE
    assert rows(tmp_path / rows_of, chunk_rows=3) == WHOLE


def test_workers_that_write_to_one_log(tmp_path: Path) -> None:
    """As torchrun joins their lines; each keeps its own rows and validations."""
    lines = ["loading\n"]
    for t in range(20):
        for rank in (0, 1):
            lines.append(f"[default{rank}]:iter {t}: loss 2.5, time 1.00ms, lr {0.5 / (t + 1)!r}\n")
    lines.append("[default1]:step 20: train loss 2.0, val loss 2.5\n")
    path = tmp_path / "train.log"
    path.write_text("".join(lines))
    items = list[Item](open_trace([path]))
    chunks = [item for item in items if isinstance(item, Chunk)]
    assert {c.rank for c in chunks} == {0, 1}
    for rank in (0, 1):
        rates = np.concatenate([c.columns["lr/0"] for c in chunks if c.rank == rank])
        assert rates.tolist() == WHOLE[0][1]
    assert [i.rank for i in items if isinstance(i, Event)] == [1]


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("run.csv", TABLE.replace("\n", "\r").encode(), {},
         "has lines that end in carriage returns alone; convert them: tr '\\r' '\\n' < OLD > NEW"),
        ("run.csv.gz", gzip.compress(TABLE.encode(), mtime=0)[:-30], {},
         "is cut short: its compressed data ends in the middle, at byte "),
        ("run.json", b'[{"step": 0, "lr": 0.5}]', {},
         "is one JSON array; write its rows as JSON Lines: jq -c '.[]' OLD > NEW"),
        ("run.json", b'{"step": [%s], "lr": [%s]}\n' % (b"0, " * 99 + b"1", b"0, " * 99 + b"1"), {},
         'has no line that is a row; a row is one object, e.g. {"step": 0, "lr": 0.1}'),
        ("hf.log", b"{'loss': 2.5, 'learning_rate': 0.5, 'epoch': 0.05}\n", {"steps_per_epoch": 2000},
         "none of its rows can be used: update is 'somewhere at epoch 0.05'; steps are told from the share of epochs; "
         "if that is too coarse, --every N (its logging_steps) places its rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_what_to_do(
    tmp_path: Path, name: str, data: bytes, options: dict[str, int], message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TraceError) as e:
        list(open_trace([tmp_path / name], options=Options(**options)))  # type: ignore[arg-type]
    assert f"{tmp_path}/{name}: {message}" in str(e.value)


def test_rates_of_all_groups_as_a_list(tmp_path: Path) -> None:
    """What ``get_last_lr()`` returns, logged as it is."""
    path = tmp_path / "run.jsonl"
    path.write_text("".join(f'{{"step": {t}, "lr": [{0.5 / (t + 1)!r}, {t}], "other": [[], 1]}}\n' for t in range(20)))
    source = open_trace([path])
    assert rows(path) == WHOLE and not any("not used" in sentence for sentence in source.info.assumed)
    (chunk,) = [item for item in source if isinstance(item, Chunk)]
    assert list(chunk.signals("lr")) == ["0", "1"] and chunk.columns["lr/1"].tolist() == list(range(20))


def test_a_line_of_the_program_is_no_step(tmp_path: Path) -> None:
    """Loguru's ``module:function:line`` before the message, where the function is called ``step``."""
    path = tmp_path / "run.log"
    path.write_text("".join(f"12:30:01 | INFO | train:step:42 - step={t} lr={0.5 / (t + 1)!r}\n" for t in range(20)))
    assert rows(path) == WHOLE
    path.write_text("".join(f"INFO:root:step:{t} lr:{0.5 / (t + 1)!r}\n" for t in range(20)))
    assert rows(path) == WHOLE


def test_a_notebooks_progress_bars_between_the_lines(tmp_path: Path) -> None:
    """The Trainer's dictionaries, with tqdm's carriage returns around them."""
    text = ""
    for t in range(1, 41):
        text += f"\r{t}%|███   | {t}/40 [00:01<00:10,  5.0it/s]"
        if t % 10 == 0:
            rate = 5e-5 * (1 + math.cos(math.pi * (t - 1) / 40))
            text += f"\r\n{{'loss': 2.5, 'learning_rate': {rate!r}, 'epoch': {t / 40}}}\n"
    (tmp_path / "hf.log").write_text(text)
    text = text.replace("'loss': 2.5", "'loss': 2.5, b'x': 1, 7: 2")
    (tmp_path / "hf.log").write_text(text)
    assert rows(tmp_path / "hf.log", every=10)[0][0] == [9, 19, 29, 39]
