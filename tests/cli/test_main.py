"""The way in and every way out: exit codes, terminals, pipes, signals, lazy loading."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lrwatch.cli import main
from lrwatch.errors import LrwatchError

ROOT = Path(__file__).parents[2]
LRWATCH = (sys.executable, "-m", "lrwatch")


def every_command() -> list[tuple[str, ...]]:
    """The words of every command, groups included."""
    found: list[tuple[str, ...]] = []

    def walk(words: tuple[str, ...], command: click.Command) -> None:
        found.append(words)
        if isinstance(command, click.Group):
            ctx = click.Context(command, info_name="lrwatch")
            for name in command.list_commands(ctx):
                child = command.get_command(ctx, name)
                assert child is not None
                walk((*words, name), child)

    walk((), main)
    return found


def at(words: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("words", every_command(), ids=lambda words: " ".join(("lrwatch", *words)))
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    command = at(words)
    assert command.help and command.help.strip()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} has no help"
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(main, [*words, flag])
        assert result.exit_code == 0
        assert result.output.startswith(f"Usage: lrwatch {' '.join(words)}".rstrip() + " ")
        wide = [line for line in result.output.splitlines() if len(line) > 80]
        assert all(line.startswith("    ") for line in wide), wide  # examples are not wrapped


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["verify", "--help"], ["verify", "x.yaml", "y.yaml"]])
def test_what_needs_no_numbers_loads_no_numbers(args: list[str]) -> None:
    code = (
        "import sys\nfrom lrwatch.cli import main\n"
        f"try: main({args!r})\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'torch', 'yaml', 'prometheus_client'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


def command_that(raises: BaseException) -> click.Group:
    """The main command with one more, ``boom``, that raises."""

    @click.command()
    def boom() -> None:
        raise raises

    class Patched(type(main)):  # type: ignore[misc]
        def list_commands(self, ctx: click.Context) -> list[str]:
            return ["boom"]

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            return boom if name == "boom" else None

    return Patched(name="lrwatch")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LrwatchError("run.csv:3: no\n  lr"), 2, "lrwatch: run.csv:3: no lr\n"),
        (
            ZeroDivisionError("division by zero"),
            2,
            "lrwatch: internal error: ZeroDivisionError: division by zero; please report "
            "(LRWATCH_DEBUG=1 shows where)\n",
        ),
        (click.ClickException("no such thing"), 2, "lrwatch: no such thing\n"),
        (click.UsageError("Bad option."), 2, "lrwatch: bad option (see `lrwatch boom --help`)\n"),
        (KeyboardInterrupt(), 130, "\nlrwatch: interrupted\n"),
        (click.exceptions.Exit(1), 1, ""),
        (SystemExit(1), 1, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_way_out_has_its_code_and_one_line(error: BaseException, code: int, said: str) -> None:
    result = CliRunner().invoke(command_that(error), ["boom"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRWATCH_DEBUG", "1")
    result = CliRunner().invoke(command_that(ZeroDivisionError("x")), ["boom"])
    assert "Traceback (most recent call last):" in result.stderr
    assert "raise raises" in result.stderr


def test_closed_pipe_dies_of_sigpipe_in_silence() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*LRWATCH, "explain"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_closed_pipe_at_help_dies_of_sigpipe_in_silence() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*LRWATCH, "--help"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_full_disk_is_an_error_not_a_verdict() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*LRWATCH, "explain"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "lrwatch: standard output: No space left on device\n"
