"""What an importer is: a framework's file → a contract in which every derived value says where it is from.

An importer is a module in this folder, named as the framework, that defines ``IMPORTER``. It never guesses: what
changes the schedule but is not in the source is asked for by a flag that the error names. Nothing is unpickled, and
nothing of the source is executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast

import yaml

from lrwatch.errors import ContractError
from lrwatch.importers._document import Imported, Noted

LARGEST: Final = 1 << 24
"""Bytes of a source that are read."""
MOST_NODES: Final = 1_000_000
"""Values of a source, aliases followed."""
_PICKLES: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

Stepped = Literal["update", "attempt", "epoch"]


@dataclass(frozen=True)
class Options:
    """What the user said besides the source; None is not said.

    Attributes:
        experiment: the contract's name. lr: the optimizer's learning rate. scheduler: its name, as the framework calls
            it. warmup: updates of the warm-up. steps: updates of the whole run. steps_per_epoch: updates of an epoch.
        dataset_size: training samples. world_size: processes. accumulate: micro-batches per update.
        batch_size: samples per update over all processes. stepped: who steps the scheduler: once per applied
            ``update``, per ``attempt`` (applied or skipped) or per ``epoch``.
        values: keys of the source that are to be read as if it had them (``--set``).
    """

    experiment: str | None = None
    lr: float | None = None
    scheduler: str | None = None
    warmup: float | None = None
    steps: int | None = None
    steps_per_epoch: int | None = None
    dataset_size: int | None = None
    world_size: int | None = None
    accumulate: int | None = None
    batch_size: int | None = None
    stepped: Stepped | None = None
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Source:
    """A file as an importer sees it."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return str(self.path)

    def error(self, problem: str, key: str = "") -> ContractError:
        """``args.json: max_steps: is -1 …``."""
        return ContractError(problem, source=self.name, path=key)

    def need(self, value: Any, flag: str, why: str) -> Any:
        """What only the user knows. Raises ContractError naming the flag when it was not given."""
        if value is None:
            raise self.error(f"{why}; pass {flag}")
        return value

    def json(self) -> Any:
        """The file as JSON. Raises ContractError: not JSON, and where."""
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as e:
            raise ContractError(f"is not JSON: {e.msg}", source=self.name, line=e.lineno) from None

    def yaml(self) -> Any:
        """The file as YAML (JSON is YAML, too): plain data, 3e-4 a number. Raises ContractError: not YAML."""
        try:
            tree = yaml.safe_load(self.text)
            if _size(tree, {}) > MOST_NODES:
                raise self.error(f"grows to more than {MOST_NODES:,} values by its aliases; write them out")
            return plain_numbers(tree)
        except yaml.YAMLError as e:
            mark = getattr(e, "problem_mark", None)
            problem = getattr(e, "problem", None) or str(e).splitlines()[0]
            line = mark.line + 1 if mark else None
            raise ContractError(f"is not YAML: {problem}", source=self.name, line=line) from None


@dataclass(frozen=True)
class Importer:
    """A framework's files.

    Attributes:
        name: as in ``--from``; equals the module's name. what: the files, for the help.
        detect: source → 0: it is not one of them, 1: it certainly is.
        convert: (source, options) → the contract's document; raises ContractError.
    """

    name: str
    what: str
    detect: Callable[[Source], float]
    convert: Callable[[Source, Options], Imported]


class Config:
    """A mapping of a source, read key by key; keys of ``--set`` come first.

    Example:
        >>> config = Config({"lr": "3e-4"}, Source(Path("args.yaml"), ""), {})
        >>> config.number("lr")
        0.0003
    """

    def __init__(self, tree: Any, source: Source, values: Mapping[str, Any], path: str = ""):
        if not isinstance(tree, Mapping):
            raise source.error("must be a mapping", path)
        self.tree, self.source, self.values, self.path = tree, source, values, path

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where it is missing or null."""
        here = f"{self.path}.{key}" if self.path else key
        value = self.values[here] if here in self.values else self.tree.get(key)
        return default if value is None else value

    def has(self, key: str) -> bool:
        return self.get(key) is not None

    def number(self, key: str, default: float | None = None) -> float:
        """A number. Raises ContractError: missing (naming --set) or not a number."""
        value = self.get(key, default)
        here = f"{self.path}.{key}" if self.path else key
        if value is None:
            raise self.source.error(f"is missing; pass --set {here}=…", here)
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.source.error(f"must be a number, got {self.get(key)!r}", here)
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        value = self.number(key, default)
        if value != int(value):
            raise self.source.error(f"must be a whole number, got {value!r}", key)
        return int(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.source.error(f"must be true or false, got {value!r}", key)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self.get(key, default)
        here = f"{self.path}.{key}" if self.path else key
        if value is None:
            raise self.source.error(f"is missing; pass --set {here}=…", here)
        return str(value)

    def sub(self, key: str) -> Config:
        """The mapping under a key; an empty one where it is missing."""
        here = f"{self.path}.{key}" if self.path else key
        return Config(self.get(key, {}), self.source, self.values, here)

    def given(self) -> dict[str, Any]:
        """Every key that has a value, those of ``--set`` included."""
        prefix = f"{self.path}." if self.path else ""
        said = {k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)}
        return {k: v for k, v in {**self.tree, **said}.items() if v is not None and "." not in k}


def read(path: str | Path) -> Source:
    """A source. Raises ContractError: no such file, or one that could run code when it is read."""
    where = Path(path)
    try:
        with where.open("rb") as file:
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise ContractError("is a directory; give one file of it", source=str(path)) from None
    except OSError as e:
        raise ContractError(f"cannot be read: {e.strerror}", source=str(path)) from None
    if data.startswith(_PICKLES):
        what = "is a pickle, which can run code when it is read, so lrwatch does not; save it as JSON instead"
        raise ContractError(f"{what} (Trainer: args.to_json_string())", source=str(path))
    if len(data) > LARGEST:
        raise ContractError(f"is larger than {LARGEST} bytes; give a configuration file", source=str(path))
    try:
        return Source(where, data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ContractError("is not text; give a configuration file", source=str(path)) from None


def experiment(options: Options, found: str | None, key: str) -> Noted | None:
    """The contract's name: from the option, else what the source calls it."""
    if options.experiment is not None:
        return Noted(options.experiment)
    return Noted(found, key) if found else None


def _number(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value


def _size(node: Any, known: dict[int, int]) -> int:
    """The values below a node, those of aliases counted each time; takes as long as the text is."""
    if not isinstance(node, (dict, list)):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_NODES  # one that contains itself never ends
        below = node.values() if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_size(value, known) for value in below)
    return known[id(node)]


def plain_numbers(node: Any) -> Any:
    """Numbers that YAML 1.1 reads as text (3e-4) as numbers."""
    if isinstance(node, dict):
        return {key: plain_numbers(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain_numbers(value) for value in node]
    if isinstance(node, str) and node[:1] in "+-.0123456789" and "e" in node.lower():
        return cast(Any, _number(node))
    return node
