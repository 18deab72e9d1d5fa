"""Checks, one rule per file. See ``base`` for what a check is."""

from __future__ import annotations

from lrwatch.checks.base import Check
from lrwatch.plugins import load


def checks() -> dict[str, type[Check]]:
    """Every check by its slug (``run_length`` in ``run_length.py`` is ``run-length``)."""
    return {name.replace("_", "-"): check for name, check in load("lrwatch.checks", "CHECK").items()}
