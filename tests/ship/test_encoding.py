"""Bytes and times by hand; what a real Prometheus makes of them is in test_prometheus.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.errors import LrwatchError
from lrwatch.ship import encode
from lrwatch.ship.arguments import checked_labels, token
from lrwatch.ship.clock import place
from lrwatch.ship.remote import Answer, Receiver


def test_a_request_by_hand() -> None:
    """One series, two labels in the order of their names, one sample: 1.5 at 1 700 000 000 000 ms."""
    one = encode.series({"rank": "0", "__name__": "x"}, np.array([1_700_000_000_000]), np.array([1.5]))
    name = b"\x0a\x0d" + b"\x0a\x08__name__" + b"\x12\x01x"
    rank = b"\x0a\x09" + b"\x0a\x04rank" + b"\x12\x010"
    sample = b"\x12\x10" + b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f" + b"\x10\x80\xd0\x95\xff\xbc\x31"
    assert one == name + rank + sample
    whole = b"\x0a" + bytes([len(one)]) + one
    assert encode.request([one]) == bytes([len(whole)]) + b"\xf4" + (len(whole) - 1).to_bytes(2, "little") + whole


def test_nan_is_never_the_mark_of_a_series_end() -> None:
    stale = np.array([0x7FF0000000000002], dtype="<u8").view("<f8")
    assert encode.series({}, np.array([1 << 40]), stale)[3:11] == b"\x01\x00\x00\x00\x00\x00\xf8\x7f"


def test_names_that_are_no_utf_8_become_some() -> None:
    assert encode.series({"group": "a\ud800"}, np.array([], dtype=np.int64), np.array([])) == (
        b"\x0a\x0b" + b"\x0a\x05group" + b"\x12\x02a?"
    )


def test_literals_of_more_than_64_kib() -> None:
    data = bytes(range(256)) * 300  # 76 800 bytes
    packed = encode.snappy(data)
    assert packed[:6] == b"\x80\xd8\x04" + b"\xf4\xff\xff"
    assert packed[6 : 6 + 65536] + packed[6 + 65536 + 3 :] == data
    assert encode.varint(300) == b"\xac\x02"


TIMES = st.lists(st.integers(1 << 36, 1 << 41), max_size=50).map(lambda t: np.array(t, dtype=np.int64))


@given(TIMES, st.integers(1 << 35, 1 << 41), st.integers(1 << 36, 1 << 41))
def test_placed_times_ascend_and_are_not_of_the_future(times: np.ndarray, after: int, now: int) -> None:
    placed, moved, last = place(times, after, now)
    assert (np.diff(placed, prepend=after) > 0).all()
    assert (placed < max(now, after) + max(len(times), 1) + 1).all()  # as much is waited before they are sent
    assert last == (placed[-1] if len(times) else after) and 0 <= moved <= len(times)
    again = place(placed, after, max(now, last))
    assert (again.times == placed).all() and again.moved == 0


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (Answer(204), "taken"),
        (Answer(400, "out of order sample"), "refused"),
        (Answer(422, "no"), "refused"),
        (Answer(500, "label name \"a\" is not unique: duplicate label"), "refused"),
        (Answer(500, "too old sample"), "refused"),
        (Answer(500, "cannot write to the log"), "later"),
        (Answer(429), "later"),
        (Answer(503), "later"),
        (Answer(413), "too large"),
        (Answer(401), "wrong"),
        (Answer(302), "wrong"),
    ],
)
def test_what_answers_mean(answer: Answer, meaning: str) -> None:
    assert answer.meaning == meaning


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"a-b": "c"}, "a name has letters, digits and underscores"),
        ({"__name__": "c"}, "a name has letters, digits and underscores"),
        ({"rank": "1"}, "every series has its own rank"),
        ({"cluster": ""}, "is without a value"),
    ],
)
def test_labels_that_nobody_could_ask_for(labels: dict[str, str], problem: str) -> None:
    with pytest.raises(LrwatchError, match=problem):
        checked_labels(labels)


def test_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRWATCH_SHIP_TOKEN", " secret\n")
    assert token(None) == "secret"
    assert Receiver("https://h/api/v1/push", "secret", "ada")._headers["Authorization"] == "Basic YWRhOnNlY3JldA=="
    assert Receiver("http://h:9090", "secret")._headers["Authorization"] == "Bearer secret"
    assert Receiver("http://h:9090").url == "http://h:9090/api/v1/write"
    for url in ("h:9090", "ftp://h", "http://", "http://h:x", "http://a b"):
        with pytest.raises(LrwatchError, match="--to "):
            Receiver(url)
    with pytest.raises(LrwatchError, match="is seen by everybody"):
        Receiver("https://ada:secret@h/")
