"""Tables in the wild: columns by their names, values as they are written, damage where it is."""

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
from lrwatch.trace.model import Chunk, Damage, Item


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path, **options: Any) -> list[Item]:
    return list(open_trace([path], "csv", Options(**options)))


def chunks(items: Iterable[Item]) -> list[Chunk]:
    return [item for item in items if isinstance(item, Chunk)]


def damage(items: Iterable[Item]) -> list[tuple[str, int, str]]:
    return [(item.kind, item.line, item.message) for item in items if isinstance(item, Damage)]


def column(items: Iterable[Item], name: str) -> list[float]:
    return [v for chunk in chunks(items) for v in chunk.columns[name].tolist()]


def test_a_plain_table(tmp_path: Path) -> None:
    path = write(
        tmp_path / "run.csv", "step,lr,loss,host,epoch\n0,0.0,2.5,a_b,0\n1,1e-05,nan,a-b,0\n2,2e-05,-inf,ä,1\n"
    )
    source = open_trace([path])
    (chunk,) = chunks(source)
    assert source.info.format == "csv" and source.rank == 0 and source.rereadable
    assert source.info.assumed == (
        f"column 'step' of {path} counts updates from 0 (--first-step 1 if the first update is number 1)",
    )
    assert list(chunk.columns) == ["update", "epoch", "loss", "lr/0", "line"]
    assert chunk.columns["update"].tolist() == [0, 1, 2] and chunk.columns["update"].dtype == np.int64
    assert chunk.columns["lr/0"].tolist() == [0.0, 1e-05, 2e-05]
    assert math.isnan(chunk.columns["loss"][1]) and chunk.columns["loss"][2] == -math.inf
    assert chunk.present("loss").all() and chunk.lr_read == "unknown" and chunk.origin_known
    assert chunk.columns["line"].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("trainer/global_step,train/loss,train/learning_rate,train/grad_norm", ["update", "loss", "grad_norm", "lr/0"]),
        ("iteration;lr/head;lr/backbone", ["update", "lr/head", "lr/backbone"]),
        ("iter\tlearning_rate/Head\tgnorm", ["update", "grad_norm", "lr/Head"]),
        ("epoch,lr-AdamW/pg1,lr-AdamW/pg2,step,train_loss", ["update", "epoch", "loss", "lr/0", "lr/1"]),
        ("step,lr-Adam,lr-SGD,lr-SGD-momentum", ["update", "lr/Adam/0", "lr/SGD/0", "momentum/SGD/0"]),
        ("_step,lr_head,lr_body", ["update", "lr/head", "lr/body"]),
        ("Step,LR,lr_scale,weight_decay", ["update", "lr/0", "weight_decay/0"]),
        ('"step","lr"', ["update", "lr/0"]),
        ("\ufeffstep,lr", ["update", "lr/0"]),
        ("# step,lr", ["update", "lr/0"]),
        ("step,lr,sched/last_epoch,tokens,skipped", ["update", "sched", "tokens", "skipped", "lr/0"]),
    ],
)  # fmt: skip
def test_columns_by_their_names(tmp_path: Path, header: str, columns: list[str]) -> None:
    mark = next(d for d in "\t;," if d in header)
    cells = header.split(mark)
    path = write(tmp_path / "run.csv", header + "\n" + mark.join("1" for _ in cells) + "\n")
    (chunk,) = chunks(open_trace([path]))
    assert list(chunk.columns) == [*columns, "line"]


def test_names_that_mean_the_same_are_reported_not_mixed(tmp_path: Path) -> None:
    path = write(tmp_path / "run.csv", "_step,trainer/global_step,loss,train_loss,lr,learning_rate\n7,3,2,1,0.5,0.25\n")
    source = open_trace([path], options=Options(first_step=1))
    (chunk,) = chunks(source)
    assert (column([chunk], "update"), column([chunk], "loss"), column([chunk], "lr/0")) == ([2], [2.0], [0.5])
    assert source.info.assumed == tuple(
        f"column '{name}' of {path} is not used: another one means the same (--map chooses)"
        for name in ("_step", "train_loss", "learning_rate")
    )


