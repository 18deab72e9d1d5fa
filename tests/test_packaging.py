"""What a user installs works: source distribution, the wheel made of it, no torch, from any directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lrwatch
from lrwatch import assets as assets_of
from lrwatch.errors import LrwatchError

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.timeout(600)  # the package index may be slow

COMMANDS = """
import json, click
from lrwatch.cli import main
def walk(command, context, path):
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), context, [*path, name])
print(json.dumps(list(walk(main, click.Context(main), []))))
"""

MODULES = """
import importlib, json, pkgutil, lrwatch
needs = {}
for module in pkgutil.walk_packages(lrwatch.__path__, "lrwatch.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            needs[module.name] = error.name
print(json.dumps(needs))
"""

NEEDS_AN_EXTRA = (
    "lrwatch.agent.device", "lrwatch.integrations.", "lrwatch.ops.dashboards.build", "lrwatch.ops.grafana",
    "lrwatch.top.live", "lrwatch.top.view", "lrwatch.trainer",
)  # fmt: skip


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command as a user's shell would run it, with nothing of this checkout or this test in its environment."""
    ours = ("PYTEST_", "PYTHON", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def succeed(*command: str | Path, cwd: Path) -> str:
    """Its standard output; fails with everything it said when it does not exit with 0."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    sdist: Path
    wheel: Path
    unpacked: Path
    """The source distribution, unpacked: what a packager or an editable install starts from."""


@dataclass(frozen=True)
class Installed:
    how: str
    bin: Path
    empty: Path
    """A directory with nothing in it, to run from."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The source distribution of this checkout and the wheel made from that alone, as ``python -m build`` does."""
    out = tmp_path_factory.mktemp("built")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    succeed(sys.executable, "-m", "tarfile", "--extract", sdist, out, cwd=out)
    return Built(sdist, wheel, out / sdist.name.removesuffix(".tar.gz"))


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    venv = tmp_path_factory.mktemp("clean") / "venv"
    succeed(sys.executable, "-m", "venv", venv, cwd=venv.parent)
    return venv


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, built: Built, venv: Path) -> Iterator[Installed]:
    """lrwatch in a virtual environment that holds what it depends on and nothing else: no torch, no pytest."""
    what = [built.wheel] if request.param == "wheel" else ["--editable", built.unpacked]
    succeed(venv / "bin" / "python", "-m", "pip", "install", "--quiet", *what, cwd=venv)
    (venv / "empty").mkdir(exist_ok=True)
    yield Installed(request.param, venv / "bin", venv / "empty")
    assert not list((venv / "empty").iterdir()), "a command wrote where it was run"


def test_the_source_distribution_is_the_project(built: Built, project_files: list[Path]) -> None:
    held = {path.relative_to(built.unpacked) for path in built.unpacked.rglob("*") if path.is_file()}
    assert held - {Path("PKG-INFO")} == set(project_files) - {Path("PKG-INFO")}


def test_the_wheel_is_the_package_and_its_assets(built: Built, project_files: list[Path]) -> None:
    package = {f.as_posix() for f in project_files if f.parts[0] == "lrwatch"}
    assets = {f"lrwatch/_assets/{f.as_posix()}" for f in project_files if f.parts[0] in assets_of.FOLDERS}
    with zipfile.ZipFile(built.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert assets
    assert held == package | assets


def test_the_tests_can_be_collected_from_the_source_distribution(built: Built) -> None:
    collected = run(sys.executable, "-m", "pytest", "--collect-only", "-q", cwd=built.unpacked)
    assert collected.returncode == 0, collected.stdout + collected.stderr


def test_the_command_runs_from_anywhere(installed: Installed) -> None:
    for command in ([installed.bin / "lrwatch"], [installed.bin / "python", "-m", "lrwatch"]):
        assert succeed(*command, "--help", cwd=installed.empty).startswith("Usage: lrwatch ")
        assert lrwatch.__version__ in succeed(*command, "--version", cwd=installed.empty)


def test_every_command_has_help(installed: Installed) -> None:
    commands = json.loads(succeed(installed.bin / "python", "-c", COMMANDS, cwd=installed.empty))
    promised = "contract explain train verify".split()
    assert set(promised) <= {path[0] for path in commands if path}
    for path in commands:
        text = succeed(installed.bin / "lrwatch", *path, "--help", cwd=installed.empty)
        assert text.startswith(" ".join(["Usage: lrwatch", *path]))


def test_every_module_imports_without_the_extras(installed: Installed) -> None:
    needs = json.loads(succeed(installed.bin / "python", "-W", "error", "-c", MODULES, cwd=installed.empty))
    surprising = {name: missing for name, missing in needs.items() if not name.startswith(NEEDS_AN_EXTRA)}
    assert surprising == {}


def test_what_needs_torch_says_so(installed: Installed) -> None:
    done = run(installed.bin / "python", "-c", "import lrwatch; lrwatch.check", cwd=installed.empty)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "lrwatch.errors.MissingExtra: lrwatch.check needs an optional dependency: pip install 'lrwatch[torch]'"
    )


def test_the_assets_are_found(installed: Installed, built: Built) -> None:
    code = "from lrwatch import assets; print(assets.root()); [print(assets.find(f)) for f in assets.FOLDERS]"
    root, *folders = map(Path, succeed(installed.bin / "python", "-c", code, cwd=installed.empty).splitlines())
    assert folders == [root / "alerts", root / "dashboards", root / "deploy"]
    if installed.how == "wheel":
        assert root.parts[-3:] == ("site-packages", "lrwatch", "_assets")
    else:  # the files that are being edited, not a copy of them
        assert root == built.unpacked


def test_assets_missing_from_a_checkout_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "alerts").mkdir()
    with pytest.raises(LrwatchError) as caught:
        assets_of.root(tmp_path / "lrwatch")
    assert str(caught.value) == (
        f"{tmp_path / 'lrwatch'}: neither _assets/ in it nor the directory above it holds "
        "alerts/, dashboards/, deploy/; install the lrwatch wheel, or run from a complete checkout"
    )
    with pytest.raises(LrwatchError, match=r"^alerts/none\.yml: not among the files shipped with lrwatch; looked in "):
        assets_of.find("alerts/none.yml")


@pytest.mark.long
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lowest versions have wheels for the lowest Python")
def test_the_lowest_versions_that_are_promised_are_enough(built: Built, tmp_path: Path) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lowest = [requirement.replace(">=", "==") for requirement in asked]
    succeed(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    succeed(python, "-m", "pip", "install", "--quiet", *lowest, built.wheel, cwd=tmp_path)
    needs = json.loads(succeed(python, "-c", MODULES, cwd=tmp_path))
    assert [name for name in needs if not name.startswith(NEEDS_AN_EXTRA)] == []
    succeed(python, "-m", "lrwatch", "plan", ROOT / "examples" / "contract.yaml", cwd=tmp_path)
