"""Other forms of a trace: nothing is lost on the way there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lrwatch.cli import main
from lrwatch.convert import convert, format_of
from lrwatch.errors import LrwatchError, OutputExists
from lrwatch.readers import open_trace
from lrwatch.readers.base import Options
from lrwatch.trace.model import Chunk, Damage, Event

FIXTURES = Path(__file__).parent / "fixtures"
START = (
    '{"event":"start","lrwatch_trace":1,"run":"a","rank":%d,"world":2,"segment":%d,"update":%d,"origin":"fresh","ts":1.5}'
    "\n"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two workers, a resume, NaN and infinities, missing values, events between rows, a counter beyond 2^53."""
    trace = tmp_path / "run/trace"
    trace.mkdir(parents=True)
    for rank in range(2):
        (trace / f"rank{rank:05d}-seg0000.jsonl").write_text(
            START % (rank, 0, 0)
            + '{"update":0,"lr/a":0.1,"lr/b":1e-300,"loss":"nan","ts":1767225600.123456}\n'
            + '{"update":1,"lr/a":0.2,"loss":"-inf","tokens":9007199254740993}\n'
            + '{"event":"validation","update":2,"metrics":{"val_loss":"nan","acc":0.5},"ts":7.25}\n'
            + f'{{"update":2,"lr/a":0.30000000000000004,"loss":{rank}.5,"skipped":1}}\n'
            + '{"event":"checkpoint","update":2,"scheduler_state":true,"path":"a,\\"b\\"\\n"}\n'
            + '{"update":2,"lr/a":5e-324,"lr/b":"inf"}\n'
        )
        (trace / f"rank{rank:05d}-seg0001.jsonl").write_text(
            START.replace('"start"', '"resume"').replace('"fresh"', '"unknown"') % (rank, 1, 2)
            + '{"update":2,"lr/a":1.7976931348623157e308}\n{"event":"end","update":3,"outcome":"completed"}\n'
        )
    return trace.parent


def told(items: Any) -> tuple[list[Any], list[Any]]:
    """All rows and events as plain values, whatever the chunks."""
    rows, events = [], []
    for item in items:
        if isinstance(item, Chunk):
            names = [name for name in item.columns if name != "line"]
            for i in range(len(item)):
                row = {n: item.columns[n][i].item() for n in names if item.present(n)[i]}
                row = {n: "nan" if v != v else v for n, v in sorted(row.items()) if (n, v) != ("skipped", 0)}
                rest = (item.lr_read, item.origin_known, item.world, dict(item.digits), dict(item.quantum))
                rows.append((item.rank, item.segment, row, *rest))
        elif isinstance(item, Event):
            events.append((item.kind, item.update, item.rank, item.segment, item.ts, repr(dict(item.fields))))
    return rows, events


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ""])
def test_nothing_is_lost(run: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    done = convert(open_trace([run]), out, format_of(out))
    assert (done.rows, done.events, done.damaged) == (10, 10, 0)
    before, after = told(open_trace([run])), told(open_trace([out]))
    assert sorted(map(repr, after[0])) == sorted(map(repr, before[0]))
    assert sorted(map(repr, after[1])) == sorted(map(repr, before[1]))
    if suffix:  # and in the same order, and back again
        assert repr(after) == repr(before)
        convert(open_trace([out]), tmp_path / "back", "run")
        for path in (run / "trace").iterdir():
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            again = [json.loads(line) for line in (tmp_path / "back/trace" / path.name).read_text().splitlines()]
            assert [{k: v for k, v in row.items() if k != "lr_read"} for row in again] == lines


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ""])
@pytest.mark.parametrize("name", ["healthy-huggingface.log", "healthy-megatron.log", "healthy-keras.csv"])
def test_what_a_log_left_out_is_not_forgotten(tmp_path: Path, name: str, suffix: str) -> None:
    """The precision of rounded rates, and when they were read, travel with them."""
    options = Options(steps_per_epoch=20)
    out = tmp_path / f"out{suffix}"
    convert(open_trace([FIXTURES / name], options=options), out, format_of(out))
    before, after = (told(open_trace(p, options=options))[0] for p in ([FIXTURES / name], [out]))
    assert [row[2:4] for row in after] == [row[2:4] for row in before]
    assert after[-1][6:] == before[-1][6:] or after[-1][6] == {k: v for k, v in before[-1][6].items() if v < 16}


def test_a_table_of_rows_that_a_thousand_blocks_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    text = "".join(f"{i},{v!r}\n" for i, v in enumerate(rng.random(3000).tolist()))
    (tmp_path / "run.csv").write_text("step,lr\n" + text)
    for suffix in (".parquet", ".arrow", ".csv"):
        convert(open_trace([tmp_path / "run.csv"], options=Options(chunk_rows=7)), tmp_path / f"o{suffix}", suffix[1:])
        found = [
            c for c in open_trace([tmp_path / f"o{suffix}"], options=Options(chunk_rows=11)) if isinstance(c, Chunk)
        ]
        assert np.concatenate([c.columns["lr/0"] for c in found]).tolist() == [
            float(t.split(",")[1]) for t in text.split()
        ]


