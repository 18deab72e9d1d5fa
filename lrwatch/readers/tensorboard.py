"""TensorBoard event files, or a directory of them: scalars by their tags (``train/lr``, ``--map lr=TAG``).

Needs the package tensorboard (``lrwatch[tensorboard]``); every point is read, not the 10 000 that TensorBoard shows.
Values went through a float32. Steps are what the trainer passed as ``global_step``, taken as counted from 0; when the
rate was read the file does not say (``--lr-read``). Later files of a directory continue the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrwatch.errors import MissingExtra, TraceError
from lrwatch.readers._scalars import Scalars, items, one_run
from lrwatch.readers.base import Convention, Options, Reader, TraceSource
from lrwatch.trace.model import Chunk, Damage, Event, Item, TraceInfo

MARK = ".tfevents."
_LARGEST = 1 << 30
_CHECKED = 1 << 10
"""Bytes of a record whose checksum is looked at: that of an image would take longer than reading all scalars."""
CONVENTION = Convention(
    merge=True,
    digits=9,
    known=("TensorBoard keeps 32-bit values; steps are taken as counted from 0 (--first-step 1 otherwise)",),
)


class Run:
    """The event files of one run, in the order they were begun."""

    rereadable = True
    rank: int | None = 0

    def __init__(self, files: list[Path], options: Options, name: str):
        self.files, self.options, self.name = files, options, name
        self.info = TraceInfo(tuple(str(f) for f in files), "tensorboard", CONVENTION.known)

    def __iter__(self) -> Iterator[Item]:
        segment, last, rated, problem = 0, -1, False, None
        for file in self.files:
            begun = False
            try:
                for item in items(_logged(file), str(file), self.options, CONVENTION):
                    if isinstance(item, Chunk):
                        rated = True
                        if not begun and int(item.columns["update"][0]) <= last:
                            segment += 1  # a writer of its own, at updates that were there before: a restart
                        begun, last = True, int(item.columns["update"][-1])
                    yield replace(item, segment=segment) if isinstance(item, Chunk | Event) else item
            except TraceError as e:
                problem = e  # another file may have it
        if not rated and problem is not None:
            raise problem


def _logged(file: Path) -> Iterator[Scalars | Damage]:
    try:
        from tensorboard.compat.proto.event_pb2 import Event as Proto
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
        from tensorboard.util import tensor_util
    except ImportError:
        raise MissingExtra(f"{file}: reading TensorBoard's event files", "tensorboard") from None
    for number, raw in enumerate(_records(file, masked_crc32c), 1):
        if isinstance(raw, Damage):
            yield raw
            continue
        try:
            event = Proto.FromString(raw)
            values = [(value.tag, _scalar(value, tensor_util)) for value in event.summary.value]
        except Exception:  # google.protobuf.message.DecodeError, or a tensor that is none
            yield Damage("undecodable", str(file), number, f"record {number} is damaged")
            continue
        for tag, text in values:
            if text is not None:
                yield Scalars(
                    str(event.step), {tag.removesuffix("/scalar_summary"): text}, repr(event.wall_time), number
                )


def _records(file: Path, checksum: Any) -> Iterator[bytes | Damage]:
    """The records of an event file. TensorBoard's own loader stops at a damaged one without a word."""
    with file.open("rb") as stream:
        number = 0
        while head := stream.read(12):
            number += 1
            size = int.from_bytes(head[:8], "little")
            if len(head) == 12 and checksum(head[:8]) != int.from_bytes(head[8:], "little"):
                yield Damage("undecodable", str(file), number, f"record {number} is damaged, and all after it is lost")
                return
            data = stream.read(size + 4) if len(head) == 12 and size < _LARGEST else b""
            if len(data) < size + 4 or len(head) < 12:
                yield Damage("torn", str(file), number, "torn last record: its writer was stopped in it")
                return
            if size <= _CHECKED and checksum(data[:-4]) != int.from_bytes(data[-4:], "little"):
                yield Damage("undecodable", str(file), number, f"record {number} is damaged (checksum)")
                continue
            yield data[:-4]


def _scalar(value: Any, tensors: Any) -> str | None:
    if value.HasField("simple_value"):
        return repr(value.simple_value)
    if value.HasField("tensor") and _is_scalar(value):
        return repr(float(tensors.make_ndarray(value.tensor)))
    return None


def _is_scalar(value: Any) -> bool:
    plugin = value.metadata.plugin_data.plugin_name
    dims = value.tensor.tensor_shape.dim
    return plugin in ("", "scalars") and len(dims) == 0 and value.tensor.dtype in (1, 2, 3, 9)


def _runs(path: Path) -> dict[str, list[Path]]:
    """Event files by the directory they are in, relative to ``path``."""
    runs: dict[str, list[Path]] = {}
    for file in sorted(path.rglob(f"*{MARK}*")):
        if file.is_file():
            runs.setdefault(str(file.parent.relative_to(path)), []).append(file)
    return runs


def _open(path: Path, options: Options) -> TraceSource:
    if not path.is_dir():
        return Run([path], options, options.name(path))
    runs = _runs(path)
    return Run(runs[one_run(runs, options, options.name(path))], options, options.name(path))


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 0.8 if any(True for _ in path.rglob(f"*{MARK}*")) else 0.0
    return 0.95 if MARK in path.name or b"brain.Event:" in head[:64] else 0.0


READER = Reader("tensorboard", _detect, _open)
