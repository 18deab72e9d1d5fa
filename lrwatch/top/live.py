"""The view on a terminal, again and again."""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lrwatch.errors import LrwatchError
from lrwatch.top.sources import Picture, Source
from lrwatch.top.view import render

KEPT: Final = 120
"""Pictures whose values are drawn as curves where the trace cannot be read."""


def console(colour: bool, plain: bool) -> Console:
    """Where it is drawn: as wide as the terminal, 80 columns elsewhere."""
    made = Console(no_color=not colour, highlight=False, emoji=False, markup=False, safe_box=plain)
    if not made.is_terminal:
        made.width = 80
    return made


def once(source: Source, out: Console, plain: bool) -> None:
    """One picture. Raises ``LrwatchError`` where there is nothing to show."""
    out.print(render(source.look(), (), plain))


def follow(source: Source, out: Console, every: float, plain: bool) -> None:
    """Until q is pressed. What was seen stays on the screen when nobody answers any more."""
    before: deque[Picture] = deque(maxlen=KEPT)
    before.append(source.look())  # nothing to show at the start is an error, later it is news
    with _keys() as pressed, Live(console=out, screen=True, auto_refresh=False) as live:
        problem = ""
        while True:
            try:
                picture, problem = source.look(), ""
            except LrwatchError as error:
                picture, problem = Picture(time.time(), before[-1].run, silent=(source.name,)), str(error)
            # first, because what is below may be higher than the screen
            head = Text.assemble(
                "q ends  ", (problem or f"{source.name} every {every:g} s", "yellow" if problem else "dim")
            )
            live.update(Group(head, render(picture, tuple(before), plain)), refresh=True)
            before.append(picture)
            if pressed(every) in ("q", "Q"):
                return


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits for a key for some seconds; without a terminal to read from, it only waits."""
    if not sys.stdin.isatty():

        def waited(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield waited
        return
    fd = sys.stdin.fileno()
    kept = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([fd], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, kept)
