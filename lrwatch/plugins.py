"""Plug-ins are files in a folder: a module registers itself by being there."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

SHARED = frozenset({"base"})
"""Module names in a plug-in folder that are not plug-ins themselves."""


@cache
def load(package: str, attribute: str) -> dict[str, Any]:
    """``{module name: module.attribute}`` for every plug-in module of ``package``, sorted by name.

    Raises ``AttributeError`` when a module of the folder does not define ``attribute``: a plug-in
    that is silently ignored would be a check that silently never runs.

    >>> "cosine" in load("lrwatch.schedules", "FAMILY")
    True
    """
    root = importlib.import_module(package)
    names = sorted(m.name for m in pkgutil.iter_modules(root.__path__) if m.name not in SHARED)
    return {name: getattr(importlib.import_module(f"{package}.{name}"), attribute) for name in names if name[0] != "_"}
