"""Every command that a page shows is run, in a directory that has what the page talks about."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
TINY = """\
lrwatch: 1
experiment: tiny
clock: {horizon: 12}
batch: {accumulate: 2}
lr: {base: 1.0e-3, schedule: [{linear: {from: 0, for: 4}}, {cosine: {to: 0, until: horizon}}]}
"""


def blocks(page: Path, language: str) -> list[str]:
    return [body for word, body in BLOCK.findall(page.read_text()) if word == language]


def commands(page: Path) -> list[str]:
    """The lines after ``$ `` of the page's console blocks; README's are about a longer run of the same kind."""
    return [line[2:] for body in blocks(page, "console") for line in body.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """contract.yaml as docs/first-steps.md has it, a log that keeps it, and a run directory."""
    where = tmp_path_factory.mktemp("docs")
    (where / "contract.yaml").write_text(blocks(ROOT / "docs/first-steps.md", "yaml")[0])
    (where / "tiny.yaml").write_text(TINY)
    t = np.arange(2000)
    lr = 3e-4 * np.where(t < 100, t / 100, 0.5 * (1 + np.cos(np.pi * (t - 100) / 1900)))
    rows = [f"{step},{rate!r},{2.0 + 1.0 / (1 + step)}" for step, rate in zip(t, lr.tolist(), strict=True)]
    (where / "log.csv").write_text("step,lr,loss\n" + "\n".join(rows) + "\n")
    (where / "runs" / "a").mkdir(parents=True)
    (where / "runs" / "a" / "metrics.csv").write_text((where / "log.csv").read_text())
    return where


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p) and p.name != "README.md"], ids=lambda p: p.name)
def test_the_commands_of_a_page_run(page: Path, room: Path, lrwatch_on_path: dict[str, str]) -> None:
    for command in commands(page):
        if "runs/a" in command:
            command = command.replace("runs/a", "runs/a/metrics.csv")
        done = subprocess.run(
            ["bash", "-c", command], cwd=room, env=lrwatch_on_path, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{page.name}: $ {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=lambda p: p.name)
def test_the_contracts_of_a_page_are_contracts(page: Path) -> None:
    import yaml

    from lrwatch.contract import document, from_document

    for body in blocks(page, "yaml"):
        shown = yaml.safe_load(body)
        if isinstance(shown, list):  # the steps of a CI job
            assert all("run" in step or "uses" in step for step in shown)
            continue
        tree, _ = document.parse(body, page.name)
        assert from_document(tree).experiment


def test_the_commands_of_the_readme_exist(lrwatch_on_path: dict[str, str]) -> None:
    for command in commands(ROOT / "README.md"):
        words = command.split("#")[0].split()
        done = subprocess.run([*words[:2], "--help"], env=lrwatch_on_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, command
