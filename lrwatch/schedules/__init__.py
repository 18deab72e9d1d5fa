"""Schedule families, one per file. See ``base`` for what a family is."""

from __future__ import annotations

from lrwatch.plugins import load
from lrwatch.schedules.base import Family


def families() -> dict[str, Family]:
    """Every family by the name that contracts use."""
    return load("lrwatch.schedules", "FAMILY")
