"""YAML text → plain data with line numbers, and nothing else that YAML can do.

Refused, because a contract never needs them and each has hurt somebody: aliases (they can grow a small
file to gigabytes), tags, duplicate keys (the last one would win silently), numbers beyond float64, more than
1 MiB, more than 24 levels. ``3e-4`` is a number here, although YAML 1.1 reads it as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import yaml

from lrwatch.errors import ContractError

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_INT = re.compile(r"[-+]?\d[\d_]*$")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}

Lines = dict[str, int]
"""Path of a value (``lr.schedule[1].cosine``) → its line, 1-based."""


def read(path: str | Path) -> str:
    """The text of a contract file. Raises ContractError with the remedy when there is none."""
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ContractError("no such file; give the path of a contract in YAML", source=source) from None
    except IsADirectoryError:
        raise ContractError("is a directory; give the path of a contract in YAML", source=source) from None
    except OSError as e:
        raise ContractError(f"cannot be read: {e.strerror}", source=source) from None
    except ValueError as e:  # a zero byte in the path
        raise ContractError(f"cannot be read: {e}", source=source) from None
    if len(data) > MAX_BYTES:
        raise ContractError(f"is larger than {MAX_BYTES} bytes; give the path of a contract in YAML", source=source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ContractError(
            f"is not text (byte {e.start} is not UTF-8); give a contract in YAML", source=source
        ) from None


def parse(text: str, source: str = "contract") -> tuple[dict[str, Any], Lines]:
    """A mapping of plain data and the line of every value in it.

    Raises ContractError: not YAML, empty, not a mapping, or one of the refused features.
    """
    lines: Lines = {}
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        raise ContractError(f"is not YAML: {problem}", source=source, line=mark.line + 1 if mark else None) from None
    except _Refused as e:
        raise ContractError(e.args[0], source=source, line=e.args[1]) from None
    if root is None:
        raise ContractError("is empty; `lrwatch explain contract` shows one to start from", source=source)
    value = _build(root, "", lines, source)
    if not isinstance(value, dict):
        raise ContractError("must be a mapping with lrwatch, experiment, clock and lr", source=source, line=1)
    return value, lines


def plain(value: Any, source: str = "contract", path: str = "", depth: int = 1) -> Any:
    """A copy of plain data in the types that ``parse`` gives: tuples as lists, whole-number keys as text.

    Raises ContractError: something that YAML without tags cannot say, a number beyond float64, or too many levels.
    """
    if depth > MAX_DEPTH:
        raise ContractError(f"is nested deeper than {MAX_DEPTH} levels", source=source)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Real):
        return _finite(int(value) if isinstance(value, Integral) else float(value), source, path, None)
    if isinstance(value, (list, tuple)):
        return [plain(v, source, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
    if not isinstance(value, Mapping):
        what = f"must be plain data (numbers, text, true, false, lists, mappings), got {type(value).__name__}"
        raise ContractError(what, source=source, path=path)
    result: dict[str, Any] = {}
    for key, child in value.items():
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise ContractError(f"keys must be plain words, got {key!r}", source=source, path=path)
        here = f"{path}.{key}" if path else str(key)
        if str(key) in result:
            raise ContractError("is given twice; keep one", source=source, path=here)
        result[str(key)] = plain(child, source, here, depth + 1)
    return result


def _finite(number: int | float, source: str, path: str, line: int | None) -> int | float:
    try:
        if math.isfinite(number):
            return number
    except OverflowError:  # a whole number beyond the largest float64
        pass
    raise ContractError("must be a finite number", source=source, path=path, line=line)


class _Refused(Exception):
    pass


class _Loader(yaml.SafeLoader):
    """Stops at the first alias or too deep a level, before anything can grow."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _Refused("aliases (*name) are not allowed in a contract; write the value out", line)
        if getattr(event, "tag", None) is not None:
            raise _Refused("tags (!name) are not allowed in a contract; leave it out", line)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(f"is nested deeper than {MAX_DEPTH} levels", line)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _build(node: Any, path: str, lines: Lines, source: str) -> Any:
    line = node.start_mark.line + 1
    lines[path] = line
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path, source)
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, f"{path}[{i}]", lines, source) for i, child in enumerate(node.value)]
    result: dict[str, Any] = {}
    for key_node, child in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ContractError("keys must be plain words", source=source, path=path, line=line)
        key = str(key_node.value)
        here = f"{path}.{key}" if path else key
        if key in result:
            raise ContractError("is given twice; keep one", source=source, path=here, line=key_node.start_mark.line + 1)
        result[key] = _build(child, here, lines, source)
    return result


def _scalar(node: yaml.ScalarNode, path: str, source: str) -> Any:
    text, line = str(node.value), node.start_mark.line + 1
    if node.style in ("'", '"', "|", ">"):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if not _FLOAT.match(text):
        return text
    number = _finite(float(text.replace("_", "")), source, path, line)
    return int(text.replace("_", "")) if _INT.match(text) else number
