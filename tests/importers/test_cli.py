"""``lrwatch contract import``: what it prints, writes, asks for and never overwrites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lrwatch.cli import main
from lrwatch.contract import load
from lrwatch.importers import importers

ARGUMENTS = {"learning_rate": 4e-4, "lr_scheduler_type": "linear", "max_steps": 100, "warmup_steps": 20,
             "per_device_train_batch_size": 8, "output_dir": "runs/a"}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("args.json").write_text(json.dumps(ARGUMENTS))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["contract", "import", *arguments])


def test_the_contract_goes_to_standard_output() -> None:
    done = run("args.json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == """\
# Imported from args.json (transformers).
# The Trainer steps the scheduler once per applied update, on any number of processes.
lrwatch: 1
experiment: a  # run_name, or output_dir
clock:
  axis: update
  horizon: 100  # max_steps
lr:
  base: 0.0004  # learning_rate
  schedule:
  - {linear: {from: 0, for: 20}}  # num_warmup_steps 20: update t uses t/20
  - {linear: {to: 0, until: horizon}}  # linear: 0 at num_training_steps 100
"""


def test_or_to_a_file_that_is_never_overwritten() -> None:
    assert run("args.json", "-o", "contract.yaml", "--experiment", "b").exit_code == 0
    assert load("contract.yaml").experiment == "b"
    before = Path("contract.yaml").read_bytes()
    done = run("args.json", "-o", "contract.yaml")
    assert (done.exit_code, done.stderr) == (
        2,
        "lrwatch: contract.yaml: already exists; pass --force to overwrite it\n",
    )
    assert Path("contract.yaml").read_bytes() == before
    assert run("args.json", "-o", "contract.yaml", "--force").exit_code == 0
    assert load("contract.yaml").experiment == "a"


def test_what_is_missing_is_asked_for_and_nothing_written() -> None:
    Path("args.json").write_text(json.dumps({**ARGUMENTS, "max_steps": -1, "num_train_epochs": 3}))
    done = run("args.json", "-o", "contract.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "lrwatch: args.json: num_train_epochs 3 is a number of updates only with the size of the training set; pass "
        "--dataset-size N\n"
    )
    assert not Path("contract.yaml").exists()
    flags = ["--dataset-size", "800", "--world-size", "2", "--accumulate", "5"]
    assert "horizon: 30  # num_train_epochs 3 of 10 updates" in run("args.json", *flags).stdout


def test_keys_are_set_with_numbers_as_people_write_them() -> None:
    done = run("args.json", "--set", "learning_rate=1e-5", "--set", "lr_scheduler_type=constant", "--set", "run_name=c")
    assert "base: 1.0e-05  # learning_rate" in done.stdout and "experiment: c" in done.stdout
    assert "constant: ignores num_warmup_steps" in done.stdout
    assert run("args.json", "--set", "learning_rate").stderr.startswith(
        "lrwatch: --set 'learning_rate' must be KEY=VALUE"
    )


def test_a_schedule_by_name() -> None:
    done = run("torchtune.get_cosine_schedule_with_warmup", "--lr", "2e-5", "--set", "num_warmup_steps=100",
               "--set", "num_training_steps=2000", "--steps", "2000")  # fmt: skip
    assert "- {cosine: {after: mirror, until: horizon}}" in done.stdout
    assert run("torchtune.cosine").stderr.startswith("lrwatch: torchtune.cosine: is not a schedule of torchtune")


def test_a_function_is_run_only_when_asked_for() -> None:
    Path("train.py").write_text("open('ran', 'w').close()\ndef get_lr(t):\n    return 3e-4 if t < 10 else 3e-5\n")
    assert run("train.py:get_lr", "--steps", "20").exit_code == 2
    assert not Path("ran").exists()
    done = run("train.py:get_lr", "--from", "callable", "--steps", "20")
    assert "- {table: {values: [0.0003, 3.0e-05], at: [0, 10]}}  # 20 samples of get_lr" in done.stdout
    assert run("train:get_lr", "--from", "callable").stderr == (
        "lrwatch: train:get_lr: a function has no end; pass --steps N\n"
    )
    failing = run("train:nothing", "--from", "callable", "--steps", "5").stderr
    assert failing.startswith("lrwatch: train:nothing: cannot be imported: AttributeError: ")


def test_help_lists_every_importer() -> None:
    text = run("--help").stdout
    listed = [line.split()[0] for line in text.partition("Sources (--from):")[2].partition("Examples:")[0].splitlines()
              if line.strip()]  # fmt: skip
    assert listed == sorted(importers())


def test_an_unknown_framework() -> None:
    assert "'huggingfac' is unknown; did you mean 'huggingface'?" in run("args.json", "--from", "huggingfac").stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("args.json", '{"learning_rate": 5e-5, "lr_sch', "is not JSON: Unterminated string starting at (line 1)"),
        ("args.yaml", "lr: [1, 2", "is not YAML: expected ',' or ']', but got '<stream end>' (line 1)"),
        ("args.json", "{}", "is the configuration of no framework that is known here; say which with --from, one of"),
    ],
)
def test_a_file_that_nobody_knows_says_first_that_it_is_broken(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    result = run(str(tmp_path / name))
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tag.yaml", "a: !!python/object/apply:os.system [true]\n", "could not determine a constructor for the tag"),
        ("deep.json", '{"a":' * 50_000 + "1" + "}" * 50_000, "is nested more deeply than any configuration"),
        ("deep.yaml", "a: " + "[" * 5_000 + "]" * 5_000, "is nested more deeply than any configuration"),
        (
            "bomb.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)),
            "grows to more than 1,000,000 values by its aliases",
        ),
    ],
)
def test_hostile_files_are_one_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    result = CliRunner().invoke(main, ["contract", "import", str(tmp_path / name), "--from", "huggingface"])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
