"""Weights & Biases' offline runs: ``wandb/offline-run-…/run-ID.wandb``, or a directory of them.

Needs the package wandb (``lrwatch[wandb]``). Every history record is a row; its step is W&B's own (``_step``, from 0)
unless a metric such as ``trainer/global_step`` or ``train/global_step`` says it. When the rate was read the file does
not say (``--lr-read``).
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import MissingExtra
from lrwatch.readers._scalars import Scalars, items, one_run
from lrwatch.readers.base import Convention, Options, Reader, TraceSource
from lrwatch.trace.model import Damage, Item, TraceInfo

CONVENTION = Convention(known=("W&B's steps are taken as counted from 0 (--first-step 1 otherwise)",))
_BLOCK: Final = 32768
_HEADER: Final = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_RUN = re.compile(r"run-(.+)\.wandb")


class Run:
    """One offline run."""

    rereadable = True
    rank: int | None = 0

    def __init__(self, file: Path, options: Options, name: str):
        self.file, self.options, self.name = file, options, name
        named = _RUN.fullmatch(file.name)
        self.info = TraceInfo((str(file),), "wandb", CONVENTION.known, run=named[1] if named else None)

    def __iter__(self) -> Iterator[Item]:
        return items(_logged(self.file), self.name, self.options, CONVENTION)


def _logged(file: Path) -> Iterator[Scalars | Damage]:
    try:
        from wandb.proto import wandb_internal_pb2 as proto
    except ImportError:
        raise MissingExtra(f"{file}: reading W&B's offline runs", "wandb") from None
    for number, data in enumerate(_records(file), 1):
        if isinstance(data, Damage):
            yield data
            continue
        record: Any = proto.Record()
        try:
            record.ParseFromString(data)
        except Exception:  # google.protobuf.message.DecodeError
            yield Damage("undecodable", str(file), number, f"record {number} is damaged")
            continue
        if record.WhichOneof("record_type") == "history":
            yield _scalars(record.history, number)


def _scalars(history: Any, number: int) -> Scalars:
    values: dict[str, str] = {}
    for item in history.item:
        try:
            value = json.loads(item.value_json, parse_float=str, parse_int=str, parse_constant=str)
        except ValueError:
            continue
        if isinstance(value, str):
            values["/".join(item.nested_key) or item.key] = value
    step = values.pop("_step", str(history.step.num))
    return Scalars(step, {k: v for k, v in values.items() if k != "_runtime"}, line=number)


def _records(file: Path) -> Iterator[bytes | Damage]:
    """The records of a LevelDB log: blocks of 32 KiB, in which long records are cut into fragments."""
    with file.open("rb") as stream:
        block, at, number = stream.read(_BLOCK), 7, 0  # the file's own header comes first
        parts: list[bytes] = []
        while block:
            if at + _HEADER.size > len(block):
                if len(block) == _BLOCK or at >= len(block):
                    block, at = stream.read(_BLOCK), 0
                    continue
                break
            checksum, size, kind = _HEADER.unpack_from(block, at)
            data = block[at + _HEADER.size : at + _HEADER.size + size]
            if len(data) < size:
                break
            at += _HEADER.size + size
            if kind == 0:  # padding
                block, at = stream.read(_BLOCK), 0
                continue
            if zlib.crc32(bytes([kind]) + data) != checksum:
                yield Damage("undecodable", str(file), number + 1, f"record {number + 1} is damaged (checksum)")
                parts = []
                continue
            parts.append(data)
            if kind in (_FULL, _LAST):
                number += 1
                yield b"".join(parts)
                parts = []
        if parts or at < len(block):
            yield Damage("torn", str(file), number + 1, "torn last record: its writer was stopped in it")


def _runs(path: Path) -> dict[str, Path]:
    found = [*path.glob("*.wandb"), *path.glob("*run-*/*.wandb"), *path.glob("wandb/*run-*/*.wandb")]
    return {m[1] if (m := _RUN.fullmatch(f.name)) else f.stem: f for f in sorted(found) if f.is_file()}


def _open(path: Path, options: Options) -> TraceSource:
    if not path.is_dir():
        return Run(path, options, options.name(path))
    runs = _runs(path)
    return Run(runs[one_run(runs, options, options.name(path))], options, options.name(path))


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 0.85 if _runs(path) else 0.0
    return 1.0 if head[:4] == b":W&B" else 0.0


READER = Reader("wandb", _detect, _open)
