"""The repository as a whole: links lead somewhere, nothing names a machine, make and the tools say what they need."""

from __future__ import annotations

import os
import re
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.}])/(?:home|root|Users|work)/(?=\.?\w)"),
    "a job's directory": re.compile(r"/tmp/(?:bash_|tmp\.|pytest-of-)"),
    "a package registry's host": re.compile(r"\b(?:pypi|pythonhosted|npmjs|debian)\.org\b"),
    "a merge conflict": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
}

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def text_of(path: Path) -> str | None:
    """The text of a file, or None for a binary one."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def forbidden(root: Path, files: list[Path]) -> list[str]:
    """``file:line: what`` of everything that no file of the project may hold."""
    return [
        f"{file}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()}"
        for file in files
        if (text := text_of(root / file)) is not None
        for what, pattern in FORBIDDEN.items()
        for match in pattern.finditer(text)
    ]


def anchors(markdown: str) -> set[str]:
    """The fragments that a page's headings answer to: lower case, no punctuation, hyphens, numbered when repeated."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(re.sub(r"^(```|~~~).*?^\1", "", markdown, flags=re.MULTILINE | re.DOTALL)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = "".join(c for c in plain if c in " -_" or unicodedata.category(c)[0] in "LNM")
        slug = kept.replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        found |= {f"{slug}-{found[slug]}": 0} if found[slug] else {}
    return set(found) | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", markdown))


def broken_links(root: Path, files: list[Path]) -> list[str]:
    """``page: link: what is wrong`` of every link in a markdown page to a file or heading that is not there."""
    known = {root / file for file in files}
    known |= {folder for file in known for folder in file.parents}
    broken = []
    for page in (file for file in files if file.suffix == ".md"):
        markdown = (root / page).read_text(encoding="utf-8")
        for link in (a or b for a, b in LINK.findall(FENCE.sub("", markdown))):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, fragment = link.partition("#")
            target = Path(os.path.normpath((root / page).parent / name)) if name else root / page
            if target not in known:
                broken.append(f"{page}: {link}: no such file in the project")
            elif fragment and target.suffix == ".md" and fragment not in anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{page}: {link}: no such heading")
    return broken


def test_no_file_names_a_machine_or_a_registry(project_files: list[Path]) -> None:
    found = forbidden(ROOT, project_files)
    assert not found, "\n" + "\n".join(found)


def test_every_link_leads_somewhere(project_files: list[Path]) -> None:
    found = broken_links(ROOT, project_files)
    assert not found, "\n" + "\n".join(found)


def test_every_python_file_compiles(project_files: list[Path]) -> None:
    sources = [file for file in project_files if file.suffix == ".py"]
    assert sources
    for file in sources:
        compile((ROOT / file).read_bytes(), str(file), "exec")


def test_every_script_can_be_started(project_files: list[Path]) -> None:
    scripts = [f for f in project_files if (text_of(ROOT / f) or "").startswith("#!")]
    assert {Path(".ci/run"), Path("tests/browser.sh"), Path("tests/tools.sh")} <= set(scripts)
    assert [f for f in scripts if not os.access(ROOT / f, os.X_OK)] == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("see /home" + "/ada/run.csv", "note.txt:2: a path of somebody's machine: /home/"),
        ("cd /root" + "/.cache", "note.txt:2: a path of somebody's machine: /root/"),
        ("at https://pypi." + "org/simple", "note.txt:2: a package registry's host: pypi" + ".org"),
        ("<" * 7 + " HEAD", "note.txt:2: a merge conflict: " + "<" * 7 + " "),
    ],
)
def test_a_planted_name_is_found(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "note.txt").write_text(f"a line\n{line}\n")
    assert forbidden(tmp_path, [Path("note.txt")]) == [expected]


def test_ordinary_words_are_not_names_of_machines(tmp_path: Path) -> None:
    words = "docs/home/a, $HOME/b, /work" + "space/x, https://a.example/home/b, a/wor" + "k/c\n"
    (tmp_path / "note.txt").write_text(words)
    assert forbidden(tmp_path, [Path("note.txt")]) == []


def test_a_planted_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.md").write_text("# A title: with `code`\n## Twice\n## Twice\n```\n# not a heading\n```\n")
    (tmp_path / "a.md").write_text(
        "[ok](docs/b.md) [dir](docs) [web](https://example.com/x) `[code](nowhere)` ![pic](none.png)\n"
        "[ok](docs/b.md#a-title-with-code) [ok](docs/b.md#twice-1) [no](docs/b.md#not-a-heading) [no](#here)\n"
        "```\n[in a fence](gone.md)\n```\n[ref]: gone.md\n"
    )
    assert broken_links(tmp_path, [Path("a.md"), Path("docs/b.md")]) == [
        "a.md: none.png: no such file in the project",
        "a.md: docs/b.md#not-a-heading: no such heading",
        "a.md: #here: no such heading",
        "a.md: gone.md: no such file in the project",
    ]


def make(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``make`` as from a shell, although these tests may themselves be run by make."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run([program, *arguments], cwd=ROOT, env=env, capture_output=True, text=True)


def test_make_alone_lists_every_target(tool: Callable[[str], str]) -> None:
    lines = make(tool("make")).stdout.splitlines()
    targets = [
        "help", "venv", "install", "develop", "demo", "test", "test-long", "lint", "typecheck", "quality", "site",
        "tools", "grafana-conformance", "clean",
    ]  # fmt: skip
    assert [line.split()[1] for line in lines] == targets
    assert [line for line in lines if len(line.split()) < 4] == []


def test_make_without_a_good_python_says_what_it_needs(tool: Callable[[str], str], tmp_path: Path) -> None:
    done = make(tool("make"), "venv", "PYTHON=false", f"VENV={tmp_path / 'venv'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r'Makefile:\d+: \*\*\* lrwatch needs Python 3\.11 or newer with its venv module, which "false" is not; '
        r"name another with PYTHON=\.\.\., or on Debian and Ubuntu install python3-venv\.  Stop\.\n",
        done.stderr,
    )


def test_tools_without_a_package_manager_name_what_to_install(tool: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "tools.sh").write_bytes((ROOT / "tests" / "tools.sh").read_bytes())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dirname").symlink_to(tool("dirname"))
    command = [tool("sh"), str(tmp_path / "tests" / "tools.sh")]
    done = subprocess.run(command, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "tests/tools.sh: not on PATH: prometheus promtool prometheus-alertmanager amtool; install Prometheus and "
        "Alertmanager (packages prometheus prometheus-alertmanager where they exist) and run this again\n"
    )


def test_a_missing_tool_skips_here_and_fails_in_ci(tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"^no-such-program is neither in \.tools/bin nor on PATH: run make tools$"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=message):
        tool("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=message):
        tool("no-such-program")


@pytest.mark.parametrize("name", ["promtool", "amtool", "prometheus", "prometheus-alertmanager"])
def test_the_tools_run(tool: Callable[[str], str], name: str) -> None:
    done = subprocess.run([tool(name), "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"{name.removeprefix('prometheus-')}, version " in done.stdout + done.stderr
