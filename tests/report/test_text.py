"""The report for people."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lrwatch.contract import from_document
from lrwatch.findings import Finding, Severity
from lrwatch.report import describe, render
from lrwatch.report._page import clean, spans
from lrwatch.report.base import Look
from lrwatch.result import CheckRun, Stats
from lrwatch.trace.model import TraceInfo
from tests.report.conftest import CONTRACT, Make

PLAIN = Look()

FAILED = """\
FAIL  Either the scheduler advances 2 times per update, or every value is
      multiplied by 2; first bad step 1.

error    LR101 drift  ranks 0–3 · lr group 0 · steps 1–3 · resolved
         Group 0 used 0.0002 at step 1 where the contract says 0.0001; 3 of 8
         rows differ, by up to 50.00% of the peak.
         Cause    The scheduler advances 2 times per update. It explains 100% of
                  the deviation; confidence: ambiguous.
         Or       Every value is multiplied by 2.
         Missing  A row after the warm-up.
         Fix      Call scheduler.step() once per optimizer update.
         Page     lrwatch explain drift · lrwatch explain rate

            lr, group 0 of rank 0
 4.00e-04 ┤                ⡰⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
          │              ⢀⠎             ···
          │             ⡰⠁           ···
          │           ⢀⠎          ···
          │          ⡰⠁        ···
          │        ⢀⠎       ···
          │       ⡠⠃     ···
          │     ⢀⠜    ···
          │    ⡠⠊  ···
          │   ⡔⠁····
          │ ⢀⠎···
 0.00e+00 ┤⡰⠁·
          └────────▲───────────────────────────────────────────────────
           0                                                     7 step
           ⠒⠒ used   ·· promised, where it differs   ▲ first bad step 1

Checked       drift, non-finite
Not checked   desync: the trace has one worker
Sensitivity   A constant factor off by 1.0e-09 would have been seen.
Assumed       The rate is the one used.
              Steps were taken as counted from 0.
Contract      contract.yaml (gpt-small), sha256 31eb1f6bb6e1
              lr 0.0004: linear {from: 0, for: 4}, constant
                group head: scale 10
              clock: update, horizon 8
Trace         runs/7 (jsonl, run run-7)
              32 rows, ranks 0–3, group 0, steps 0–7, 1 damaged line
"""


def sentence(text: str) -> str:
    """The verdict, on one line."""
    return " ".join(text.split("\n\n")[0].split())


def test_the_whole_page(report: Make, drift: Finding) -> None:
    assert render("text", report(findings=(drift,)), PLAIN) == FAILED


def test_colour_changes_nothing_but_colour(report: Make, drift: Finding) -> None:
    coloured = render("text", report(findings=(drift,)), Look(colour=True))
    assert coloured.startswith("\x1b[31;1mFAIL\x1b[0m  Either")
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == FAILED


def test_ascii_is_ascii(report: Make, drift: Finding) -> None:
    text = render("text", report(findings=(drift,)), Look(unicode=False))
    assert text.isascii()
    assert "ranks 0-3 - lr group 0 - steps 1-3" in text
    assert "** used   .. promised, where it differs   ^ first bad step 1" in text


def test_never_wider_than_80_columns(report: Make, drift: Finding) -> None:
    long = replace(drift, message="word " * 200, fix="an/unbreakable/path " * 30)
    assert max(map(len, render("text", report(findings=(long,)), PLAIN).splitlines())) <= 80


def test_a_kept_promise(report: Make) -> None:
    text = render("text", report(), PLAIN)
    assert sentence(text) == "PASS The run kept its promise in steps 0–7 of each of 4 workers."
    one = replace(report().result.stats, ranks=(0,))
    assert sentence(render("text", report(stats=one), PLAIN)) == "PASS The run kept its promise in steps 0–7."


def test_lesser_findings_do_not_hide_behind_a_pass(report: Make, drift: Finding) -> None:
    text = render("text", report(findings=(replace(drift, severity=Severity.warning, cause=None),)), PLAIN)
    assert sentence(text).endswith("of each of 4 workers; 1 lesser finding.")
    assert "\nwarning  LR101 drift" in text


def test_fail_on_decides_the_verdict(report: Make, drift: Finding) -> None:
    findings = (replace(drift, severity=Severity.warning, cause=None),)
    assert render("text", report(findings=findings), Look(Severity.warning)).startswith("FAIL  Group 0 used 0.0002")


def test_a_certain_cause_is_said_plainly(report: Make, drift: Finding) -> None:
    assert drift.cause is not None
    sure = replace(drift, cause=replace(drift.cause, confidence="high", also_consistent=(), missing_evidence=()))
    text = render("text", report(findings=(sure,)), PLAIN)
    assert sentence(text) == "FAIL The scheduler advances 2 times per update; first bad step 1."
    assert "Or " not in text and "Missing" not in text


def test_an_unexplained_drift_is_not_given_a_reason(report: Make, drift: Finding) -> None:
    assert drift.cause is not None
    odd = replace(drift, cause=replace(drift.cause, name="unexplained", sentence="no known bug makes this curve"))
    text = render("text", report(findings=(odd,)), PLAIN)
    assert sentence(text).startswith("FAIL Group 0 used 0.0002 at step 1")
    assert "Page     lrwatch explain drift\n" in text


def test_without_a_contract_it_says_what_was_not_compared(report: Make) -> None:
    text = render("text", report(contract=None), PLAIN)
    assert sentence(text) == (
        "PASS Nothing wrong in what a trace shows by itself. Without a contract the learning rate was compared "
        "with nothing."
    )
    assert (
        """
