"""What a curve is asked beyond its values: in pieces, its peak, its variants, its metrics."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lrwatch import curve as module
from lrwatch.contract import from_document
from lrwatch.curve import Curve, Metric
from lrwatch.errors import ContractError
from tests.contract.documents import DOCUMENTS


def curve(schedule: Any, base: float = 1.0, group: str = "0", **more: Any) -> Curve:
    lr = {"base": base, "schedule": schedule, "groups": more.pop("groups", {})}
    return Curve(from_document({"lrwatch": 1, "experiment": "x", "lr": lr, **more}), group=group)


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


def test_only_what_is_promised() -> None:
    contract = from_document(
        {"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": "constant"}}, source="a.yaml"
    )
    with pytest.raises(ContractError, match=r"^a\.yaml: momentum: promises nothing for momentum$"):
        Curve(contract, "momentum")


@settings(max_examples=60)
@given(DOCUMENTS, st.data())
def test_in_pieces_it_is_the_same_curve(document: dict[str, Any], data: st.DataObject) -> None:
    contract = from_document(document)
    group = data.draw(st.sampled_from(["0", *contract.signals["lr"].groups]))
    t = np.arange(0.0, 600.0, data.draw(st.sampled_from([1.0, 7.0, 0.3])))
    whole = Curve(contract, group=group).at(t)
    part, cuts = Curve(contract, group=group), data.draw(st.lists(st.integers(0, len(t)), max_size=5).map(sorted))
    pieces = [part.next(t[a:b]) for a, b in zip([0, *cuts], [*cuts, len(t)], strict=True)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.dtype == np.float64 and np.isfinite(whole).all()


def test_a_join_at_the_final_value_is_refused() -> None:
    amendment = {"at": 8, "set": {"clock.horizon": 6}, "join": "continuous"}
    with pytest.raises(ContractError) as caught:
        curve({"cosine": {"until": "horizon"}}, clock={"horizon": 10}, amendments=[amendment])
    assert str(caught.value) == (
        "contract: amendments: cannot join at 8: the amended curve is already at its final value there; use join: jump"
    )


# -- the peak ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "more", "peak"),
    [
        ("constant", {}, 2.0),
        ({"constant": {"at": 0}}, {}, 0.0),
        ([{"linear": {"from": 0, "for": 7}}, {"linear": {"to": 0, "for": 100_000}}], {}, 2.0),
        ([{"linear": {"from": 0, "for": 7}}, {"linear": {"to": 0, "for": 7}}], {"clock": {"horizon": 1e6}}, 2.0),
        ({"linear": {"to": "150%", "for": 10}}, {}, 3.0),
        ({"linear": {"to": "150%", "for": 10}}, {"clock": {"horizon": 5}}, 2.5),
        ({"triangular": {"from": 0, "to": 8, "up": 12_345}}, {}, 8.0),
        ({"triangular": {"from": 0, "to": 8, "up": 3}}, {"clock": {"horizon": 1e6}}, 8.0),
        ({"one_cycle": {"for": 100_010, "peak_at": 0.3}}, {}, 2.0),
        ({"warmup_stable_decay": {"warmup": 1, "decay": 99_999, "for": 100_000}}, {}, 2.0),
        ("constant", {"amendments": [{"at": 777, "until": 778, "multiply": {"lr": 4}}]}, 2.0),
        ("constant", {"amendments": [{"at": 777, "set": {"lr.base": 5}}]}, 5.0),
    ],
)  # fmt: skip
def test_peak(schedule: Any, more: dict[str, Any], peak: float) -> None:
    assert curve(schedule, base=2.0, **more).peak() == pytest.approx(peak, rel=1e-12)


# -- variants ---------------------------------------------------------------------------------------

T = np.array([0.0, 2.0, 4.0, 6.0])


def values(one: Curve) -> Any:
    return pytest.approx(one.at(T).tolist(), rel=1e-15)


def test_another_base_keeps_absolute_floors() -> None:
    absolute, relative = curve({"linear": {"to": 0.5, "for": 4}}), curve({"linear": {"to": "50%", "for": 4}})
    assert values(absolute.with_base(3)) == [3.0, 1.75, 0.5, 0.5]
    assert values(relative.with_base(3)) == [3.0, 2.25, 1.5, 1.5]
    assert values(absolute.with_base(3).with_base(1 / 3)) == [1.0, 0.75, 0.5, 0.5]
    assert values(absolute) == [1.0, 0.75, 0.5, 0.5]


def test_another_last_phase() -> None:
    one = curve([{"linear": {"from": 0, "for": 2}}, {"cosine": {"to": 0.5, "for": 2}}])
    assert values(one) == [0.0, 1.0, 0.5, 0.5]
    assert values(one.with_last_phase(after="mirror")) == [0.0, 1.0, 0.5, 1.0]
    assert values(one.with_last_phase(length=4.0)) == [0.0, 1.0, 0.75, 0.5]
    assert values(one.with_last_phase(length=4.0).with_base(3)) == [0.0, 3.0, 1.75, 0.5]
    assert values(one.with_base(3).with_last_phase(length=4.0)) == [0.0, 3.0, 1.75, 0.5]
    assert one.phases[-1].length == 2.0


# -- what the trainer's arithmetic may lose ------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "recursive", "slack"),
    [("float64", True, [0, 0, 0]), ("float32", False, [2**-24] * 3), ("bfloat16", False, [2**-8] * 3),
     ("float32", True, [2**-24, 2**-24, 1000 * 2**-24]), ("float16", True, [2**-11, 2**-11, 1000 * 2**-11])],
)  # fmt: skip
def test_slack(dtype: str, recursive: bool, slack: list[float]) -> None:
    lr = {"base": 1, "schedule": "constant", "dtype": dtype, "recursive": recursive}
    one = Curve(from_document({"lrwatch": 1, "experiment": "x", "lr": lr}))
    assert one.slack(np.array([0.0, 1.0, 1000.0])).tolist() == slack


def test_blur_is_of_float32_alone_and_excuses_no_jump() -> None:
    def one(schedule: str, dtype: str = "float32") -> Curve:
        lr = {"base": 2.0, "schedule": yaml.safe_load(schedule), "dtype": dtype}
        return Curve(from_document({"lrwatch": 1, "experiment": "x", "lr": lr}))

    def blur(curve: Curve, t: float) -> float:
        at = np.array([t])
        return float(curve.blur(at, curve.at(at), 2.0)[0])

    assert blur(one("constant", "float64"), 5.0) == 0.0
    assert blur(one("constant", "bfloat16"), 5.0) == 0.0
    assert blur(one("constant"), 5.0) == 4 * 2**-24 * (2 + 2)
    # a line down from 2 by 0.001 each step: 2^-23 of t = 500 more or less is 2^-23 * 0.5, twice
    assert blur(one("{linear: {to: 0, for: 2000}}"), 500.0) == pytest.approx(
        4 * 2**-24 * (1.5 + 2) + 2 * 2**-23 * 0.5, rel=1e-6
    )
    # a drop from 2 to 0.2 at 100 is on one side only
    assert blur(one("{multi_step: {milestones: [100]}}"), 100.0) == pytest.approx(4 * 2**-24 * (0.2 + 2))


def test_slack_of_torch_s_cosine_past_its_end() -> None:
    one = curve({"cosine": {"to": "20%", "for": 1000, "after": "mirror"}})
    # 2⁻⁵³ · 0.2/0.8 · (2·1000/π)²
    assert one.slack(np.array([1000.0, 1001.0])).tolist() == pytest.approx([0.0, 1.1248e-11], rel=1e-4)


# -- metrics ----------------------------------------------------------------------------------------

HALVES = {"plateau": {"metric": "m", "patience": 0, "factor": 0.5}}
ROWS = np.arange(5.0)


def test_a_metric_acts_on_the_rows_after_it() -> None:
    one = curve(HALVES)
    assert one.stateful and not curve("constant").stateful
    assert one.next(ROWS).tolist() == [1.0] * 5
    assert one.next(ROWS + 5, [Metric(5, "m", 1.0)]).tolist() == [1.0] * 5
    assert one.next(ROWS + 10, [Metric(10, "m", 1.0), Metric(10, "other", 9.0)]).tolist() == [0.5] * 5
    assert one.next(ROWS + 15, [Metric(17, "m", 1.0)]).tolist() == [0.5, 0.5, 0.25, 0.25, 0.25]
    assert one.at(np.array([4.0, 9.0, 10.0, 16.0, 17.0])).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_going_back_forgets_what_came_after() -> None:
    one = curve(HALVES)
    one.next(ROWS, [Metric(0, "m", 1.0)])
    one.next(ROWS + 5, [Metric(5, "m", 2.0)])
    assert one.next(ROWS + 10, [Metric(10, "m", 2.0)]).tolist() == [0.25] * 5
    assert one.next(ROWS + 7).tolist() == [0.5] * 5
    assert one.next(ROWS + 12, [Metric(12, "m", 0.5)]).tolist() == [0.5] * 5
    assert one.next(ROWS + 17, [Metric(17, "m", 2.0)]).tolist() == [0.25] * 5


def test_what_was_known_beforehand_stays() -> None:
    one = curve(HALVES)
    known = [Metric(5, "m", 1.0), Metric(10, "m", 2.0), Metric(8, "m", 2.0), Metric(12, "m", 3.0)]  # it went back to 8
    one.next(np.empty(0), known)
    for _ in range(2):  # a second reading begins at 0 again
        assert one.next(ROWS).tolist() == [1.0] * 5
        assert one.next(ROWS + 7).tolist() == [1.0, 0.5, 0.5, 0.5, 0.5]
        assert one.next(ROWS + 11).tolist() == [0.5, 0.25, 0.25, 0.25, 0.25]


def test_a_variant_has_seen_the_same_metrics() -> None:
    one = curve(HALVES)
    one.next(ROWS, [Metric(0, "m", 1.0), Metric(2, "m", 1.0)])
    assert one.with_base(3).at(ROWS).tolist() == [3.0, 3.0, 1.5, 1.5, 1.5]
    assert one.with_last_phase(offset=1.0).at(ROWS).tolist() == [1.0, 1.0, 0.5, 0.5, 0.5]


def test_two_plateaus_have_a_memory_each() -> None:
    one = curve([{"plateau": {**HALVES["plateau"], "for": 10}}, {"plateau": {"metric": "n", "patience": 0}}])
    one.next(np.empty(0), [Metric(t, name, 1.0) for t in (1, 2, 11, 12, 13) for name in "mn"])
    assert one.at(np.array([1.0, 2.0, 9.0, 10.0, 12.0])).tolist() == pytest.approx([1, 0.5, 0.5, 0.1, 1e-3])


def test_a_plateau_that_was_amended_away() -> None:
    amendments = [{"at": 10, "set": {"lr.schedule": "constant"}}]
    one = curve(HALVES, amendments=amendments)
    one.next(np.empty(0), [Metric(1, "m", 1.0), Metric(2, "m", 1.0)])
    assert one.at(np.array([1.0, 2.0, 9.0, 10.0])).tolist() == [1.0, 0.5, 0.5, 1.0]
