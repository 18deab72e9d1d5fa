"""What holds for every schedule family, the ones to come included."""

from __future__ import annotations

import doctest
import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lrwatch.contract import from_document
from lrwatch.curve import Curve
from lrwatch.schedules import base, families
from lrwatch.schedules.base import REQUIRED, Family, Param

FAMILIES = families()
MODULES = {name: importlib.import_module(f"lrwatch.schedules.{name}") for name in FAMILIES}
BY_NAME = pytest.mark.parametrize("name", FAMILIES)
BY_AFTER = pytest.mark.parametrize(("name", "after"), [(f.name, a) for f in FAMILIES.values() for a in f.after])
TABLES = Path(__file__).parent / "tables"
CASES = [
    pytest.param(case, id=f"{name}-{i}")
    for name, family in FAMILIES.items()
    if not family.stateful
    for i, case in enumerate(yaml.safe_load((TABLES / f"{name}.yaml").read_text()))
]
CLOCK = np.concatenate([np.arange(0.0, 300.0, 0.25), np.arange(1000.0, 2100.0), [12345.678, 1e9, 2.0**52]])


def example(name: str) -> Any:
    """The schedule in a family's docstring, ready to be put into a contract."""
    found = re.search(r"Example:\n    ``(.+?)``\n", MODULES[name].__doc__ or "")
    assert found, f"{name}: the docstring needs an Example"
    return yaml.safe_load(found[1])


