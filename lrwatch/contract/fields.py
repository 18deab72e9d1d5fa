"""Reading a mapping field by field: every value checked, every error located, every key accounted for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrwatch.contract.document import Lines
from lrwatch.errors import ContractError, did_you_mean

MISSING: Any = object()


class Fields:
    """One mapping of a contract document, read key by key.

    ``done()`` refuses what nobody asked for, with did-you-mean, so a misspelt key is never ignored.
    """

    def __init__(self, value: Any, path: str, lines: Lines, source: str):
        self.path, self.lines, self.source = path, lines, source
        if not isinstance(value, Mapping):
            raise self.error(f"must be a mapping, got {_show(value)}")
        self.value = value
        self.known: list[str] = []

    def error(self, message: str, key: str = "") -> ContractError:
        path = place = self.at(key)
        while place and place not in self.lines:  # what is not written has the line of what it is missing from
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return ContractError(message, source=self.source, path=path, line=self.lines.get(place))

    def at(self, key: str) -> str:
        if not key:
            return self.path
        return f"{self.path}.{key}" if self.path else key

    def raw(self, key: str, default: Any = MISSING) -> Any:
        self.known.append(key)
        if key not in self.value or self.value[key] is None:
            if default is MISSING:
                raise self.error(f"is missing{self._near_miss(key)}", key)
            return default
        return self.value[key]

    def _near_miss(self, key: str) -> str:
        hint = did_you_mean(key, [k for k in self.value if k not in self.known])
        return hint.replace("did you mean", "the file has").removesuffix("?") if "did you mean" in hint else ""

    def number(
        self,
        key: str,
        default: Any = MISSING,
        *,
        gt: float | None = None,
        ge: float | None = None,
        le: float | None = None,
    ) -> Any:
        """A finite float within bounds; ``default`` is returned as it is."""
        value = self.raw(key, default)
        return value if value is default else self.check_number(value, key, gt=gt, ge=ge, le=le)

    def check_number(
        self, value: Any, key: str, *, gt: float | None = None, ge: float | None = None, le: float | None = None
    ) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(f"must be a number, got {_show(value)}", key)
        for bound, fails, word in (
            (gt, gt is not None and value <= gt, ">"),
            (ge, ge is not None and value < ge, ">="),
            (le, le is not None and value > le, "<="),
        ):
            if fails and bound is not None:
                raise self.error(f"must be {word} {bound:g}, got {value:g}", key)
        return float(value)

    def count(self, key: str, default: Any = MISSING, *, ge: int = 1) -> Any:
        """A whole number of at least ``ge``."""
        value = self.raw(key, default)
        if value is default:
            return value
        number = self.check_number(value, key, ge=ge)
        if not number.is_integer():
            raise self.error(f"must be a whole number, got {value:g}", key)
        return int(number)

    def choice(self, key: str, choices: tuple[str, ...], default: Any = MISSING) -> Any:
        value = self.raw(key, default)
        if value is default:
            return value
        if value not in choices:
            raise self.error(f"must be one of {', '.join(choices)}; got {_show(value)}", key)
        return value

    def text(self, key: str, default: Any = MISSING) -> Any:
        value = self.raw(key, default)
        if value is default:
            return value
        if isinstance(value, (Mapping, list)):
            raise self.error(f"must be text, got {_show(value)}", key)
        if isinstance(value, (bool, float)):  # 1.10 would become 1.1
            raise self.error(f"must be text, got {_show(value)}; put it in quotes", key)
        return str(value)

    def flag(self, key: str, default: Any = MISSING) -> Any:
        value = self.raw(key, default)
        if value is not default and not isinstance(value, bool):
            raise self.error(f"must be true or false, got {_show(value)}", key)
        return value

    def items(self, key: str) -> list[tuple[Any, str]]:
        """The elements of a list (a single value counts as one), with their paths."""
        value = self.raw(key, [])
        if not isinstance(value, list):
            return [(value, self.at(key))]
        return [(v, f"{self.at(key)}[{i}]") for i, v in enumerate(value)]

    def sub(self, key: str, default: Any = MISSING) -> Fields:
        """The mapping under ``key``."""
        return Fields(self.raw(key, default), self.at(key), self.lines, self.source)

    def done(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self.value:
            if key not in self.known:
                raise self.error(f"is not a known key{did_you_mean(key, dict.fromkeys(self.known))}", key)


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
