"""Files that people review: what they must hold, and the rules that they become."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lrwatch.errors import LrwatchError
from lrwatch.ops import render, reviewed
from lrwatch.ops.thresholds import resolve
from tests.ops.rules import ALERTS

SWEEP = """\
sweep: lr-range-7
owner: vision
ticket: ML-123
starts: 2026-11-20
expires: 2026-12-04
reason: learning-rate range test
"""
APPROVAL = f"sha256: {'8a44e1b7' * 8}\nexperiment: gpt\nowner: ada\nticket: ML-9\n"


def written(folder: Path, text: str, name: str = "one.yml") -> Path:
    (folder / name).write_text(text)
    return folder


def passes(promtool: str, test: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", str(test)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SWEEP.replace("2026-12-04", "2026-12-05"),
         "expires: 15 days after starts; at most 14, then it has to be reviewed again"),
        (SWEEP.replace("2026-12-04", "2026-11-20"), "expires: must be later than starts (2026-11-20T00:00:00+00:00)"),
        (SWEEP.replace("2026-12-04", "soon"), "expires: must be a date, as in 2026-11-30 or 2026-11-30T12:00:00Z"),
        (SWEEP.replace("2026-12-04", "7"), "expires: must be a date, as in 2026-11-30 or 2026-11-30T12:00:00Z"),
        (SWEEP.replace("owner: vision\n", ""),
         "owner: is missing; a reviewed file holds sweep, owner, ticket, starts, expires, reason"),
        (SWEEP.replace("owner: vision", "owner: ''"), "owner: must be text, got ''"),
        (SWEEP.replace("ML-123", "123"), "ticket: must be text, got 123"),
        (SWEEP.replace("reason:", "reson:"), "reson: unknown key; did you mean 'reason'?"),
        (SWEEP.replace("lr-range-7", "'.*'"),
         "sweep: must be letters, digits, dots, dashes and underscores, got '.*'"),
        (SWEEP.replace("learning-rate range test", "'{{ query 1 }}'"), "reason: must not hold a template ({{)"),
        ("- a list\n", "must hold sweep, owner, ticket, starts, expires, reason"),
        ("a: [\n", "cannot be read as YAML: "),
    ],
)  # fmt: skip
def test_a_sweep_that_nobody_could_review_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(LrwatchError) as caught:
        reviewed.sweeps(written(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / 'one.yml'}: {problem}")


def test_a_sweep_is_authorised_once(tmp_path: Path) -> None:
    written(written(tmp_path, SWEEP), SWEEP, "two.yaml")
    with pytest.raises(LrwatchError) as caught:
        reviewed.sweeps(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'two.yaml'}: sweep: 'lr-range-7' is authorised by {tmp_path / 'one.yml'} already"
    )


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LrwatchError) as caught:
        reviewed.approvals(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: no such folder"


def test_an_approval_names_a_whole_hash(tmp_path: Path) -> None:
    with pytest.raises(LrwatchError, match="sha256: must be 64 hexadecimal digits, as `lrwatch contract hash` prints"):
        reviewed.approvals(written(tmp_path, APPROVAL.replace("8a44e1b7" * 8, "8a44e1b7")))


def test_a_sweep_fires_from_its_start_to_its_end(tmp_path: Path, tool: Callable[[str], str]) -> None:
    (tmp_path / "sweeps").mkdir()
    # Starts ten minutes into the test's time, which begins in 1970, and lasts for an hour.
    text = SWEEP.replace("2026-11-20", "1970-01-01T00:10:00Z").replace("2026-12-04", "1970-01-01T01:10:00Z")
    group = reviewed.sweep_group(reviewed.sweeps(written(tmp_path / "sweeps", text)))
    (tmp_path / "sweeps.yml").write_text(render.text(group, resolve()))
    (tmp_path / "test.yml").write_text(f"""
rule_files: [{tmp_path / "sweeps.yml"}]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series: []
  alert_rule_test:
  - {{alertname: LrwatchSweepAuthorized, eval_time: 9m, exp_alerts: []}}
  - alertname: LrwatchSweepAuthorized
    eval_time: 10m
    exp_alerts: &fires
    - exp_labels: {{severity: none, sweep: lr-range-7, owner: vision, ticket: ML-123}}
      exp_annotations:
        summary: A sweep may leave its schedule for now.
        description: "Sweep lr-range-7 of vision is authorised by ML-123 until 1970-01-01 01:10 UTC: \
learning-rate range test"
        runbook_url: alerts/runbooks/LrwatchSweepAuthorized.md
  - {{alertname: LrwatchSweepAuthorized, eval_time: 69m, exp_alerts: *fires}}
  - {{alertname: LrwatchSweepAuthorized, eval_time: 70m, exp_alerts: []}}
""")
    passes(tool("promtool"), tmp_path / "test.yml")


def test_an_approval_silences_the_alert_about_its_contract(tmp_path: Path, tool: Callable[[str], str]) -> None:
    (tmp_path / "approved").mkdir()
    group = reviewed.approval_group(reviewed.approvals(written(tmp_path / "approved", APPROVAL)))
    (tmp_path / "approved.yml").write_text(render.text(group, resolve()))
    series = 'lrwatch_contract_info{{run_id="{}", rank="0", environment="production", sha256="{}"}}'
    (tmp_path / "test.yml").write_text(f"""
rule_files: [{tmp_path / "approved.yml"}, {ALERTS / "rules" / "workers.yml"}]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {{series: '{series.format("good", "8a44e1b7" * 8)}', values: '1x10'}}
  - {{series: '{series.format("bad", "c" * 64)}', values: '1x10'}}
  promql_expr_test:
  - expr: 'count by (run_id) (ALERTS{{alertname="LrwatchContractUnapproved", alertstate="firing"}})'
    eval_time: 5m
    exp_samples: [{{labels: '{{run_id="bad"}}', value: 1}}]
""")
    passes(tool("promtool"), tmp_path / "test.yml")


def test_no_reviewed_file_makes_no_rule(tmp_path: Path, tool: Callable[[str], str]) -> None:
    (tmp_path / "empty.yml").write_text(render.text(reviewed.sweep_group(reviewed.sweeps(tmp_path)), resolve()))
    done = subprocess.run([tool("promtool"), "check", "rules", str(tmp_path / "empty.yml")], capture_output=True)
    assert done.returncode == 0