Contract      none: only what a trace shows by itself was checked;
              `lrwatch explain contract` shows one to start from
"""
        in text
    )


def test_inconclusive_says_why(report: Make) -> None:
    checks = (CheckRun("drift", "LR101", "ran", "segment 1: nobody knows at which update it started"),)
    text = render("text", report(checks=checks), PLAIN)
    assert sentence(text) == (
        "INCONCLUSIVE Whether the promise was kept could not be decided: segment 1: nobody knows at which update "
        "it started."
    )
    assert "\nIn part       drift: segment 1:" in text


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ((), "INCONCLUSIVE Nothing could be checked: no check was chosen."),
        (
            (CheckRun("desync", "LR201", "not_checked", "the trace has one worker"),),
            "INCONCLUSIVE Nothing could be checked: the trace has one worker.",
        ),
        (
            (CheckRun("drift", "LR101", "not_checked", "no `attempt` column"), CheckRun("non-finite", "LR301", "ran")),
            "INCONCLUSIVE Whether the promise was kept could not be decided: no `attempt` column.",
        ),
        (
            (CheckRun("non-finite", "LR301", "ran"),),
            "PASS Nothing wrong in what was asked for. Whether the promise was kept was not checked.",
        ),
    ],
)
def test_no_promise_was_kept_where_none_was_compared(report: Make, checks: tuple[CheckRun, ...], said: str) -> None:
    assert sentence(render("text", report(checks=checks), PLAIN)) == said


def test_the_gravest_finding_comes_first_then_the_earliest(report: Make, drift: Finding) -> None:
    late = replace(drift, first_step=5, code="LR9", cause=None)
    light = replace(drift, severity=Severity.info, first_step=0, code="LR0", cause=None)
    text = render("text", report(findings=(light, late, drift)), PLAIN)
    assert [line.split()[1] for line in text.splitlines() if re.match(r"(error|info) ", line)] == [
        "LR101",
        "LR9",
        "LR0",
    ]


def test_one_cause_is_told_once(report: Make, drift: Finding) -> None:
    text = render("text", report(findings=(drift, replace(drift, slug="stepping", code="LR102"))), PLAIN)
    assert text.count("The scheduler advances 2 times per update. It explains") == 1
    assert (
        """
error    LR102 stepping  ranks 0–3 · lr group 0 · steps 1–3 · resolved
         Group 0 used 0.0002 at step 1 where the contract says 0.0001; 3 of 8
         rows differ, by up to 50.00% of the peak.
         Cause    The same as above.
         Page     lrwatch explain stepping
