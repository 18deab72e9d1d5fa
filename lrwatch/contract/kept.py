"""The copy of a contract that a run keeps in its directory, so that whoever finds the run finds the promise.

``RUN_DIR/contract.yaml`` is what the run began with and is never overwritten; a resume under an amended contract, or a
worker that holds another one, adds ``contract-<first 8 of its hash>.yaml``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import yaml

from lrwatch.contract.hash import Identity, compare
from lrwatch.contract.load import load
from lrwatch.contract.model import Contract
from lrwatch.errors import ContractError

NAME: Final = "contract.yaml"


def keep(contract: Contract, run_dir: Path, beside: bool = False) -> Path:
    """Leave a copy, unless there is one; where it is. Never replaces a file. Raises OSError.

    ``beside``: it is not what the run began with, so ``contract.yaml`` is left to that.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    first, other = run_dir / NAME, run_dir / f"contract-{contract.sha256[:8]}.yaml"
    if _identity(first) == contract.identity or (not beside and _created(first, _text(contract))):
        return first
    _created(other, _text(contract))  # one that is there has the same hash, or somebody damaged it: it stays as it is
    return other


def kept(run_dir: Path, identity: str | None = None) -> Contract | None:
    """The contract in a run directory; None without one.

    Args:
        identity: that the run began with, as its trace records it; without it, or without a copy of it,
            ``contract.yaml`` counts. Of a contract and what amended it, the longest chain is the whole promise.

    Raises:
        ContractError: the one to be taken cannot be used.
    """
    copies = {path: known for path in sorted(run_dir.glob("contract*.yaml")) if (known := _identity(path))}
    first = run_dir / NAME
    begun = Identity.parse(identity) if identity else copies.get(first)
    if begun not in copies.values():
        begun = copies.get(first)
    if begun is None:
        return load(first) if first.is_file() else None  # and say what is wrong with it
    chain = {path: known for path, known in copies.items() if compare(begun, known) in ("same", "amended")}
    return load(max(chain, key=lambda path: len(chain[path].chain)))


def _created(path: Path, text: bytes) -> bool:
    """Whether the file is now there with this text; False when another one is."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_bytes(text)
        os.link(part, path)  # unlike a rename it fails where the name is taken, and nobody sees half a file
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


def _text(contract: Contract) -> bytes:
    """The file it was read from, comments and all, if that still says the same; else its plain data."""
    if _identity(Path(contract.source)) == contract.identity:
        return Path(contract.source).read_bytes()
    return yaml.safe_dump(dict(contract.document), sort_keys=False, allow_unicode=True).encode()


def _identity(path: Path) -> Identity | None:
    try:
        return load(path).identity if path.is_file() else None
    except (ContractError, OSError, ValueError):
        return None
