"""Manifests as a real kubectl builds them, and small questions about them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

HOME = ROOT / "deploy" / "kubernetes"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
Object = dict[str, Any]


def build(kubectl: str, folder: Path) -> list[Object]:
    """Every object of a kustomization. A warning, for instance of a deprecated field, counts as an error."""
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(yaml.safe_load_all(done.stdout))


def read(path: Path) -> list[Object]:
    return list(yaml.safe_load_all(path.read_text()))


def find(objects: list[Object], kind: str, name: str) -> Object:
    """The object of that kind whose name is this, or begins with it where kustomize added a hash."""
    found = [
        o for o in objects
        if o["kind"] == kind and (o["metadata"]["name"] == name or o["metadata"]["name"].startswith(f"{name}-"))
    ]  # fmt: skip
    exact = [o for o in found if o["metadata"]["name"] == name] or found
    assert len(exact) == 1, [o["metadata"]["name"] for o in found]
    return exact[0]


def where(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def namespace(one: Object) -> str:
    return str(one["metadata"].get("namespace", ""))


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Every workload with the template of its pods."""
    for one in objects:
        if one["kind"] in WORKLOADS:
            yield one, one["spec"]["template"]
        elif one["kind"] in ("TrainingRuntime", "ClusterTrainingRuntime"):
            for job in one["spec"]["template"]["spec"]["replicatedJobs"]:
                yield one, job["template"]["spec"]["template"]


def containers(template: Object) -> list[Object]:
    spec = template["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def sidecars(template: Object) -> list[Object]:
    return [c for c in template["spec"].get("initContainers", ()) if c.get("restartPolicy") == "Always"]


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of matchLabels selects; an empty one selects everything."""
    assert set(selector or {}) <= {"matchLabels"}, "only matchLabels are used here"
    return all(labels.get(k) == v for k, v in ((selector or {}).get("matchLabels") or {}).items())


def references(spec: Object) -> Iterator[tuple[str, str]]:
    """Kind and name of what a pod needs to be there."""
    yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec.get("volumes", ()):
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        for source in sources:
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]
            if "secret" in source:
                yield "Secret", source["secret"].get("secretName") or source["secret"]["name"]
            if "persistentVolumeClaim" in source:
                yield "PersistentVolumeClaim", source["persistentVolumeClaim"]["claimName"]
