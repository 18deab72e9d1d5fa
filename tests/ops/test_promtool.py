"""promtool runs the tests of the rules: on every version of it that the tools hold."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lrwatch.checks import checks
from tests.ops.rules import ALERTS, alerts, cases

FILES = sorted(path.name for path in (ALERTS / "tests").glob("*.yml"))
NEVER_QUIET = {"LrwatchWatchdog"}


@pytest.fixture(params=["promtool", "promtool-next"])
def promtool(request: pytest.FixtureRequest, tool: Callable[[str], str]) -> str:
    if request.param == "promtool-next" and not shutil.which("apt-get"):
        pytest.skip("tests/tools.sh gets a second promtool from Debian's archive only")
    return tool(request.param)


@pytest.mark.parametrize("file", FILES)
def test_promtool_agrees(promtool: str, file: str) -> None:
    done = subprocess.run([promtool, "test", "rules", str(ALERTS / "tests" / file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_has_no_complaint(promtool: str) -> None:
    paths = [str(path) for path in (ALERTS / "rules").glob("*.yml")]
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_every_alert_is_seen_to_fire_to_resolve_and_to_stay_quiet(alert: str) -> None:
    mine = [case for case in cases() if case.alert == alert]
    by_group = {case.group: [c.fires for c in mine if c.group == case.group] for case in mine}
    assert any(any(fires) for fires in by_group.values()), "no test sees it fire"
    if alert in NEVER_QUIET:
        return
    assert any(
        True in fires and False in fires[fires.index(True) :] for fires in by_group.values()
    ), "no test sees it resolve"
    assert any(not any(fires) for fires in by_group.values()), "no test keeps it quiet on something that looks alike"


def test_a_group_of_tests_has_a_name_of_its_own() -> None:
    groups = [(case.file, case.group) for case in cases()]
    runs = [group for i, group in enumerate(groups) if i == 0 or groups[i - 1] != group]
    assert len(runs) == len(set(runs))


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_every_alert_has_a_runbook(alert: str) -> None:
    page = ALERTS / "runbooks" / f"{alert}.md"
    assert page.read_text(encoding="utf-8").startswith(f"# {alert}\n")


def test_every_finding_has_a_runbook_and_every_runbook_a_subject() -> None:
    known = {*alerts(), "LrwatchSweepAuthorized"} | {check.code for check in checks().values()}
    pages = {path.stem for path in (ALERTS / "runbooks").glob("*.md")} - {"README"}
    assert pages == known


def test_a_planted_fault_is_found(tmp_path: Path, tool: Callable[[str], str]) -> None:
    text = (ALERTS / "tests" / "meta.yml").read_text().replace("severity: none", "severity: critical")
    (tmp_path / "meta.yml").write_text(text.replace("../rules", str(ALERTS / "rules")))
    done = subprocess.run([tool("promtool"), "test", "rules", str(tmp_path / "meta.yml")], capture_output=True)
    assert done.returncode == 1
