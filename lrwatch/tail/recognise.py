"""Bytes that arrive → items: whole lines are cut out, the first of them tell the format, a reader does the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from lrwatch.errors import LrwatchError, TraceError
from lrwatch.readers.base import MAX_LINE, Lines, Options, Reader
from lrwatch.trace.model import Damage, Item

SURE: Final = 0.8
"""A reader so sure is believed at once; one that is less so, when there is much text or when time has passed."""
MUCH: Final = 1 << 16
PATIENCE: Final = 3.0
"""Seconds from the first sign of a format."""
KEPT: Final = 1 << 23
"""Bytes that are kept while nobody recognises them; of more, the beginning is let go."""
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")


class Text:
    """One text, cut into lines and read by the reader that recognises it.

    Args:
        name: of the text, for messages and for readers that go by it. format: of ``--from``; None: to be recognised.
    """

    def __init__(
        self,
        name: str,
        readers: Mapping[str, Reader],
        options: Options,
        format: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.name, self._options, self._monotonic = name, options, monotonic
        self._readers = {format: readers[format]} if format else dict(readers)
        self._told = format is not None
        self.reader: Reader | None = None
        self._lines: Lines | None = None
        self._line = 1
        self._rest = b""
        self._head = b""
        self._looked = 0
        self._since: float | None = None
        self._before: Lines | None = None

    def take(self, data: bytes) -> list[Item]:
        """What whole lines say, as soon as it is known how they are to be read.

        Raises:
            TraceError: the text is of a kind that cannot be read line by line.
        """
        data = self._rest + data
        cut = data.rfind(b"\n") + 1
        whole, self._rest = data[:cut], data[cut:]
        items: list[Item] = []
        if len(self._rest) > MAX_LINE:
            self._rest = b""
            items.append(Damage("undecodable", self.name, self._line, "a line longer than 16 MiB is passed over"))
        return [*items, *self._whole(whole)] if whole or self._head else items

    def fresh(self) -> list[Item]:
        """Another file begins here: what is left of this one. The next lines may be the same table going on."""
        items = self._torn()
        self._head, self._looked, self._since = b"", 0, None
        if self.reader is not None:
            self._readers = {self.reader.name: self.reader}
            self._before, self._lines = self._lines, None
        return items

    def end(self) -> list[Item]:
        """No more will come."""
        items = self._whole(b"", last=True) + self._torn()
        return items + list(self._lines.end() if self._lines is not None else ())

    def _torn(self) -> list[Item]:
        """The last line, which has no end."""
        rest, self._rest = self._rest, b""
        if not rest or self._lines is None:
            return []
        return list(self._lines.items(self._line, rest))

    def _whole(self, data: bytes, last: bool = False) -> list[Item]:
        if self._lines is None:
            self._head += data
            if not self._recognised(last):
                self._let_go()
                return []
            data, self._head = self._head, b""
        return list(self._read(data))

    def _read(self, data: bytes) -> Iterable[Item]:
        assert self._lines is not None
        if not data:
            return ()
        line, self._line = self._line, self._line + data.count(b"\n")
        return self._lines.items(line, data)

    def _let_go(self) -> None:
        if len(self._head) > KEPT:
            cut = self._head.find(b"\n", len(self._head) - KEPT) + 1
            self._line += self._head.count(b"\n", 0, cut)
            self._head = self._head[cut:]

    def _recognised(self, last: bool) -> bool:
        if not self._head or (self._since is None and len(self._head) < self._looked * 1.2 and not last):
            return False
        self._looked = len(self._head)
        if self._told and self._before is None:
            return self._begin(next(iter(self._readers.values())))
        path, seen = Path(self.name), self._head[-MUCH:]
        scores = {name: reader.detect(path, self._head[:MUCH]) for name, reader in self._readers.items()}
        if max(scores.values()) <= 0 and seen != self._head:
            scores = {name: reader.detect(path, seen) for name, reader in self._readers.items()}
        best = max(scores, key=lambda name: scores[name])
        if self._before is not None:  # the same text goes on in another file, perhaps without its header
            return self._go_on(self._readers[best], scores[best])
        if scores[best] <= 0:
            self._refuse_binary()
            return False
        self._since = self._monotonic() if self._since is None else self._since
        waited = last or len(self._head) >= MUCH or self._monotonic() - self._since >= PATIENCE
        return (scores[best] >= SURE or waited) and self._begin(self._readers[best])

    def _begin(self, reader: Reader) -> bool:
        if reader.lines is None:
            raise TraceError(
                f"is of format {reader.name}, which cannot be followed while it is written; verify it when it is done",
                source=self.name,
            )
        try:
            self._lines = reader.lines(self.name, self._head, self._options)
        except LrwatchError:
            if self._since is not None and self._monotonic() - self._since < PATIENCE:
                return False
            raise
        self.reader = reader
        return True

    def _go_on(self, reader: Reader, score: float) -> bool:
        """A new beginning of the same format, or the next lines of what was read before."""
        before, self._before = self._before, None
        try:
            assert reader.lines is not None
            self._lines = reader.lines(self.name, self._head, self._options) if score >= 0.5 else before
        except LrwatchError:  # a table that goes on has no header
            self._lines = before
        if self._lines is not before:
            self._line = 1
        return True

    def _refuse_binary(self) -> None:
        if self._head.startswith(_PACKED) or b"\0\0\0\0" in self._head[:1024]:
            raise TraceError("is no text; unpack it, or verify it when it is done", source=self.name)
