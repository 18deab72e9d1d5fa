"""A contract is identified by what it says, not by how it is written."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrwatch.contract import Identity, compare, from_document, load
from lrwatch.contract.document import parse
from lrwatch.contract.hash import canonical, identify
from tests.contract.documents import DOCUMENTS, leaves, written

PLAIN: dict[str, Any] = {"lrwatch": 1, "experiment": "x", "lr": {"base": 3e-4, "schedule": "constant"}}


def identity(*amendments: Any, **changes: Any) -> Identity:
    return from_document({**PLAIN, **changes, **({"amendments": list(amendments)} if amendments else {})}).identity


def test_the_hash_of_a_known_contract_never_changes() -> None:
    """Written down once: a change of the canonical form would make every recorded trace a mismatch."""
    assert canonical(PLAIN) == '{"experiment":"x","lr":{"base":0.0003,"schedule":"constant"},"lrwatch":1}'
    assert identity().base == "7414dfc78cf278a9194a165c518e141c05239d82af52ae0264cc06877c891b20"


@pytest.mark.parametrize("number", ["3e-4", "3.0e-4", "3.0E-04", "0.0003", "+3e-4", ".0003", "30e-5"])
def test_every_spelling_of_a_number_is_the_same_contract(number: str, tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(f"lrwatch: 1\nexperiment: x\nlr: {{base: {number}, schedule: constant}}\n")
    contract = load(path)
    assert contract.signals["lr"].base == 0.0003
    assert contract.identity == identity()


@settings(max_examples=60)
@given(st.data())
def test_writing_it_down_otherwise_changes_nothing(data: st.DataObject) -> None:
    document = data.draw(DOCUMENTS)
    text = written(document, lambda n: data.draw(st.integers(0, n - 1)))
    read, _ = parse(text)
    assert read == document
    assert identify(read) == identify(document)
    assert from_document(read) == from_document(document)


@settings(max_examples=60)
@given(st.data())
def test_any_other_value_is_another_contract(data: st.DataObject) -> None:
    document = data.draw(DOCUMENTS)
    path = data.draw(st.sampled_from(leaves(document)))
    changed = copy.deepcopy(document)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    place[path[-1]] = not old if isinstance(old, bool) else f"{old}x" if isinstance(old, str) else old * 2
    assert identify(changed) != identify(document)
    assert compare(identify(changed), identify(document)) == "mismatch"


@settings(max_examples=50)
@given(st.data())
def test_any_key_left_out_is_another_contract(data: st.DataObject) -> None:
    document = data.draw(DOCUMENTS)
    key = data.draw(st.sampled_from(sorted(document)))
    fewer = {k: v for k, v in document.items() if k != key}
    assert (identify(fewer) == identify(document)) == (key == "amendments" and not document[key])


@settings(max_examples=50)
@given(DOCUMENTS)
def test_round_trip(document: dict[str, Any]) -> None:
    contract = from_document(document)
    again = from_document(contract.document, source=contract.source)
    assert again == contract
    assert Identity.parse(str(contract.identity)) == contract.identity


def test_the_document_is_not_the_caller_s() -> None:
    document = copy.deepcopy(PLAIN)
    contract = from_document(document)
    document["lr"]["base"] = 5
    assert contract.document["lr"]["base"] == 3e-4


# -- amended or mismatched ------------------------------------------------------------------------------

HALVE = {"at": 10, "multiply": {"lr": 0.5}}
DOUBLE = {"at": 10, "multiply": {"lr": 2}}
LATER = {"at": 20, "multiply": {"lr": 0.1}}
CHAINS: dict[str, tuple[Any, ...]] = {
    "": (),
    "h": (HALVE,),
    "d": (DOUBLE,),
    "hl": (HALVE, LATER),
    "lh": (LATER, HALVE),
    "dl": (DOUBLE, LATER),
}
AMENDED = {("", "h"), ("", "d"), ("", "hl"), ("", "lh"), ("", "dl"), ("h", "hl"), ("d", "dl")}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations_with_replacement(CHAINS, 2)))
def test_a_longer_chain_is_amended_and_a_fork_is_a_mismatch(one: str, other: str) -> None:
    a, b = identity(*CHAINS[one]), identity(*CHAINS[other])
    expected = "same" if one == other else "amended" if (one, other) in AMENDED else "mismatch"
    assert compare(a, b) == compare(b, a) == expected
    assert compare(a, Identity.parse(str(identity(*CHAINS[one], experiment="y")))) == "mismatch"


def test_a_chain_is_known_by_its_last_hash() -> None:
    one, two = identity(HALVE), identity(HALVE, LATER)
    assert (one.base, len(one.chain), len(two.chain)) == (identity().base, 1, 2)
    assert one.sha256 == one.chain[0] == two.chain[0] != two.sha256 == two.chain[1]
    assert identity().sha256 == identity().base
    assert str(two) == "+".join([two.base, *two.chain])


def test_a_single_amendment_needs_no_list() -> None:
    assert from_document({**PLAIN, "amendments": HALVE}) == from_document({**PLAIN, "amendments": [HALVE]})
    assert (
        from_document({**PLAIN, "amendments": HALVE}).identity
        != from_document({**PLAIN, "amendments": DOUBLE}).identity
    )
