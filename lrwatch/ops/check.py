"""A folder of rules, judged by this package, by promtool and by amtool."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

from lrwatch import assets
from lrwatch.errors import LrwatchError
from lrwatch.ops import lint, programs


@dataclass
class Report:
    """One line each: what was checked and is well, what could not be checked, what is wrong."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def take(self, what: str, problems: list[str]) -> None:
        """Note the outcome of one check."""
        if problems:
            self.found.extend(problems)
        else:
            self.done.append(what)


def check(folder: Path | None = None) -> Report:
    """Judge ``folder/rules/*.yml``, and tests, routes and runbooks where the folder has them.

    Raises:
        LrwatchError: there are no rules, or a file is not a rule file.
    """
    folder = assets.find("alerts") if folder is None else folder
    paths = sorted((folder / "rules").glob("*.yml"))
    if not paths:
        raise LrwatchError(f"{folder / 'rules'}: no *.yml there; `lrwatch ops rules render -o {folder}` writes them")
    files = {path.name: lint.load(path) for path in paths}
    pages = folder / "runbooks"
    report = Report()
    report.take(
        f"{sum(map(len, files.values()))} rules in {len(files)} files: metrics, severities, sentences, runbooks",
        lint.problems(files, pages if pages.is_dir() else None),
    )
    _promtool(report, folder, paths)
    if (folder / "alertmanager.yml").exists():
        _amtool(report, folder / "alertmanager.yml")
    return report


def _promtool(report: Report, folder: Path, paths: list[Path]) -> None:
    promtool = programs.find("promtool")
    tests = sorted((folder / "tests").glob("*.yml"))
    if promtool is None:
        report.skipped.append("promtool check rules: promtool is neither in .tools/bin nor on PATH")
        return
    done = programs.run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, paths))
    report.take("promtool check rules --lint=all", _complaints(done))
    if tests:
        done = programs.run(promtool, "test", "rules", *(str(t.resolve()) for t in tests))
        report.take(f"promtool test rules: {len(tests)} files", _complaints(done))


def _amtool(report: Report, path: Path) -> None:
    amtool = programs.find("amtool")
    if amtool is None:
        report.skipped.append("amtool check-config: amtool is neither in .tools/bin nor on PATH")
        return
    done = programs.run(amtool, "check-config", str(path))
    report.take("amtool check-config", _complaints(done))


def _complaints(done: CompletedProcess[str]) -> list[str]:
    """Nothing from a program that succeeded; else what it said, its lines of success left out."""
    if done.returncode == 0:
        return []
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    wanted = (line for line in lines if "SUCCESS" not in line and not line.startswith(("Checking", "Unit Testing")))
    said = [line for line in wanted if line]
    return said or [f"{done.args[0]} failed with exit code {done.returncode}"]
