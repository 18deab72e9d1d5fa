"""A contract document in which every derived value says where it is from, and how it is written down."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrwatch.contract import Contract, from_document
from lrwatch.importers._parts import Schedule, tidy

WIDTH = 120
_PLAIN = re.compile(r"[A-Za-z_][\w./+-]*( [\w./+-]+)*|[\d.]+%")
_NUMBER_LIKE = re.compile(r"[-+.\d]|(true|false|null|yes|no|on|off|nan|inf)$", re.IGNORECASE)


@dataclass(frozen=True)
class Noted:
    """A value and where it is from."""

    value: Any
    why: str = ""


@dataclass(frozen=True)
class Imported:
    """A contract as an importer derived it.

    Attributes:
        tree: the document, with ``Noted`` values in it. source: what it was made from. notes: sentences for the top of
            the file: what was not said, and what the contract can therefore not prove.
    """

    tree: Mapping[str, Any]
    source: str
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The document without its notes."""
        document: dict[str, Any] = _plain(self.tree)
        return document

    def contract(self) -> Contract:
        """The contract. Raises ContractError, located in the document, if the source led to an impossible one."""
        return from_document(self.plain(), source=self.source)

    def yaml(self) -> str:
        """The document as YAML, a comment on every derived value."""
        head = [f"Imported from {self.source}.", *self.notes]
        lines = [line for text in head for line in textwrap.wrap(" ".join(text.split()), WIDTH - 2)]
        return "".join(f"# {line}\n" for line in lines) + "\n".join(_block(self.tree, "")) + "\n"


@dataclass(frozen=True)
class Group:
    """A parameter group that differs from the first one: by its base alone, or by its whole schedule."""

    schedule: Schedule
    own: bool
    why: str = ""


@dataclass(frozen=True)
class Clock:
    """The clock of an imported contract, and what it needs to know about batches."""

    axis: Noted = Noted("update")
    counts: Noted | None = None
    horizon: Noted | None = None
    ticks: Noted | None = None
    batch: Mapping[str, Noted] = field(default_factory=dict)


def document(
    source: str,
    clock: Clock,
    signals: Mapping[str, Schedule],
    *,
    experiment: Noted | None = None,
    groups: Mapping[str, Mapping[str, Group]] | None = None,
    notes: tuple[str, ...] = (),
) -> Imported:
    """The document of one contract.

    Args:
        source: what it is made from. clock: what its schedules count. signals: ``lr`` and what goes with it.
        groups: signal → group name → how it differs. notes: see ``Imported``.
    """
    unnamed = Noted("", "the source names none: any run; give it a name and traces of others are refused")
    horizon = tidy(clock.horizon.value) if clock.horizon else None
    tree: dict[str, Any] = {"lrwatch": 1, "experiment": experiment or unnamed}
    tree["clock"] = {key: value for key in ("axis", "counts", "horizon", "ticks") if (value := getattr(clock, key))}
    if clock.batch:
        tree["batch"] = dict(clock.batch)
    for name, schedule in signals.items():
        tree[name] = _signal(schedule, horizon) | _groups((groups or {}).get(name, {}), horizon)
    return Imported(tree, source, notes)


def _signal(schedule: Schedule, horizon: float | None) -> dict[str, Any]:
    signal: dict[str, Any] = {"base": Noted(tidy(schedule.base), schedule.why), "schedule": phases(schedule, horizon)}
    if schedule.dtype != "float64":
        signal["dtype"] = Noted(schedule.dtype, "what the framework computes in")
        if schedule.recursive:
            signal["recursive"] = Noted(True, "each value is computed from the last one, so rounding accumulates")
    return signal


def phases(schedule: Schedule, horizon: float | None) -> list[Noted]:
    """The phases; a last one that ends with the run says so, so that an amended horizon moves it."""
    result, start = [], 0.0
    for i, part in enumerate(schedule.parts):
        params = dict(part.params)
        last = i == len(schedule.parts) - 1
        if last and part.duration is not None and horizon is not None and start + part.duration == horizon:
            params = {k: v for k, v in params.items() if k != "for"} | {"until": "horizon"}
        start += part.duration or 0.0
        result.append(Noted({part.family: params}, part.why))
    return result


def _groups(groups: Mapping[str, Group], horizon: float | None) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, group in groups.items():
        entries[name] = {"base": Noted(tidy(group.schedule.base), group.why or group.schedule.why)}
        if group.own:
            entries[name]["schedule"] = phases(group.schedule, horizon)
    return {"groups": entries} if entries else {}


def _plain(node: Any) -> Any:
    if isinstance(node, Noted):
        return _plain(node.value)
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, (list, tuple)) else node


def _block(node: Any, indent: str) -> Iterator[str]:
    """Mappings and lists of phases over several lines, everything else on one, with its comment."""
    for key, value in node.items():
        value, why = (value.value, value.why) if isinstance(value, Noted) else (value, "")
        if isinstance(value, Mapping) and value and not why:
            yield f"{indent}{_scalar(key)}:"
            yield from _block(value, indent + "  ")
        elif isinstance(value, list) and any(isinstance(v, Noted) for v in value):
            yield f"{indent}{_scalar(key)}:"
            for item in value:
                yield from _line(f"{indent}- ", item.value, item.why)
        else:
            yield from _line(f"{indent}{_scalar(key)}: ", value, why)


def _line(head: str, value: Any, why: str) -> Iterator[str]:
    text, comment = head + flow(value), f"# {' '.join(why.split())}"
    if not why:
        yield from _wrapped(text, len(head) - len(head.lstrip()) + 2)
    elif len(text) + len(comment) + 2 <= WIDTH:
        yield f"{text}  {comment}"
    else:
        indent = " " * (len(head) - len(head.lstrip()))
        yield from (f"{indent}# {line}" for line in textwrap.wrap(comment[2:], WIDTH - len(indent) - 2))
        yield from _wrapped(text, len(indent) + 2)


def _wrapped(text: str, indent: int) -> Iterator[str]:
    """A long flow list over several lines; breaks only after commas, which no scalar here contains unquoted."""
    if len(text) <= WIDTH:
        yield text
        return
    line = ""
    for piece in re.split(r"(?<=,) (?=[^ \"]*[\d{\[a-z])", text):
        if line and len(line) + 1 + len(piece) > WIDTH:
            yield line
            line = " " * indent + piece
        else:
            line = f"{line} {piece}" if line else piece
    yield line


def flow(value: Any) -> str:
    """Plain data on one line of YAML.

    >>> flow({"from": 0.0, "to": 3e-05, "for": 200, "min": "10%", "metric": "val: loss"})
    '{from: 0.0, to: 3.0e-05, for: 200, min: 10%, metric: "val: loss"}'
    """
    value = value.value if isinstance(value, Noted) else value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {flow(v)}" for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text  # YAML 1.1 wants the point
    if not isinstance(value, str):
        return str(value)
    plain = _PLAIN.fullmatch(value) and (value.endswith("%") or not _NUMBER_LIKE.match(value))
    return value if plain else json.dumps(value, ensure_ascii=False)
