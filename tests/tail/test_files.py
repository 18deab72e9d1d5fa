"""Files that grow, are rotated, truncated and written anew; trainers that start again in them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lrwatch.contract import load
from lrwatch.errors import TraceError
from lrwatch.readers import readers
from lrwatch.readers.base import Options
from lrwatch.tail.follow import Settings, Tail
from lrwatch.tail.recognise import Text
from lrwatch.tail.recorded import rows_recorded
from lrwatch.tail.rows import Placing
from lrwatch.tail.signals import Told
from lrwatch.tail.sources import GrowingFile, Piece
from lrwatch.trace.model import Chunk
from tests.tail.helpers import CONTRACT, Pieces, followed, log, rows, until


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(CONTRACT)
    return path


def playing(path: Path, *acts: Callable[[], object]) -> GrowingFile:
    """The file, to which one thing happens each time that everything in it was read."""

    class Played(GrowingFile):
        def read(self) -> object:  # type: ignore[override]
            piece = super().read()
            if not piece.data and piece is not None:
                if (act := next(left, None)) is None:
                    return None
                act()
            return piece

    left = iter(acts)
    return Played(path)


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_log_that_is_rotated_truncated_and_written_anew_loses_no_row(tmp_path: Path, contract: Path) -> None:
    path = tmp_path / "train.log"
    old = tmp_path / "train.log.1"

    def rotate() -> None:
        path.rename(old)
        add(old, log(20, 22))  # who has it open goes on writing there

    def truncate() -> None:
        os.truncate(path, 0)
        add(path, log(40, 60))

    def rewrite() -> None:
        path.write_text(log(60, 100) + "done, and now a line that makes the file longer than it was\n" * 20)

    source = playing(
        path,
        lambda: add(path, log(0, 20)[:-9]),  # in mid-line
        lambda: add(path, log(0, 20)[-9:]),
        rotate,
        lambda: add(path, log(22, 40)),
        truncate,
        rewrite,
    )
    report = followed(source, contract, tmp_path / "run")
    assert (report.result.verdict(), report.result.findings) == ("pass", ())
    assert [json.loads(row)["update"] for row in rows(tmp_path / "run")] == list(range(100))


def test_a_trainer_that_starts_again_in_the_same_log_begins_a_segment(
    tmp_path: Path, contract: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.log"
    path.write_text(log(0, 70) + "Traceback (most recent call last):\nloading checkpoint 60\n")
    source = playing(path, lambda: add(path, log(60, 100)))
    report = followed(source, contract, tmp_path / "run")
    assert (report.result.verdict(), report.result.findings) == ("pass", ())
    second = (tmp_path / "run" / "trace" / "rank00000-seg0001.jsonl").read_text().splitlines()
    header = json.loads(second[0])
    assert (header["event"], header["update"], header["origin"], header["log_row"]) == ("resume", 60, "log", 70)
    assert "a new start at step 60 (segment 1)" in capsys.readouterr().err


def test_rows_that_were_there_before_have_only_the_files_time(tmp_path: Path, contract: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(log(0, 30))
    os.utime(path, (1.7e9, 1.7e9))
    before = time.time()
    followed(playing(path, lambda: add(path, log(30, 40))), contract, tmp_path / "run")
    times = [json.loads(row).get("ts") for row in rows(tmp_path / "run")]
    assert times[:30] == [None] * 29 + [1.7e9]
    assert all(before <= t <= time.time() for t in times[30:])


def test_a_second_tail_of_the_file_records_only_what_is_new_and_judges_all(tmp_path: Path, contract: Path) -> None:
    path, run = tmp_path / "train.log", tmp_path / "run"
    path.write_text(log(0, 30, wrong_from=25) + log(20, 50))
    followed(playing(path), contract, run)
    assert rows_recorded(run, 0, 1, GrowingFile(path).identity) == 0  # nothing of it was read yet
    add(path, log(50, 100))
    report = followed(playing(path), contract, run)
    (drift,) = [f for f in report.result.findings if f.slug == "drift"]
    assert (drift.first_step, drift.last_step) == (25, 29)
    updates = [json.loads(row)["update"] for row in rows(run)]
    assert updates == [*range(30), *range(20, 100)]
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["verdict"], summary["attempt"], summary["rows"]) == ("fail", 3, 110)


def test_a_table_without_a_header_after_rotation_goes_on(tmp_path: Path, contract: Path) -> None:
    path = tmp_path / "train.csv"
    lines = ["step,lr\n", *(f"{t},{1.5e-5 * t!r}\n" for t in range(20))]
    path.write_text("".join(lines[:11]))

    def rotate() -> None:
        path.rename(tmp_path / "old.csv")
        path.write_text("".join(lines[11:]))

    report = followed(playing(path, rotate), contract, tmp_path / "run")
    assert (report.result.verdict(), report.result.stats.rows, report.result.stats.damage) == ("pass", 20, {})


def test_rates_of_two_digits_are_no_drift_before_that_is_known(tmp_path: Path, contract: Path) -> None:
    """%.1e: the first rows alone would look like exact values that are wrong."""
    lines = [f"step={t} lr={1.53e-5 * (t + 1):.1e}\n".encode() for t in range(19)]
    text = CONTRACT.replace("linear: {from: 0, for: 20}", "linear: {from: 1.53e-5, to: 3.213e-4, for: 20}")
    contract.write_text(text)
    report = followed([*lines], contract, tmp_path / "run")
    assert [f.message for f in report.result.findings if f.slug == "drift"] == []
    reading, placing = Text("stdin", readers(), Options(), "key_value"), Placing(rank=0, named=0, segment=0, about={})
    out = [[i for i in placing.take(reading.take(line), Piece(line)) if isinstance(i, Chunk)] for line in lines]
    came = next(n for n, chunks in enumerate(out) if chunks)
    assert sum(map(len, out[came])) == came + 1 > 3  # all at once, when a digit at the end was a zero
    assert {chunk.digits["lr/0"] for chunks in out for chunk in chunks} == {2}


def test_what_is_written_to_the_old_file_while_it_is_being_replaced_is_read(tmp_path: Path) -> None:
    path, old = tmp_path / "train.log", tmp_path / "old.log"
    path.write_text("1\n")

    class Racing(GrowingFile):
        def _replaced(self) -> bool:
            if not old.exists():
                path.rename(old)
                add(old, "2\n")
                path.write_text("3\n")
            return super()._replaced()

    source = Racing(path)
    pieces = [piece for piece in (source.read() for _ in range(5)) if piece is not None and piece.data]
    source.close()
    assert [(piece.data, piece.fresh) for piece in pieces] == [(b"1\n", False), (b"2\n", False), (b"3\n", True)]


def test_a_directory_and_a_device_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is a directory; name the log in it"):
        GrowingFile(tmp_path)
    with pytest.raises(TraceError, match="is no regular file; pipe it in and name it -"):
        GrowingFile(Path("/dev/null"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"nothing here\nthat is a row\n", "no line of it is of a trace that lrwatch recognises"),
        (b"", "no line of it is of a trace"),
        (b"\x1f\x8b\x08\x00" + b"\n" * 9, "is no text; unpack it"),
        (b'{"log_history": [], "global_step": 3}\n', "is of format trainer_state, which cannot be followed"),
        (b"epoch,step\n", "no line of it is of a trace"),
        (b"step,lr\nx,y\n", "has no row with a step that the reader csv recognises"),
    ],
)
def test_text_without_rows_is_an_error(tmp_path: Path, contract: Path, text: bytes, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        followed([text] if text else [], contract, tmp_path / "run")


def test_a_reader_that_breaks_does_not_stop_the_text(
    tmp_path: Path, contract: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: Text, data: bytes) -> list[object]:
        raise RuntimeError("oops")

    read: list[bytes] = []

    def text() -> Iterator[bytes]:
        for piece in (b"a\n", b"b\n", b"c\n"):
            read.append(piece)
            yield piece

    monkeypatch.setattr(Text, "take", breaks)
    with pytest.raises(TraceError, match=r"stdin: broke the reader \(RuntimeError: oops\)"):
        followed(Pieces(text()), contract, tmp_path / "run")
    assert len(read) == 3
    assert capsys.readouterr().err.count("is still handed on, and not checked any more") == 1


def test_waits_for_a_file_that_is_not_there_yet(tmp_path: Path, contract: Path) -> None:
    path = tmp_path / "train.log"
    told = Told()

    def writes() -> None:
        time.sleep(0.5)
        path.write_text(log(0, 100))
        try:
            until(lambda: len(rows(tmp_path / "run")) == 100)
        finally:
            told.at = time.monotonic()  # as Ctrl-C does

    writer = threading.Thread(target=writes)
    writer.start()
    tail = Tail(GrowingFile(path), load(contract), Options(), None, Settings(run_dir=tmp_path / "run"))
    assert tail.follow(told).result.stats.rows == 100
    writer.join()
    assert followed(GrowingFile(path), contract, tmp_path / "again", until_idle=0.3).result.stats.rows == 100
    with pytest.raises(TraceError, match="no such file came"):
        followed(GrowingFile(tmp_path / "never"), contract, tmp_path / "other", until_idle=0.3)


