"""lrwatch's own format: what was written is read, what is broken is named, nothing whole is lost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrwatch.errors import TraceError
from lrwatch.readers import open_trace
from lrwatch.readers.base import Options
from lrwatch.trace.model import Chunk, Damage, Event, Item
from lrwatch.trace.writer import TraceWriter

HEADER = '{"event":"start","lrwatch_trace":1,"run":"a1","rank":3,"world":4,"segment":0,"update":0,"contract":"f00"}\n'


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path, **options: Any) -> list[Item]:
    return list(open_trace([path], options=Options(**options)))


def chunks(items: Iterable[Item]) -> list[Chunk]:
    return [item for item in items if isinstance(item, Chunk)]


def damage(items: Iterable[Item]) -> list[tuple[str, int]]:
    return [(item.kind, item.line) for item in items if isinstance(item, Damage)]


def column(items: Iterable[Item], name: str) -> list[float]:
    return [v for chunk in chunks(items) for v in chunk.columns[name].tolist()]


def test_rows_inherit_from_the_header_and_events_split_chunks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rank00003-seg0000.jsonl",
        HEADER
        + '{"update":0,"attempt":0,"micro":0,"lr":0.0,"loss":2.5,"ts":1.5}\n'
        + '{"update":1,"attempt":1,"micro":3,"lr":0.1,"loss":2.25,"ts":1.75}\n'
        + '{"event":"checkpoint","update":2,"scheduler_state":true,"ts":2.0}\n'
        + '{"update":2,"attempt":2,"micro":6,"lr":0.2,"loss":2.0,"ts":2.25}\n'
        + '{"event":"end","outcome":"finished"}\n',
    )
    source = open_trace([path])
    start, first, checkpoint, second, end = source
    assert source.info.run == "a1" and source.info.contract == "f00" and source.info.format == "lrwatch"
    assert isinstance(start, Event) and (start.kind, start.rank, start.line) == ("start", 3, 1)
    assert start.fields == {"run": "a1", "world": 4, "contract": "f00"}
    assert isinstance(first, Chunk) and (first.rank, first.world, first.segment) == (3, 4, 0)
    assert {k: v.tolist() for k, v in first.columns.items()} == {
        "update": [0, 1],
        "attempt": [0, 1],
        "micro": [0, 3],
        "lr/0": [0.0, 0.1],
        "loss": [2.5, 2.25],
        "ts": [1.5, 1.75],
        "line": [2, 3],
    }
    assert first.columns["micro"].dtype == np.int64 and first.columns["lr/0"].dtype == np.float64
    assert isinstance(checkpoint, Event) and (checkpoint.update, checkpoint.ts) == (2, 2.0)
    assert checkpoint.fields == {"scheduler_state": True}
    assert isinstance(second, Chunk) and second.columns["line"].tolist() == [5]
    assert isinstance(end, Event) and (end.update, end.fields) == (3, {"outcome": "finished"})
    assert list(source)[1].columns["lr/0"].tolist() == [0.0, 0.1]  # type: ignore[union-attr]


def test_a_resume_moves_rank_segment_and_reading(tmp_path: Path) -> None:
    path = write(
        tmp_path / "all.jsonl",
        HEADER
        + '{"update":0,"lr":1.0}\n'
        + '{"event":"resume","lrwatch_trace":1,"rank":5,"world":8,"segment":2,"update":7,"origin":"unknown",'
        + '"lr_read":"after"}\n'
        + '{"update":7,"lr":0.5}\n',
    )
    first, second = chunks(read(path))
    assert (first.rank, first.segment, first.lr_read, first.origin_known) == (3, 0, "used", True)
    assert (second.rank, second.world, second.segment, second.lr_read, second.origin_known) == (5, 8, 2, "after", False)


def test_values_that_are_missing_and_values_that_are_not_finite(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rank00000-seg0000.jsonl",
        '{"update":0,"lr":"nan","loss":"inf","grad_norm":1.0}\n'
        '{"update":1,"lr":0.5,"loss":"-inf","skipped":1}\n'
        '{"update":1,"lr":0.5,"loss":null,"grad_norm":"nan","note":"hello"}\n',
    )
    (chunk,) = chunks(read(path))
    assert math.isnan(chunk.columns["lr/0"][0]) and chunk.present("lr/0").all()
    assert chunk.columns["loss"].tolist()[:2] == [math.inf, -math.inf]
    assert chunk.present("loss").tolist() == [True, True, False]
    assert chunk.present("grad_norm").tolist() == [True, False, True]
    assert chunk.columns["skipped"].tolist() == [0, 1, 0] and chunk.present("skipped").all()
    assert not chunk.has("note")


def test_a_group_that_is_added_in_mid_run(tmp_path: Path) -> None:
    """The only group is written ``lr``; when it gets company, ``lr/0``."""
    writer = TraceWriter(tmp_path, 0)
    writer.write(Chunk({"update": np.array([0]), "lr/0": np.array([0.5])}))
    writer.write(Chunk({"update": np.array([1]), "lr/0": np.array([0.25]), "lr/1": np.array([2.0])}))
    writer.close()
    (chunk,) = chunks(read(tmp_path / "trace/rank00000-seg0000.jsonl"))
    assert chunk.columns["lr/0"].tolist() == [0.5, 0.25] and chunk.present("lr/0").all()
    assert chunk.present("lr/1").tolist() == [False, True]


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ('{"update":1,"lr":0.', "undecodable", "not JSON: '{\"update\":1,\"lr\":0.'"),
        ("[1, 2]", "not_a_row", "not a row: a JSON list"),
        ("17", "not_a_row", "not a row: a JSON number"),
        ('{"lr":0.5}', "not_a_row", "no update"),
        ('{"update":1.5,"lr":0.5}', "not_a_row", "update is 1.5"),
        ('{"update":"x","lr":0.5}', "not_a_row", "update is 'x'"),
        ('{"update":99999999999999999999,"lr":0.5}', "not_a_row", "update is 99999999999999999999"),
        ('{"update":1,"lr":"fast"}', "not_a_row", "lr is 'fast'"),
        ('{"update":1,"lr":[0.5]}', "not_a_row", "lr is [0.5]"),
        ('{"update":01,"lr":0.5}', "undecodable", "not JSON: '{\"update\":01,\"lr\":0.5}'"),
        ('{"update":1,"lr":.5}', "undecodable", "not JSON: '{\"update\":1,\"lr\":.5}'"),
        ('{"event":"party","update":1}', "not_a_row", "unknown event 'party'"),
        ('{"event":"checkpoint","update":"x"}', "not_a_row", "update is 'x'"),
        ('{"event":"validation","metrics":{"val":"x"}}', "not_a_row", "validation: metrics are {'val': 'x'}"),
        ("{" * 100_000, "undecodable", "not JSON: '{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{'"),
        ("\0\0\0\0", "undecodable", "not JSON: '\\x00\\x00\\x00\\x00'"),
    ],
)  # fmt: skip
def test_what_is_no_row_is_named_with_its_line(tmp_path: Path, line: str, kind: str, message: str) -> None:
    rows = [f'{{"update":{i},"lr":0.5}}\n' for i in range(20)]
    path = write(tmp_path / "rank00002-seg0000.jsonl", HEADER + "".join(rows[:10]) + line + "\n" + "".join(rows[10:]))
    items = read(path)
    (found,) = [item for item in items if isinstance(item, Damage)]
    assert (found.kind, found.line, found.message, found.rank) == (kind, 12, message, 3)
    assert column(items, "update") == list(range(20))
    assert column(items, "line") == [*range(2, 12), *range(13, 23)]


def test_bytes_that_are_no_utf8_and_lines_that_are_blank(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rank00000-seg0000.jsonl", b'{"update":0}\n\n  \n{"update":1,"lr/\xff":1}\n{"update":2}\r\n'
    )
    items = read(path)
    (found,) = [item for item in items if isinstance(item, Damage)]
    assert (found.kind, found.line, found.message) == ("undecodable", 4, "not UTF-8: byte 0xff at 16")
    assert column(items, "update") == [0, 2] and column(items, "line") == [1, 5]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rank00000-seg0000.jsonl", '{"event":"start","lrwatch_trace":2,"update":0}\n')
    with pytest.raises(TraceError) as e:
        read(path)
    assert str(e.value) == f"{path}:1: is a trace of format 2, this lrwatch reads format 1; upgrade lrwatch"


def test_truncation_never_raises_and_never_loses_a_whole_line(tmp_path: Path) -> None:
    lines = [
        HEADER.encode(),
        b'{"update":0,"attempt":0,"lr/\xc3\xa4":0.25,"loss":"nan"}\n',
        b'{"update":1,"attempt":1,"lr/\xc3\xa4":0.125,"skipped":1}\n',
        b'{"event":"validation","update":1,"metrics":{"val_loss":1.5}}\n',
        b'{"update":1,"attempt":2,"lr/\xc3\xa4":1e-05}\n',
    ]
    whole = b"".join(lines)
    for size in range(1, len(whole) + 1):
        items = read(write(tmp_path / "rank00003-seg0000.jsonl", whole[:size]))
        ends = [len(b"".join(lines[: i + 1])) for i in range(len(lines))]
        # A line that lacks only its line break is whole.
        complete = sum(end - 1 <= size for end in ends)
        events = [item.line or 0 for item in items if isinstance(item, Event)]
        read_lines = sorted([*events, *column(items, "line")])
        assert read_lines == list(range(1, complete + 1))
        torn = size not in ends and size + 1 not in ends
        assert damage(items) == ([("torn", complete + 1)] if torn else [])


def test_the_fast_ways_say_what_line_by_line_says(tmp_path: Path) -> None:
    """Blocks of like rows, of mixed rows and single rows go different ways to the same columns."""
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for i in range(5000):
        row: dict[str, Any] = {"update": i, "lr/a": float(rng.random()), "lr/b": float(10.0 ** -rng.integers(0, 300))}
        if i % 1000 == 999:
            row["skipped"] = 1
        if 2000 <= i < 3000 and i % 3:
            row["grad_norm"] = "nan" if i % 5 else float(rng.random() * 1e10)
        rows.append(row)
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    path = write(tmp_path / "rank00000-seg0000.jsonl", text)
    seen = []
    for chunk_rows in (1, 7, 4096, 65536):
        items = chunks(read(path, chunk_rows=chunk_rows))
        assert max(map(len, items)) <= chunk_rows
        n = sum(map(len, items))
        for name in ("update", "lr/a", "lr/b", "line"):
            assert column(items, name) == [i + 1 if name == "line" else rows[i][name] for i in range(n)]
        seen.append([
            (g, s)
            for chunk in items
            for g, s in zip(
                np.where(chunk.present("grad_norm"), chunk.columns.get("grad_norm", 0.0), -1.0).tolist(),
                chunk.columns.get("skipped", np.zeros(len(chunk), dtype=int)).tolist(),
                strict=True,
            )
        ])  # fmt: skip
    expected = [(float(row["grad_norm"]) if "grad_norm" in row else -1.0, row.get("skipped", 0)) for row in rows]
    for one in seen:
        np.testing.assert_array_equal(np.array(one), np.array(expected))


def test_a_run_directory_brings_all_workers_in_step(tmp_path: Path) -> None:
    for rank in range(3):
        for segment in range(2):
            rows = range(100) if segment == 0 else range(50, 150)
            head = {
                "event": "resume" if segment else "start",
                "lrwatch_trace": 1,
                "rank": rank,
                "segment": segment,
                "update": rows[0],
            }
            text = json.dumps(head) + "\n" + "".join(f'{{"update":{i},"lr":0.5}}\n' for i in rows)
            write(tmp_path / f"trace/rank{rank:05d}-seg{segment:04d}.jsonl", text)
    source = open_trace([tmp_path], options=Options(chunk_rows=10))
    done = dict.fromkeys(range(3), 0)
    steps: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for item in source:
        if isinstance(item, Chunk):
            done[item.rank] += len(item)
            steps[item.rank] += item.columns["update"].tolist()
            # The rollback is no reason to read one worker ahead of the others.
            assert max(done.values()) - min(done.values()) <= 2 * 128
    assert all(steps[rank] == [*range(100), *range(50, 150)] for rank in range(3))
    assert source.rank is None and len(source.info.paths) == 6
    assert [str(p) for p in source.info.paths] == [str(p) for p in sorted((tmp_path / "trace").iterdir())]
    assert list(map(type, open_trace([tmp_path / "trace"]))) == list(map(type, open_trace([tmp_path])))


VALUES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
GROUPS = st.text(min_size=1, max_size=8).filter(lambda s: s != "0")


@settings(max_examples=60)
@given(data=st.data())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    names = data.draw(st.lists(GROUPS.map("lr/".__add__), unique=True, max_size=3)) or ["lr/0"]
    names += data.draw(st.lists(st.sampled_from(["loss", "grad_norm", "ts", "weight_decay/0"]), unique=True))
    n = data.draw(st.integers(1, 12))
    columns: dict[str, Any] = {
        "update": np.arange(n),
        "sched": np.array(data.draw(st.lists(st.integers(-1, 2**62), min_size=n, max_size=n))),
    }
    missing = {}
    for name in names:
        values = data.draw(st.lists(VALUES, min_size=n, max_size=n))
        columns[name] = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
        if any(v is None for v in values):
            missing[name] = np.array([v is None for v in values])
    chunk = Chunk(columns, rank=1, world=2, segment=0, missing=missing)
    directory = tmp_path_factory.mktemp("run")
    writer = TraceWriter(directory, 1)
    start = Event("start", 0, 1, 0, 1.5, {"run": "ü", "world": 2, "groups": [name[3:] for name in names]})
    writer.write(start)
    writer.write(chunk)
    writer.close()
    read_start, *rest = open_trace([directory])
    assert isinstance(read_start, Event) and read_start.fields == start.fields and read_start.ts == 1.5
    got = rest[0]
    assert isinstance(got, Chunk) and len(rest) == 1 and (got.rank, got.world) == (1, 2)
    for name, values in columns.items():
        present = ~missing.get(name, np.zeros(n, dtype=bool))
        assert got.present(name).tolist() == present.tolist()
        if present.any():
            np.testing.assert_array_equal(got.columns[name][present], values[present])


@settings(max_examples=300)
@given(
    blob=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda s: s.encode("utf-8", "surrogatepass"))),
    header=st.booleans(),
)
def test_garbage_never_crashes(tmp_path_factory: pytest.TempPathFactory, blob: bytes, header: bool) -> None:
    path = write(tmp_path_factory.getbasetemp() / "garbage.jsonl", HEADER.encode() * header + blob)
    try:
        items = list(open_trace([path], "lrwatch"))
    except TraceError:
        return
    assert all(isinstance(item, (Chunk, Event, Damage)) for item in items)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "update",
        "lr",
        "lr/x",
        "loss",
        "ts",
        "event",
        "rank",
        "world",
        "segment",
        "skipped",
        "metrics",
        "origin",
        "lr_read",
        "lrwatch_trace",
    ]
)


@settings(max_examples=300)
@given(
    rows=st.lists(
        st.dictionaries(KEYS, JSON | st.sampled_from(["start", "resume", "validation", 1, 2.0]), max_size=6), max_size=6
    )
)
def test_odd_json_never_crashes(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = write(tmp_path_factory.getbasetemp() / "odd.jsonl", "".join(json.dumps(row) + "\n" for row in [{}, *rows]))
    try:
        items = list(open_trace([path], "lrwatch"))
    except TraceError as e:
        assert "is a trace of format" in str(e)
        return
    rows_read = sum(map(len, chunks(items)))
    assert rows_read + len(damage(items)) + sum(isinstance(item, Event) for item in items) == len(rows) + 1
