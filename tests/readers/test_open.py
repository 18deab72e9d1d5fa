"""Which reader opens what, several sources as one, and what is said when there is nothing to read."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from lrwatch.errors import TraceError
from lrwatch.readers import open_trace, readers
from lrwatch.readers.base import Options, blocks, chunk_rows, rank_in
from lrwatch.trace.model import Chunk, Event

HEADER = '{"event":"start","lrwatch_trace":1,"run":"%s","rank":%d,"update":0}\n'
TABLE = "step,lr\n0,0.5\n1,0.25\n"


def steps(source: object) -> list[tuple[int, list[int]]]:
    return [(c.rank, c.columns["update"].tolist()) for c in source if isinstance(c, Chunk)]  # type: ignore[attr-defined]


def test_a_reader_is_named_as_its_file() -> None:
    assert {name: reader.name for name, reader in readers().items()} == {name: name for name in readers()}
    assert {"csv", "lrwatch"} <= set(readers())


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("run.csv", TABLE, "csv"),
        ("run.tsv", "step\tlr\n0\t1\n", "csv"),
        ("run.log", TABLE, "csv"),
        ("run.csv", HEADER % ("a", 0) + '{"update":0,"lr":1}\n', "lrwatch"),
        ("run.jsonl", '{"update":0,"lr":1}\n', "lrwatch"),
        ("rank00001-seg0000.jsonl", '{"upd', "lrwatch"),
    ],
)
def test_the_format_is_recognised(tmp_path: Path, name: str, content: str, format: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert open_trace([path]).info.format == format


def test_what_cannot_be_opened_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.csv").touch()
    Path("image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    Path("notes.txt").write_text("hello\nworld\n")
    Path("empty").mkdir()
    Path("others").mkdir()
    Path("others/notes.txt").write_text("hello\n")
    Path("run.csv").write_text(TABLE)
    known = ", ".join(readers())
    nothing = (
        "no trace in this directory; give a run directory that has trace/rank00000-seg0000.jsonl, or name the files"
    )
    cases: list[tuple[list[str], str | None, str]] = [
        ([], None, "trace: no trace was given; name a file, a run directory, or - for standard input"),
        (["gone.csv"], None, "gone.csv: no such file or directory"),
        (["gone.csv"], "csv", "gone.csv: no such file or directory"),
        (["run.csv/x"], None, "run.csv/x: cannot be read: Not a directory"),
        (["a\0b"], None, "a\0b: cannot be read: embedded null byte"),
        (["empty.csv"], None, "empty.csv: is empty; nothing was recorded"),
        (["empty"], None, f"empty: {nothing}"),
        (["others"], None, f"others: {nothing}"),
        (["others"], "lrwatch", f"others: {nothing}"),
        (["others"], "csv", "others: is a directory; name the tables in it"),
        (["/dev/null"], None, "/dev/null: is no regular file; pipe it in and name it -"),
        (["image.png"], None,
         f"image.png: is binary and no trace that lrwatch knows ({known}); say which it is with --from FORMAT"),
        (["notes.txt"], None,
         f"notes.txt: is no trace that lrwatch recognises ({known}); say which it is with --from FORMAT"),
        (["run.csv"], "cvs", "--from: unknown format 'cvs'; did you mean 'csv'?"),
    ]  # fmt: skip
    for paths, format, message in cases:
        with pytest.raises(TraceError) as e:
            open_trace(paths, format)
        assert str(e.value) == message


def test_files_of_several_workers_advance_together(tmp_path: Path) -> None:
    for rank in (1, 0):
        text = "".join(f"{i},0.5\n" for i in range(2000))
        (tmp_path / f"rank{rank}.csv").write_text("step,lr\n" + text)
    source = open_trace([tmp_path / "rank1.csv", tmp_path / "rank0.csv"], options=Options(chunk_rows=500))
    order = [(rank, s[-1]) for rank, s in steps(source)]
    assert order == [
        (1, 498),
        (0, 498),
        (1, 998),
        (0, 998),
        (1, 1498),
        (0, 1498),
        (1, 1998),
        (0, 1998),
        (1, 1999),
        (0, 1999),
    ]
    assert source.rank is None and source.info.format == "csv" and len(source.info.paths) == 2


def test_files_of_one_worker_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("step,lr\n0,1\n1,1\n")
    (tmp_path / "a.csv").write_text("step,lr\n1,1\n2,1\n")
    source = open_trace([tmp_path / "b.csv", tmp_path / "a.csv"])
    assert steps(source) == [(0, [0, 1]), (0, [1, 2])] and source.rank == 0


def test_mixed_runs_flow_and_the_starts_tell(tmp_path: Path) -> None:
    for rank, run in enumerate(("blue", "red")):
        path = tmp_path / f"trace/rank{rank:05d}-seg0000.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER % (run, rank) + '{"update":0,"lr":1}\n')
    source = open_trace([tmp_path])
    assert source.info.run == "blue"
    assert [item.fields["run"] for item in source if isinstance(item, Event)] == ["blue", "red"]


def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TABLE.encode() + b"x,1\n")))
    source = open_trace(["-"])
    assert source.info.paths == ("stdin",) and source.rereadable
    assert [str(item.source) for item in source] == ["stdin", "stdin"]
    assert steps(source) == steps(source) == [(0, [0, 1])]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(TraceError, match=r"^stdin: is empty; nothing was recorded$"):
        open_trace(["-"])


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("end", ["", "\n"])
def test_blocks_are_whole_lines_with_their_numbers(tmp_path: Path, rows: int, end: str) -> None:
    lines = [f"{'x' * (i * 97 % 5000)}{i}" for i in range(50)]
    path = tmp_path / "text"
    path.write_text("\n".join(lines) + end)
    seen: list[str] = []
    for line, data in blocks(path, rows):
        assert line == len(seen) + 1
        seen += data.decode().removesuffix("\n").split("\n")
        assert data.count(b"\n") <= rows
    assert seen == lines


def test_a_line_without_end_is_refused_in_time(tmp_path: Path) -> None:
    path = tmp_path / "zeros.csv"
    with path.open("wb") as file:
        file.write(b"step,lr\n")
        file.truncate(40 << 20)
    with pytest.raises(TraceError) as e:
        list(open_trace([path]))
    assert str(e.value) == f"{path}:2: a line is longer than 16 MiB; this is no table or log of a run"


@pytest.mark.parametrize(
    ("name", "rank"),
    [("rank3.csv", 3), ("rank00012-seg0001.jsonl", 12), ("log_rank-7.txt", 7), ("frank3.csv", None), ("run.csv", None)],
)
def test_the_rank_in_a_name(name: str, rank: int | None) -> None:
    assert rank_in(Path("rank9") / name) == rank


def test_many_sources_read_in_smaller_pieces() -> None:
    assert [chunk_rows(Options(), n) for n in (1, 4, 8, 64, 1024, 100_000)] == [65536, 65536, 32768, 4096, 256, 256]
    assert chunk_rows(Options(chunk_rows=10), 1000) == 10
