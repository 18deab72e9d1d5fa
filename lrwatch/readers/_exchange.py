"""A trace as one table, nothing lost: what ``lrwatch trace convert`` writes and the table readers recognise.

One row per row, and one per event; columns ``rank``, ``segment``, ``event``, ``fields``, then those of the trace:

======== ==========================================================================================================
event    empty: a row of the trace · the kind of an event, whose content is the JSON object in ``fields`` ·
         ``about``: what ``fields`` says holds for the rows of this rank and segment from here on
======== ==========================================================================================================

``about`` has ``lr_read``, ``origin_known``, ``thinned``, ``world``, ``quantum`` and ``digits`` of the chunks. A value
that is missing is null (an empty cell), NaN is NaN.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np

from lrwatch.trace.model import COUNTERS, Array, Chunk, Damage, Event, EventKind, Item

LEADING: Final = ("rank", "segment", "event", "fields")
ABOUT: Final = "about"
MARK: Final = "lrwatch_trace"
"""Key of a file's metadata that says it is such a table; its value is the version."""
VERSION: Final = "1"
_KINDS: Final = frozenset(get_args(EventKind))


@dataclass(frozen=True)
class Rows:
    """Rows of such a table that stand together: of one rank and segment, or one event.

    Attributes:
        columns: trace column → values[n]; missing: trace column → bool[n], where some are.
    """

    n: int
    rank: int
    segment: int
    columns: Mapping[str, Array]
    missing: Mapping[str, Array]
    event: str = ""
    fields: str = ""


def encode(items: Iterable[Item]) -> Iterator[Rows | Damage]:
    """The rows of the table; damage as it is."""
    told: dict[tuple[int, int], str] = {}
    for item in items:
        if isinstance(item, Damage):
            yield item
        elif isinstance(item, Event):
            columns = {"update": np.array([item.update])} | ({} if item.ts is None else {"ts": np.array([item.ts])})
            yield Rows(1, item.rank, item.segment, columns, {}, item.kind, json.dumps(dict(item.fields), default=str))
        elif len(item):
            about, key = _about(item), (item.rank, item.segment)
            if told.get(key) != about:
                told[key] = about
                update = item.columns["update"][:1]
                yield Rows(1, item.rank, item.segment, {"update": update}, {}, ABOUT, about)
            columns = {name: column for name, column in item.columns.items() if name != "line"}
            yield Rows(len(item), item.rank, item.segment, columns, item.missing)


def _about(chunk: Chunk) -> str:
    known = {
        "lr_read": chunk.lr_read,
        "origin_known": chunk.origin_known,
        "thinned": chunk.thinned,
        "world": chunk.world,
        "quantum": dict(chunk.quantum),
        "digits": dict(chunk.digits),
    }
    return json.dumps(known, sort_keys=True)


class Decoder:
    """Such a table → items."""

    def __init__(self, name: str):
        self.name = name
        self.about: dict[tuple[int, int], dict[str, Any]] = {}

    def items(
        self,
        ranks: Array,
        segments: Array,
        events: Sequence[str],
        fields: Mapping[int, str],
        columns: Mapping[str, Array],
        missing: Mapping[str, Array],
        lines: Array,
    ) -> Iterator[Item]:
        """The items of some rows. events: its text for each row; fields: row → its text, where there is an event."""
        n = len(ranks)
        special = np.array([bool(event) for event in events], dtype=bool)
        cut = np.flatnonzero((np.diff(ranks) != 0) | (np.diff(segments) != 0) | special[1:] | special[:-1]) + 1
        for start, stop in zip([0, *cut.tolist()], [*cut.tolist(), n], strict=True):
            if stop == start:
                continue
            key = int(ranks[start]), int(segments[start])
            if special[start]:
                yield from self._event(events[start], fields.get(start, ""), key, columns, missing, start, lines)
                continue
            rows = slice(start, stop)
            have = {c: m[rows] for c, m in missing.items()}
            kept = [c for c in columns if c == "update" or c not in have or not have[c].all()]
            yield replace(
                Chunk(
                    {**{c: columns[c][rows] for c in kept}, "line": lines[rows]},
                    rank=key[0],
                    segment=key[1],
                    missing={c: have[c] for c in kept if c in have and have[c].any()},
                    source=self.name,
                ),
                **self.about.get(key, {}),
            )

    def _event(
        self,
        kind: str,
        text: str,
        key: tuple[int, int],
        columns: Mapping[str, Array],
        missing: Mapping[str, Array],
        row: int,
        lines: Array,
    ) -> Iterator[Item]:
        line = int(lines[row])
        try:
            content = json.loads(text or "{}")
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or kind not in (*_KINDS, ABOUT):
            what = f"fields of {kind!r} are no JSON object" if kind in (*_KINDS, ABOUT) else f"unknown event {kind!r}"
            yield Damage("not_a_row", self.name, line, what, key[0])
        elif kind == ABOUT:
            self.about[key] = _known(content)
        else:
            ts = None
            if "ts" in columns and not ("ts" in missing and missing["ts"][row]):
                ts = float(columns["ts"][row])
            update = int(columns["update"][row])
            yield Event(kind, update, *key, ts, content, self.name, line)  # type: ignore[arg-type]


def _known(content: Mapping[str, Any]) -> dict[str, Any]:
    """What ``about`` says, as far as it can be used."""
    result: dict[str, Any] = {}
    if content.get("lr_read") in ("used", "after", "unknown"):
        result["lr_read"] = content["lr_read"]
    for name in ("origin_known", "thinned"):
        if isinstance(content.get(name), bool):
            result[name] = content[name]
    if isinstance(content.get("world"), int):
        result["world"] = content["world"]
    for name, kind in (("quantum", float), ("digits", int)):
        if isinstance(values := content.get(name), dict):
            result[name] = {str(k): kind(v) for k, v in values.items() if isinstance(v, int | float)}
    return result


def is_whole(column: str) -> bool:
    """Whether a trace column counts (int64); the others are float64."""
    return column in COUNTERS
