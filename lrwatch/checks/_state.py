"""The state of a check as plain data and back, so that it outlives its process in a checkpoint or a JSON file.

Numbers, text, None and lists stay what they are; the rest becomes a mapping that names its kind. Dataclasses are the
only objects: reading a state back can make one of lrwatch's own and do nothing else, so it need not be trusted.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections import Counter
from typing import Any

import numpy as np

from lrwatch.errors import LrwatchError

_KIND = "~"
_MAPPINGS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "Counter": Counter}


def pack(value: Any) -> Any:
    """Plain data that says what ``value`` is.

    >>> pack({(0, 1): Counter(a=2)})
    {'~': 'dict', 'of': [[{'~': 'tuple', 'of': [0, 1]}, {'~': 'Counter', 'of': [['a', 2]]}]]}
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [pack(v) for v in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {_KIND: type(value).__name__, "of": [pack(v) for v in value]}
    if isinstance(value, np.ndarray):
        return {_KIND: "array", "dtype": str(value.dtype), "of": value.tolist()}
    if isinstance(value, dict):
        return {_KIND: type(value).__name__, "of": [[pack(k), pack(v)] for k, v in value.items()]}
    fields = {f.name: pack(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return {_KIND: f"{type(value).__module__}:{type(value).__qualname__}", "of": fields}


def unpack(data: Any) -> Any:
    """What ``pack`` was given. Raises LrwatchError: names something that no state is made of."""
    if isinstance(data, list):
        return [unpack(v) for v in data]
    if not isinstance(data, dict):
        return data
    kind: str = str(data.get(_KIND))
    of: Any = data.get("of")
    if kind == "array":
        return np.array(of, dtype=data["dtype"])
    if kind in ("tuple", "set", "frozenset"):
        made = {"tuple": tuple, "set": set, "frozenset": frozenset}[kind]
        return made(unpack(v) for v in of)
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]({unpack(k): unpack(v) for k, v in of})
    return _dataclass(kind)(**{name: unpack(v) for name, v in of.items()})


def _dataclass(kind: str) -> Any:
    module, _, name = kind.partition(":")
    if module.startswith("lrwatch."):
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            return found
    raise LrwatchError(f"a saved state names {kind}, which no state is made of; start without it")
