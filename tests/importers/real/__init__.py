"""The frameworks' own schedulers, stepped: one module each.

Each has ``VERSION``, ``CASES``, (name, parameters) as ``lrwatch.importers`` takes them, ``STEPS``, and
``values(name, params, steps)``: float64[steps], what the real class gives. Importing a module imports the framework.
Where a framework cannot be installed next to torch 2.13, only its scheduler's source file is loaded, with the few names
that it imports stubbed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

FRAMEWORKS = tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__"))
Case = tuple[str, dict[str, Any]]


def grid(name: str, **axes: Any) -> Iterator[Case]:
    """Every combination; what is not a list is the same in all of them."""
    listed = [v if isinstance(v, list) else [v] for v in axes.values()]
    for combination in product(*listed):
        yield name, dict(zip(axes, combination, strict=True))


def load(name: str) -> ModuleType:
    """A module of this package. Raises ImportError when its framework is not installed."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except importlib.metadata.PackageNotFoundError as e:
        raise ImportError(f"{e} is not installed") from None


def version(distribution: str) -> str:
    """``timm 1.0.31``."""
    return f"{distribution} {importlib.metadata.version(distribution)}"


def source_file(distribution: str, path: str) -> Path:
    """A file of an installed distribution, which is not imported."""
    return Path(str(importlib.metadata.distribution(distribution).locate_file(path)))


def execute(path: Path, name: str, stubs: Mapping[str, ModuleType]) -> ModuleType:
    """The module in a file, with stubs in place of what it imports, for as long as it is executed."""
    before = {key: sys.modules.get(key) for key in stubs}
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules.update(stubs)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        for key, value in before.items():
            sys.modules.pop(key)
            if value is not None:
                sys.modules[key] = value
    return module


def stub(name: str, **names: Any) -> ModuleType:
    """A module of these names and no others."""
    module = ModuleType(name)
    module.__dict__.update(names)
    module.__path__ = []  # so that it may have submodules
    return module
