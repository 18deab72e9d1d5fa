"""The trace file: whole lines, never over another file, and what is left when a process dies."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import Position, TraceWriter, encode_event, encode_rows, last_position, replace_file

START = Event("start", 0, 2, 0, 1.5, {"run": "a", "world": 4, "contract": None})


def rows(first: int, n: int = 1, **columns: Any) -> Chunk:
    return Chunk({"update": np.arange(first, first + n), **{k: np.array(v) for k, v in columns.items()}}, rank=2)


def test_lines_as_they_are_documented() -> None:
    chunk = Chunk(
        {
            "ts": np.array([1785578400.25, 1785578400.5]),
            "update": np.array([12, 13]),
            "lr/0": np.array([0.0003, math.nan]),
            "loss": np.array([math.inf, -math.inf]),
            "grad_norm": np.array([1.5, math.nan]),
            "skipped": np.array([0, 1]),
            "line": np.array([7, 8]),
        },
        missing={"grad_norm": np.array([False, True])},
    )
    assert encode_rows(chunk).decode().splitlines() == [
        '{"update":12,"ts":1785578400.25,"lr":0.0003,"loss":"inf","grad_norm":1.5}',
        '{"update":13,"ts":1785578400.5,"lr":"nan","loss":"-inf","skipped":1}',
    ]
    groups = Chunk({"update": np.array([0]), "lr/0": np.array([1e-5]), "lr/ä\n": np.array([2.0])})
    assert encode_rows(groups) == b'{"update":0,"lr/0":1e-05,"lr/\\u00e4\\n":2.0}\n'


def test_events_as_they_are_documented() -> None:
    assert encode_event(START).decode() == (
        '{"event":"start","lrwatch_trace":1,"run":"a","world":4,"rank":2,"segment":0,"update":0,"ts":1.5}\n'
    )
    fields = {"metrics": {"val": np.float64(math.nan), "n": np.int64(3)}, "path": Path("a/b"), "seen": (1, None, True)}
    assert json.loads(encode_event(Event("validation", 5, fields=fields))) == {
        "event": "validation",
        "update": 5,
        "metrics": {"val": "nan", "n": 3},
        "path": "a/b",
        "seen": [1, None, True],
    }


def test_a_file_per_start_and_never_over_another(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 2)
    writer.write(START)
    writer.write(rows(0, 2))
    assert not (tmp_path / "trace").exists()  # nothing is made before there is something to keep
    writer.flush()
    first = tmp_path / "trace/rank00002-seg0000.jsonl"
    assert writer.path == first and first.read_text().count("\n") == 3
    writer.write(rows(2))
    writer.write(Event("resume", 3, 2, 1))
    writer.write(rows(3))
    writer.close()
    writer.close()
    second = tmp_path / "trace/rank00002-seg0001.jsonl"
    assert first.read_text().splitlines()[3:] == ['{"update":2}']
    assert second.read_text().splitlines()[1:] == ['{"update":3}'] and writer.path == second
    again = TraceWriter(tmp_path, 2)
    again.write(START)
    again.close()
    assert (again.segment, again.path) == (2, tmp_path / "trace/rank00002-seg0002.jsonl")
    assert json.loads((tmp_path / "trace/rank00002-seg0002.jsonl").read_text())["segment"] == 2
    assert len(list((tmp_path / "trace").iterdir())) == 3


def test_rows_without_a_start_get_a_plain_one(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 2, 3)
    writer.write(Chunk({"update": np.array([9])}, rank=2, world=4, segment=3, lr_read="after", origin_known=False))
    writer.close()
    header = json.loads((tmp_path / "trace/rank00002-seg0003.jsonl").read_text().splitlines()[0])
    assert header == {
        "event": "resume",
        "lrwatch_trace": 1,
        "world": 4,
        "lr_read": "after",
        "origin": "unknown",
        "rank": 2,
        "segment": 3,
        "update": 9,
    }


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 2)
    writer.write(START)
    writer.flush()
    writer.write(rows(0))  # taken, not yet flushed: the child has a copy of it
    child = os.fork()
    if child == 0:
        try:
            writer.flush()
            writer.write(rows(1))
            writer.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    writer.write(rows(1))
    writer.close()
    assert writer.path is not None
    assert writer.path.read_text().splitlines()[1:] == ['{"update":0}', '{"update":1}']


WRITES = """
import sys, numpy as np
from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import TraceWriter
writer = TraceWriter(sys.argv[1], 2)
writer.write(Event("start", 0, 2))
for i in range(0, 10**7, 10):
    writer.write(Chunk({"update": np.arange(i, i + 10), "lr/0": np.full(10, 0.1)}, rank=2))
    writer.flush()
    print(i + 10, flush=True)
