"""``lrwatch ops rules|stack|silence`` as a user types them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lrwatch.cli import main
from lrwatch.ops.stack import Stack
from tests.ops.conftest import ROOT
from tests.ops.rules import ALERTS

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """``say("ops", "rules", "check")``: exit code, standard output, standard error; in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out = capfd.readouterr()
        return int(ended.value.code or 0), out.out, out.err

    return run


def test_rules_are_rendered_and_never_overwritten_unasked(say: Say, tmp_path: Path) -> None:
    assert say("ops", "rules", "render", "-o", "made") == (0, "", "made: 7 files\n")
    made = {p.relative_to(tmp_path / "made"): p.read_text() for p in (tmp_path / "made").rglob("*.yml")}
    shipped = [*(ALERTS / "rules").glob("*.yml"), ALERTS / "alertmanager.yml"]
    assert made == {p.relative_to(ALERTS): p.read_text() for p in shipped}
    assert say("ops", "rules", "render", "-o", "made")[0] == 0  # the same again overwrites nothing
    code, out, err = say("ops", "rules", "render", "-o", "made", "--set", "stall_deadline=30m")
    assert (code, out) == (2, "")
    assert err == "lrwatch: made/rules/runs.yml: already exists; pass --force to overwrite it\n"
    assert {p.relative_to(tmp_path / "made"): p.read_text() for p in (tmp_path / "made").rglob("*.yml")} == made
    assert say("ops", "rules", "render", "-o", "made", "--set", "stall_deadline=30m", "--force")[0] == 0
    assert ", 1800)" in (tmp_path / "made" / "rules" / "runs.yml").read_text()


def test_everything_that_a_site_decides_is_an_option(say: Say, tmp_path: Path, tool: Callable[[str], str]) -> None:
    for folder in ("sweeps", "approved"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sweeps" / "a.yml").write_text(
        "sweep: s\nowner: ada\nticket: ML-1\nstarts: 2026-11-20\nexpires: 2026-11-30\nreason: range test\n"
    )
    code, out, err = say(
        "ops", "rules", "render", "-o", "made", "--sweeps", "sweeps", "--approved", "approved", "--page", "https://a/",
        "--ticket", "https://b/", "--record", "https://c/", "--deadman", "https://d/", "--evaluation", "30s",
        "--group-wait", "90s", "--runbook-url", "https://wiki/",
    )  # fmt: skip
    assert (code, out, err) == (0, "", "made: 9 files\n")
    routes = (tmp_path / "made" / "alertmanager.yml").read_text()
    assert all(f"url: https://{x}/" in routes for x in "abcd") and "group_wait: 1m30s" in routes
    assert "LrwatchSweepAuthorized" in (tmp_path / "made" / "rules" / "sweeps.yml").read_text()
    assert "runbook_url: https://wiki/LrwatchDesync.md" in (tmp_path / "made" / "rules" / "workers.yml").read_text()
    tool("promtool"), tool("amtool")
    code, out, err = say("ops", "rules", "check", "made")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == ["ok   promtool check rules --lint=all", "ok   amtool check-config"]


