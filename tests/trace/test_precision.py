"""What was lost in writing a number, told from its text: formats of real loggers, and texts that prove nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrwatch.trace.precision import Precision

COSINE = [3e-4 * 0.5 * (1 + math.cos(math.pi * i / 1000)) for i in range(1001)]


def of(*texts: str) -> Precision:
    precision = Precision()
    precision.take(texts)
    return precision


@pytest.mark.parametrize(
    ("write", "quantum", "digits", "sentence"),
    [
        (repr, 0.0, 17, "every digit"),
        ("{:.17g}".format, 0.0, 17, "every digit"),
        ("{:.18e}".format, 0.0, 17, "every digit"),  # numpy.savetxt
        ("{:.6f}".format, 1e-6, 17, "6 decimals"),
        ("{:.8f}".format, 1e-8, 17, "8 decimals"),
        ("{:.10f}".format, 1e-10, 17, "10 decimals"),
        (lambda v: repr(round(v, 6)), 1e-6, 3, "3 significant digits"),
        (lambda v: repr(round(v, 8)), 1e-8, 5, "5 significant digits"),
        ("{:.4g}".format, 1e-13, 4, "4 significant digits"),
        ("{:g}".format, 1e-14, 6, "6 significant digits"),
        ("{:.2e}".format, 1e-12, 3, "3 significant digits"),
        (lambda v: str(np.float32(v)), 1e-16, 9, "9 significant digits"),
    ],
)
def test_formats_of_a_decaying_rate(write: object, quantum: float, digits: int, sentence: str) -> None:
    precision = of(*map(write, COSINE))  # type: ignore[call-overload]
    assert (precision.quantum, precision.digits, precision.sentence) == (quantum, digits, sentence)


@pytest.mark.parametrize("write", ["{:.6f}", "{:.8f}", "{:.4g}", "{:g}", "{:.2e}", "{:.9g}", "{!r}"])
def test_the_bound_holds_for_every_value(write: str) -> None:
    """|stored - true| ≤ quantum/2 + half a unit of the last digit, and is not ten times too wide at the peak."""
    texts = [write.format(v) for v in COSINE]
    precision = of(*texts)
    for true, text in zip(COSINE[:-1], texts, strict=False):
        unit = 10.0 ** (math.floor(math.log10(true)) + 1 - precision.digits) if precision.digits < 17 else 0.0
        bound = precision.quantum / 2 + unit / 2
        assert abs(float(text) - true) <= bound * (1 + 1e-9)
        assert bound <= max(precision.quantum, unit)


@pytest.mark.parametrize(
    ("texts", "quantum", "digits"),
    [
        (["0.0003"], 0.0, 6),  # repr of a constant: nothing shows that digits were dropped
        (["0.0003"] * 1000, 0.0, 6),
        (["0.1", "0.01", "0.001", "0.0001", "1e-05"], 0.0, 6),  # steps by ten
        (["0.00017677669529"], 0.0, 11),
        (["0.000300"], 1e-6, 17),  # the kept zeros show the format
        (["3.00e-04"], 1e-6, 3),
        (["0.10"], 0.01, 17),
        (["1.0", "0.5"], 0.0, 6),  # .0 is how repr writes it
        (["0", "0.0", "0e0"], 0.0, 6),
        (["0.0", "0.000123", "0.000200"], 1e-6, 17),  # a zero of the first row does not hide the format of the others
        (["-0.000300"], 1e-6, 17),
        (["3E-4", "2.50E-4"], 1e-6, 3),
        ([], 0.0, 6),
        (["nan", "inf", "-inf", "", "None", "x", "é", "0x10"], 0.0, 6),
        (["9" * 200], 0.0, 6),  # not looked at
        (["0.30000000000000004"], 0.0, 17),
        (["0.300000012"], 0.0, 9),
    ],
)
def test_few_texts(texts: list[str], quantum: float, digits: int) -> None:
    precision = of(*texts)
    assert (precision.quantum, precision.digits) == (quantum, digits)


def test_the_answer_sharpens_while_a_file_is_read() -> None:
    precision = of("0.0003")
    assert precision.digits == 6
    precision.take([f"{v:.3g}" for v in COSINE[100:200]])
    assert (precision.digits, precision.sentence) == (3, "3 significant digits")
    precision.take(["0.00029999999999999997"])
    assert (precision.digits, precision.quantum, precision.exact) == (17, 0.0, True)
    precision.take(["0.000300"])
    assert (precision.digits, precision.quantum) == (17, 0.0)


def test_too_few_values_say_so() -> None:
    assert of("0.0003").sentence == "at least 6 significant digits (too few different values to tell)"


@given(st.lists(st.text(max_size=70)))
def test_any_text_is_survived(texts: list[str]) -> None:
    precision = of(*texts)
    assert 0 <= precision.digits <= 17 or precision.digits <= 64
    assert precision.quantum >= 0.0


@given(st.lists(st.floats(1e-12, 1e3), min_size=1, max_size=40), st.integers(1, 12))
def test_all_at_once_or_one_by_one(values: list[float], decimals: int) -> None:
    texts = [f"{v:.{decimals}f}" for v in values]
    one = Precision()
    for text in texts:
        one.take([text])
    assert (one.quantum, one.digits) == (of(*texts).quantum, of(*texts).digits)
