"""Every overlay, built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.manifests import HOME, Object, build


@pytest.fixture(scope="session")
def overlays(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    """Name → objects: ``plain``, ``operator``, and the first with GPUs as ``plain+gpu``."""
    kubectl = tool("kubectl")
    made = {name: build(kubectl, HOME / "overlays" / name) for name in ("plain", "operator")}
    copy = tmp_path_factory.mktemp("kubernetes") / "copy"
    shutil.copytree(HOME, copy)
    with_gpu(copy / "overlays" / "plain" / "kustomization.yaml")
    return made | {"plain+gpu": build(kubectl, copy / "overlays" / "plain")}


def with_gpu(kustomization: Path) -> None:
    """What the comment in the file says."""
    commented = "# components:\n# - ../../components/gpu\n"
    text = kustomization.read_text()
    assert commented in text
    kustomization.write_text(text.replace(commented, commented.replace("# ", "")))