def test_the_user_says_which_column_is_which(tmp_path: Path) -> None:
    path = write(tmp_path / "run.csv", "n,lr,eta,decay\n1,9,0.5,0.1\n2,9,0.25,0.1\n")
    options = {"columns": {"step": "n", "lr": "eta", "weight_decay/a": "decay"}, "first_step": 1, "lr_read": "after"}
    (chunk,) = chunks(read(path, **options))
    assert list(chunk.columns) == ["update", "lr/0", "weight_decay/a", "line"]
    assert column([chunk], "update") == [0, 1] and column([chunk], "lr/0") == [0.5, 0.25] and chunk.lr_read == "after"
    (chunk,) = chunks(read(path, columns={"step": "#row"}))
    assert column([chunk], "update") == [0, 1] and column([chunk], "lr/0") == [9.0, 9.0]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("step,loss\n0,1\n", {}, "no learning-rate column among step, loss; name it with --map lr=COLUMN"),
        ("batch,lr\n0,1\n", {},
         "no step column among batch, lr; name it with --map step=COLUMN, or say --map step=#row if every row is one "
         "update"),
        ("step,lr\n0,1\n", {"lr": "eta"}, "--map lr=eta: it has no such column; one of lr, step"),
        ("step,rate\n0,1\n", {"lr": "raet"}, "--map lr=raet: it has no such column; did you mean 'rate'?"),
        ("step,lr\n0,1\n", {"los": "lr"}, "--map los=lr: no column of a trace; did you mean 'loss'?"),
        ("step,lr\n0,1\n", {"lr": "#row"}, "--map lr=#row: it has no such column; one of lr, step"),
        ("0,0.1\n1,0.2\n", {}, "has no header: it begins with 0, 0.1; put one there, e.g. step,lr"),
        ("step,lr\n", {}, "has a header and no rows; nothing was recorded"),
        ("step,lr", {}, "has a header and no rows; nothing was recorded"),
        ("step,lr\r\n\r\n", {}, "has a header and no rows; nothing was recorded"),
        (b"step,lr\0\n0,1\n", {}, "is binary, no table"),
        (",".join(f"c{i}" for i in range(20)) + "\n", {},
         "no learning-rate column among c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 and 8 more; name it with "
         "--map lr=COLUMN"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_remedy(
    tmp_path: Path, text: str | bytes, columns: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "run.csv", text)
    with pytest.raises(TraceError) as e:
        read(path, columns=columns)
    assert str(e.value) == f"{path}: {message}"


def test_a_header_that_is_no_utf8_and_one_that_is_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "run.csv", b"step,lr,\xe4\n0,1,2\n")
    with pytest.raises(TraceError, match=r"run.csv:1: has a header that is not UTF-8; save it as UTF-8$"):
        read(path)
    path = write(tmp_path / "run.csv", "\nstep,lr\n0,1\n")
    with pytest.raises(TraceError, match=r"run.csv:1: begins with an empty line; put the header there, e.g. step,lr$"):
        read(path)


def test_missing_cells_and_numbers_of_every_spelling(tmp_path: Path) -> None:
    path = write(
        tmp_path / "run.csv",
        "step,lr,loss,epoch\r\n0,,1e308,\r\n1, 0.5 ,,0.37\r\n"
        '2.0,"1E-5",None,2\r\n"3",Infinity,NaN,3\r\n4,+0.25,n/a,x\r\n',
    )
    items = read(path)
    (chunk,) = chunks(items)
    assert damage(items) == []
    assert chunk.columns["update"].tolist() == [0, 1, 2, 3, 4]
    assert chunk.present("lr/0").tolist() == [False, True, True, True, True]
    assert chunk.columns["lr/0"][1:].tolist() == [0.5, 1e-5, math.inf, 0.25]
    assert chunk.present("loss").tolist() == [True, False, False, True, False]
    assert chunk.columns["loss"][0] == 1e308 and math.isnan(chunk.columns["loss"][3])
    # An epoch with a fraction is no count, and nothing that a verdict depends on.
    assert chunk.present("epoch").tolist() == [False, False, True, True, False]


