"""Where a signature is asked for, nothing trains and nothing is watched without it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import lrwatch
from lrwatch.cli import main
from lrwatch.contract import load, signature
from lrwatch.errors import NotSigned
from lrwatch.trainer.launch import launch
from lrwatch.trainer.settings import Settings
from tests.agent.helpers import Training

pytest.importorskip("cryptography")
from tests.contract.test_signature import CONTRACT, MINE, OTHER, private_pem, public_pem


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(signature.KEY, raising=False)
    Path("contract.yaml").write_text(CONTRACT)
    Path("key.pem").write_bytes(private_pem(MINE))
    Path("key.pub").write_bytes(public_pem(MINE))
    Path("other.pub").write_bytes(public_pem(OTHER))
    Path("contract.yaml.sig").write_text(signature.sign(load("contract.yaml"), Path("key.pem")))
    return tmp_path


def test_the_trainer_refuses_before_it_writes(room: Path) -> None:
    with pytest.raises(NotSigned, match=r"which other\.pub does not hold"):
        launch(Settings(Path("contract.yaml"), run_dir=Path("run"), contract_key=Path("other.pub"), quiet=True))
    assert not Path("run").exists()


def test_the_trainer_trains_under_a_signed_contract(room: Path) -> None:
    settings = Settings(
        Path("contract.yaml"), run_dir=Path("run"), contract_key=Path("key.pub"), steps=2, quiet=True, port=0
    )
    assert launch(settings) == 0


def test_the_command_exits_2(room: Path) -> None:
    words = ["train", "--contract", "contract.yaml", "--contract-key", "other.pub", "--run-dir", "run"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert done.stderr.startswith("lrwatch: contract.yaml: is signed with key 21fe31dfa154a261, which other.pub does")


def scraped(watch: lrwatch.Watch) -> list[str]:
    text = watch._parts.exporter.text().decode()
    return re.findall(r"^lrwatch_contract_signed\{.*\} (\S+)$", text, re.M)


@pytest.mark.parametrize(("key", "shown"), [("key.pub", ["1.0"]), (None, ["0.0"])])
def test_the_agent_shows_whether_it_was_verified(
    room: Path, key: str | None, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if key:
        monkeypatch.setenv("LRWATCH_CONTRACT_KEY", key)
    with lrwatch.watch(Training().optimizer, "contract.yaml", run_dir="run") as watch:
        assert scraped(watch) == shown


def test_the_agent_refuses_an_unsigned_contract(room: Path) -> None:
    shutil.copy("contract.yaml", "copy.yaml")
    with pytest.raises(NotSigned, match=r"^copy.yaml: is not signed: there is no copy.yaml.sig; "):
        lrwatch.watch(Training().optimizer, "copy.yaml", run_dir="run", contract_key="key.pub")
    assert not Path("run").exists()
