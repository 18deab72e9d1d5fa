"""The house keeps its order: imports point downward, plug-ins stay apart, third parties stay at home."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lrwatch"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("assets", "plugins"),
    ("schedules",),
    ("contract",),
    ("curve",),
    ("trace",),
    ("findings", "metrics", "tolerance"),
    ("checks", "diagnosis"),
    ("result", "expectation"),
    ("exhibits",),
    ("engine",),
    ("verify",),
    ("diff", "infer", "lint", "ledger"),
    ("importers", "readers", "report"),
    ("convert",),
    ("agent",),
    ("tail", "ship"),
    ("integrations", "ops", "top"),
    ("trainer",),
    ("gameday",),
    ("cli",),
)
"""Each may import what stands above it in this table and its own folder; not its neighbours on a line."""

PLUGINS = frozenset({"checks", "cli", "importers", "integrations", "lint", "readers", "report", "schedules"})
"""Folders in which a file is a plug-in: siblings never import each other, only ``base`` or a ``_private`` module."""

ANYWHERE = ("",)
HOMES: dict[str, tuple[str, ...]] = {
    "numpy": ANYWHERE,
    "click": ("cli",),
    "cryptography": ("contract.signature",),
    "grafana_client": ("ops.grafana",),
    "grafana_foundation_sdk": ("ops.dashboards.build",),
    "rich": ("top",),
    "prometheus_client": ("agent.exporter", "agent.ledger_exporter", "top.scrape"),
    "torch": ("agent.device", "importers", "integrations", "trainer"),
    "yaml": ("cli", "contract", "importers", "ops"),
    "accelerate": ("importers", "integrations"),
    "deepspeed": ("importers", "integrations"),
    "keras": ("importers", "integrations"),
    "lightning": ("importers", "integrations"),
    "transformers": ("importers", "integrations"),
    "polars": ("readers",),
    "pyarrow": ("convert", "readers"),
    "tensorboard": ("readers.tensorboard",),
    "wandb": ("readers.wandb",),
    "zstandard": ("readers",),
}
"""Third party -> the modules (with all below them) that may import it, even inside a function."""

RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
DYNAMIC = frozenset({"__import__", "import_module", "load"})
"""Calls whose first argument, a literal, names a module to import."""


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str, str]]:
    """``(line, module, name)`` of every import in ``module``; ``name`` is empty but in ``from … import``."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name, "") for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                parts = module.split(".")
                above = parts[: len(parts) - level + is_package] if level else []
                origin = ".".join([*above, *([origin] if origin else [])])
                yield from ((node.lineno, origin, alias.name) for alias in names)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(origin)), *_]
            ) if called in DYNAMIC and (origin.startswith("lrwatch.") or called != "load"):
                yield node.lineno, origin, ""


