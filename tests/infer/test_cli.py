"""``lrwatch infer``: what it writes, where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lrwatch.cli import main
from lrwatch.contract import load

T = np.arange(400)
LR = 3e-4 * np.where(T < 50, T / 50, 0.5 * (1 + np.cos(np.pi * (T - 50) / 350)))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("step,lr\n" + "".join(f"{t},{y!r}\n" for t, y in zip(T.tolist(), LR.tolist(), strict=True)))
    return path


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["infer", *map(str, args)])


def test_the_contract_is_written_with_what_is_known_about_it(log: Path, tmp_path: Path) -> None:
    result = run(log, "--lr-read", "used", "--experiment", "a")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"# Inferred from {log}.\n"
        "# Linear then cosine explains all 400 values, within what their digits allow.\n"
        "lrwatch: 1\n"
        "experiment: a\n"
        "clock:\n"
        "  horizon: 400\n"
        "lr:\n"
        "  base: 0.0003\n"
        "  schedule: [{linear: {from: 0, for: 50}}, {cosine: {until: horizon}}]\n"
    )
    (tmp_path / "contract.yaml").write_text(result.stdout)
    assert load(tmp_path / "contract.yaml").horizon == 400.0
    verdict = CliRunner().invoke(main, ["verify", str(tmp_path / "contract.yaml"), str(log)])
    assert verdict.exit_code == 0, verdict.output


def test_nothing_is_overwritten_without_force(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    assert run(log, "--output", path).exit_code == 0
    written = path.read_text()
    result = run(log, "--output", path)
    assert result.exit_code == 2
    assert "already exists; pass --force to overwrite it" in result.stderr
    result = run(log, "--output", path, "--force")
    assert (result.exit_code, path.read_text()) == (0, written)
    assert result.stdout.startswith("Linear then cosine explains all 400 values")


def test_a_trace_that_cannot_decide_exits_2_and_says_why(log: Path) -> None:
    log.write_text("\n".join(log.read_text().splitlines()[:30]) + "\n")
    result = run(log)
    assert result.exit_code == 2
    assert "# Only a rising straight line was seen" in result.stdout
    assert "lrwatch: 1" in result.stdout
    assert run(log, "--allow-inconclusive").exit_code == 0


def test_a_trace_of_no_schedule_exits_1(log: Path) -> None:
    noise = LR * (1.0 + 0.1 * np.sin(T**1.5))
    log.write_text("step,lr\n" + "".join(f"{t},{y!r}\n" for t, y in zip(T.tolist(), noise.tolist(), strict=True)))
    result = run(log)
    assert result.exit_code == 1
    assert "# No schedule family explains it" in result.stdout


def test_json_for_programs(log: Path) -> None:
    told = json.loads(run(log, "--format", "json").stdout)
    assert told["verdict"] == "explained"
    assert told["contract"]["lr"]["schedule"][1] == {"cosine": {"until": "horizon"}}
    assert told["groups"][0]["explained"] == 400
    assert [n["name"] for n in told["groups"][0]["numbers"]] == ["length", "from", "to"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "log.csv: no such file"),
        ("step,loss\n0,1\n1,1\n2,1\n", "no learning-rate column"),
        ("step,lr\n0,1\n1,1\n", "has 2 updates with a learning rate; no schedule shows in so few"),
        ("step,lr\n0,nan\n1,nan\n2,nan\n", "has 0 updates with a learning rate"),
        ("", "is empty"),
    ],
)
def test_bad_input_is_one_sentence(log: Path, text: str | None, said: str) -> None:
    log.unlink() if text is None else log.write_text(text)
    result = run(log)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
