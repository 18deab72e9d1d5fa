"""The bytes of a file, unpacked where it is compressed, as UTF-8 where it is UTF-16."""

from __future__ import annotations

import codecs
import zlib
from pathlib import Path
from typing import Any, Final, Protocol

from lrwatch.errors import MissingExtra, TraceError

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What redirection in PowerShell and Excel's "Unicode text" begin with."""
_STEP: Final = 1 << 14
"""Compressed bytes that are read at once: they may become a thousand times as many."""
_TAIL: Final = 1 << 12
"""Bytes in which the last line end is looked for, before many more are read."""


class Stream(Protocol):
    """Bytes from the beginning to the end."""

    def read(self, size: int) -> bytes:
        """The next bytes, about ``size`` of them, up to the end of a line where that is simple; none at the end.

        Raises TraceError."""

    @property
    def place(self) -> int:
        """Bytes of the file that were read so far."""


def opened(path: Path, name: str) -> Stream:
    """The bytes of a plain, gzip or zstd file. Raises TraceError: not readable, or zstd without its package."""
    with _reading(name):
        with path.open("rb") as file:
            magic = file.read(4)
        if magic.startswith(GZIP):
            return _Packed(path, name, lambda: zlib.decompressobj(wbits=31))
        if magic == ZSTD:
            return _Packed(path, name, _zstd(name))
        if magic[:2] in UTF16:
            return _Recoded(path, name)
    return _Plain(path, name)


def inner_name(path: Path) -> Path:
    """The path without the suffix of a compression: ``run.csv.gz`` is named like a table."""
    return path.with_suffix("") if path.suffix.lower() in (".gz", ".gzip", ".zst", ".zstd") else path


def unpacked(path: Path, name: str, size: int) -> bytes:
    """The first bytes, at most ``size``. Raises TraceError."""
    stream, result = opened(path, name), b""
    while len(result) < size and (data := stream.read(size - len(result))):
        result += data
    return result[:size]


def _zstd(name: str) -> Any:
    try:
        import zstandard
    except ImportError:
        raise MissingExtra(f"{name}: reading zstd", "zstd") from None
    return lambda: zstandard.ZstdDecompressor().decompressobj()


class _reading:
    """Turns what the machine says into a TraceError."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise TraceError(f"cannot be read: {error.strerror}", source=self.name) from None


class _Plain:
    def __init__(self, path: Path, name: str):
        self.path, self.name, self.offset = path, name, 0

    @property
    def place(self) -> int:
        return self.offset

    def read(self, size: int) -> bytes:
        with _reading(self.name), self.path.open("rb", buffering=0) as file:
            if size > 16 * _TAIL:  # whole lines, so that nobody has to put them together from copies
                file.seek(self.offset + size - _TAIL)
                after = _TAIL - 1 - file.read(_TAIL).rfind(b"\n")
                size -= after if after < _TAIL else 0
            file.seek(self.offset)
            data = file.read(size)
        self.offset += len(data)
        return data


class _Packed:
    """One or several compressed frames after each other; what follows a broken place cannot be read."""

    def __init__(self, path: Path, name: str, start: Any):
        self.plain, self.name, self.start = _Plain(path, name), name, start
        self.unpacker: Any = None
        self.left = b""

    @property
    def place(self) -> int:
        return self.plain.offset

    def read(self, size: int) -> bytes:
        result: list[bytes] = []
        n = 0
        while n < size:
            data = self.left or self.plain.read(_STEP)
            self.left = b""
            if not data:
                if self.unpacker is not None and not self.unpacker.eof:
                    raise TraceError(
                        f"is cut short: its compressed data ends in the middle, at byte {self.plain.offset}; unpack by "
                        "hand what is there, and verify that",
                        source=self.name,
                    )
                break
            try:
                if self.unpacker is None or self.unpacker.eof:
                    if not data.strip(b"\0"):  # padding
                        continue
                    self.unpacker = self.start()
                part = self.unpacker.decompress(data)
            except Exception as e:  # zlib.error, zstandard.ZstdError
                raise TraceError(
                    f"is damaged: unpacking stops at byte {self.plain.offset - len(data)} ({e}); unpack by hand what "
                    "can be, and verify that",
                    source=self.name,
                ) from None
            self.left = self.unpacker.unused_data
            result.append(part)
            n += len(part)
        return b"".join(result)


class _Recoded:
    """UTF-16 with a byte order mark."""

    def __init__(self, path: Path, name: str):
        self.plain = _Plain(path, name)
        self.decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")

    @property
    def place(self) -> int:
        return self.plain.offset

    def read(self, size: int) -> bytes:
        while data := self.plain.read(size):
            if text := self.decoder.decode(data):
                return text.encode("utf-8", "replace")
        return self.decoder.decode(b"", final=True).encode("utf-8", "replace")
