"""The site: its nav has every page and no other, its links are the repository's, its pictures are current."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lrwatch.diagnosis.causes import CAUSES
from lrwatch.schedules import families
from tests.conftest import ROOT


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- families ----------------------------------------------------------------------------------------


def test_every_family_is_drawn_as_it_is_computed() -> None:
    curves = script("curves")
    assert curves.FAMILIES.keys() == families().keys()
    for name in curves.FAMILIES:
        picture = (ROOT / "docs/families" / f"{name}.svg").read_text(encoding="utf-8")
        assert picture == curves.drawn(name), f"{name}.svg is out of date; run: python docs/curves.py"
        assert len(picture) < 10_000


def test_a_picture_shows_the_values() -> None:
    picture = script("curves").drawn("linear")
    first, second = re.findall(r'points="([^"]+)"', picture)
    # {to: 10%, until: horizon}: base at update 0, 10% of it at 1000; the plot is 150 high on a floor at y = 202
    assert first.split()[0] == "14.0,52.0"
    assert "524.0,187.0" in first.split()
    # {from: 0, for: 200}: 0 at update 0, the base from 200 on
    assert second.split()[0] == "14.0,202.0"
    assert "116.0,52.0" in second.split()


# -- nav and links -----------------------------------------------------------------------------------


def entries(nav: list[Any]) -> list[str]:
    found: list[str] = []
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += entries(value) if isinstance(value, list) else [value]
    return found


def test_every_page_is_in_the_nav_and_every_entry_exists() -> None:
    site = script("site")
    nav = entries(site.expanded(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    pages |= {site.place(f) for f in site.beside() if f.endswith(".md")}
    assert len(nav) == len(set(nav)) and set(nav) == pages


def test_every_page_is_reachable_from_the_readme() -> None:
    """The README's list names every page of docs/ itself; the folders' indices name the pages in them."""
    for index in ["README.md", *(f"docs/{f}/README.md" for f in ("checks", "families", "lint"))]:
        folder = ROOT / ("docs" if index == "README.md" else Path(index).parent)
        markdown = (ROOT / index).read_text(encoding="utf-8")
        links = {(ROOT / index).parent / target for target in re.findall(r"\]\(([^)#\s]+)", markdown)}
        assert {p for p in folder.glob("*.md") if p != ROOT / index} <= links, index


def test_the_readme_names_every_check_and_causes_that_exist() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What it catches")[2].partition("\n\nA ")[0]
    named = set(re.findall(r"`([\w-]+)`", table))
    checks = {p.stem for p in (ROOT / "docs/checks").glob("*.md")} - {"README"}
    assert checks - {"drift"} <= named, "drift is what every cause is the cause of"
    assert named - checks <= set(CAUSES)


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("README.md", "[a](docs/cli.md)", "[a](cli.md)"),
        ("README.md", "![a](docs/causes/rate.svg)", "![a](causes/rate.svg)"),
        ("README.md", "[a](alerts/runbooks/README.md)", "[a](alerts/runbooks/README.md)"),
        ("docs/operations.md", "[a](../alerts/README.md#reviewed-files)", "[a](alerts/README.md#reviewed-files)"),
        ("docs/contract.md", "one [family](families) or", "one [family](families/README.md) or"),
        ("docs/lint/README.md", "[`plan`](../plan.md)", "[`plan`](../plan.md)"),
        ("alerts/runbooks/LR101.md", "[a](../../docs/checks/drift.md)", "[a](../../checks/drift.md)"),
        ("alerts/runbooks/LR101.md", "[a](../rules/runs.yml)", "[a](../rules/runs.yml)"),
        ("docs/cli.md", "[a](https://example.com/a) [b](#here)", "[a](https://example.com/a) [b](#here)"),
        ("README.md", "```\n[a](docs/a.md)\n```\n`[a](docs/a.md)`", "```\n[a](docs/a.md)\n```\n`[a](docs/a.md)`"),
    ],
)
def test_a_link_of_the_repository_becomes_the_sites(page: str, link: str, expected: str) -> None:
    assert script("site").linked(link, page) == expected


def test_a_bar_in_the_code_of_a_table_needs_no_escape_in_the_site() -> None:
    shown = "| a | `x \\| y` |\n| b \\| c | `z` |\n\nno table: `x \\| y`\n"
    assert script("site").piped(shown) == "| a | `x | y` |\n| b \\| c | `z` |\n\nno table: `x \\| y`\n"


def test_the_first_page_and_the_folders_beside_keep_their_places() -> None:
    site = script("site")
    for page in ("README.md", "docs/cli.md", "docs/checks/drift.md", "alerts/README.md", "deploy/README.md"):
        assert site.origin(site.place(page)) == page
    assert site.place("README.md") == "index.md"


# -- the site itself ---------------------------------------------------------------------------------


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs pip install -e .[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    built = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.html")}
    assert {"index.html", "concepts.html", "checks/index.html", "alerts/runbooks/LR101.html"} <= built
    assert (tmp_path / "alerts/rules/findings.yml").is_file() and (tmp_path / "families/cosine.svg").is_file()
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis" not in home and not list(tmp_path.rglob("*.py"))
