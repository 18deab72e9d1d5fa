"""Readers of traces, one format per file. See ``base`` for what a reader is.

source = open_trace(["runs/1"])
for item in source: ...            # chunks, events and damage, in recorded order
"""

from __future__ import annotations

import re
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrwatch.errors import TraceError, did_you_mean
from lrwatch.plugins import load
from lrwatch.readers import _fast
from lrwatch.readers._ahead import Ahead
from lrwatch.readers._processes import Shared
from lrwatch.readers._streams import unpacked
from lrwatch.readers.base import (
    FURTHER,
    HEAD,
    NOTHING_HERE,
    Options,
    Reader,
    Several,
    TraceSource,
    chunk_rows,
    rank_in,
    several,
)
from lrwatch.trace.model import Item


def readers() -> dict[str, Reader]:
    """Every reader by the name that ``--from`` takes."""
    return load("lrwatch.readers", "READER")


def open_trace(
    paths: Sequence[str | Path], format: str | None = None, options: Options | None = None, jobs: int = 1
) -> TraceSource:
    """The trace in these files or directories as one source; ``-`` is standard input.

    The format is recognised by content, then by name. Several paths are parts of one run: files of the same worker
    follow each other in the given order, workers advance together. With ``jobs``, so many processes read the files of
    different workers.

    Raises:
        TraceError: an unknown format; nothing there, nothing in it, or nothing that a reader recognises.
    """
    options = options or Options()
    if not paths:
        raise TraceError("no trace was given; name a file, a run directory, or - for standard input", source="trace")
    if format is not None and format not in readers():
        raise TraceError(f"unknown format {format!r}{did_you_mean(format, readers())}", source="--from")
    if len(paths) > 1:
        options = replace(options, chunk_rows=chunk_rows(options, len(paths)))
    sources = [part for path in paths for part in _flat(_open(str(path), format, options))]
    source = several(sources)
    if jobs > 1 and len(sources) > 1 and all(_alone(part) for part in sources):
        return Shared(sources, source.info, options, jobs, opened_as)
    return Ahead(source) if _fast.USED and _large(paths) else source


def opened_as(path: str, format: str, options: Options) -> TraceSource:
    """One file, whose format is known."""
    return readers()[format].open(Path(path), options)


def _flat(source: TraceSource) -> list[TraceSource]:
    return [part for inner in source.sources for part in _flat(inner)] if isinstance(source, Several) else [source]


def _alone(source: TraceSource) -> bool:
    """Whether another process can open it by its path."""
    return len(source.info.paths) == 1 and Path(source.info.paths[0]).is_file()


def _large(paths: Sequence[str | Path]) -> bool:
    """Whether there is so much to read that a second thread is worth its start."""
    sizes = (path.stat().st_size for path in map(Path, paths) if path.is_file())
    return sum(sizes) > 1 << 22


def _open(path: str, format: str | None, options: Options) -> TraceSource:
    if path == "-":
        return _StandardInput(format, options)
    scheme = path.partition("://")[0] if "://" in path else ""
    for reader in readers().values() if scheme else ():
        if reader.url is not None and scheme in reader.schemes:
            return reader.url(path, options)
    head = _head(Path(path), options)
    if format is None and Path(path).is_dir() and (parts := _parts(Path(path))):
        each = replace(options, chunk_rows=chunk_rows(options, len(parts)))
        return several([_open(str(part), None, each) for part in parts])
    reader = readers()[format] if format else _recognised(Path(path), head, options)
    return reader.open(Path(path), options)


def _parts(path: Path) -> list[Path]:
    """The files or folders of the workers in a directory that no reader knows as a whole, by rank: ``rank3.csv``."""
    if any(reader.detect(path, b"") > 0 for reader in readers().values()):
        return []
    found = [(rank, part.name, part) for part in path.iterdir() if (rank := rank_in(part)) is not None]
    return [part for _, _, part in sorted(found) if part.is_dir() or part.stat().st_size]


def _head(path: Path, options: Options) -> bytes:
    """The first bytes of a file, empty for a directory."""
    name = options.name(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return b""
        if not stat.S_ISREG(mode):
            raise TraceError("is no regular file; pipe it in and name it -", source=name)
        head = unpacked(path, name, HEAD)
    except FileNotFoundError:
        raise TraceError("no such file or directory", source=name) from None
    except (OSError, ValueError) as e:  # ValueError: a name with a NUL byte
        raise TraceError(f"cannot be read: {getattr(e, 'strerror', None) or e}", source=name) from None
    if not head:
        raise TraceError("is empty; nothing was recorded", source=name)
    return head


def _recognised(path: Path, head: bytes, options: Options) -> Reader:
    if re.match(rb"\s*\[\s*\{", head):
        raise TraceError(
            "is one JSON array; write its rows as JSON Lines: jq -c '.[]' OLD > NEW", source=options.name(path)
        )
    best, score = _best(path, head)
    if score == 0 and len(head) == HEAD and b"\0" not in head:  # a log may begin with much that is no row
        best, score = _best(path, unpacked(path, options.name(path), FURTHER))
    if score > 0:
        return readers()[best]
    known = ", ".join(readers())
    if path.is_dir():
        why = NOTHING_HERE
    elif b"\0" in head:
        why = f"is binary and no trace that lrwatch knows ({known}); say which it is with --from FORMAT"
    else:
        why = f"is no trace that lrwatch recognises ({known}); say which it is with --from FORMAT"
    raise TraceError(why, source=options.name(path))


def _best(path: Path, head: bytes) -> tuple[str, float]:
    scores = {name: reader.detect(path, head) for name, reader in readers().items()}
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best]


class _StandardInput:
    """What comes in by a pipe, kept in a temporary file: any format can then be recognised, and read twice."""

    rereadable = True

    def __init__(self, format: str | None, options: Options):
        self._file: Any = tempfile.NamedTemporaryFile(prefix="lrwatch-")  # noqa: SIM115  # lives as long as the source
        weakref.finalize(self, self._file.close)
        shutil.copyfileobj(sys.stdin.buffer, self._file)
        self._file.flush()
        self._source = _open(self._file.name, format, replace(options, label=options.label or "stdin"))
        self.info, self.rank = self._source.info, self._source.rank

    def __iter__(self) -> Iterator[Item]:
        return iter(self._source)
