"""Game days: real trainers go wrong, and the right people hear of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lrwatch.checks import checks
from lrwatch.cli import main
from lrwatch.contract import from_document, load
from lrwatch.gameday import board
from lrwatch.gameday.play import WAITS, WITHIN, Outcome, play
from lrwatch.gameday.sabotage import ACTS
from lrwatch.gameday.scenarios import SCENARIOS, document
from lrwatch.ops import processes
from lrwatch.ops.rules import ALERTS
from lrwatch.ops.thresholds import resolve
from lrwatch.trainer.faults import behaviour

SOON = ("healthy", "nan", "killed-worker", "out-of-memory")
"""Those that make test plays; all of them are played by make test-long."""


@pytest.mark.torchrun
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    "names", [SOON, pytest.param(tuple(SCENARIOS), marks=[pytest.mark.long, pytest.mark.timeout(2400)])],
    ids=["some", "all"],
)
def test_what_goes_wrong_is_heard_by_the_right_one_and_resolves(
    tool: Callable[[str], str], tmp_path: Path, names: tuple[str, ...]
) -> None:
    tool("prometheus"), tool("prometheus-alertmanager")
    outcomes = play([SCENARIOS[name] for name in names], tmp_path / "game", jobs=4)
    scoreboard = board.text(outcomes)
    assert [o.scenario.name for o in outcomes if not o.passed] == [], scoreboard
    for outcome in outcomes:
        if outcome.scenario.expects is not None:
            assert outcome.detected is not None and 0 <= outcome.detected < WITHIN, scoreboard
            assert outcome.resolved is not None and 0 <= outcome.resolved < WITHIN, scoreboard
    left = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    assert [line for pid in left if str(tmp_path) in (line := processes.command_line(pid))] == []


# ---- the catalogue of scenarios


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda s: s.name)
def test_a_scenario_can_be_played(scenario: object, tmp_path: Path) -> None:
    s = SCENARIOS[scenario.name]  # type: ignore[attr-defined]
    (tmp_path / "c.yaml").write_text(document(s))
    contract = load(tmp_path / "c.yaml")
    assert contract.experiment == f"game-{s.name}"
    for rank in range(s.workers):
        behaviour(s.inject, rank, s.workers)
    names, codes = {a.name for a in ALERTS}, {check.code for check in checks().values()}
    assert s.act is None or (s.act.what in ACTS and s.act.rank < s.workers)
    assert all(word in names | codes for word in s.along)
    if s.expects is not None:
        assert s.expects.alert in names and set(s.expects.codes) <= codes
        severity = next(a.severity for a in ALERTS if a.name == s.expects.alert)
        assert s.expects.receiver == {"critical": "page", "warning": "ticket"}[severity]


def test_every_failure_mode_is_played() -> None:
    assert {s.seed for s in SCENARIOS.values()} - {""} == {f"F{i}" for i in range(1, 8)}


def test_the_shortened_waits_still_fit_together() -> None:
    assert resolve(WAITS)["run_down_for"] == 6.0


def test_another_budget_makes_another_contract() -> None:
    cost = SCENARIOS["cost-overrun"]
    assert "budget: 0.0001}" in document(cost) and "budget: 5}" in document(cost, budget=5)
    from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1, "schedule": "constant"}})


# ---- the scoreboard


def outcomes() -> list[Outcome]:
    return [
        Outcome(SCENARIOS["healthy"]),
        Outcome(SCENARIOS["nan"], 4.25, 3.0, "page", ["LrwatchFindingError LR301"]),
        Outcome(SCENARIOS["killed-agent"], 7.0, None, "page"),
        Outcome(SCENARIOS["stalled"], 2.0, 1.0, "page", ["X"], ["LrwatchDesync <b>"], "TimeoutError: 'x' & y"),
    ]


def test_only_the_expected_outcome_passes() -> None:
    assert [o.passed for o in outcomes()] == [True, True, False, False]
    wrong = Outcome(SCENARIOS["killed-agent"], 7.0, 1.0, "page")  # is a ticket
    assert not wrong.passed
    assert not Outcome(SCENARIOS["healthy"], false_alerts=["LrwatchDesync"]).passed


def test_the_scoreboard_as_text() -> None:
    assert board.text(outcomes()).splitlines()[:7] == [
        "scenario      expected                   heard by  detected  resolved     false alerts       outcome",
        "healthy       nothing                    -         -         -            none               ok",
        "nan           LrwatchFindingError LR301  page      4.2 s     3.0 s        none               ok",
        "killed-agent  LrwatchWorkerDown          page      7.0 s     not in 60 s  none               FAILED",
        "stalled       LrwatchRunStalled          page      2.0 s     1.0 s        LrwatchDesync <b>  "
        "FAILED: TimeoutError: 'x' & y",
        "",
        "2 of 4 scenarios as expected, 1 false alert; median time to detect 4.2 s.",
    ]
    assert "run_down_for=6s" in board.text(outcomes())


def test_the_scoreboard_as_a_page() -> None:
    page = board.page(outcomes())
    assert "LrwatchDesync &lt;b&gt;" in page and "<b>" not in page and "&#x27;x&#x27; &amp; y" in page
    assert page.count("<tr>") == 5 and page.count('class="bad"') == 3
    assert not re.search(r"(src|href)=|https?://|url\(", page), "nothing from elsewhere"


# ---- the command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "lrwatch: name scenarios, or all; `lrwatch ops gameday --list` lists them\n"),
        (["nann"], "lrwatch: no scenario 'nann'; did you mean 'nan'?\n"),
        (["nan", "--dir", "there"], "lrwatch: there: already exists; pass --force to overwrite it\n"),
        (["nan", "--html", "nowhere/x.html"], "lrwatch: nowhere/x.html: there is no directory nowhere\n"),
        (["nan", "--dir", "there", "--force"],
         "lrwatch: there: is no directory of an earlier game; --force does not remove it\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "precious").touch()
    with pytest.raises(SystemExit) as ended:
        main(["ops", "gameday", *words])
    assert (ended.value.code, *capfd.readouterr()) == (2, "", message)
    assert (tmp_path / "there" / "precious").exists()


def test_the_scenarios_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ops", "gameday", "--list"])
    lines = capfd.readouterr().out.splitlines()
    assert ended.value.code == 0 and [line.split()[0] for line in lines] == list(SCENARIOS)
