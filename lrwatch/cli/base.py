"""What the commands share: options, the way out, and how output is written."""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from lrwatch.errors import LrwatchError, OutputExists, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

OK, FINDINGS, CANNOT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: nothing at or above ``--fail-on`` · findings · could not check · Ctrl-C."""


class Group(click.Group):
    """A group that suggests the command that was probably meant, and never exits 0 when none was given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            raise click.exceptions.Exit(CANNOT)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None and args[0][:1] != "-":
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class Words(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """One of the plug-ins of a package, told by its file names so that none has to be imported."""

    name = "word"

    def __init__(self, package: str, metavar: str, dashes: bool = False):
        self.package, self.metavar, self.dashes = package, metavar, dashes

    def choices(self) -> list[str]:
        return [name.replace("_", "-") if self.dashes else name for name in plugin_names(self.package)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices():
            self.fail(f"{value!r} is unknown{did_you_mean(str(value), self.choices())}", param, ctx)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.metavar

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.choices() if word.startswith(incomplete)]


def plugin_names(package: str) -> list[str]:
    """The plug-ins in a package's folder, sorted, without importing the package."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return sorted(m.name for m in pkgutil.iter_modules(places) if m.name != "base" and m.name[0] != "_")


def output_options(*formats: str) -> Callable[[F], F]:
    """``--format``, ``--output`` and ``--force``."""

    def decorate(command: F) -> F:
        for option in (
            click.option("--force", is_flag=True, help="Overwrite the file of --output."),
            click.option("--output", metavar="FILE", help="Write the report to FILE instead of standard output."),
            click.option("--format", "form", type=click.Choice(formats), default=formats[0], show_default=True,
                         help="Form of the report."),
        ):  # fmt: skip
            command = option(command)
        return command

    return decorate


def refuse_to_overwrite(output: str | None, force: bool) -> None:
    """Raise ``OutputExists`` early, before any work whose result could not be written."""
    if output not in (None, "-") and not force and os.path.lexists(str(output)):
        raise OutputExists(output)


def write(text: str, output: str | None, force: bool) -> None:
    """The text to a file, whole or not at all, or to standard output (None and ``-``)."""
    if output is None or output == "-":
        sys.stdout.write(text)
        return
    refuse_to_overwrite(output, force)
    path = Path(output)
    if path.exists() and not path.is_file():  # a device or a pipe: nothing to replace
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        part.replace(path)
    except OSError as e:
        raise LrwatchError(f"{output}: cannot be written: {e.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def colours(stream: TextIO) -> bool:
    """Whether to colour: a terminal, and neither NO_COLOR nor TERM=dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shows_unicode(stream: TextIO) -> bool:
    """Whether the stream's encoding can hold the characters of a report."""
    try:
        "⠿·▲│…–".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Progress:
    """One line on standard error that grows and goes away again, with rate and remaining time; only on a terminal.

    ``share`` tells how much of the whole was read, 0 to 1, None where that is unknown.
    """

    def __init__(self, share: Callable[[], float | None] = lambda: None) -> None:
        self.shown = sys.stderr.isatty()
        self.share, self.began, self.last = share, time.monotonic(), 0.0

    def __call__(self, rows: int) -> None:
        now = time.monotonic()
        if self.shown and now - self.last >= 0.1:
            self.last = now
            sys.stderr.write(f"\r{progress(rows, now - self.began, self.share())}\x1b[K")
            sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def progress(rows: int, seconds: float, share: float | None) -> str:
    """What a progress line says.

    >>> progress(2_500_000, 5.0, 0.25)
    '2,500,000 rows · 500,000/s · 25 % · 15 s left'
    """
    said = f"{rows:,} rows"
    if seconds >= 1.0:
        said += f" · {rows / seconds:,.0f}/s"
    if share:
        said += f" · {share:.0%}".replace("%", " %")
        left = seconds * (1.0 / share - 1.0)
        if seconds >= 1.0:
            said += f" · {left:.0f} s left" if left < 120 else f" · {left / 60:.0f} min left"
    return said
