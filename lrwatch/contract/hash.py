"""Identity of a contract: a hash of what it says, not of how it is written.

The base hash is SHA-256 over canonical JSON of the document without its amendments: keys sorted, no
spaces, numbers by value (``3e-4``, ``0.0003`` and ``3.0E-4`` are one). Each amendment extends a chain,
``c[i] = SHA-256(c[i-1] + canonical(amendment[i]))``, so a longer chain that begins with another's is the same
contract *amended*, and anything else is a *mismatch*.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Identity:
    """Base hash and one hash per amendment, hexadecimal.

    ``str()`` joins them with ``+``; ``Identity.parse`` reads that back.
    """

    base: str
    chain: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """One hash for the whole: the chain's last, else the base."""
        return self.chain[-1] if self.chain else self.base

    def __str__(self) -> str:
        return "+".join((self.base, *self.chain))

    @classmethod
    def parse(cls, text: str) -> Identity:
        base, *chain = text.split("+")
        return cls(base, tuple(chain))


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, every number by its value.

    >>> canonical({"b": 2, "a": 2.0})
    '{"a":2,"b":2}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value]


def identify(document: Mapping[str, Any]) -> Identity:
    """The identity of a parsed contract document."""
    amendments: Any = document.get("amendments") or ()
    if isinstance(amendments, Mapping):  # a single one, which needs no list
        amendments = (amendments,)
    base = _sha(canonical({k: v for k, v in document.items() if k != "amendments"}))
    chain: list[str] = []
    for amendment in amendments:
        chain.append(_sha((chain[-1] if chain else base) + canonical(amendment)))
    return Identity(base, tuple(chain))


def compare(a: Identity, b: Identity) -> Literal["same", "amended", "mismatch"]:
    """``same``, ``amended`` (one chain begins with the other) or ``mismatch``."""
    if a == b:
        return "same"
    short, long = sorted((a.chain, b.chain), key=len)
    return "amended" if a.base == b.base and long[: len(short)] == short else "mismatch"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
