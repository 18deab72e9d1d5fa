"""The state of a check goes through JSON and back, and reading one back makes nothing but lrwatch's own data."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from lrwatch.checks._state import pack, unpack
from lrwatch.checks.base import Context, Span
from lrwatch.checks.drift import Column, Drift, Track
from lrwatch.errors import LrwatchError
from lrwatch.trace.model import Damage


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, float("inf"), "text", [], [1, [2]], (), (1, "a"), {}, {"a": 1}, {(0, 1): (2,), 3: None},
        Counter({5: 2}), {1, 2}, frozenset({"x"}), Span(1, 2, 3, 0.5, 2), Column(1.0, {(0, -1): Track(Span(1, 2), 5)}),
        {"torn": [Damage("torn", "a.jsonl", 7, "cut off")]},
    ],
    ids=repr,
)  # fmt: skip
def test_there_and_back(value: Any) -> None:
    back = unpack(json.loads(json.dumps(pack(value))))
    assert back == value and type(back) is type(value)


def test_arrays_and_numbers_of_numpy() -> None:
    back = unpack(json.loads(json.dumps(pack({"a": np.array([1, 2]), "b": np.float64(0.5), "c": np.int64(3)}))))
    assert back["a"].tolist() == [1, 2] and back["a"].dtype == np.int64
    assert (back["b"], type(back["b"]), back["c"], type(back["c"])) == (0.5, float, 3, int)


def test_the_copy_is_a_copy() -> None:
    one, other = Drift(Context()), Drift(Context())
    one.columns["lr/0"] = Column(1.0, {(0, 0): Track(rows=5)})
    other.restore(one.state())
    one.columns["lr/0"].tracks[0, 0].rows = 6
    assert other.columns["lr/0"].tracks[0, 0].rows == 5


@pytest.mark.parametrize(
    "kind",
    [
        "os:system",
        "subprocess:Popen",
        "lrwatch.checks.base:Check",
        "lrwatch.checks.base:Nothing",
        "lrwatch.verify:verify",
        "x",
    ],
)
def test_a_state_makes_nothing_else(kind: str) -> None:
    with pytest.raises(LrwatchError) as caught:
        unpack([{"~": kind, "of": {}}])
    assert str(caught.value) == f"a saved state names {kind}, which no state is made of; start without it"


def test_a_mapping_that_is_no_state() -> None:
    with pytest.raises(LrwatchError, match="a saved state names None"):
        Drift(Context()).restore({"columns": {"lr/0": 5}})


def test_what_is_no_data_cannot_be_packed() -> None:
    with pytest.raises(TypeError):
        pack(object())
