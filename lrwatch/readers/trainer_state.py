"""Hugging Face's ``trainer_state.json``, alone or in a checkpoint or output folder; of several checkpoints the newest.

Every entry of ``log_history`` with a learning rate is a row; those with ``eval_loss`` are validations. ``step`` counts
updates from 1. Since transformers 4.51 the rate is the one that the update used, before it is the next update's; the
version stands in the folder's ``config.json``, and without that it is unknown (``--lr-read``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import TraceError
from lrwatch.readers._records import VALIDATION, Records, Row
from lrwatch.readers._streams import unpacked
from lrwatch.readers.base import Convention, Options, Reader, TraceSource
from lrwatch.trace.model import Item, LrRead, TraceInfo

NAME: Final = "trainer_state.json"
_MOST: Final = 1 << 30
"""Bytes of a state that is read; it holds the whole history in one JSON object."""
_USED_SINCE: Final = (4, 51)
_COLUMNS: Final = {"loss": "loss", "learning_rate": "lr/0", "grad_norm": "grad_norm"}


class State:
    """One trainer state."""

    rereadable = True
    rank: int | None = 0

    def __init__(self, path: Path, options: Options):
        self.path, self.options, self.name = path, options, options.name(path)
        version = _version(path.parent)
        read: LrRead = "unknown" if version is None else "used" if version >= _USED_SINCE else "after"
        known = ["Hugging Face counts steps from 1"]
        if version is not None:
            when = "that the update used" if read == "used" else "of the next update"
            known.append(f"transformers {version[0]}.{version[1]} logs the rate {when}")
        self.convention = Convention(lr_read=read, first_step=1, known=tuple(known))
        self.info = TraceInfo((self.name,), "trainer_state", self.convention.known)

    def __iter__(self) -> Iterator[Item]:
        entries = _history(self.path, self.name)
        records = Records(self.name, self.options, self.convention, 0)
        rows: list[Row] = []
        lines: list[int] = []
        for number, entry in enumerate(entries, 1):
            row = _row(entry)
            if row is None:
                yield records.damage("not_a_row", number, f"entry {number} of log_history is no object with a step")
                continue
            rows.append(row)
            lines.append(number)
        yield from records.take(
            [row for row in rows if len(row) > 1], [n for row, n in zip(rows, lines, strict=True) if len(row) > 1],
            {"update": "step", "lr/0": "learning_rate"},
        )  # fmt: skip
        if not records.rated:
            raise TraceError("log_history has no entry with a learning_rate; nothing to check", source=self.name)


def _history(path: Path, name: str) -> list[Any]:
    data = unpacked(path, name, _MOST)
    try:
        state = json.loads(data.decode("utf-8-sig"), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as e:
        raise TraceError(f"is no JSON: {e}; its writer may have been stopped in it", source=name) from None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise TraceError("has no log_history; is it a trainer_state.json?", source=name)
    return history


def _row(entry: Any) -> Row | None:
    """Columns of an entry: the step at least."""
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), str):
        return None
    row = {"update": entry["step"]}
    if "train_runtime" in entry:
        return row
    for theirs, ours in _COLUMNS.items():
        if isinstance(entry.get(theirs), str):
            row[ours] = entry[theirs]
    for key, value in entry.items():
        if key.startswith("eval_") and isinstance(value, str) and not key.endswith(("runtime", "_per_second")):
            row[VALIDATION + key.removeprefix("eval_")] = value
    return row


def _version(folder: Path) -> tuple[int, int] | None:
    """(major, minor) of transformers, from the model's configuration beside the state or in a checkpoint near it."""
    for place in (folder, folder.parent, *sorted(folder.glob("checkpoint-*"))[:1]):
        for name in ("config.json", "generation_config.json"):
            try:
                text = (place / name).read_bytes()[: 1 << 20].decode("utf-8", "replace")
            except OSError:
                continue
            if found := re.search(r'"transformers_version":\s*"(\d+)\.(\d+)', text):
                return int(found[1]), int(found[2])
    return None


def _state(folder: Path) -> Path | None:
    """The state in a folder, or in its newest checkpoint."""
    if (folder / NAME).is_file():
        return folder / NAME
    found = [(int(m[1]), p) for p in folder.glob(f"checkpoint-*/{NAME}") if (m := re.search(r"-(\d+)$", p.parent.name))]
    return max(found)[1] if found else None


def _open(path: Path, options: Options) -> TraceSource:
    found = _state(path) if path.is_dir() else path
    if found is None:
        raise TraceError(f"has no {NAME}, and no checkpoint that has one", source=options.name(path))
    return State(found, options)


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 0.9 if _state(path) is not None else 0.0
    if head.lstrip()[:1] != b"{":
        return 0.0
    return 0.95 if b'"log_history"' in head else 0.6 if path.name == NAME else 0.0


READER = Reader("trainer_state", _detect, _open)
