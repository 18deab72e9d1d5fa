"""The contract as a fault would have it read: with another value, phase or group."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrwatch.errors import LrwatchError

if TYPE_CHECKING:
    from lrwatch.contract import Contract


def phase_of(contract: Contract, at: int, fault: str) -> tuple[str, dict[str, Any]]:
    """Family and parameters of a phase as the contract's document has it."""
    schedule = contract.document["lr"]["schedule"]
    phase = schedule[at] if isinstance(schedule, list) else schedule
    if not isinstance(phase, dict):
        raise LrwatchError(f"--inject {fault}: the contract's {phase} schedule has nothing to be wrong about")
    family, params = next(iter(phase.items()))
    return str(family), dict(params or {})


def with_phase(contract: Contract, at: int, phase: Mapping[str, Any]) -> Contract:
    document = copy.deepcopy(dict(contract.document))
    schedule = document["lr"]["schedule"]
    if isinstance(schedule, list):
        schedule[at] = phase
    else:
        document["lr"]["schedule"] = phase
    return from_tree(document, contract)


def from_tree(document: Mapping[str, Any], contract: Contract) -> Contract:
    from lrwatch.contract import from_document

    return from_document(document, f"{contract.source} (rewritten by --inject)")


def rewritten(contract: Contract, values: Mapping[str, float]) -> Contract:
    """The contract as it would read with other values at ``section.key``."""
    document: dict[str, Any] = copy.deepcopy(dict(contract.document))
    for path, value in values.items():
        section, _, key = path.partition(".")
        document.setdefault(section, {})[key] = value
    return from_tree(document, contract)
