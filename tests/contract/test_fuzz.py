"""Whatever a contract file holds, the answer is a contract or a ContractError."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrwatch.contract import Contract, from_document, load
from lrwatch.contract.document import MAX_DEPTH, parse
from lrwatch.errors import ContractError
from lrwatch.schedules import families
from tests.contract.documents import DOCUMENTS, leaves

KEYS = [
    *"lrwatch experiment clock batch lr weight_decay momentum goal cost trace tolerance amendments".split(),
    *"axis horizon base schedule groups scale for until over offset after at set multiply rewind".split(),
    *"from to join ramp lr.base lr.schedule[0] clock.horizon".split(),
    *families(),
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(KEYS),
    st.sampled_from(["horizon", "10%", "nan%", "-0", "1e400%", "continuous", "epoch", 10**400, 2**53, -1, 0]),
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=30,
)
SYNTAX = st.text(
    st.one_of(st.sampled_from(list(" \n\t:-[]{},#'\"|>&*!%?01.e~\r\0\ufeff")), st.characters()), max_size=60
)
SOUP = st.lists(
    st.one_of(SYNTAX, st.sampled_from(KEYS), st.sampled_from([": ", "\n", "\n  ", "{", "}", "- "])), max_size=20
)
FUZZ = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


def contract_or_error(make: Any, value: Any) -> None:
    try:
        assert isinstance(make(value), (Contract, tuple))
    except ContractError as e:
        assert str(e).startswith(f"{e.source}: ") and e.problem


@FUZZ
@given(st.binary(max_size=200))
def test_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "contract.yaml"
    path.write_bytes(data)
    contract_or_error(load, path)


@FUZZ
@given(st.one_of(SYNTAX, SOUP.map("".join)))
def test_text(text: str) -> None:
    contract_or_error(parse, text)


@FUZZ
@given(ANYTHING)
def test_structures(tree: Any) -> None:
    contract_or_error(from_document, tree)


@FUZZ
@given(st.data())
def test_a_good_document_with_one_thing_replaced(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(DOCUMENTS))
    path = list(data.draw(st.sampled_from(leaves(document))))
    del path[data.draw(st.integers(1, len(path))) :]
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(ANYTHING)
    contract_or_error(from_document, document)


@FUZZ
@given(st.sampled_from(sorted(families())), st.dictionaries(st.sampled_from(KEYS), SCALARS, max_size=3), st.data())
def test_parameters_of_families(name: str, extra: dict[str, Any], data: st.DataObject) -> None:
    drawn = {p.name: data.draw(st.one_of(SCALARS, st.lists(SCALARS, max_size=3))) for p in families()[name].params}
    schedule = [{name: {**drawn, "for": 10, **extra}}]
    contract_or_error(from_document, {"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": schedule}})


@FUZZ
@given(st.dictionaries(st.one_of(SYNTAX, st.sampled_from(KEYS)), ANYTHING, max_size=2), st.floats(), st.booleans())
def test_amendments(settings_: dict[str, Any], at: float, smooth: bool) -> None:
    amendment = {"at": at, "set": settings_, "join": "continuous" if smooth else "jump"}
    schedule = [{"linear": {"for": 5}}, {"cosine": {"until": "horizon"}}]
    tree = {"lrwatch": 1, "experiment": "x", "clock": {"horizon": 50}, "lr": {"base": 1, "schedule": schedule}}
    contract_or_error(from_document, {**tree, "amendments": [amendment]})


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, 100_000])
def test_depth(depth: int) -> None:
    """Text and data are refused from the same depth on, and nothing runs out of stack."""
    tree: Any = {}
    for _ in range(depth - 1):
        tree = {"a": tree}
    with pytest.raises(ContractError) as of_data:
        from_document(tree)
    text = "{a: " * (depth - 1) + "{}" + "}" * (depth - 1)
    refused = depth > MAX_DEPTH
    assert ("nested deeper" in str(of_data.value)) == refused
    if refused:
        with pytest.raises(ContractError, match="is nested deeper than 24 levels"):
            parse(text)
    else:
        parse(text)