"""


def test_what_was_flushed_survives_sigkill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        flushed = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.send_signal(signal.SIGKILL)
    lines = (tmp_path / "trace/rank00002-seg0000.jsonl").read_text().splitlines(keepends=True)
    steps = [json.loads(line)["update"] for line in lines[1:]]
    assert len(steps) >= flushed and steps == list(range(len(steps)))
    assert last_position(tmp_path, 2) == Position(steps[-1], 0)


LIMITED = """
import resource, signal, sys, numpy as np
from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import TraceWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = TraceWriter(sys.argv[1], 2)
writer.write(Event("start", 0, 2))
row = lambda i: Chunk({"update": np.array([i])}, rank=2)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for i in range(10):
    writer.write(row(i))
    try:
        writer.flush()
    except OSError as e:
        print(e.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.write(row(10))
writer.close()
"""


@pytest.mark.parametrize("limit", [0, 10, 75, 76, 77, 90, 100])
def test_a_full_disk_is_told_and_costs_only_what_did_not_fit(tmp_path: Path, limit: int) -> None:
    """The file may not grow past ``limit`` bytes, as on a disk that is full until somebody tidies up."""
    run = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path), str(limit)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    failures = run.stdout.split()
    assert set(failures) == {str(errno.EFBIG)} and 5 < len(failures) <= 10
    lines = (tmp_path / "trace/rank00002-seg0000.jsonl").read_text().splitlines()
    whole = []
    for line in lines:
        try:
            whole.append(json.loads(line))
        except ValueError:
            assert sum(len(text) + 1 for text in lines[: lines.index(line) + 1]) == limit + 1  # cut by the limit alone
    assert whole[0]["event"] == "start"
    assert [row["update"] for row in whole[1:]] == [*range(10 - len(failures)), 10]


def test_an_unwritable_place_is_an_os_error_each_time(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("a file where the directory should be")
    writer = TraceWriter(tmp_path, 2)
    for _ in range(2):
        writer.write(START)
        with pytest.raises(FileExistsError):
            writer.flush()
    (tmp_path / "trace").unlink()
    writer.write(rows(5))
    writer.close()
    assert writer.path is not None  # the header was not lost with the failed flushes
    assert writer.path.read_text().splitlines() == [encode_event(START).decode().strip(), '{"update":5}']


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    """Nobody should, but two descriptors on one file must not tear each other's lines."""
    writer = TraceWriter(tmp_path, 2)
    writer.write(START)
    writer.flush()
    assert writer.path is not None
    children = []
    for i in range(2):
        child = os.fork()
        if child == 0:
            try:
                file = os.open(writer.path, os.O_WRONLY | os.O_APPEND)
                for _ in range(200):
                    os.write(file, encode_rows(rows(i, 50, **{"lr/0": np.full(50, 0.125)})))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    writer.close()
    assert len([json.loads(line) for line in writer.path.read_text().splitlines()]) == 1 + 2 * 200 * 50


# -- where the last process stopped -----------------------------------------------------------------


def segment(tmp_path: Path, number: int, *lines: str, origin: str = "fresh") -> None:
    path = tmp_path / f"trace/rank00002-seg{number:04d}.jsonl"
    path.parent.mkdir(exist_ok=True)
    head = f'{{"event":"start","lrwatch_trace":1,"rank":2,"segment":{number},"update":70,"origin":"{origin}"}}\n'
    path.write_text(head + "".join(lines))


def test_no_earlier_process(tmp_path: Path) -> None:
    assert last_position(tmp_path, 2) is None
    segment(tmp_path, 0, '{"update":1}\n')
    assert last_position(tmp_path, 1) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['{"update":99,"attempt":101,"micro":303}\n'], Position(99, 4, 101, 303)),
        (['{"update":99,"attempt":101,"skipped":1}\n'], Position(98, 4, 101)),
        (['{"update":99}\n', '{"update":100,"lr":0.'], Position(99, 4)),
        (['{"update":99,"attempt":5}\n', '{"event":"end","update":100}\n'], Position(99, 4, 5)),
        (['{"update":99}\n', "garbage\n", "\n", "[1]\n", '{"event":"oom"}\n'], Position(99, 4)),
        ([], Position(69, 4)),
    ],
)
def test_the_newest_segment_tells(tmp_path: Path, lines: list[str], expected: Position) -> None:
    segment(tmp_path, 3, '{"update":500}\n')
    segment(tmp_path, 4, *lines)
    assert last_position(tmp_path, 2) == expected


def test_an_empty_newest_segment_leaves_it_to_the_one_before(tmp_path: Path) -> None:
    segment(tmp_path, 0, '{"update":12}\n')
    (tmp_path / "trace/rank00002-seg0001.jsonl").touch()
    assert last_position(tmp_path, 2) == Position(12, 1)
    (tmp_path / "trace/rank00002-seg0000.jsonl").write_text("")
    assert last_position(tmp_path, 2) == Position(-1, 1)


def test_a_segment_that_began_nobody_knows_where_says_so(tmp_path: Path) -> None:
    segment(tmp_path, 0, '{"update":12}\n', origin="unknown")
    assert last_position(tmp_path, 2) == Position(12, 0, known=False)


def test_only_the_end_of_a_file_is_read(tmp_path: Path) -> None:
    segment(tmp_path, 0)
    with (tmp_path / "trace/rank00002-seg0000.jsonl").open("r+b") as file:
        file.truncate(1 << 36)  # 64 GiB that take no room, and that nobody could read
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"update":7,"attempt":8}\n' + b"x" * 200_000)
    assert last_position(tmp_path, 2) == Position(7, 0, 8)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(TypeError):
        replace_file(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["summary.json"]