def test_without_a_folder_the_rules_are_printed(say: Say) -> None:
    code, out, _ = say("ops", "rules", "render")
    assert code == 0
    names = [line for line in out.splitlines() if line.startswith("# --- ")]
    assert names == [
        "# --- rules/findings.yml", "# --- rules/runs.yml", "# --- rules/workers.yml", "# --- rules/agents.yml",
        "# --- rules/ledger.yml", "# --- rules/meta.yml", "# --- alertmanager.yml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rules", "render", "--set", "burn_fast=6"],
         "lrwatch: burn_fast: 6 times the 0.2 that the objective of 0.8 allows is 1.2: no share of failures exceeds 1, "
         "so the alert could never fire; below 5 it can\n"),
        (["rules", "render", "--group-wait", "20s"],
         "lrwatch: group_wait of 20s is shorter than two evaluations (15s each): an alert would leave before the one "
         "that inhibits it is known"),
        (["rules", "render", "--evaluation", "often"],
         "lrwatch: invalid value for '--evaluation': 'often' is no duration, as in 30s, 5m or 1h30m "),
        (["rules", "render", "--sweeps", "gone"], "lrwatch: gone: no such folder\n"),
        (["rules", "render", "--page", "pager"],
         "lrwatch: lrwatch-page: a webhook is an http:// or https:// address, got 'pager'\n"),
        (["rules", "check", "gone"],
         "lrwatch: gone/rules: no *.yml there; `lrwatch ops rules render -o gone` writes them\n"),
        (["stack", "status"],
         "lrwatch: lrwatch-stack: there is no stack; `lrwatch ops stack up --dir lrwatch-stack` makes one\n"),
        (["stack", "up", "--sweep", "x"], "lrwatch: --sweep x: give it as NAME=VALUE\n"),
        (["stack", "up", "--label", "sweep=x"],
         "lrwatch: --label sweep: discovery sets cluster, namespace, environment only\n"),
        (["silence", "--run", "r", "--owner", "ada", "--for", "2h"], "lrwatch: missing option '--reason' "),
        (["silence", "--owner", "ada", "--for", "2h", "--reason", "x", "--alertmanager", "http://127.0.0.1:9"],
         "lrwatch: a silence is of one run or of one sweep: give --run or --sweep\n"),
        (["silence", "--run", "r", "--owner", "ada", "--for", "25h", "--reason", "x", "--alertmanager",
          "http://127.0.0.1:9"], "lrwatch: --for 1d1h: at most 1d; what needs longer is a sweep that somebody "),
        (["silence", "--run", "r", "--owner", "ada", "--for", "2h", "--reason", "x"],
         "does not run; `lrwatch ops stack up --dir "),
        (["sylence"], "lrwatch: no command 'sylence'; did you mean 'silence'? (see `lrwatch ops --help`)\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_and_exit_2(say: Say, words: list[str], message: str) -> None:
    code, out, err = say("ops", *words)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_broken_rules_are_findings(say: Say, tmp_path: Path) -> None:
    (tmp_path / "bad" / "rules").mkdir(parents=True)
    (tmp_path / "bad" / "rules" / "x.yml").write_text(
        "groups:\n- name: x\n  rules:\n  - alert: X\n    expr: lrwatch_stepp > 1 and\n    labels: {severity: page}\n"
    )
    code, out, err = say("ops", "rules", "check", "bad")
    assert (code, err) == (1, "")
    said = out.splitlines()
    assert "BAD  x.yml: X: no metric 'lrwatch_stepp'; did you mean 'lrwatch_step'?" in said
    assert "BAD  x.yml: X: severity must be one of critical, info, none, warning, got 'page'" in said
    assert any("parse error" in line for line in said)


def test_without_promtool_it_says_what_it_could_not_check(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrwatch.ops.programs.find", lambda name: None)
    code, out, _ = say("ops", "rules", "check")
    assert code == 2
    assert "skip promtool check rules: promtool is neither in .tools/bin nor on PATH" in out.splitlines()


def test_the_shipped_rules_pass_their_check(say: Say, tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("promtool"), tool("amtool")
    shutil.copytree(ALERTS, tmp_path / "copy")
    for path in (tmp_path / "copy" / "tests").glob("*.yml"):
        if path.name != "meta.yml":  # the others take half a minute, and have a test of their own
            path.unlink()
    code, out, _ = say("ops", "rules", "check", "copy")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "ok   43 rules in 6 files", "ok   promtool check rules --lint=all", "ok   promtool test rules",
        "ok   amtool check-config",
    ]  # fmt: skip


def test_the_thresholds_are_listed_with_their_reasons(say: Say) -> None:
    code, out, _ = say("ops", "rules", "thresholds")
    assert code == 0
    assert "run_down_for                 5m  a node restart or a lost switch takes a few minutes;" in out
    assert "convergence_objective       0.8  of the judged runs reach their goal, for mature teams" in out


def test_a_stack_goes_up_tells_how_it_is_and_goes_down(say: Say, tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("prometheus"), tool("prometheus-alertmanager")
    try:
        code, out, err = say("ops", "stack", "up", "runs", "--scrape", "1s", "--label", "environment=production")
        assert (code, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()] == [
            "keeper", "ledger", "alertmanager", "prometheus", "targets", "notifications",
        ]  # fmt: skip
        assert say("ops", "stack", "status")[0] == 0
        assert '"environment": "production"' in (tmp_path / "lrwatch-stack" / "stack.json").read_text()
        code, out, _ = say("ops", "silence", "--run", "r1", "--owner", "ada", "--for", "90m", "--reason", "known")
        assert code == 0 and "; it covers 0 of the alerts that are there now\n" in out
        ended = out.splitlines()[1].removeprefix("end it earlier with: amtool ")
        done = subprocess.run([tool("amtool"), *ended.split()], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        code, out, _ = say("ops", "stack", "down")
    assert (code, out) == (0, "lrwatch-stack: stopped alertmanager, keeper, ledger, prometheus\n")
    assert say("ops", "stack", "down") == (0, "lrwatch-stack: nothing was running\n", "")
    code, out, _ = say("ops", "stack", "status")
    assert code == 1 and out.count(" DOWN\n") == 4
    assert all(s.pid is None for s in Stack(tmp_path / "lrwatch-stack").services())


def test_the_stack_of_the_operations_page_works(say: Say, tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("prometheus"), tool("prometheus-alertmanager")
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in page.partition("```sh\n")[2].partition("```")[0].splitlines()]
    assert [words[2] for words in lines] == ["stack", "stack", "silence", "stack"]
    try:
        for words in lines:
            code, _, err = say(*words[1:])
            assert code == 0, f"{words}: {err}"
    finally:
        Stack(tmp_path / "lrwatch-stack").down()
