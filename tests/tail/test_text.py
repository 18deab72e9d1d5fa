"""However a text is cut, and whatever is in it, its rows are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lrwatch.engine import Session
from lrwatch.errors import TraceError
from lrwatch.readers import readers
from lrwatch.readers.base import Options
from lrwatch.tail.recognise import Text
from lrwatch.tail.rows import Placing
from lrwatch.tail.sources import Piece
from lrwatch.trace.model import Chunk, Damage, Event
from tests.tail.helpers import cut, followed, log

READERS = readers()
LINES = st.one_of(
    st.integers(0, 99).map(lambda t: log(t, t + 1).encode()),
    st.sampled_from([
        b"step 4: train loss 2.1, val loss 2.2\n", b"\n", b"\r\n", b"\xff\xfe\x00junk\n",
        b"iter 3: loss na\x00n, lr 1e-4\n",
        b"iter 5: loss 1.0, time 1ms, lr 1e999\n", b"\x1b[32miter 7: loss nan, time 1ms, lr 1.0e-4\x1b[0m\n",
        b"a=1 b=2\n", b"{'loss': 1}\n", b"iter 9: loss 1.0, ti",
    ]),
    st.binary(max_size=40),
)  # fmt: skip


def said(text: bytes, size: int) -> list[Any]:
    """What the rows are, told one by one; and what was damaged."""
    reading = Text("stdin", READERS, Options(), "nanogpt")
    placing = Placing(rank=0, named=0, segment=0, about={})
    items = []
    for data in [*cut(text, size), None]:
        got = reading.end() if data is None else reading.take(data)
        items += placing.take(got, Piece(data or b""))
    items += placing.release(last=True)
    found: list[Any] = []
    for item in items:
        if isinstance(item, Chunk):
            there = {name: item.present(name) for name in item.columns}
            found += [
                (item.segment, *((n, repr(v[i])) for n, v in sorted(item.columns.items()) if there[n][i]))
                for i in range(len(item))
            ]
        elif isinstance(item, Event):
            found.append((item.kind, item.update, item.segment))
    return [*found, sorted((d.kind, d.line) for d in items if isinstance(d, Damage))]


@settings(max_examples=60)
@given(st.lists(LINES, max_size=30).map(b"".join), st.integers(1, 50))
def test_cut_anywhere(text: bytes, size: int) -> None:
    assert said(text, size) == said(text, max(len(text), 1))


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_text_breaks_it(text: bytes, size: int) -> None:
    """What is recognised by chance may be a table without a header, which is an error, and nothing else is."""
    reading = Text("stdin", READERS, Options())
    placing = Placing(rank=0, named=0, segment=0, about={})
    session = Session(None, live=True)
    try:
        for data in cut(text, size):
            for item in placing.take(reading.take(data), Piece(data, ts=1.8e9)):
                session.feed(item)
        for item in [*placing.take(reading.end(), Piece(b"")), *placing.release(last=True)]:
            session.feed(item)
    except TraceError:
        return
    session.finish()


def test_a_line_without_end_is_let_go() -> None:
    reading = Text("stdin", READERS, Options(), "nanogpt")
    damage: list[Any] = []
    for _ in range(17):
        damage += reading.take(b"x" * (1 << 20))
    assert [d.message for d in damage] == ["a line longer than 16 MiB is passed over"]


def test_a_validation_before_the_first_update_and_runs_that_alternate(tmp_path: Path) -> None:
    contract = tmp_path / "c.yaml"
    contract.write_text("lrwatch: 1\nexperiment: e\nlr: {base: 1.0e-4, schedule: [{constant: {}}]}\n")
    row = "step={} lr=1.0e-04 loss=2\n"
    both = "".join(row.format(t) + row.format(t + 500) for t in range(40))
    report = followed(cut(both.encode(), 100), contract, tmp_path / "run")
    assert len(list((tmp_path / "run" / "trace").iterdir())) == 10  # every eighth row may be a start
    assert "trace-damage" in {f.slug for f in report.result.findings}
    found = said(b"step 0: train loss 4.2, val loss 4.3\n" + log(0, 3).encode(), 7)
    assert [entry[:3] for entry in found[:2]] == [("start", 0, 0), ("validation", 1, 0)]
