"""``lrwatch plan``: landmarks, formats, exit codes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from lrwatch.cli import main
from lrwatch.contract import from_document
from lrwatch.lint import landmarks, plans, rules
from tests.conftest import ROOT

SANE = """\
lrwatch: 1
experiment: gpt-small
clock: {horizon: 1000}
lr: {base: 3.0e-4, schedule: [{linear: {from: 0, for: 100}}, {cosine: {to: 3.0e-5, until: horizon}}]}
"""
WRONG = SANE.replace("for: 100", "for: 2000").replace("until: horizon", "for: 8000")


def run(folder: Path, *args: str, contract: str = SANE) -> Result:
    (folder / "contract.yaml").write_text(contract)
    return CliRunner().invoke(main, ["plan", *(a.replace("@", str(folder)) for a in args)])


def marks(schedule: str, horizon: int | None = 1000) -> list[tuple[str, float, float]]:
    import yaml

    clock = {} if horizon is None else {"horizon": horizon}
    tree = {"lrwatch": 1, "experiment": "x", "clock": clock, "lr": {"base": 1.0, "schedule": yaml.safe_load(schedule)}}
    (plan,) = plans(from_document(tree))
    return [(m.name, m.t, round(m.value, 6)) for m in landmarks(plan)]


def test_landmarks_of_a_warm_up_and_a_cosine() -> None:
    # last: 0.1 + 0.9·(1 + cos(π·899/900))/2 = 0.100003
    assert marks("[{linear: {from: 0, for: 100}}, {cosine: {to: 10%, until: horizon}}]") == [
        ("first", 0.0, 0.0),
        ("end of warm-up", 100.0, 1.0),
        ("peak", 100.0, 1.0),
        ("floor", 999.0, 0.100003),
        ("last", 999.0, 0.100003),
        ("after the run", 1000.0, 0.1),
    ]


def test_landmarks_of_restarts_and_drops() -> None:
    # a restart at 200 and at 200 + 400; the lows one step before them: (1 + cos(π·199/200))/2 = 0.000062
    found = marks("[{cosine_restarts: {period: 200, multiply: 2}}]", 1400)
    assert [m for m in found if m[0].startswith("restart")] == [("restart 1", 200.0, 1.0), ("restart 2", 600.0, 1.0)]
    found = marks("[{multi_step: {milestones: [300, 600], gamma: 0.1}}]")
    assert [m for m in found if m[0].startswith("drop")] == [("drop 1", 300.0, 0.1), ("drop 2", 600.0, 0.01)]
    assert ("floor", 600.0, 0.01) in found
    found = marks("[{step: {every: 100}}]")
    assert [m[0] for m in found if m[0].startswith("drop")] == ["drop 1", "drop 2", "drop 3", "drop 9"]


def test_landmarks_of_a_plateau_at_the_top_and_of_no_horizon() -> None:
    found = marks("[{warmup_stable_decay: {warmup: 100, decay: 200, until: horizon}}]")
    assert ("end of warm-up", 100.0, 1.0) in found
    assert ("decay begins", 800.0, 1.0) in found
    assert [m[0] for m in marks("constant", None)] == ["first", "peak"]


def test_landmarks_of_a_long_run_are_exact() -> None:
    found = marks("[{linear: {from: 0, for: 12345}}, {constant: {for: 600001}}, {linear: {to: 0, for: 99}}]", 800000)
    assert ("end of warm-up", 12345.0, 1.0) in found
    assert ("decay begins", 612346.0, 1.0) in found
    assert ("floor", 612445.0, 0.0) in found


def test_a_sane_contract_passes(tmp_path: Path) -> None:
    result = run(tmp_path, "@/contract.yaml")
    assert result.exit_code == 0
    assert result.stdout.startswith("PASS  Nothing looks wrong")
    assert re.search(r"end of warm-up +0\.0003 +update 100\n", result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_what_looks_wrong_fails_and_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, "@/contract.yaml", contract=WRONG)
    assert result.exit_code == 1
    assert "LP101 warmup-too-long" in result.stdout
    assert "lrwatch explain warmup-too-long" in result.stdout


def test_warnings_fail_when_asked_to(tmp_path: Path) -> None:
    assert run(tmp_path, "@/contract.yaml", "--updates", "500").exit_code == 0
    result = run(tmp_path, "@/contract.yaml", "--updates", "500", "--fail-on", "warning")
    assert result.exit_code == 1
    assert "other-horizon" in result.stdout


def test_a_promise_made_of_options(tmp_path: Path) -> None:
    result = run(tmp_path, "--cosine", "--lr", "3e-4", "--warmup", "500", "--steps", "10000")
    assert result.exit_code == 0, result.output
    assert "update 500" in result.stdout


def test_json_has_landmarks_and_findings(tmp_path: Path) -> None:
    result = run(tmp_path, "@/contract.yaml", "--format", "json", contract=WRONG)
    told = json.loads(result.stdout)
    assert told["verdict"] == "fail"
    assert told["landmarks"][0] == {"group": None, "name": "first", "t": 0, "update": 0, "value": 0.0}
    assert [f["code"] for f in told["findings"]] == ["LP101"]
    assert {r["slug"] for r in told["rules"]} == set(rules())


def test_ci_formats_have_a_case_and_a_rule_for_each_rule(tmp_path: Path) -> None:
    junit = ElementTree.fromstring(run(tmp_path, "@/contract.yaml", "--format", "junit", contract=WRONG).stdout)
    cases = {case.get("name"): case for case in junit.iter("testcase")}
    assert len(cases) == len(rules())
    assert cases["LP101 warmup-too-long"].find("failure") is not None
    assert cases["LP111 other-horizon"].find("skipped") is not None
    sarif = json.loads(run(tmp_path, "@/contract.yaml", "--format", "sarif", contract=WRONG).stdout)["runs"][0]
    rule = next(r for r in sarif["tool"]["driver"]["rules"] if r["id"] == "LP101")
    assert rule["help"]["text"].startswith("The warm-up is not over when the run is.")
    assert rule["defaultConfiguration"] == {"level": "error"}
    place = sarif["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place.endswith("contract.yaml")
    assert sarif["invocations"][0]["executionSuccessful"]


def test_html_is_one_file_that_needs_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "@/contract.yaml", "--format", "html", "--output", "@/plan.html")
    assert (result.exit_code, result.stdout) == (0, "")
    page = (tmp_path / "plan.html").read_text()
    assert "<svg" in page
    assert "end of warm-up" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["@/none.yaml"], "none.yaml: no such file; give the path of a contract in YAML"),
        ([], "give a contract, or a promise made of options: --cosine --lr 3e-4 --steps 10000"),
        (["@/contract.yaml", "--cosine", "--lr", "1", "--steps", "9"], "is a contract, and a promise made of options"),
        (["@/contract.yaml", "--updates", "0"], "0.0 is not in the range x>0"),
        (["@/contract.yaml", "--output", "@/contract.yaml"], "already exists; pass --force to overwrite it"),
    ],
)
def test_what_is_refused(tmp_path: Path, args: list[str], said: str) -> None:
    result = run(tmp_path, *args)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert (tmp_path / "contract.yaml").read_text() == SANE


def test_the_page_lists_every_rule() -> None:
    page = (ROOT / "docs/plan.md").read_text()
    for slug in rules():
        assert f"(lint/{slug}.md)" in page
