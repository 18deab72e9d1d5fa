"""A comparison of two runs, said in text, JSON and HTML."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from lrwatch.contract import from_document
from lrwatch.diff import Difference, diff
from lrwatch.report import render_diff
from lrwatch.report.base import Look
from lrwatch.trace.model import Item
from tests.diff.rows import Trace, rows, start
from tests.report.test_html import HOSTILE, Page, page_elements

STEPS = 40
CONTRACT = from_document(
    {"lrwatch": 1, "experiment": "x", "clock": {"horizon": STEPS},
     "lr": {"base": 4e-4, "schedule": [{"linear": {"from": 0, "for": 8}}, {"constant": {}}]}}, "contract.yaml",
)  # fmt: skip


def run(name: str = "run", factor: int = 1, *more: Item, loss: float = 2.0, group: str = "0", **facts: Any) -> Trace:
    """A run whose scheduler is ``factor`` times too fast."""
    lr = np.minimum(np.arange(STEPS) * factor, 8) * 5e-5
    losses = [2.0, 2.0, 2.0, *[loss] * (STEPS - 3)]
    made = [start(**facts), *rows(range(STEPS), **{f"lr__{group}": lr}, loss=losses), *more]
    return Trace(*made, start("end", STEPS, outcome="finished"), name=name)


@pytest.fixture(scope="module")
def parted() -> Difference:
    return diff(
        run("good", world=2),
        run("bad", 2, start("oom", 20), loss=3.0, world=2, accumulate=4),
        (CONTRACT, CONTRACT),
    )


TEXT = """\
DIFFER  The learning rate parts at step 1; the loss parts at step 3. B: the
        scheduler was stepped 2 times per update (k = 2), which equals world
        size and two owners of the scheduler.

Parted        lr/0: steps 1–7, first A 5e-05, B 0.0001; 7 of 40 rows differ on
              rank 0, by up to 0.0002 at step 4
              loss: steps 3–39, first A 2, B 3; 37 of 40 rows differ on rank 0,
              by up to 1 at step 3
Order         The learning rate parted first; the loss followed 2 steps later.
Suspect       B: the scheduler was stepped 2 times per update (k = 2), which
              equals world size and two owners of the scheduler; first bad step
              1 (found by its own contract; confidence: ambiguous).
  Or          warmup_scale: the warm-up takes 4 steps, the contract says 8
              (scaled by world size).
  Fix         Call scheduler.step() once per optimizer update, from one place;
              count the horizon in the same unit.
  Page        lrwatch explain rate

Events        oom: 0 in A, 1 in B; first at step 20 (A: none, B: oom)

A             good (made, run good)
              40 rows, rank 0, steps 0–39, finished
              contract.yaml, de86e0fde999: pass by its own contract
B             bad (made, run bad)
              40 rows, rank 0, steps 0–39, finished
              contract.yaml, de86e0fde999: fail, 1 error by its own contract
