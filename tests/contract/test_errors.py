"""Whatever is wrong with a contract is said with its place, the reason and, where there is one, the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrwatch.contract import from_document, load
from lrwatch.contract.document import MAX_BYTES
from lrwatch.errors import ContractError

HEAD = "lrwatch: 1\nexperiment: x\n"
GOOD = HEAD + "lr: {base: 1, schedule: constant}\n"

CASES = Path(__file__).parent / "errors"


def transcripts(name: str) -> list[Any]:
    """The cases of a file: what stands before the first ``== title`` is put before each document, ``=>`` says what
    is said about it."""
    head, *blocks = re.split(r"^== ", (CASES / f"{name}.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    cases = []
    for block in blocks:
        title, _, rest = block.partition("\n")
        document, _, said = rest.partition("=> ")
        cases.append(
            pytest.param(head.rstrip("\n") + "\n" * bool(head) + document, said.strip(), id=f"{name}: {title}")
        )
    return cases


WRITTEN = [case for path in sorted(CASES.glob("*.txt")) for case in transcripts(path.stem)]
BOMB = "".join(f"{n}: &{n} [*{m}, *{m}, *{m}]\n" for m, n in zip("abcdefgh", "bcdefghi", strict=True))
MADE = {
    "zero byte": ("lrwatch: \0", "is not YAML: unacceptable character #x0000: special characters are not allowed"),
    "alias bomb": (
        "a: &a [x, x]\n" + BOMB,
        "aliases (*name) are not allowed in a contract; write the value out (line 2)",
    ),
    "deep": ("[" * 400_000, "is nested deeper than 24 levels (line 1)"),
    "deep mapping": ("".join(" " * i + "a:\n" for i in range(30)), "is nested deeper than 24 levels (line 24)"),
    "more digits than Python reads": (f"lr: {'9' * 5000}\n", "lr: must be a finite number (line 1)"),
    "whole number beyond float64": (f"lr: 1{'0' * 309}\n", "lr: must be a finite number (line 1)"),
}


def message(tmp_path: Path, text: str) -> str:
    """What is said about a file called contract.yaml with this text."""
    path = tmp_path / "contract.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize(("text", "expected"), [*WRITTEN, *(pytest.param(*v, id=k) for k, v in MADE.items())])
def test_message(text: str, expected: str, tmp_path: Path) -> None:
    assert message(tmp_path, text) == expected


def test_the_other_signals_are_read_alike(tmp_path: Path) -> None:
    text = GOOD + "weight_decay: {base: 1, schedule: {cosin: {}}}\n"
    said = "weight_decay.schedule.cosin: is not a schedule family; did you mean 'cosine'? (line 4)"
    assert message(tmp_path, text) == said


def test_the_line_is_that_of_the_value(tmp_path: Path) -> None:
    text = HEAD + "lr:\n  base: 3e-4\n\n  # a warm-up\n  schedule:\n  - linear: {for: 200}\n  - cosine:\n      to: -1\n"
    assert message(tmp_path, text + "      for: 5\n") == "lr.schedule[1].cosine.to: must be >= 0, got -1 (line 10)"


def test_a_family_with_a_horizon_at_hand_is_told_to_use_it(tmp_path: Path) -> None:
    text = HEAD + "clock: {horizon: 100}\nlr: {base: 1, schedule: cosine}\n"
    said = "lr.schedule.cosine: needs a length: give `for: N` or `until: horizon` (line 4)"
    assert message(tmp_path, text) == said


def test_nothing_is_left_out() -> None:
    assert len(WRITTEN) > 120


# -- files ------------------------------------------------------------------------------------------


def problem(path: Any) -> str:
    with pytest.raises(ContractError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_files_that_are_none(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.yaml") == "no such file; give the path of a contract in YAML"
    assert problem(tmp_path) == "is a directory; give the path of a contract in YAML"
    (tmp_path / "file").touch()
    assert problem(tmp_path / "file" / "below") == "cannot be read: Not a directory"
    assert problem("a\0b") == "cannot be read: embedded null byte"


def test_binary(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    assert problem(path) == "is not text (byte 4 is not UTF-8); give a contract in YAML"
    path.write_bytes("lrwatch: 1\n".encode("utf-16"))
    assert problem(path) == "is not text (byte 0 is not UTF-8); give a contract in YAML"


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(GOOD + "#" * (MAX_BYTES - len(GOOD)))
    assert load(path).experiment == "x"
    path.write_text(GOOD + "#" * (MAX_BYTES - len(GOOD) + 1))
    assert problem(path) == "is larger than 1048576 bytes; give the path of a contract in YAML"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    assert problem("/dev/zero") == "is larger than 1048576 bytes; give the path of a contract in YAML"


def test_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(path).sha256 == from_document(PLAIN).sha256


# -- plain data --------------------------------------------------------------------------------------

PLAIN = {"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": "constant"}}
LOOP: dict[str, Any] = {}
LOOP["a"] = LOOP


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (5, "contract: must be a mapping with lrwatch, experiment, clock and lr"),
        ([PLAIN], "contract: must be a mapping with lrwatch, experiment, clock and lr"),
        ({}, "contract: lrwatch: is missing"),
        ({**PLAIN, None: 3}, "contract: keys must be plain words, got None"),
        ({**PLAIN, "lr": {True: 3}}, "contract: lr: keys must be plain words, got True"),
        ({**PLAIN, "lr": {"groups": {0: {}, "0": {}}}}, "contract: lr.groups.0: is given twice; keep one"),
        ({**PLAIN, "experiment": float("nan")}, "contract: experiment: must be a finite number"),
        ({**PLAIN, "experiment": 10**400}, "contract: experiment: must be a finite number"),
        ({**PLAIN, "experiment": b"x"},
         "contract: experiment: must be plain data (numbers, text, true, false, lists, mappings), got bytes"),
        ({**PLAIN, "lr": {"base": {1}}},
         "contract: lr.base: must be plain data (numbers, text, true, false, lists, mappings), got set"),
        ({**PLAIN, "lr": LOOP}, "contract: is nested deeper than 24 levels"),
        ({**PLAIN, "lr": {"base": 0, "schedule": "constant"}}, "contract: lr.base: must be > 0, got 0"),
        ({**PLAIN, "amendments": [{"at": 1, "set": {5: 3}}]},
         "contract: amendments[0].set.5: cannot be amended; what can: clock.horizon, lr.base, lr.schedule, lr.groups, "
         "weight_decay…"),
    ],
)  # fmt: skip
def test_from_document_refuses(tree: Any, expected: str) -> None:
    with pytest.raises(ContractError) as caught:
        from_document(tree)
    assert str(caught.value) == expected


def test_numbers_tuples_and_counted_groups_of_a_program_are_plain_data() -> None:
    schedule = ({"linear": {"for": np.int64(3)}}, {"constant": {}})
    made = from_document({**PLAIN, "lr": {"base": np.float32(0.5), "schedule": schedule, "groups": {0: {"scale": 2}}}})
    schedule_in_yaml = [{"linear": {"for": 3}}, {"constant": {}}]
    lr = {"base": 0.5, "schedule": schedule_in_yaml, "groups": {"0": {"scale": 2}}}
    assert made == from_document({**PLAIN, "lr": lr})
    assert made.signals["lr"].group("0").scale == 2.0


def test_from_document_names_the_source_it_is_given() -> None:
    with pytest.raises(ContractError, match=r"^optimizer: lrwatch: is missing$"):
        from_document({}, source="optimizer")
