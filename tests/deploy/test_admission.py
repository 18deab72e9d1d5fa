"""The example of admission policies, evaluated: our pods may train, what evades the contract may not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.manifests import HOME, Object, find, read

cel = pytest.importorskip("cel")
POLICIES = {o["metadata"]["name"]: o["spec"] for o in read(HOME / "examples" / "admission-policy.yaml")
            if o["kind"] == "ValidatingAdmissionPolicy"}  # fmt: skip


def refusals(policy: str, **request: Any) -> list[str]:
    """The messages of the validations that fail, as an API server would answer; none where no condition matches."""
    spec = POLICIES[policy]
    if not all(cel.evaluate(c["expression"], request) for c in spec.get("matchConditions", ())):
        return []
    return [v["message"] for v in spec["validations"] if not cel.evaluate(v["expression"], request)]


def pod(objects: list[Object], kind: str, name: str) -> Any:
    return copy.deepcopy(find(objects, kind, name)["spec"]["template"])


@pytest.mark.parametrize(("kind", "name"), [("Job", "gpt-tiny-1"), ("StatefulSet", "ledger")])
def test_our_own_pods_are_admitted(overlays: dict[str, list[Object]], kind: str, name: str) -> None:
    assert refusals("lrwatch-signed-contract", object=pod(overlays["plain"], kind, name)) == []


def test_the_pods_of_the_train_job_are_admitted() -> None:
    runtime = read(HOME / "examples" / "trainjob.yaml")[0]
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert refusals("lrwatch-signed-contract", object=job["template"]["spec"]["template"]) == []


FIRST, KEYS, MOUNT, ASKED = (v["message"] for v in POLICIES["lrwatch-signed-contract"]["validations"])


def own_trust(spec: Any) -> None:
    next(v for v in spec["volumes"] if v["name"] == "trust")["configMap"]["name"] = "mine"


def shadowed(spec: Any) -> None:
    """The file of keys is mounted over by one of the user's own."""
    mount = {"name": "contract", "mountPath": "/etc/lrwatch/trust/release.pub", "subPath": "my.pub"}
    spec["initContainers"][0]["volumeMounts"].append(mount)


def renamed(spec: Any) -> None:
    """As if it were the ledger; a label admits nobody."""
    spec["initContainers"] = []
    spec["containers"][0]["name"] = "ledger"


EVASIONS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "no initContainers": (lambda s: s.pop("initContainers"), [FIRST, MOUNT]),
    "another name for it": (renamed, [FIRST, MOUNT]),
    "something before it": (lambda s: s["initContainers"].reverse(), [FIRST, MOUNT]),
    "another image": (lambda s: s["initContainers"][0].update(image="busybox:1.37"), [FIRST]),
    "another command": (lambda s: s["initContainers"][0].update(command=["true"]), [FIRST]),
    "in the background": (lambda s: s["initContainers"][0].update(restartPolicy="Always"), [FIRST]),
    "another key": (lambda s: s["initContainers"][0]["args"].__setitem__(4, "/runs/mine.pub"), [FIRST]),
    "keys of one's own": (own_trust, [KEYS]),
    "keys mounted over": (shadowed, [MOUNT]),
    "the trainer does not ask": (lambda s: s["containers"][0].update(env=[]), [ASKED]),
    "it asks, and then does not": (
        lambda s: s["containers"][0]["env"].append({"name": "LRWATCH_CONTRACT_KEY", "value": ""}), [ASKED]),
    "a second container that does not ask": (
        lambda s: s["containers"].append({"name": "b", "image": "b:1"}), [ASKED]),
}  # fmt: skip


@pytest.mark.parametrize("how", EVASIONS)
def test_what_evades_the_contract_is_refused(overlays: dict[str, list[Object]], how: str) -> None:
    change, messages = EVASIONS[how]
    made = pod(overlays["plain"], "Job", "gpt-tiny-1")
    change(made["spec"])
    assert refusals("lrwatch-signed-contract", object=made) == messages


def test_only_the_platform_team_changes_the_keys() -> None:
    def asked_by(*groups: str) -> list[str]:
        return refusals("lrwatch-contract-trust", request={"userInfo": {"groups": [*groups, "system:authenticated"]}})

    assert asked_by("lrwatch-platform") == []
    assert asked_by("researchers") == ["only the group lrwatch-platform may change whose signature counts"]
