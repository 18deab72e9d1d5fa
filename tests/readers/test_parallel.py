"""Reading ahead, in other processes and by polars: sooner, and the same."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrwatch.errors import TraceError
from lrwatch.readers import _fast, lrwatch, open_trace
from lrwatch.readers._ahead import ahead
from lrwatch.readers.base import Options
from lrwatch.trace.model import Chunk, Damage, Item


def told(items: Any) -> list[Any]:
    """Everything that was read, as plain values."""
    result: list[Any] = []
    for item in items:
        if isinstance(item, Chunk):
            columns = {
                name: [repr(v) if p else None for v, p in zip(c.tolist(), item.present(name), strict=True)]
                for name, c in sorted(item.columns.items())
            }
            result.append((item.rank, columns, dict(item.quantum), dict(item.digits), item.lr_read))
        else:
            result.append(repr(item))
    return result


CELLS = st.one_of(
    st.floats().map(repr),
    st.floats(0, 1).map("{:.6f}".format),
    st.integers(-5, 10**18).map(str),
    st.sampled_from(
        ["", "nan", "-inf", "None", " 0.5", "1e-5", "0", "x", "1_0", "Infinity", "+1", "0x1", "1e999", ".5"]
    ),
)
JSON = st.one_of(
    st.floats().map(json.dumps),
    st.integers(-5, 10**20).map(str),
    st.sampled_from(["null", '"nan"', "true", "01", "1e400", '"x"', "[1]", '{"a": 1}', "-0.0", '"a\\": 1"', "5E-324"]),
)


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("polars")
    ways = []
    for used in (True, False):
        monkeypatch.setattr(_fast, "USED", used)
        try:
            ways.append(told(open_trace([path], options=Options(chunk_rows=8))))
        except TraceError as e:
            ways.append([str(e)])
    assert ways[0] == ways[1]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["a", "ä", "b c", "1"])), min_size=1, max_size=20),
    regular=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_polars_reads_tables_as_we_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str, str]], regular: bool, end: str
) -> None:
    path = tmp_path / "run.csv"
    lines = [f"{i},{lr},{loss},{note}" for i, (lr, loss, note) in enumerate(rows)]
    if regular:
        lines = [f"{i},{0.1 / (i + 1)!r},{loss},x" for i, (_, loss, _) in enumerate(rows)]
    path.write_bytes(end.join(["step,lr,loss,note", *lines, ""]).encode())
    both(path, monkeypatch)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(JSON, JSON, st.integers(0, 3)), min_size=1, max_size=20),
    regular=st.booleans(),
    gap=st.sampled_from(["", " ", "  "]),
)
def test_polars_reads_json_as_we_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str, int]], regular: bool, gap: str
) -> None:
    path = tmp_path / "run.jsonl"
    lines = ['{"step": 0, "lr": 0.5, "loss": 1.0}']
    for i, (lr, loss, form) in enumerate(rows):
        pairs = [f'"step":{gap}{i}', f'"lr":{gap}{lr}', f'"loss":{gap}{loss}']
        if regular:
            pairs = [f'"step":{gap}{i}', f'"lr":{gap}{0.1 / (i + 1)!r}', f'"loss":{gap}{loss}']
        elif form == 1:
            pairs = pairs[::-1]
        elif form == 2:
            pairs = [*pairs, '"lr": 7'] if i % 2 else pairs[:2]
        elif form == 3:
            pairs = [*pairs, f'"extra{i}": "a:b"']
        lines.append("{" + f",{gap}".join(pairs) + "}")
    path.write_text("\n".join(lines) + "\n")
    both(path, monkeypatch)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(JSON, JSON, st.integers(0, 6)), min_size=1, max_size=20),
    second=st.sampled_from(["attempt", "loss", "lr", "note", "momentum/head", "skipped"]),
)
def test_polars_reads_our_own_traces_as_we_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str, int]], second: str
) -> None:
    path = tmp_path / "rank00000-seg0000.jsonl"
    lines = ['{"event":"start","lrwatch_trace":1,"rank":0,"update":0}', f'{{"update":0,"lr/0":0.5,"{second}":1}}']
    for i, (lr, other, form) in enumerate(rows, 1):
        pairs = [f'"update":{i}', f'"lr/0":{lr}', f'"{second}":{other if form < 5 else i}']
        lines.append("{" + ",".join(pairs[::-1] if form == 1 else pairs[: form + 1] if form < 2 else pairs) + "}")
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(lrwatch, "_SMALL", 0)
    both(path, monkeypatch)


def test_polars_is_used_for_plain_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the two tests above would compare nothing."""
    pytest.importorskip("polars")
    seen: list[str] = []
    for name in ("table", "objects"):
        real = getattr(_fast, name)
        monkeypatch.setattr(_fast, name, lambda *a, _n=name, _r=real: seen.append(_n) or _r(*a))
    (tmp_path / "a.csv").write_text("step,lr\n0,0.5\n1,0.25\n")
    (tmp_path / "a.jsonl").write_text('{"step": 0, "lr": 0.5}\n{"step": 1, "lr": 0.25}\n')
    assert told(open_trace([tmp_path / "a.csv"]))[0][1]["lr/0"] == ["0.5", "0.25"]
    assert told(open_trace([tmp_path / "a.jsonl"]))[0][1]["lr/0"] == ["0.5", "0.25"]
    start = '{"event":"start","lrwatch_trace":1}\n'
    (tmp_path / "rank00000-seg0000.jsonl").write_text(start + '{"update":0,"lr/0":0.5,"note":1}\n' * 9000)
    assert set(told(open_trace([tmp_path / "rank00000-seg0000.jsonl"]))[1][1]["lr/0"]) == {"0.5"}
    assert seen == ["table", "objects", "objects"]


def test_several_processes_read_what_one_reads(tmp_path: Path) -> None:
    for rank in range(3):
        rows = "".join(f"{i},{rank}.5\n" for i in range(50 + rank)) + "x,1\n" * (rank == 1)
        (tmp_path / f"rank{rank}.csv").write_text("step,lr\n" + rows)
    one = told(open_trace([tmp_path]))
    source = open_trace([tmp_path], jobs=2)
    many = told(source)
    assert sorted(map(repr, many)) == sorted(map(repr, one)) and source.info.paths == open_trace([tmp_path]).info.paths
    for item in open_trace([tmp_path], jobs=2):
        assert isinstance(item, Chunk | Damage)
        break  # whoever stops early leaves no process behind
    assert not multiprocessing.active_children()
    (tmp_path / "rank1.csv").write_text("step,lr\n")
    with pytest.raises(TraceError, match=r"rank1.csv: has a header and no rows; nothing was recorded$"):
        list(open_trace([tmp_path], jobs=2))


def test_reading_ahead_raises_where_it_is_read_and_ends_with_its_reader() -> None:
    def items() -> Iterator[Item]:
        for i in range(10):
            yield Chunk({"update": np.array([i])})
        raise TraceError("broken", source="x")

    seen = []
    with pytest.raises(TraceError, match=r"^x: broken$"):
        for item in ahead(items()):
            seen.append(item)
    assert len(seen) == 10
    for _ in ahead(items()):
        break
    assert not [t for t in threading.enumerate() if t.name == "lrwatch-reader"]
