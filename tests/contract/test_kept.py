"""The copy of a contract in a run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrwatch.contract import from_document, load
from lrwatch.contract.kept import keep, kept
from lrwatch.errors import ContractError

PLAIN = {"lrwatch": 1, "experiment": "x", "clock": {"horizon": 40}, "lr": {"base": 3e-5, "schedule": "constant"}}
AMENDED = PLAIN | {"amendments": [{"at": 8, "set": {"clock.horizon": 60}}]}
OTHER = PLAIN | {"lr": {"base": 1.0, "schedule": "constant"}}


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in run_dir.iterdir())


def test_a_file_is_copied_as_it_is_and_data_is_written_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# why\nlrwatch: 1\nexperiment: x\nclock: {horizon: 40}\nlr: {base: 3e-5, schedule: constant}\n")
    assert keep(load(file), tmp_path / "a").read_text() == file.read_text()
    copied = keep(from_document(PLAIN), tmp_path / "b")
    assert copied == tmp_path / "b" / "contract.yaml"
    assert load(copied).identity == from_document(PLAIN).identity == load(file).identity


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    before = keep(from_document(PLAIN), tmp_path).read_bytes()
    assert keep(from_document(PLAIN), tmp_path).name == "contract.yaml"
    for _ in range(2):
        other = keep(from_document(OTHER), tmp_path)
    assert other.name == f"contract-{from_document(OTHER).sha256[:8]}.yaml"
    assert (tmp_path / "contract.yaml").read_bytes() == before
    assert names(tmp_path) == [other.name, "contract.yaml"]


def test_a_file_that_is_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "contract.yaml").write_text("{")
    assert keep(from_document(PLAIN), tmp_path).name == f"contract-{from_document(PLAIN).sha256[:8]}.yaml"
    assert (tmp_path / "contract.yaml").read_text() == "{"
    with pytest.raises(ContractError, match=r"contract\.yaml"):
        kept(tmp_path)


def test_the_whole_promise_is_found(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
    for tree in (PLAIN, OTHER, AMENDED):
        keep(from_document(tree), tmp_path)
    plain, amended, other = (from_document(tree).identity for tree in (PLAIN, AMENDED, OTHER))
    found = [kept(tmp_path, identity) for identity in (None, str(plain), str(amended), str(other), "0" * 64)]
    assert [f.identity for f in found if f] == [amended, amended, amended, other, amended]
