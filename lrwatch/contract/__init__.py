"""The contract: what each signal must be at each point of the run."""

from __future__ import annotations

from lrwatch.contract.hash import Identity, compare
from lrwatch.contract.load import from_document, load
from lrwatch.contract.model import Contract

__all__ = ["Contract", "Identity", "compare", "from_document", "load"]