def cli(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(a) for a in args])
    return result.exit_code, result.output


def test_the_command_refuses_and_tells(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert cli("trace", "convert", run, out) == (0, f"{out}: 10 rows, 10 events\n")
    assert cli("trace", "convert", run, out) == (2, f"lrwatch: {out}: already exists; pass --force to overwrite it\n")
    assert cli("trace", "convert", run, out, "--force")[0] == 0
    assert cli("trace", "convert", run, run) == (2, f"lrwatch: {run}: already exists; name another place\n")
    with pytest.raises(LrwatchError, match=r"out.xlsx: no format is named like this; use .parquet, .arrow"):
        format_of(tmp_path / "out.xlsx")
    code, said = cli("trace", "convert", run, tmp_path / "no/out.csv")
    assert code == 2 and "there is no directory" in said
    broken = tmp_path / "broken.csv"
    broken.write_text("step,lr\n0,1\n1,x\n")
    assert cli("trace", "convert", broken, tmp_path / "o.csv") == (
        0,
        f"{tmp_path}/o.csv: 1 rows, 0 events\nlrwatch: not written: {broken}:3: lr is 'x'\n",
    )
    with pytest.raises(OutputExists):
        convert(open_trace([run]), out, "csv")


def test_damage_in_a_converted_table_is_found(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    convert(open_trace([run]), out, "csv")
    lines = out.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if ",,," in line and not line.startswith("rank") and i > 2)
    spoilt = {row: lines[row] + ",1", row + 1: "0,0,nonsense,{}," + lines[row + 1].split(",", 4)[4]}
    out.write_text("\n".join(spoilt.get(i, line) for i, line in enumerate(lines)) + "\n0,0,")
    damage = [(d.kind, d.line, d.message) for d in open_trace([out]) if isinstance(d, Damage)]
    assert [d[:2] for d in damage] == [("not_a_row", row + 1), ("not_a_row", row + 2), ("torn", len(lines) + 1)]
    assert damage[1][2] == "unknown event 'nonsense'"


def test_openmetrics_text(run: Path, tmp_path: Path) -> None:
    code, said = cli("trace", "openmetrics", run)
    assert code == 2 and "rank00000-seg0000.jsonl:3: the row of step 1 has no time; give --begin and" in said
    (tmp_path / "run.csv").write_text("step,lr,loss,ts\n0,0.5,nan,10.0004\n1,0.25,inf,10.0001\n2,0.125,,10.5\n")
    result = CliRunner().invoke(main, ["trace", "openmetrics", str(tmp_path / "run.csv"), "--run-id", 'a"b'])
    assert result.exit_code == 0
    assert result.stderr == "8 samples; 1 rows were moved to a later millisecond\n"
    assert result.stdout == (
        "# TYPE lrwatch_trace_learning_rate gauge\n"
        "# HELP lrwatch_trace_learning_rate Learning rate used by each update.\n"
        'lrwatch_trace_learning_rate{run_id="a\\"b",rank="0",group="0"} 0.5 10.000\n'
        'lrwatch_trace_learning_rate{run_id="a\\"b",rank="0",group="0"} 0.25 10.001\n'
        'lrwatch_trace_learning_rate{run_id="a\\"b",rank="0",group="0"} 0.125 10.500\n'
        "# TYPE lrwatch_trace_step gauge\n"
        "# HELP lrwatch_trace_step Number of each update, from 0.\n"
        'lrwatch_trace_step{run_id="a\\"b",rank="0"} 0 10.000\n'
        'lrwatch_trace_step{run_id="a\\"b",rank="0"} 1 10.001\n'
        'lrwatch_trace_step{run_id="a\\"b",rank="0"} 2 10.500\n'
        "# TYPE lrwatch_trace_loss gauge\n"
        "# HELP lrwatch_trace_loss Training loss of each update.\n"
        'lrwatch_trace_loss{run_id="a\\"b",rank="0"} NaN 10.000\n'
        'lrwatch_trace_loss{run_id="a\\"b",rank="0"} +Inf 10.001\n'
        "# EOF\n"
    )
    code, said = cli("trace", "openmetrics", tmp_path / "run.csv")
    assert code == 2 and "does not say which run it is; name it with --run-id" in said
    late = ("--run-id", "a", "--begin", "2999-01-01T00:00:00Z", "--seconds-per-step", "1")
    code, said = cli("trace", "openmetrics", tmp_path / "run.csv", *late)
    assert code == 2 and "the row of step 0 is in the future" in said