def test_every_kind_of_damage_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "run.csv",
        b"step,lr,loss\n"
        b"0,0.5,1\n"
        b"step,lr,loss\n"  # 3
        b"1,0.5,1,9\n"  # 4
        b"1,fast,1\n"  # 5
        b"1,0.5,\xe4\n"  # 6
        b"\0\0\0\0\0\n"  # 7
        b'1,"0.5,1\n'  # 8
        b",0.5,1\n"  # 9
        b"-1,0.5,1\n"  # 10
        b"1.5,0.5,1\n"  # 11
        b"1,0.5,1\n"
        b"loss,step,lr\n"  # 13
        b"2,2,0.25\n"
        b"loss,note\n"  # 15
        b"2,hello\n"
        b"step,lr,loss\n"  # 17
        b"3,0.125,2\n"
        b"4,0.125,2",  # 19
    )
    items = read(path)
    assert damage(items) == [
        ("duplicate_header", 3, "the header again"),
        ("not_a_row", 4, "4 cells where the header has 3"),
        ("undecodable", 6, "not UTF-8: byte 0xe4 at 6"),
        ("undecodable", 7, "NUL bytes"),
        ("not_a_row", 8, "quotes do not match: unexpected end of data"),
        ("not_a_row", 5, "lr is 'fast'"),
        ("not_a_row", 9, "step is ''"),
        ("not_a_row", 10, "step is '-1'"),
        ("not_a_row", 11, "step is '1.5'"),
        ("columns_changed", 13, "the columns are now loss, step, lr"),
        ("columns_changed", 15, "rows after this header are not read: no learning-rate column among loss, note; name "
         "it with --map lr=COLUMN"),
        ("columns_changed", 17, "the columns are now step, lr, loss"),
        ("torn", 19, "torn last line; its last cell is not used"),
    ]  # fmt: skip
    assert column(items, "update") == [0, 1, 2, 3, 4]
    assert column(items, "lr/0") == [0.5, 0.5, 0.25, 0.125, 0.125]
    assert column(items, "line") == [2, 12, 14, 18, 19]
    assert not chunks(items)[-1].present("loss")[-1]


@pytest.mark.parametrize(
    ("end", "steps"),
    [("", [0, 1]), ("2", [0, 1]), ("2,", [0, 1, 2]), ("2,0.12", [0, 1, 2]), ("2,0.125\n", [0, 1, 2])],
)
def test_the_last_cell_of_a_torn_line_may_have_been_cut(tmp_path: Path, end: str, steps: list[int]) -> None:
    items = read(write(tmp_path / "run.csv", "step,lr\n0,0.5\n1,0.25\n" + end))
    assert column(items, "update") == steps
    whole = end == "" or end.endswith("\n")
    assert [kind for kind, *_ in damage(items)] == ([] if whole else ["torn"])
    rates = [v for c in chunks(items) if c.has("lr/0") for v in c.columns["lr/0"].tolist()]
    assert rates == ([0.5, 0.25, 0.125] if end.endswith("\n") else [0.5, 0.25])


def test_a_torn_step_is_no_row(tmp_path: Path) -> None:
    items = read(write(tmp_path / "run.csv", "lr,step\n0.5,10\n0.25,11\n0.125,1"))
    assert column(items, "update") == [10, 11] and damage(items)[0][:2] == ("torn", 4)


def test_a_rank_column_gives_every_worker_its_own_chunks(tmp_path: Path) -> None:
    rows = "".join(f"{s},{r},{s * 10 + r},4\n" for s in range(6) for r in (2, 0))
    path = write(tmp_path / "run.csv", "step,rank,lr,world_size\n" + rows)
    source = open_trace([path], options=Options(chunk_rows=9))
    assert source.rank is None
    found = chunks(source)
    assert [(c.rank, c.world, c.columns["update"].tolist()) for c in found] == [
        (0, 4, [0, 1, 2, 3]),
        (2, 4, [0, 1, 2, 3]),
        (0, 4, [4, 5]),
        (2, 4, [4, 5]),
    ]
    assert found[1].columns["lr/0"].tolist() == [2.0, 12.0, 22.0, 32.0]
    assert found[1].columns["line"].tolist() == [2, 4, 6, 8]
    numbered = chunks(read(path, columns={"step": "#row"}))
    assert [(c.rank, c.columns["update"].tolist()) for c in numbered] == [(0, [*range(6)]), (2, [*range(6)])]