"""
        in text
    )


def test_many_findings_are_counted_not_shown(report: Make, drift: Finding) -> None:
    many = tuple(replace(drift, first_step=i, cause=None) for i in range(20))
    text = render("text", report(findings=many), PLAIN)
    assert text.count("\nerror ") == 12
    assert "\n  8 more findings; --format json has all of them\n" in text


def test_the_plot_is_of_the_group_and_rank_that_the_finding_names(report: Make, drift: Finding) -> None:
    first = report().result.series[0]
    both = (first, replace(first, rank=2, group="head"))
    text = render("text", report(series=both, findings=(replace(drift, rank=2, ranks=(2,), group="head"),)), PLAIN)
    assert "            lr, group head of rank 2\n" in text
    assert "            lr, group 0 of rank 0\n" in render("text", report(series=both), PLAIN)
    two = (replace(first, group="gen/0"), replace(first, group="critic/0"))
    text = render("text", report(series=two, findings=(replace(drift, optimizer="critic"),)), PLAIN)
    assert "ranks 0–3 · lr group critic/0 · steps 1–3" in text
    assert "            lr, group critic/0 of rank 0\n" in text


def test_a_clock_that_is_not_steps_gets_no_mark(report: Make, drift: Finding) -> None:
    tree = {"lrwatch": 1, "experiment": "x", "clock": {"axis": "epoch"}, "lr": {"base": 1.0, "schedule": "constant"}}
    text = render("text", report(findings=(drift,), contract=from_document(tree)), PLAIN)
    assert "7 epoch\n" in text and "▲" not in text


def test_a_trace_without_rows_or_groups_is_still_a_page(report: Make) -> None:
    text = render("text", report(info=TraceInfo((), "jsonl"), stats=Stats(), series=(), checks=()), PLAIN)
    assert text.startswith("INCONCLUSIVE")
    assert "no step" in text


def test_names_from_files_cannot_command_the_terminal(report: Make, drift: Finding) -> None:
    evil = replace(drift, message="group \x1b]0;owned\x07 used 1", group="\x1b[2J")
    text = render("text", report(findings=(evil,), info=TraceInfo(("a\nb\x1b[31m",), "csv")), PLAIN)
    assert "\x1b" not in text and "\x07" not in text
    assert "\\x1b]0;owned\\x07" in text and "a\\nb\\x1b[31m" in text


def test_clean_keeps_what_is_printable() -> None:
    assert clean("Größe 10 µs · ok\tx") == "Größe 10 µs · ok\\tx"


@pytest.mark.parametrize(
    ("numbers", "said"), [((0, 1, 2, 3), "0–3"), ((2,), "2"), ((0, 2, 3, 1024), "0, 2–3, 1,024"), ((), "")]
)
def test_spans(numbers: tuple[int, ...], said: str) -> None:
    assert spans(numbers) == said


def test_describe_shows_promise_and_landmarks() -> None:
    assert (
        describe(CONTRACT)
        == """\
contract.yaml: gpt-small, sha256 31eb1f6bb6e1

  lr 0.0004: linear {from: 0, for: 4}, constant
    group head: scale 10
  clock: update, horizon 8

  signal   group      first     peak   at     at 7    after
  lr       (others)       0   0.0004    4   0.0004   0.0004
  lr       head           0    0.004    4    0.004    0.004
"""
    )


def test_describe_without_horizon_with_amendments_and_plateau() -> None:
    tree = {
        "lrwatch": 1,
        "experiment": "x",
        "clock": {"axis": "update", "counts": "attempted"},
        "lr": {"base": 0.5, "schedule": {"plateau": {"metric": "val_loss", "factor": 0.5}}},
        "amendments": [{"at": 10, "multiply": {"lr": 0.5}}],
    }
    assert (
        describe(from_document(tree, "c.yaml")).split("\n\n", 1)[1]
        == """\
  lr 0.5: plateau {metric: val_loss, factor: 0.5}
  clock: update, attempted ones, no horizon
  amended {at: 10, multiply: {lr: 0.5}}

  signal   group   first   peak   at   last   after
  lr       (all)     0.5    0.5    0      —       —

  Plateau: these are the values before any metric; what follows depends on the recorded ones.
"""
    )
