"""The HTML report without a browser: what it says, that nothing foreign gets into it, and how large it may become."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from lrwatch.findings import Cause, Finding, Severity
from lrwatch.report import render
from lrwatch.report.base import Look
from lrwatch.result import CheckRun, Samples, Series, Stats
from lrwatch.trace.model import Event, TraceInfo
from lrwatch.trace.picture import Mark
from tests.report.conftest import Make

VOID = {"meta", "link", "br", "hr", "input"}


@dataclass
class Page(HTMLParser):
    """A parsed page: its elements, its text, its raw scripts and styles."""

    source: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    raw: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.raw.setdefault(self._open[-1], []).append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> Any:
        return json.loads(self.raw["script"][0])

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
        return [a for t, a in self.elements if t == tag and wanted.items() <= a.items()]


def page_elements(shown: Page) -> Counter[str]:
    """How many elements of each kind there are; none has a handler."""
    assert {n for _, a in shown.elements for n in a if n.startswith("on")} == set()
    return Counter(tag for tag, _ in shown.elements)


def page(report: Any, look: Look | None = None) -> Page:
    return Page(render("html", report, look or Look()))


def test_it_says_what_the_text_report_says(report: Make, drift: Finding) -> None:
    shown = page(report(findings=(drift,)))
    for said in (
        "Either the scheduler advances 2 times per update, or every value is multiplied by 2; first bad step 1.",
        "Group 0 used 0.0002 at step 1 where the contract says 0.0001; 3 of 8 rows differ, by up to 50.00% of",
        "ranks 0–3 · lr group 0 · steps 1–3 · resolved",
        "Cause The scheduler advances 2 times per update. It explains 100% of the deviation; confidence: ambiguous.",
        "Or Every value is multiplied by 2.",
        "Missing A row after the warm-up.",
        "Fix Call scheduler.step() once per optimizer update.",
        "lrwatch explain drift · lrwatch explain rate",
        "desync not checked workers used different learning rates the trace has one worker",
        "drift 1 finding",
        "non-finite nothing found",
        "Sensitivity A constant factor off by 1.0e-09 would have been seen.",
        "Assumed The rate is the one used. Steps were taken as counted from 0.",
        "lr 0.0004: linear {from: 0, for: 4}, constant",
        "Damage 1 line torn",
        "ranks 0–3 drift (steps 1–3)",
    ):
        assert said in shown.text, said
    assert shown.all("html", lang="en") and "fail · " not in shown.text
    assert "FAIL · run-7 · lrwatch" in shown.texts


@pytest.mark.parametrize("unicode", [True, False])
def test_its_policy_allows_its_own_script_and_nothing_else(report: Make, unicode: bool) -> None:
    text = render("html", report(), Look(unicode=unicode))
    shown = Page(text)
    assert unicode or text.isascii()
    [policy] = [a["content"] for t, a in shown.elements if t == "meta" and a.get("http-equiv")]
    allowed = dict(part.strip().split(" ", 1) for part in (policy or "").split(";"))

    def digest(what: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(what.encode()).digest()).decode() + "'"

    assert allowed == {
        "default-src": "'none'",
        "script-src": digest(shown.raw["script"][1]),
        "style-src": digest(shown.raw["style"][0]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert [a.get("type") for t, a in shown.elements if t == "script"] == ["application/json", None]


def test_it_asks_for_nothing(report: Make, drift: Finding) -> None:
    shown = page(report(findings=(drift,)))
    for tag, attributes in shown.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "style"), (tag, name)
            assert name != "href" or (value or "").startswith("#"), value
    css = shown.raw["style"][0]
    assert "url(" not in css and "@import" not in css
    script = shown.raw["script"][1]
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|import|eval|innerHTML|outerHTML|document\.write)\b", script)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "</title></style><svg onload=alert(1)>",
    "<!-- --> ]]> &lt;b&gt;",
    "\u202egpj.exe\x00\x1b[31m\ud800",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_wherever_they_stand(report: Make, drift: Finding, name: str) -> None:
    s = Series("lr", name, 0, *(np.arange(3.0),) * 3)
    cause = Cause(name, {name: name}, "ambiguous", 1.0, name, (name,), (name,))
    hostile = report(
        info=TraceInfo((name,), name, assumed=(name,), run=name),
        findings=(
            replace(drift, message=name, group=name, fix=name, optimizer=name, cause=cause),
            replace(drift, slug=name, code=name, group=None, details={"groups": [name]}),
        ),
        checks=(CheckRun(name, name, "not_checked", name),),
        series=(s, replace(s, rank=1)),
        samples=tuple(Samples(n, 0, np.ones(1), np.ones(1)) for n in ("loss", f"validation/{name}")),
        marks=(
            Mark(Event("validation", 1, fields={"metrics": {name: 1.0}})),
            Mark(Event("end", 2, fields={"outcome": name})),
        ),
    )
    shown = page(hostile)
    assert page_elements(shown) == page_elements(page(report_like(hostile, "plain")))
    assert len(shown.raw["script"]) == 2
    if name.isprintable():
        assert name in shown.text
        assert [v["label"] for v in shown.data["views"]] == [f"lr, group {name}, rank 0", f"lr, group {name}, rank 1"]
    else:
        assert not re.search("[\u202e\x00\x1b\ud800]", "".join(shown.texts))


def report_like(hostile: Any, word: str) -> Any:
    """The same report with another word in place of the hostile one."""

    def tame(value: Any) -> Any:
        if isinstance(value, str):
            return word if value in HOSTILE else value.replace(hostile.info.run, word)
        if isinstance(value, dict):
            return {tame(k): tame(v) for k, v in value.items()}
        if isinstance(value, (tuple, list)):
            return type(value)(tame(v) for v in value)
        if hasattr(value, "__dataclass_fields__") and type(value).__name__ != "Contract":
            return replace(value, **{k: tame(getattr(value, k)) for k in value.__dataclass_fields__})
        return value

    return tame(hostile)


def test_the_curve_of_the_named_cause_lies_over_the_observed_one(report: Make, drift: Finding) -> None:
    t = np.arange(8.0)
    promised = np.array([0, 1, 2, 3, 4, 4, 4, 4]) * 1e-4
    used = np.array([0, 2, 4, 4, 4, 4, 4, 4]) * 1e-4
    series = Series("lr", "0", 0, t, used, promised, 1, t, used)
    shown = page(report(findings=(drift,), series=(series,)))
    curve, off = (shown.data["plots"][shown.data["views"][0]["shows"][slot]] for slot in ("curve", "off"))
    assert {line["role"]: line["y"] for line in curve["lines"]} == {
        "cause": [0, 0.0002, 0.0004, 0.0004, 0.0004, 0.0004, 0.0004, 0.0004],
        "promised": [0, 0.0001, 0.0002, 0.0003, 0.0004, 0.0004, 0.0004, 0.0004],
        "used": [0, 0.0002, 0.0004, 0.0004, 0.0004, 0.0004, 0.0004, 0.0004],
    }
    assert {line["role"]: line["y"] for line in off["lines"]} == {
        "off": [0, 0.0001, 0.0002, 0.0001, 0, 0, 0, 0],
        "left": [0, 0, 0, 0, 0, 0, 0, 0],
    }
    assert curve["mark"] == off["mark"] == 1
    [drawn] = shown.all("path", class_="line cause")
    [line] = shown.all("path", class_="line used")
    assert drawn["d"] == line["d"]


def test_without_a_named_cause_nothing_is_drawn_for_it(report: Make) -> None:
    shown = page(report())
    assert shown.all("path", class_="line used") and not shown.all("path", class_="line cause")
    assert "named cause" not in shown.text


def test_loss_events_and_numbers_that_are_none(report: Make) -> None:
    shown = page(
        report(
            samples=(
                Samples("loss", 0, np.arange(4.0), np.array([3.0, math.nan, 2.0, math.inf])),
                Samples("loss", 2, np.arange(4.0), np.ones(4)),
                Samples("validation/val_loss", 0, np.array([2.0]), np.array([2.5])),
                Samples("validation/accuracy", 0, np.array([2.0]), np.array([0.5])),
            ),
            marks=(
                Mark(Event("resume", 2, segment=1), 4),
                Mark(Event("checkpoint", 3, fields={"scheduler_state": False})),
                Mark(Event("validation", 2, fields={"metrics": {"val_loss": 2.5}})),
                Mark(Event("end", 8, fields={"outcome": "finished"})),
            ),
        )
    )
    plots = {slot: shown.data["plots"][i] for slot, i in shown.data["views"][0]["shows"].items()}
    assert [(line["name"], line["y"]) for line in plots["loss"]["lines"]] == [
        ("loss", [3, None, 2, None]),
        ("val_loss", [2.5]),
    ]
    assert plots["loss"]["odd"] == [1, 3]
    assert plots["metric-1"]["lines"][0]["name"] == "accuracy"
    assert shown.data["events"] == [{"at": 2, "said": "resume at step 2, 4 workers"}]
    assert {row["name"]: row["marks"][0][3] for row in shown.data["rows"]} == {
        "resume": "resume at step 2, 4 workers",
        "checkpoint": "checkpoint at step 3, without the scheduler's state",
        "validation": "validation at step 2, val_loss 2.5",
        "end": "end at step 8, finished",
    }
    assert len(shown.all("path", class_="odd")) == 2


def test_without_anything_to_draw(report: Make) -> None:
    shown = page(report(contract=None, series=(), findings=(), sensitivity=None, stats=Stats(), checks=()))
    assert shown.all("svg") == [] and shown.data["views"] == []
    assert "None: only what a trace shows by itself was checked." in shown.text


def test_a_run_of_two_million_steps_many_workers_and_findings_stays_below_two_megabytes(
    report: Make, drift: Finding
) -> None:
    rng = np.random.default_rng(0)
    ranks = tuple(range(4096))
    long = "x" * 5_000
    step = np.sort(rng.choice(2_000_000, 1_400, replace=False)).astype(float)
    noise = rng.random((4, 1_400))
    series = [
        Series("lr", f"{long}{g}", rank, step, noise[0], noise[1], None, step, noise[2])
        for rank in (0, 4095)
        for g in range(100)
    ]
    samples = [
        Samples(name, rank, step, noise[3])
        for rank in ranks[::64]
        for name in ("loss", "grad_norm", *(f"validation/{long}loss{i}" for i in range(16)))
    ]
    marks = [Mark(Event(kind, u, fields={"metrics": {long: 1.0}}), 4096)  # type: ignore[arg-type]
             for kind in ("resume", "validation", "checkpoint", "oom") for u in range(256)]  # fmt: skip
    findings = [
        replace(drift, rank=rank, ranks=(), group=long, message=f"{rank} {long}", fix=long, first_step=rank)
        for rank in ranks
    ]
    text = render(
        "html",
        report(
            findings=tuple(findings), series=tuple(series), samples=tuple(samples), marks=tuple(marks),
            stats=Stats(rows=10**9, ranks=ranks, groups=(long,), first_step=0, last_step=1_999_999),
        ),
        Look(),
    )  # fmt: skip
    assert len(text.encode()) < 2_000_000
    shown = Page(text)
    assert "Findings (4,096)" in shown.text
    assert len([a for _, a in shown.elements if (a.get("id") or "").startswith("finding-")]) == 60 + 800
    assert "3,236 findings beyond these; --format json has all of them." in shown.text


def test_single_rows_survive_the_thinning(report: Make, drift: Finding) -> None:
    step = np.arange(60_000.0)
    promised, used = np.full(60_000, 3e-4), np.full(60_000, 3e-4)
    used[12_345] = 9e-4
    bad = replace(drift, first_step=12_345, last_step=12_345, severity=Severity.warning)
    shown = page(report(findings=(bad,), series=(Series("lr", "0", 0, step, used, promised, None, step),)))
    line = next(n for n in shown.data["plots"][0]["lines"] if n["role"] == "used")
    assert len(line["x"]) <= 1_600
    assert dict(zip(line["x"], line["y"], strict=True))[12_345] == 0.0009
    assert shown.data["plots"][0]["mark"] == 12_345


def test_a_step_done_again_begins_a_new_stroke(report: Make) -> None:
    step = np.array([0.0, 1.0, 2.0, 1.0, 2.0, 3.0])
    values = np.array([1.0, 2.0, 3.0, 2.0, 3.0, 4.0])
    [line] = page(report(series=(Series("lr", "0", 0, step, values, values, None, step),))).all(
        "path", class_="line used"
    )
    assert (line["d"] or "").count("M") == 2


@pytest.mark.parametrize(("groups", "lines"), [(8, 9), (9, 2)])
def test_many_groups_that_kept_their_promise_are_one_line(report: Make, groups: int, lines: int) -> None:
    straight = np.full(8, 1e-4)
    bad = Series("lr", "head", 0, np.arange(8.0), 2 * straight, straight, first_bad=0)
    good = [Series("lr", f"g{i}", 0, np.arange(8.0), straight, straight) for i in range(groups)]
    text = render("html", report(series=(bad, *good)), Look())
    table = text[text.index('id="groups"') :]
    rows = re.findall("<tr>.*?</tr>", table[: table.index("</table>")], flags=re.DOTALL)[1:]
    assert len(rows) == lines
    assert "differs" in rows[0] and all("kept" in row for row in rows[1:])
    assert ("9 curves, from" in rows[1]) == (groups == 9)
