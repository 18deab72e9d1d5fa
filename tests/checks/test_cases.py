"""Every check against its cases: what it must find, what it must not, and that it does not matter how rows arrive."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from lrwatch.checks import checks
from lrwatch.engine import Session
from lrwatch.findings import Finding
from tests.checks.play import play, play_interrupted

CASES = Path(__file__).parent / "cases"
CHECKS = checks()
SECTIONS = ("What it checks", "Why it matters", "Example", "Fix", "Source")


@cache
def cases(kind: str) -> list[Any]:
    """The cases of ``cases/<slug>/<kind>*.yaml`` as (slug, case)."""
    found = []
    for path in sorted(CASES.glob(f"*/{kind}*.yaml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            marks = [pytest.mark.xfail(reason=case["xfail"])] if "xfail" in case else []
            found.append(pytest.param(path.parent.name, case, id=f"{path.parent.name}: {case['name']}", marks=marks))
    return found


@pytest.fixture(autouse=True)
def undiagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a check finds is asked here, not why it is so, which takes its time."""
    monkeypatch.setattr(Session, "_diagnosed", lambda self, rank, finding, spread: finding)


def told(finding: Finding) -> dict[str, Any]:
    """A finding in the words of a case."""
    ranks = list(finding.ranks) or ([] if finding.rank is None else [finding.rank])
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "signal": finding.signal,
        "optimizer": finding.optimizer,
        "group": finding.group,
        "ranks": ranks,
        "first": finding.first_step,
        "last": finding.last_step,
        "state": finding.state,
    }


def assert_told(findings: list[Finding], expected: list[dict[str, Any]]) -> None:
    assert len(findings) == len(expected), [f.message for f in findings]
    for finding, words in zip(findings, expected, strict=True):
        said = told(finding)
        assert {k: said[k] for k in words if k != "says"} == {k: v for k, v in words.items() if k != "says"}
        for phrase in words["says"]:
            assert phrase in finding.message
        assert finding.fix or finding.cause is None  # drift's fix is that of the cause


@pytest.mark.parametrize(("slug", "case"), cases("fires"))
def test_fires(slug: str, case: dict[str, Any]) -> None:
    alone = play(case, [slug]).finish()
    assert_told(list(alone.findings), case["expect"])
    assert [c.status for c in alone.checks] == ["ran"]
    together = play(case).finish()
    assert_told([f for f in together.findings if f.slug == slug], case["expect"])
    assert {f.slug for f in together.findings} == {slug, *case.get("also", [])}


@pytest.mark.parametrize(("slug", "case"), cases("quiet"))
def test_quiet(slug: str, case: dict[str, Any]) -> None:
    result = play(case).finish()
    assert {f.slug: f.message for f in result.findings}.keys() == {*case.get("also", [])} - {slug}
    run = next(c for c in result.checks if c.slug == slug)
    assert (run.status, run.why) == (case.get("status", "ran"), case.get("why", ""))


BOTH = [case for kind in ("fires", "quiet") for case in cases(kind) if not case.marks]


@pytest.mark.parametrize(("slug", "case"), BOTH)
def test_a_check_goes_on_from_its_state(slug: str, case: dict[str, Any]) -> None:
    """Its rows cut into chunks, too."""
    whole, revived = play(case, [slug]).finish(), play_interrupted(case, [slug], size=23).finish()
    assert (revived.findings, revived.checks) == (whole.findings, whole.checks)


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize(("slug", "case"), BOTH)
def test_how_rows_are_cut_does_not_matter(slug: str, case: dict[str, Any], size: int) -> None:
    whole, cut = play(case, [slug]).finish(), play(case, [slug], size).finish()
    assert (cut.findings, cut.checks) == (whole.findings, whole.checks)


# -- the catalogue ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fires", "quiet"])
@pytest.mark.parametrize("slug", CHECKS)
def test_every_check_has_cases(slug: str, kind: str) -> None:
    assert any(case.values[0] == slug for case in cases(kind)), f"tests/checks/cases/{slug}/{kind}.yaml is missing"


def test_every_case_is_of_a_check() -> None:
    assert {path.name for path in CASES.iterdir()} <= set(CHECKS)


@pytest.mark.parametrize("slug", CHECKS)
def test_catalogue_entry(slug: str) -> None:
    check = CHECKS[slug]
    assert check.slug == slug == check.__module__.rpartition(".")[2].replace("_", "-")
    assert re.fullmatch(r"LR\d{3}", check.code)
    assert check.title and len(check.title) < 60 and not check.title.endswith(".")


def test_codes_are_unique() -> None:
    codes = [check.code for check in CHECKS.values()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("slug", CHECKS)
def test_docstring_is_a_page(slug: str) -> None:
    doc = importlib.import_module(CHECKS[slug].__module__).__doc__ or ""
    assert doc.splitlines()[0].endswith(".") and len(doc.splitlines()[0]) < 120
    found = re.findall(r"^(\w[\w ]+)\n((?:    .+\n|\n)+)", doc, flags=re.MULTILINE)
    assert tuple(title for title, _ in found) == SECTIONS
    assert all(text.strip() for _, text in found)
    example = dict(found)["Example"].strip()
    assert example.startswith(f"{slug}: ")
