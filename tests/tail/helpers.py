"""What the tests of tail share: a text that arrives in pieces, a promise, a trainer that prints."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lrwatch.contract import load
from lrwatch.readers.base import Options
from lrwatch.tail.follow import Settings, Tail
from lrwatch.tail.signals import Told
from lrwatch.tail.sources import Piece
from lrwatch.verify import Report

CONTRACT = """\
lrwatch: 1
experiment: gpt
clock: {horizon: 100}
lr:
  base: 3.0e-4
  schedule: [{linear: {from: 0, for: 20}}, {cosine: {to: 3.0e-5, until: horizon}}]
"""


def rate(t: int) -> float:
    """What the contract promises."""
    return 1.5e-5 * t if t < 20 else 3e-5 + 1.35e-4 * (1 + math.cos(math.pi * (t - 20) / 80))


def log(first: int, last: int, wrong_from: int = 10**9) -> str:
    """Lines of a nanoGPT that prints its rate, too high by a tenth from some step on."""
    return "".join(
        f"iter {t}: loss {3 - t / 100:.4f}, time 9.80ms, lr {rate(t) * (1.1 if t >= wrong_from else 1.0):.4e}\n"
        for t in range(first, last)
    )


class Pieces:
    """A pipe whose text comes in given pieces."""

    identity = None

    def __init__(self, pieces: Iterator[bytes] | list[bytes], name: str = "stdin"):
        self._pieces, self.name = iter(pieces), name

    def read(self) -> Piece | None:
        data = next(self._pieces, None)
        return None if data is None else Piece(data, ts=time.time())

    def close(self) -> None: ...


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def followed(
    pieces: Any, contract: Path, run_dir: Path, options: Options | None = None, name: str = "stdin", **settings: Any
) -> Report:
    """In this process, to the end."""
    source = pieces if hasattr(pieces, "read") else Pieces(pieces, name)
    tail = Tail(source, load(contract), options or Options(), None, Settings(run_dir=run_dir, **settings))
    return tail.follow(Told())


def start(*arguments: str, **given: Any) -> subprocess.Popen[str]:
    """``lrwatch tail`` as a process."""
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | given
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-m", "lrwatch", "tail", *arguments], env=environment, **given)


def until(what: Any, seconds: float = 100.0) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)
    return answer


def rows(run_dir: Path) -> list[str]:
    """The rows of a trace, all segments after each other, without the starts."""
    files = sorted((run_dir / "trace").glob("*.jsonl")) if run_dir.exists() else []
    return [line for path in files for line in path.read_text().splitlines() if line.startswith('{"update"')]
