"""The command line. Every ``lrwatch/cli/<command>.py`` defines ``COMMAND`` and is imported when it is needed.

Exit codes: 0 nothing at or above --fail-on · 1 findings · 2 could not check · 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from lrwatch import __version__
from lrwatch.cli.base import CANNOT, INTERRUPTED, OK, Group, plugin_names
from lrwatch.errors import LrwatchError


class _BrokenPipe(Exception):
    """Nobody reads any more. (click makes exit code 1, which means findings here, of a BrokenPipeError.)"""


@contextmanager
def _pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _BrokenPipe from None


class Main(Group):
    """The ``lrwatch`` command: its sub-commands are files, and every way out has its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in plugin_names("lrwatch.cli")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"lrwatch.cli.{cmd_name.replace('-', '_')}").COMMAND
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _pipes():
            return super().invoke(ctx)

    def main(  # type: ignore[override]  # this one always exits
        self, args: Sequence[str] | None = None, prog_name: str | None = "lrwatch", **extra: Any
    ) -> NoReturn:
        """Run a command line and exit; no exception leaves but ``SystemExit``."""
        extra["standalone_mode"] = False
        _make_streams_safe()
        try:
            code = super().main(args, prog_name, **extra)
            with _pipes():
                sys.stdout.flush()
        except _BrokenPipe:
            _end_like_coreutils()
        except click.Abort:
            click.echo("lrwatch: interrupted", err=True)
            code = INTERRUPTED
        except click.UsageError as e:
            help_of = f" (see `{e.ctx.command_path} --help`)" if e.ctx else ""
            problem = e.format_message().rstrip(".")
            _complain(problem[:1].lower() + problem[1:] + help_of)
            code = CANNOT
        except (LrwatchError, click.ClickException) as e:
            _complain(e.format_message() if isinstance(e, click.ClickException) else str(e))
            code = CANNOT
        except OSError as e:  # the machine's trouble, not a fault of ours: no such device, no space, no permission
            _forget_stdout()
            _complain(f"{e.filename or 'standard output'}: {e.strerror or e}")
            code = CANNOT
        except Exception as e:
            if os.environ.get("LRWATCH_DEBUG") == "1":
                traceback.print_exc()
            _complain(f"internal error: {type(e).__name__}: {e}; please report (LRWATCH_DEBUG=1 shows where)")
            code = CANNOT
        sys.exit(code if isinstance(code, int) else OK)


def _make_streams_safe() -> None:
    """No name in a file can stop a report: what a stream cannot show is escaped, what is closed swallows."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for the rest of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # the same
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(message: str) -> None:
    click.echo("lrwatch: " + " ".join(message.split()), err=True)


def _forget_stdout() -> None:
    """What is still buffered goes nowhere; flushing it once more at the end would change the exit code."""
    if sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end_like_coreutils() -> NoReturn:
    """Die of SIGPIPE, silently: what a shell expects of a program whose reader has gone."""
    _forget_stdout()
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(141)


@click.group("lrwatch", cls=Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="lrwatch")
def main() -> None:
    """Watch that a training run keeps the learning-rate schedule it promised.

    A contract (YAML) says what the learning rate must be at each step; a trace says what it was. lrwatch
    compares them, names the bug that would produce exactly this difference, and says what to do.

    \b
      lrwatch explain contract            a contract to start from
      lrwatch verify contract.yaml runs/1 what the run really did
      lrwatch explain drift               what a finding means

    Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 could not check, 130 Ctrl-C.
    """
