"""The terminal plot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lrwatch.report._plot import LABEL, plot
from lrwatch.result import Series


def series(t: list[float], observed: list[float], expected: list[float]) -> Series:
    return Series("lr", "0", 0, np.array(t), np.array(observed), np.array(expected))


def drawn(text: str) -> list[str]:
    """Only the canvas: what stands right of the vertical axis."""
    return [line[LABEL + 2 :] for line in text.splitlines()[:-3]]


RAMP = [0.0, 1.0, 2.0, 3.0]


def test_used_is_solid_and_promised_shows_only_where_it_differs() -> None:
    # 4 × 4 characters, one for each point: t = 0 … 3 across, 3 … 0 down.
    assert drawn(plot(series(RAMP, [0, 1, 2, 3], [0, 1, 2, 3]), 4, 4, unicode=False)) == ["   *", "  *", " *", "*"]
    assert drawn(plot(series(RAMP, [0, 0, 0, 0], [0, 1, 2, 3]), 4, 4, unicode=False)) == ["   .", "  .", " .", "****"]


def test_braille_has_two_by_four_dots_a_character() -> None:
    # One character: the four points of the ramp are 1 + 1 dots wide and 4 high; left column dots 3 and 7 (bottom two),
    # right column dots 4 and 5 (top two): 0x04 + 0x40 + 0x08 + 0x10 = 0x5c.
    assert drawn(plot(series(RAMP, RAMP, RAMP), 1, 1)) == [chr(0x2800 + 0x5C)]


def test_axes_labels_mark_and_legend() -> None:
    text = plot(series(RAMP, [0, 0, 0, 3e-4], [0, 1e-4, 2e-4, 3e-4]), 20, 4, unicode=False, mark=1.0)
    assert text == "\n".join([
        " 3.00e-04 +               ...**",
        "          |          ..... ***",
        "          |     .....    ***",
        " 0.00e+00 +***************",
        "          +------^-------------",
        "           0             3 step",
        "           ** used   .. promised, where it differs   ^ first bad step 1",
    ])  # fmt: skip


def test_says_when_there_is_no_difference_to_see_and_when_there_is_no_promise() -> None:
    nan = float("nan")
    assert plot(series(RAMP, RAMP, RAMP), 8, 4).splitlines()[-1].endswith("promised, no difference to see")
    assert plot(series(RAMP, RAMP, [nan] * 4), 8, 4).splitlines()[-1].strip() == "⠒⠒ used"


def test_a_value_that_is_not_finite_leaves_a_gap() -> None:
    text = plot(series(RAMP, [1, float("nan"), float("inf"), 1], [1, 1, 1, 1]), 4, 2, unicode=False)
    assert drawn(text)[0] == "*..*"


def test_no_line_joins_what_a_rollback_separates() -> None:
    # Up to t = 3, back to t = 0, once more at another height: no line runs back across the canvas.
    text = plot(series([0, 1, 2, 3, 0, 1, 2, 3], [4, 4, 4, 4, 1, 1, 1, 1], [float("nan")] * 8), 4, 4, unicode=False)
    assert drawn(text) == ["****", "", "****", ""]


def test_nothing_finite_says_so() -> None:
    nan = [float("nan")] * 4
    assert plot(series(RAMP, nan, nan)) == "(no finite value to draw)"


def test_paint_gets_the_roles() -> None:
    text = plot(
        series(RAMP, [0, 0, 0, 0], RAMP), 4, 4, unicode=False, mark=0.0, paint=lambda role, text: f"<{role}>{text}</>"
    )
    lines = text.splitlines()
    assert lines[3] == "<axis> 0.00e+00 +</><used>****</>"
    assert lines[4] == "<axis>          +</><mark>^</><axis>---</>"


VALUES = st.integers(-(10**6), 10**6).map(lambda i: i / 1000) | st.just(np.nan)


@pytest.mark.parametrize("unicode", [True, False])
@given(
    values=npst.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 40)), elements=VALUES),
    width=st.integers(2, 70),
    height=st.integers(1, 14),
)
def test_always_fits_its_frame(unicode: bool, values: np.ndarray, width: int, height: int) -> None:
    s = Series("lr", "0", 0, np.arange(values.shape[1], dtype=float), values[0], values[1])
    text = plot(s, width, height, unicode, mark=0.0)
    lines = text.splitlines()
    if len(lines) == 1:
        assert not np.isfinite(values).any()
        return
    assert len(lines) == height + 3
    assert all(len(line) <= LABEL + 2 + width for line in lines[:-2])
    assert unicode or text.isascii()
    solid = sum(c == "*" or 0x2800 < ord(c) < 0x2900 for line in drawn(text) for c in line)
    assert (solid > 0) == bool(np.isfinite(values[0]).any())
