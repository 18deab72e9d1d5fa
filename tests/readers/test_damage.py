"""What real files look like after an accident: findings with line numbers, never a traceback, never silence."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrwatch.contract import load
from lrwatch.errors import LrwatchError, TraceError
from lrwatch.readers import open_trace, readers
from lrwatch.readers.base import Options
from lrwatch.trace.model import Chunk, Damage
from lrwatch.verify import verify

FIXTURES = Path(__file__).parent / "fixtures"


def damage(path: Path, **options: object) -> list[tuple[str, int, str]]:
    return [
        (d.kind, d.line, d.message) for d in open_trace([path], options=Options(**options)) if isinstance(d, Damage)
    ]  # type: ignore[arg-type]


def rates(path: Path, **options: object) -> list[float]:
    chunks = [c for c in open_trace([path], options=Options(**options)) if isinstance(c, Chunk)]  # type: ignore[arg-type]
    return [v for c in chunks if c.has("lr/0") for v in c.columns["lr/0"][c.present("lr/0")].tolist()]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"step": 0, "lr": 0.5, "note": "a"}\n'
        b'{"step": 1, "lr": 0.25\n'  # 2
        b'{"step": 1, "lr": "fast"}\n'  # 3
        b"\0\0\0\n"  # 4
        b'{"step": 1, "lr": 0.25, "note": "\xe4"}\n'  # 5
        b"[1, 0.25]\n"  # 6
        b'{"lr": 0.25}\n'  # 7
        b'{"step": -1, "lr": 0.25}\n'  # 8
        b'{"step": 1.5, "lr": 0.25}\n'  # 9
        b'{"step": 1, "lr": 1e308, "epoch": "x"}\n'
        b'{"step": 2, "lr": NaN}\n'
        b'{"step": 3, "lr": null}\n'
        b'{"val_loss": 1}\n'  # of something else, no damage
        b'{"trainer/global_step": 4, "step": 9, "lr": 0.125}\n'  # 14
        b'{"step": 5, "l'
    )
    assert sorted(damage(path), key=lambda d: d[1]) == [
        ("undecodable", 2, 'not JSON: \'{"step": 1, "lr": 0.25\''),
        ("not_a_row", 3, "lr is 'fast'"),
        ("undecodable", 4, "NUL bytes"),
        ("undecodable", 5, "not UTF-8: byte 0xe4 at 33"),
        ("not_a_row", 6, "a JSON list, no object"),
        ("not_a_row", 7, "a learning rate without a step"),
        ("not_a_row", 8, "step is '-1'"),
        ("not_a_row", 9, "step is '1.5'"),
        ("columns_changed", 14, "update is now 'trainer/global_step', not 'step'"),
        ("torn", 15, "torn last line of 14 bytes: its writer was stopped in it"),
    ]
    found = rates(path)
    assert found[:2] == [0.5, 1e308] and found[2] != found[2] and found[3:] == [0.125]


@pytest.mark.parametrize("format", ["megatron.log", "huggingface.log", "lightning.csv", "keras.csv", "torchtitan.log"])
def test_a_log_with_everything_in_it(tmp_path: Path, format: str) -> None:
    """A torn line, NUL bytes from a crashed machine, another encoding: each is one finding."""
    lines = (FIXTURES / f"healthy-{format}").read_bytes().split(b"\n")
    lines[5] = lines[5][:-3] + b"\0\0" + lines[5][-3:]
    lines[7] = lines[7] + b" \xe4\xf6"
    path = tmp_path / f"healthy-{format}"
    path.write_bytes(b"\n".join(lines[:20]) + b"\n" + lines[20][:-2])
    found = damage(path, steps_per_epoch=20)
    assert [d[:2] for d in sorted(found, key=lambda d: d[1])] == [("undecodable", 6), ("undecodable", 8), ("torn", 21)]


def test_nothing_is_never_clean(tmp_path: Path) -> None:
    cases: dict[str, tuple[bytes, str]] = {
        "hf.log": (
            b"{'eval_loss': 1.5, 'epoch': 1.0}\n{'train_runtime': 2.0, 'epoch': 1.0}\n",
            "has no row with a step",
        ),
        "trainer_state.json": (b'{"log_history": [{"step": 1, "loss": 2.0}]}', "no entry with a learning_rate"),
        "empty_state.json": (b'{"log_history": []}', "no entry with a learning_rate"),
        "torn_state.json": (b'{"log_history": [{"step": 1, "loss"', "is no JSON: "),
        "run.jsonl": (b'{"event_type": "a", "x": 1}\n{"x": 2}\n', "no row has a learning rate and a step; keys are"),
        "run.csv.gz": (gzip.compress(b"step,lr\n"), "has a header and no rows"),
        "broken.csv.gz": (
            gzip.compress(b"step,lr\n0,1\n" * 99)[:-40] + b"x" * 40,
            "is damaged: unpacking stops at byte",
        ),
        "nan.csv": (b"step,lr\n0,\n1,\n", ""),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        contract = load(FIXTURES / "run.yaml")
        if message:
            with pytest.raises(TraceError) as e:
                verify(contract, open_trace([tmp_path / name]))
            assert message in str(e.value), name
        else:
            result = verify(contract, open_trace([tmp_path / name])).result
            assert result.verdict() == "inconclusive"


def test_two_runs_in_one_file_and_a_clock_that_goes_back(tmp_path: Path) -> None:
    text = (FIXTURES / "healthy-megatron.log").read_text()
    path = tmp_path / "train.log"
    path.write_text(text + text)
    result = verify(load(FIXTURES / "run.yaml"), open_trace([path])).result
    (found,) = [f for f in result.findings if f.slug == "trace-damage"]
    assert "goes back without a resume, first at step 0" in found.message
    table = "step,lr,ts\n" + "".join(f"{i},0.1,{100 - i}\n" for i in range(9))
    (tmp_path / "clock.csv").write_text(table)
    (chunk,) = [c for c in open_trace([tmp_path / "clock.csv"]) if isinstance(c, Chunk)]
    assert chunk.columns["ts"].tolist() == [100.0 - i for i in range(9)]


def test_a_broken_event_file_a_broken_database_and_a_broken_parquet(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("pyarrow")
    source = FIXTURES / "healthy-tensorboard/events.out.tfevents.1767225600.host.1.0"
    path = tmp_path / source.name
    data = source.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    items = list(open_trace([path]))
    assert 10 < sum(len(c) for c in items if isinstance(c, Chunk)) < 40
    path.write_bytes(data[:1500] + b"\xff" * 40 + data[1540:])
    assert [d.kind for d in open_trace([path]) if isinstance(d, Damage)] == ["undecodable"]
    for name in ("healthy-mlflow.db", "healthy-wandb/offline-run-20260102_030405-fixture1/run-fixture1.wandb"):
        data = (FIXTURES / name).read_bytes()
        part = tmp_path / Path(name).name
        part.write_bytes(data[: len(data) // 2])
        try:
            list(open_trace([part]))
        except LrwatchError:
            pass
    (tmp_path / "run.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(TraceError, match=r"run.parquet: is no Parquet file, or a damaged one"):
        open_trace([tmp_path / "run.parquet"])


def test_several_runs_need_a_name(tmp_path: Path) -> None:
    for run in ("a", "b"):
        shutil.copytree(FIXTURES / "healthy-mlruns/0/0123456789abcdef0123456789abcdef", tmp_path / "mlruns/0" / run)
    with pytest.raises(TraceError, match=r"has 2 runs \(a, b\); name one with --run"):
        open_trace([tmp_path / "mlruns"])
    assert open_trace([tmp_path / "mlruns"], options=Options(run="b")).info.run == "b"
    with pytest.raises(TraceError, match=r"has no run 'c'; there are a, b"):
        open_trace([tmp_path / "mlruns"], options=Options(run="c"))


TEXTS = rb"""{"step": 1, "lr": 0.5}
{"step": 2, "lr": 1e999, "x": [1]}
step,lr,loss
3,0.5,1
,,
"
{'loss': 1.0, 'learning_rate': nan, 'epoch': 1e9}
{'loss': '1', 'learning_rate': '1', 'epoch': '-0'}
iteration 1/ 2 | learning rate: 1E-5 | consumed samples: x | global batch size: 4 |
Epoch 1/2
2/2 - 1s - loss: nan - learning_rate: inf
iter 9: loss 1.0, time 1ms
step=1, skipped=9, lr=[1, x], mom=[]
step: 1  loss: nan  grad_norm: inf  memory: 1
step=99999999999999999999 lr=1
{"event":"start","lrwatch_trace":1,"digits":{"lr/0":"x"},"quantum":[]}
{"update":1,"lr":1}
"Step","a - lr","a - lr__MIN"
"1","0.5","0.5"
rank,segment,event,fields,update,lr/0
0,0,about,"{}",1,
0,0,,,1,0.5
epoch,learning_rate,loss
epoch,lr-Adam,step
[1]
{"log_history": [{"step": 1, "learning_rate": "x"}, 7]}
{{{{{{{{{{{{{{{{{{{{{{""".split(b"\n")
BYTES = [b"\0", b"\xff\xfe", b"\r", b"PAR1", b"ARROW1\0\0", b"SQLite format 3\0", b":W&B", b"9" * 400, b"\x1f\x8b\x08"]
LINES = st.sampled_from([*TEXTS, *BYTES])


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    lines=st.lists(st.one_of(LINES, st.binary(max_size=30)), max_size=12),
    end=st.booleans(),
    cut=st.integers(0, 40),
    pick=st.integers(0, 10**6),
)
def test_no_reader_crashes(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bool, cut: int, pick: int
) -> None:
    """Whatever is in a file, and whichever reader is told to read it: items, or an error that says what is wrong."""
    data = b"\n".join(lines) + (b"\n" if end else b"")
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    path.write_bytes(data[: max(len(data) - cut, 1)] or b"x")
    names = [name for name in readers() if name not in ("prometheus", "tensorboard")]
    for name in (None, names[pick % len(names)]):
        try:
            for item in open_trace([path], name, Options(steps_per_epoch=3, chunk_rows=3)):
                if isinstance(item, Chunk):
                    assert len(item) and all(len(c) == len(item) for c in item.columns.values())
                    assert all(c in item.columns and m.any() for c, m in item.missing.items())
        except LrwatchError:
            pass


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(p.name for p in FIXTURES.glob("healthy-*")))
def test_fixtures_with_flipped_bytes(tmp_path: Path, name: str) -> None:
    """Every format, a hundred times with some bytes changed."""
    import random

    source = FIXTURES / name
    files = [source] if source.is_file() else [f for f in source.rglob("*") if f.is_file()]
    for seed in range(100):
        rng = random.Random(seed)
        target = tmp_path / str(seed) / name
        target.parent.mkdir()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        spoilt = rng.choice(files)
        data = bytearray(spoilt.read_bytes())
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (target if source.is_file() else target / spoilt.relative_to(source)).write_bytes(bytes(data))
        try:
            list(open_trace([target]))
        except LrwatchError:
            pass


def test_a_readers_lines_are_the_same_one_by_one(tmp_path: Path) -> None:
    """What follows a growing log gets the rows that reading the whole file gives."""
    for name in ("megatron.log", "huggingface.log", "keras.log", "keras.csv", "lightning.csv", "torchtitan.log"):
        path = FIXTURES / f"healthy-{name}"
        source = open_trace([path], options=Options(steps_per_epoch=20))
        whole = [c for c in source if isinstance(c, Chunk)]
        reader = readers()[source.info.format]
        assert reader.lines is not None
        data = path.read_bytes()
        state = reader.lines(name, data[:8192], Options(steps_per_epoch=20))
        items = [item for n, line in enumerate(data.splitlines(keepends=True), 1) for item in state.items(n, line)]
        single = [c for c in [*items, *state.end()] if isinstance(c, Chunk)]
        for column in ("update", "lr/0", "loss"):
            values = [v for c in whole if c.has(column) for v in c.columns[column].tolist()]
            assert [v for c in single if c.has(column) for v in c.columns[column].tolist()] == values, (name, column)


def test_json_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    rows = [{"step": i, "lr": 0.5 / (i + 1), "loss": 1.0} for i in range(50)]
    path.write_text(
        "".join(json.dumps(dict(sorted(r.items(), key=lambda kv: hash((i, kv[0]))))) + "\n" for i, r in enumerate(rows))
    )
    assert rates(path) == [r["lr"] for r in rows] and damage(path) == []