def test_rows_without_a_rate_are_missing_values(tmp_path: Path) -> None:
    path = write(tmp_path / "run.csv", "epoch,lr,step,train_loss\n,0.5,0,\n0,,0,2.5\n,0.25,1,\n0,,1,2.0\n")
    (chunk,) = chunks(open_trace([path]))
    assert chunk.present("lr/0").tolist() == [True, False, True, False]
    assert chunk.present("loss").tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("format", "quantum", "digits"),
    [("%.6f", 1e-6, 17), ("%.8f", 1e-8, 17), ("%r", 0.0, 17), ("%.17g", 0.0, 17)],
)
def test_precision_is_told_with_every_chunk(tmp_path: Path, format: str, quantum: float, digits: int) -> None:
    rows = "".join(f"{i},{format % (3e-4 * (1 - i / 7000))}\n" for i in range(100))
    (chunk,) = chunks(read(write(tmp_path / "run.csv", "step,lr\n" + rows)))
    assert (chunk.quantum["lr/0"], chunk.digits["lr/0"]) == (quantum, digits)


NUMBERS = st.one_of(
    st.floats().map(repr),
    st.floats(0, 1).map("{:.6f}".format),
    st.integers(-5, 10**18).map(str),
    st.sampled_from(["", "nan", "-inf", "None", " 0.5", "1e-5", "0", "x", '"0.5"', "1_0"]),
)


@settings(max_examples=150)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), odd=st.booleans())
def test_the_fast_way_says_what_line_by_line_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], odd: bool
) -> None:
    """A quoted cell sends its whole block the slow way; the others must not notice."""
    path = tmp_path_factory.getbasetemp() / "equal.csv"
    header = "step,lr,loss,note\n"
    lines = [f"{i},{lr},{loss},a\n" for i, (lr, loss) in enumerate(rows)]
    fast = read(write(path, header + "".join(lines)))
    slow = read(write(path, header + "".join(lines) + '99,1,1,"b"\n'))
    one = [item for line in lines for item in read(write(path, header + line))]
    for name in ("update", "lr/0", "loss"):
        expected = {
            u: v
            for c in chunks(one)
            if c.has(name)
            for u, v, p in zip(c.columns["update"].tolist(), c.columns[name].tolist(), c.present(name), strict=True)
            if p
        }
        for items in (fast, slow):
            got = {
                u: v
                for c in chunks(items)
                if c.has(name)
                for u, v, p in zip(c.columns["update"].tolist(), c.columns[name].tolist(), c.present(name), strict=True)
                if p and u != 99
            }
            np.testing.assert_equal(got, expected)
    assert [d[2] for d in damage(fast)] == [d[2] for d in damage(slow)] == [d[2] for d in damage(one)]


def test_a_table_and_lrwatch_rows_of_the_same_run_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [(i, i * 3, float(rng.random() * 10.0 ** -rng.integers(0, 12)), float(rng.normal())) for i in range(3000)]
    rows[17] = (17, 51, math.nan, math.inf)
    table = write(
        tmp_path / "run.csv", "step,micro,lr,loss\n" + "".join(f"{a},{b},{c!r},{d!r}\n" for a, b, c, d in rows)
    )
    text = [json.dumps({"update": a, "micro": b, "lr": str(c) if c != c else c, "loss": str(d) if d > 1e300 else d})
            for a, b, c, d in rows]  # fmt: skip
    own = tmp_path / "rank00000-seg0000.jsonl"
    own.write_text("\n".join(text).replace(" ", "") + "\n")
    a, b = chunks(open_trace([table])), chunks(open_trace([own]))
    names = ["update", "micro", "lr/0", "loss"]
    for name in names:
        np.testing.assert_array_equal(column(a, name), column(b, name))
        np.testing.assert_array_equal(
            column(a, name), [dict(zip(("update", "micro", "lr/0", "loss"), r, strict=True))[name] for r in rows]
        )
        assert a[0].columns[name].dtype == b[0].columns[name].dtype


@settings(max_examples=300)
@given(
    blob=st.one_of(
        st.binary(max_size=200), st.text(alphabet='0123456789.,;\n\r"eE+-nai\t \0ä', max_size=200).map(str.encode)
    ),
    header=st.sampled_from([b"", b"step,lr\n", b"step;lr;rank;epoch\n", b'"step","lr"\r\n', b"lr\tstep\tloss\n"]),
)
def test_garbage_never_crashes(tmp_path_factory: pytest.TempPathFactory, blob: bytes, header: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "garbage.csv", header + blob)
    try:
        items = read(path, chunk_rows=3)
    except TraceError:
        return
    lines = (header + blob).split(b"\n")
    for chunk in chunks(items):
        for line in chunk.columns["line"].tolist():
            assert lines[line - 1].strip()