def evaluate(name: str, t: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    family = FAMILIES[name]
    if family.stateful:
        params = {**params, "factors": np.full(t.shape, 0.5)}
    return family.evaluate(t, params)


# -- what it says about itself ---------------------------------------------------------------------


@BY_NAME
def test_name_is_the_module_s_name(name: str) -> None:
    assert FAMILIES[name].name == name


@BY_NAME
def test_docstring_has_the_parts_that_explain_prints(name: str) -> None:
    doc = MODULES[name].__doc__ or ""
    first = doc.splitlines()[0]
    assert first.endswith(".") and len(first) < 120
    parts = [doc.find(part) for part in ("\n    f", "\nFirst value: ", "\nPast ", "\nExample:\n", "\nSource: ")]
    assert -1 not in parts and parts == sorted(parts), "maths, First value, Past, Example, Source, in this order"
    for after in FAMILIES[name].after[1:]:
        assert f"``{after}``" in doc, f"{name}: what `after: {after}` does"


@BY_NAME
def test_docstring_example_is_a_contract(name: str, curve: Callable[..., Curve]) -> None:
    schedule = example(name)
    assert name in str(schedule)
    curve(schedule, base=3e-4, horizon=20_000)


@pytest.mark.parametrize("module", [base, *MODULES.values()], ids=["base", *MODULES])
def test_doctests(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


@BY_NAME
def test_parameters_are_described(name: str) -> None:
    for param in FAMILIES[name].params:
        assert param.doc and not param.doc.endswith("."), param.name
        assert bool(param.choices) == (param.kind == "choice"), param.name
        assert param.name not in ("for", "until", "over", "offset", "stairs", "min", "max", "after", "length")


# -- what it computes ------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_one_value_at_a_time_and_chunks_give_the_whole(case: dict[str, Any], curve: Callable[..., Curve]) -> None:
    expected = curve(case["schedule"], case["base"], case.get("horizon"))
    whole = expected.at(CLOCK)
    some = np.arange(0, len(CLOCK), 3)
    one_by_one = np.concatenate([expected.at(CLOCK[i : i + 1]) for i in some])
    chunks = np.concatenate([expected.at(chunk) for chunk in np.array_split(CLOCK, 37)])
    assert np.array_equal(whole[some], one_by_one)
    assert np.array_equal(whole, chunks)


@pytest.mark.parametrize("case", CASES)
def test_finite_and_not_negative_unless_promised(case: dict[str, Any], curve: Callable[..., Curve]) -> None:
    values = curve(case["schedule"], case["base"], case.get("horizon")).at(CLOCK[:-3])
    assert np.isfinite(values).all()
    assert (values >= 0.0).all() or min(value for _, value in case["points"]) < 0.0


def _number(param: Param) -> st.SearchStrategy[float]:
    low = 0.0 if param.ge is None else param.ge
    high = 4.0 if param.le is None else param.le
    return st.floats(low, high, exclude_min=param.gt is not None, allow_subnormal=False)


def _strategy(param: Param) -> st.SearchStrategy[Any]:
    counts = st.one_of(st.integers(1, 10**6).map(float), st.floats(0.01, 1e6))
    increasing = st.lists(st.floats(0, 1e6), min_size=1, max_size=5).map(lambda v: tuple(sorted(v)))
    kinds: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "value": lambda: _number(param),
        "number": lambda: _number(param),
        "whole": lambda: st.integers(int(param.ge or 0), 20),
        "count": lambda: counts if param.default is not None else st.none() | counts,
        "counts": lambda: increasing if param.default is not None else st.none(),
        "values": lambda: st.lists(_number(param), min_size=1, max_size=5).map(tuple),
        "schedules": lambda: st.just((lambda t: 1.0 / (1.0 + t), lambda t: np.full(t.shape, 0.5))),
        "choice": lambda: st.sampled_from(param.choices),
        "flag": st.booleans,
        "text": lambda: st.just("val_loss"),
    }
    return kinds[param.kind]()


@st.composite
def valid(draw: st.DrawFn, family: Family) -> dict[str, Any]:
    params = {param.name: draw(_strategy(param)) for param in family.params}
    params["after"] = draw(st.sampled_from(family.after))
    if family.length == "required" or draw(st.booleans()):
        params["length"] = draw(st.integers(1, 10**6).map(float) | st.floats(0.01, 1e6))
    if family.check({"length": None, **params}) and "length" in params:
        params["length"] += sum(v for v in params.values() if isinstance(v, float))  # long enough for its parts
    assume(not family.check({"length": None, **params}))
    return params


@BY_NAME
@settings(max_examples=20)
@given(data=st.data())
def test_any_valid_parameters_at_any_time_give_a_number(name: str, data: st.DataObject) -> None:
    params = data.draw(valid(FAMILIES[name]))
    times = st.one_of(st.integers(0, 10**12).map(float), st.floats(0, 1e12), st.just(params.get("length", 0.0)))
    t = np.array(data.draw(st.lists(times, max_size=8)), dtype=np.float64)
    before = t.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = evaluate(name, t, params)
    assert values.dtype == np.float64 and values.shape == t.shape
    assert not np.isnan(values).any()
    if params["after"] != "continue" or FAMILIES[name].after[0] == "continue":  # a line that is followed may cross 0
        assert (values >= 0.0).all()
    assert np.array_equal(t, before) and not np.shares_memory(values, t)
    assert np.array_equal(values, evaluate(name, t, params))


# -- past the length -------------------------------------------------------------------------------

LENGTH = 12.0


def past(name: str, after: str, curve: Callable[..., Curve]) -> Curve:
    """The family's docstring example on its own, ``LENGTH`` long."""
    schedule = example(name)
    phase = next(p for p in ([schedule] if isinstance(schedule, dict) else schedule) if name in p)
    params = {k: v for k, v in phase[name].items() if k not in ("until", "for")}
    shorter = {"warmup": 2, "decay": 5, "period": 5, "at": [0, 2, 8, 10]} if name != "exponential" else {}
    shorter["of"] = [{"exponential": {"gamma": 0.9}}, {"linear": {"from": "10%", "to": "100%", "for": 5}}]
    params = {k: shorter.get(k, v) for k, v in params.items()}
    return curve({name: {**params, "for": LENGTH, "after": after}})


@BY_AFTER
def test_past_the_length(name: str, after: str, curve: Callable[..., Curve]) -> None:
    one = past(name, after, curve)
    d = np.array([0.25, 1.0, 5.0, 11.0, 12.0, 100.0, 12345.0])
    end = one.at(np.array([LENGTH]))
    beyond = one.at(LENGTH + d)
    if after == "hold":
        assert (beyond == end).all()
    elif after == "mirror":
        assert beyond == pytest.approx(one.at(np.array([11.75, 11, 7, 1, 0, 8, 3])), rel=1e-12)
    elif after == "restart":
        assert beyond == pytest.approx(one.at(np.array([0.25, 1, 5, 11, 0, 4, 9])), rel=1e-12)
    elif FAMILIES[name].length == "optional":
        longer = one.with_last_phase(length=1e6)
        assert np.array_equal(beyond, longer.at(LENGTH + d))
    elif name == "k_decay":
        assert beyond == pytest.approx(1.0 - np.sqrt(1.0 + d / LENGTH))  # what its example is
    else:
        slope = (end - one.at(np.zeros(1))) / LENGTH
        assert beyond == pytest.approx(end + slope * d)


@BY_NAME
def test_landmarks_are_times_within_reach(name: str) -> None:
    params = {p.name: p.default for p in FAMILIES[name].params if p.default is not REQUIRED}
    schedule = example(name)
    tree = {"lrwatch": 1, "experiment": "x", "clock": {"horizon": 20_000}, "lr": {"base": 1, "schedule": schedule}}
    phase = from_document(tree).signals["lr"].schedule[-1]
    marks = FAMILIES[name].landmarks({**params, **phase.params, "length": phase.length, "after": phase.after})
    for word, t in marks.items():
        assert word and 0.0 <= t < np.inf
