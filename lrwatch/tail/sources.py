"""Text that is still being written: standard input, or a file that grows, is rotated, truncated or written anew.

A source is asked again and again (``read``) and never waits longer than ``POLL`` seconds, so that whoever asks can end.
"""

from __future__ import annotations

import os
import select
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lrwatch.errors import TraceError

POLL: Final = 0.2
"""Seconds between two looks at a file."""
SIZE: Final = 1 << 18
"""Bytes that are read at once."""
_HEAD: Final = 256
"""First bytes of a file by which it is known again."""


@dataclass(frozen=True)
class Piece:
    """What was read.

    Attributes:
        data: bytes, in no way aligned to lines. fresh: this is the beginning of another file.
        ts: Unix seconds at which its last byte was there; None: nobody saw it. live: all of it arrived just now.
    """

    data: bytes
    fresh: bool = False
    ts: float | None = None
    live: bool = True


class TextSource(Protocol):
    """What ``follow`` reads. ``identity`` tells it from others of its name, where it can be read again."""

    name: str

    @property
    def identity(self) -> str | None: ...

    def read(self) -> Piece | None:
        """What is new; an empty piece when nothing is; None at the end. Raises TraceError: it cannot be read."""

    def close(self) -> None: ...


class Pipe:
    """Standard input. Every byte is handed on to ``through`` before anything else is done with it.

    The pipe ends when all its writers have closed it.
    """

    name = "stdin"
    identity = None

    def __init__(self, file: int, through: Callable[[bytes], None] | None):
        self._file, self._through = file, through

    def read(self) -> Piece | None:
        try:
            if not select.select([self._file], [], [], POLL)[0]:
                return Piece(b"")
            data = os.read(self._file, SIZE)
        except OSError as e:
            raise TraceError(f"cannot be read: {e.strerror}", source=self.name) from None
        if not data:
            return None
        if self._through is not None:
            self._through(data)
        return Piece(data, ts=time.time())

    def close(self) -> None:
        """Nothing: it is the process's."""


class Through:
    """Hands the trainer's text on to standard output, byte by byte as it came.

    When nobody reads it any more that is no reason to stop the training: it is left to fall.
    """

    def __init__(self, file: int = 1):
        self._file, self.broken = file, False

    def __call__(self, data: bytes) -> None:
        done = 0
        while not self.broken and done < len(data):
            try:
                done += os.write(self._file, data[done:])
            except BlockingIOError:
                select.select([], [self._file], [], POLL)
            except OSError:
                self.broken = True


class GrowingFile:
    """A file by its name, from its first byte on, as ``tail -F`` would follow it.

    Another file under the name (rotation) is read from its beginning after the rest of the old one; so is a file that
    became shorter or whose first bytes changed (truncation). Where there is none yet, it is waited for.
    """

    def __init__(self, path: Path, name: str = ""):
        self.path, self.name = path, name or str(path)
        self._file: Any = None
        self._head = b""
        self._at = 0
        self._fresh = False
        self._caught_up = False
        self._idle = False
        self._refuse()

    @property
    def exists(self) -> bool:
        """Whether there was ever a file."""
        return self._file is not None

    @property
    def identity(self) -> str | None:
        """Tells this file from others that had or will have its name; None before there is one."""
        if self._file is None:
            return None
        about, line = os.fstat(self._file.fileno()), self._head.partition(b"\n")[0]
        return f"{about.st_dev:x}-{about.st_ino:x}-{zlib.crc32(line):08x}"

    def read(self) -> Piece | None:
        if self._idle:
            time.sleep(POLL)
        try:
            piece = self._read()
        except OSError as e:
            raise TraceError(f"cannot be read: {e.strerror}", source=self.name) from None
        self._idle = not piece.data
        return piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _refuse(self) -> None:
        if self.path.is_dir():
            raise TraceError("is a directory; name the log in it", source=self.name)
        if self.path.exists() and not self.path.is_file():
            raise TraceError("is no regular file; pipe it in and name it -", source=self.name)

    def _read(self) -> Piece:
        if self._file is None and not self._open():
            return Piece(b"")
        if self._cut():
            self._begin()
        data = self._file.read(SIZE)
        if not data and self._replaced():
            data = self._file.read(SIZE)  # of the old one, what came since
            if not data and self._open():
                data = self._file.read(SIZE)
        fresh, self._fresh = self._fresh and bool(data), self._fresh and not data
        if not data:
            self._caught_up = True
            return Piece(b"")
        if len(self._head) < _HEAD and self._at < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        self._at += len(data)
        if self._caught_up:
            return Piece(data, fresh, time.time())
        about = os.fstat(self._file.fileno())
        return Piece(data, fresh, about.st_mtime if self._at >= about.st_size else None, live=False)

    def _open(self) -> bool:
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        if self._file is not None:
            self._file.close()
            self._fresh = True
        self._file, self._head, self._at = file, b"", 0
        return True

    def _begin(self) -> None:
        self._file.seek(0)
        self._head, self._at, self._fresh = b"", 0, True

    def _cut(self) -> bool:
        """Whether the file has lost what was read of it."""
        number = self._file.fileno()
        return os.fstat(number).st_size < self._at or os.pread(number, len(self._head), 0) != self._head

    def _replaced(self) -> bool:
        """Whether the name belongs to another file now."""
        try:
            there = self.path.stat()
        except OSError:  # between the two steps of a rotation
            return False
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def opened(path: str, quiet: bool) -> TextSource:
    """The source of a name; ``-`` is standard input, handed on to standard output unless ``quiet``."""
    if path == "-":
        if sys.stdin is None:
            raise TraceError("is closed; nothing can come by it", source="stdin")
        return Pipe(sys.stdin.fileno(), None if quiet else Through(sys.stdout.fileno()))
    return GrowingFile(Path(path))