def violations(package: Path) -> list[str]:
    """What breaks the order of the house in a package directory, one sentence per import."""
    modules = {
        ".".join(("lrwatch", *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
    }
    found: dict[str, None] = {}  # in order, each once
    for module, path in modules.items():
        where, layer = path.relative_to(package.parent), [*module.split("."), ""][1]
        if layer not in RANK and layer not in ("", "__main__"):
            found[f"{where}: {layer} has no layer; give it one in LAYERS of tests/test_layers.py"] = None
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, origin, name in imports(tree, module, path.name == "__init__.py"):
            target = f"{origin}.{name}" if f"{origin}.{name}" in modules else origin
            if problem := judge(module, target, name):
                found[f"{where}:{line}: {problem}"] = None
    return list(found)


def judge(module: str, target: str, name: str) -> str | None:
    """What is wrong with ``module`` importing ``target`` (``name`` of it), or None."""
    inside = module.partition(".")[2]
    top = target.split(".")[0]
    if top != "lrwatch":
        return judge_third_party(inside, top)
    own, own_unit, *_ = [*inside.split("."), ""]
    layer, unit, *_ = [*target.split(".")[1:], "", ""]
    if own not in RANK:
        return None  # lrwatch/__init__.py and __main__.py stand above everything
    if not layer:
        return None if name == "__version__" else f"imports {name or 'all'} of lrwatch; import the module that has it"
    if layer != own:
        higher = RANK.get(layer, len(LAYERS)) >= RANK[own]
        return f"{own} imports {target}, which does not stand below {own}" if higher else None
    if own in PLUGINS and own_unit and unit != own_unit and unit != "base" and not unit.startswith("_"):
        return f"plug-in {own}.{own_unit} imports its sibling {target}; what they share belongs in {own}/base.py"
    return None


def judge_third_party(inside: str, top: str) -> str | None:
    """What is wrong with the module ``inside`` importing the distribution ``top``, or None."""
    if top in sys.stdlib_module_names:
        return None
    if top not in HOMES:
        return f"imports {top}, which has no home; give it one in HOMES of tests/test_layers.py"
    if any(home == "" or f"{inside}.".startswith(f"{home}.") for home in HOMES[top]):
        return None
    return f"imports {top}, which only {', '.join(HOMES[top])} may do"


def test_imports_keep_the_order_of_the_house() -> None:
    found = violations(PACKAGE)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("schedules/bad.py", "from lrwatch.engine import Session",
         "lrwatch/schedules/bad.py:1: schedules imports lrwatch.engine, which does not stand below schedules"),
        ("schedules/bad.py", "\ndef f():\n    import lrwatch.cli.plan",
         "lrwatch/schedules/bad.py:3: schedules imports lrwatch.cli.plan, which does not stand below schedules"),
        ("metrics.py", "from lrwatch import findings",
         "lrwatch/metrics.py:1: metrics imports lrwatch.findings, which does not stand below metrics"),
        ("curve.py", "from .trace import model",
         "lrwatch/curve.py:1: curve imports lrwatch.trace.model, which does not stand below curve"),
        ("contract/bad.py", "from lrwatch.plugins import load\nload('lrwatch.checks', 'CHECK')",
         "lrwatch/contract/bad.py:2: contract imports lrwatch.checks, which does not stand below contract"),
        ("checks/bad.py", "from lrwatch.checks.frozen import x",
         "lrwatch/checks/bad.py:1: plug-in checks.bad imports its sibling lrwatch.checks.frozen; "
         "what they share belongs in checks/base.py"),
        ("checks/bad.py", "from . import frozen",
         "lrwatch/checks/bad.py:1: plug-in checks.bad imports its sibling lrwatch.checks.frozen; "
         "what they share belongs in checks/base.py"),
        ("checks/bad.py", "from lrwatch.checks import checks",
         "lrwatch/checks/bad.py:1: plug-in checks.bad imports its sibling lrwatch.checks; "
         "what they share belongs in checks/base.py"),
        ("engine.py", "from lrwatch import watch",
         "lrwatch/engine.py:1: imports watch of lrwatch; import the module that has it"),
        ("surprise.py", "import lrwatch.errors",
         "lrwatch/surprise.py: surprise has no layer; give it one in LAYERS of tests/test_layers.py"),
        ("agent/worker.py", "def f():\n    import torch.nn",
         "lrwatch/agent/worker.py:2: imports torch, which only agent.device, importers, integrations, trainer may do"),
        ("agent/recorder.py", "import prometheus_client",
         "lrwatch/agent/recorder.py:1: imports prometheus_client, "
         "which only agent.exporter, agent.ledger_exporter, top.scrape may do"),
        ("report/text.py", "import pandas",
         "lrwatch/report/text.py:1: imports pandas, which has no home; give it one in HOMES of tests/test_layers.py"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_named(tmp_path: Path, path: str, source: str, expected: str) -> None:
    house = tmp_path / "lrwatch"
    for name in ("__init__.py", "findings.py", "checks/__init__.py", "checks/frozen.py", "trace/model.py", path):
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).touch()
    (house / path).write_text(source)
    assert violations(house) == [expected]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("__init__.py", "from lrwatch.agent.watch import watch"),
        ("__main__.py", "from lrwatch.cli import main"),
        ("engine.py", "from lrwatch import __version__, findings\nfrom lrwatch.checks.frozen import x\nimport numpy"),
        ("checks/good.py", "from lrwatch.checks.base import C\nfrom lrwatch.checks import _sums\nfrom . import base"),
        ("checks/__init__.py", "import lrwatch.checks.frozen"),
        ("trace/writer.py", "from lrwatch.trace.model import Rows\nimport json, os.path"),
        ("agent/device.py", "import torch"),
        ("integrations/torch.py", "import torch\nfrom lrwatch.agent.watch import watch"),
    ],
)
def test_what_is_allowed_is_not_named(tmp_path: Path, path: str, source: str) -> None:
    house = tmp_path / "lrwatch"
    for name in ("findings.py", "checks/base.py", "checks/_sums.py", "checks/frozen.py", "trace/model.py", path):
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).touch()
    (house / path).write_text(source)
    assert violations(house) == []


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import lrwatch", {"click", "numpy", "prometheus_client", "torch", "yaml"}),
        ("from lrwatch.cli import main", {"grafana_client", "prometheus_client", "torch"}),
    ],
)
def test_importing_loads_nothing_heavy(statement: str, heavy: set[str]) -> None:
    code = f"import sys; {statement}; print(*sorted({heavy!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "", "")