"""


def sentence(d: Difference) -> str:
    text = render_diff("text", d, Look()).split("\n\n")[0]
    return " ".join(text.split())


def test_the_whole_page(parted: Difference) -> None:
    assert render_diff("text", parted, Look()) == TEXT


def test_in_ascii_and_in_colour(parted: Difference) -> None:
    assert render_diff("text", parted, Look(unicode=False)).isascii()
    assert render_diff("text", parted, Look(colour=True)).startswith("\x1b[33;1mDIFFER\x1b[0m  The learning")


def test_the_same() -> None:
    d = diff(run(), run())
    assert sentence(d) == "SAME The runs are the same: lr/0, loss in 40 rows."
    only = diff(run(), run(loss=3.0), only=("lr",))
    assert sentence(only) == "SAME The runs are the same where they were compared: lr/0 in 40 rows."


def test_the_same_numbers_of_other_runs() -> None:
    d = diff(run(world=1), run("b", 1, start("oom", 3), world=2))
    assert sentence(d) == (
        "DIFFER The numbers are the same (lr/0, loss in 40 rows), but not what they recorded of themselves and what "
        "happened."
    )


NO_SIGNAL = "every signal is the same, so that something else parted the runs"
TOO_EARLY = "the loss parted at step 0, before the learning rate of step 1 could have any effect: something else parted"


@pytest.mark.parametrize(
    ("b", "said"),
    [
        (run(loss=3.0), f"{NO_SIGNAL} (seed, data order, weights, hardware)"),
        (run("b", 1, start("resume", 3, segment=1), loss=3.0), f"{NO_SIGNAL}; at that step: resume in B"),
        (run(factor=2), "the loss did not follow"),
        (run(factor=2, loss=3.0), "the learning rate parted first; the loss followed 2 steps later"),
        (
            Trace(*rows(range(STEPS), lr=[0.0, *[1.0] * 39], loss=[9.0] * STEPS)),
            f"{TOO_EARLY} the runs first (seed, data order, weights, hardware)",
        ),
    ],
)
def test_what_parted_first_and_what_that_proves(b: Trace, said: str) -> None:
    assert json.loads(render_diff("json", diff(run(), b), Look()))["order"] == said


def test_contracts_whose_files_are_missing_and_rows_without_a_partner() -> None:
    other = from_document({"lrwatch": 1, "experiment": "x", "lr": {"base": 1.0, "schedule": "constant"}})
    longer = Trace(start(contract=str(other.identity)), *rows(range(STEPS + 5), loss=[2.0] * (STEPS + 5)))
    text = render_diff("text", diff(run(contract=str(CONTRACT.identity)), longer), Look())
    assert "Contracts     the workers recorded two different ones" in text
    assert "Steps         5 rows at steps that only B has" in text
    assert "Only in A     lr/0" in text


# -- for programs --------------------------------------------------------------------------------------


def test_keys_of_the_json(parted: Difference) -> None:
    document = json.loads(render_diff("json", parted, Look()), parse_constant=lambda t: pytest.fail(t))
    assert list(document) == [
        "lrwatch", "same", "only", "sentence", "order", "parted", "compared", "alone", "steps_alone", "suspects",
        "contracts", "recorded", "events", "a", "b",
    ]  # fmt: skip
    assert document["parted"][0] == {
        "column": "lr/0", "first_step": 1, "a": 5e-5, "b": 1e-4, "last_step": 7, "rows": 40, "differing": 7,
        "ranks": [0], "worst": 2e-4, "worst_step": 4,
    }  # fmt: skip
    [suspect] = document["suspects"]
    assert (suspect["run"], suspect["cause"]["name"], suspect["first_step"]) == ("b", "rate", 1)
    assert suspect["basis"] == "own contract"
    assert document["contracts"] == {"fields": [], "amended": False, "mismatch": False}
    assert document["events"][0] == {"kind": "oom", "a": 0, "b": 1, "update": 20, "said_a": "", "said_b": "oom"}
    assert list(document["a"]) == [
        "run", "paths", "format", "rows", "ranks", "first_step", "last_step", "outcome", "contract", "judged",
        "verdict", "recorded_contract",
    ]  # fmt: skip
    assert (document["a"]["verdict"], document["b"]["verdict"]) == ("pass", "fail")


def test_numbers_that_json_cannot_hold_are_text() -> None:
    document = json.loads(render_diff("json", diff(run(), run(loss=math.nan)), Look()))
    assert (document["parted"][0]["b"], document["parted"][0]["worst"]) == ("nan", "inf")


# -- to look at --------------------------------------------------------------------------------------


def test_the_page_shows_both_runs_and_where_they_part(parted: Difference) -> None:
    shown = Page(render_diff("html", parted, Look()))
    for said in (
        "differ",
        "The learning rate parts at step 1; the loss parts at step 3.",
        "rate B: the scheduler was stepped 2 times per update",
        "Fix Call scheduler.step() once per optimizer update, from one place",
        "The learning rate parted first; the loss followed 2 steps later.",
        "lr/0 first at step 1 Steps 1–7, first A 5e-05, B 0.0001; 7 of 40 rows differ on rank 0",
        "oom: 0 in A, 1 in B; first at step 20 (A: none, B: oom)",
    ):
        assert said in shown.text, said
    plots = {slot: shown.data["plots"][i] for slot, i in shown.data["views"][0]["shows"].items()}
    assert [(n["role"], n["y"][:4]) for n in plots["curve"]["lines"]] == [
        ("a", [0, 5e-05, 0.0001, 0.00015]),
        ("b", [0, 0.0001, 0.0002, 0.0003]),
    ]
    assert plots["off"]["lines"][0]["y"][:4] == [0, 5e-05, 0.0001, 0.00015]
    assert [(n["role"], n["y"][3]) for n in plots["loss"]["lines"]] == [("a", 2), ("b", 3)]
    assert shown.data["events"] == [{"at": 20, "said": "B: oom at step 20"}]
    assert [row["name"] for row in shown.data["rows"]] == ["lr/0", "loss", "A: end", "B: oom", "B: end"]
    assert shown.data["findings"] == [{"first": 1, "last": 7, "view": 0}, {"first": 3, "last": 39, "view": None}]


@pytest.mark.parametrize("name", [n for n in HOSTILE if "\ud800" not in n])
def test_names_are_text_wherever_they_stand(name: str) -> None:
    def made(word: str) -> str:
        a, b = run(word, group=word, world=1, scheduler=word), run(word, 2, group=word, world=2, scheduler=word + "2")
        return render_diff("html", diff(a, b, (CONTRACT, CONTRACT)), Look())

    shown = Page(made(name))
    assert page_elements(shown) == page_elements(Page(made("plain")))
    assert len(shown.raw["script"]) == 2


def test_a_long_comparison_stays_below_two_megabytes() -> None:
    names = {f"lr__{'x' * 300}{g}": np.zeros(3000) for g in range(60)}
    a = Trace(start(), *rows(range(3000), **names, loss=np.random.default_rng(0).random(3000)))
    b = Trace(start(), *rows(range(3000), **{k: v + 1.0 for k, v in names.items()}, loss=np.zeros(3000)))
    assert len(render_diff("html", diff(a, b), Look()).encode()) < 2_000_000
