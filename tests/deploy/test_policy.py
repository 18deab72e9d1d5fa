"""The manifests as a reviewer sees them: nothing to reject, and everything that would be is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy import policy
from tests.deploy.manifests import HOME, Object, find, pods, read

Change = Callable[[list[Object]], None]


@pytest.mark.parametrize("name", ["plain", "operator", "plain+gpu"])
def test_nothing_is_rejected(overlays: dict[str, list[Object]], name: str) -> None:
    assert policy.violations(overlays[name]) == []


def test_nothing_of_the_train_job_is_rejected() -> None:
    """It stands in the namespace of the trainer's base, with its claims, accounts and policies."""
    runtime = read(HOME / "examples" / "trainjob.yaml")[:1]
    elsewhere = {"networks_are_closed", "networks_allow_what_is_offered", "what_is_needed_is_there"}
    rules = [rule for rule in policy.RULES if rule.__name__ not in elsewhere]
    assert [found for rule in rules for found in rule(runtime)] == []


def spec(objects: list[Object], kind: str, name: str) -> Any:
    return find(objects, kind, name)["spec"]


def pod(objects: list[Object], kind: str, name: str) -> Any:
    return spec(objects, kind, name)["template"]["spec"]


def container(objects: list[Object], kind: str, name: str) -> Any:
    return pod(objects, kind, name)["containers"][0]


def initial(objects: list[Object], name: str) -> Any:
    return next(c for c in pod(objects, "Job", "gpt-tiny-1")["initContainers"] if c["name"] == name)


def without(value: Any, key: str) -> None:
    del value[key]


def labelled(objects: list[Object]) -> None:
    spec(objects, "Deployment", "grafana")["selector"]["matchLabels"]["app.kubernetes.io/version"] = "11"


def ordinary_sidecar(objects: list[Object]) -> None:
    node = copy.deepcopy(initial(objects, "node"))
    del node["restartPolicy"]
    pod(objects, "Job", "gpt-tiny-1")["containers"].append(node)


def single_replica(objects: list[Object]) -> None:
    spec(objects, "StatefulSet", "alertmanager")["replicas"] = 1


def once(objects: list[Object]) -> None:
    """Grafana with a volume, as many charts have it."""
    pod(objects, "Deployment", "grafana")["volumes"][0] = {"name": "data", "persistentVolumeClaim": {"claimName": "g"}}


def password(objects: list[Object]) -> None:
    data = {"grafana.ini": "[security]\nadmin_password = hunter2\n"}
    objects.append({"kind": "ConfigMap", "metadata": {"name": "g", "namespace": "lrwatch-monitoring"}, "data": data})


def own_policy(objects: list[Object], name: str) -> Any:
    return find(objects, "NetworkPolicy", name)["spec"]


def drop(objects: list[Object], kind: str, name: str) -> None:
    objects.remove(find(objects, kind, name))


CASES: dict[str, tuple[Change, str]] = {
    "latest": (lambda o: container(o, "StatefulSet", "prometheus").update(image="quay.io/prometheus/prometheus:latest"),
               "StatefulSet/prometheus: prometheus: image quay.io/prometheus/prometheus:latest is not pinned"),
    "no tag": (lambda o: container(o, "StatefulSet", "ledger").update(image="registry.example:5000/lrwatch/tools"),
               "image registry.example:5000/lrwatch/tools is not pinned"),
    "no limits": (lambda o: without(container(o, "Deployment", "grafana")["resources"], "limits"),
                  "Deployment/grafana: grafana: no limits of memory"),
    "no requests of a sidecar": (lambda o: initial(o, "node").update(resources={}), "node: no requests of cpu"),
    "password in a ConfigMap": (password, "ConfigMap/g: grafana.ini holds a secret"),
    "password in the environment": (
        lambda o: container(o, "Deployment", "grafana")["env"].append(
            {"name": "GF_SECURITY_ADMIN_PASSWORD", "value": "x"}),
        "grafana: GF_SECURITY_ADMIN_PASSWORD is written out"),
    "a Secret": (lambda o: o.append({"kind": "Secret", "metadata": {"name": "s", "namespace": "lrwatch-training"}}),
                 "Secret/s: a Secret among the manifests"),
    "version in a selector": (labelled, "Deployment/grafana: app.kubernetes.io/version in a selector"),
    "ordinary sidecar": (ordinary_sidecar, "Job/gpt-tiny-1: an ordinary sidecar keeps the Job from completing"),
    "no last scrape": (lambda o: initial(o, "node")["lifecycle"]["preStop"]["exec"].update(command=["sleep", "5"]),
                       "node lingers 5 s, three scrapes are 45 s"),
    "no preStop": (lambda o: without(initial(o, "node"), "lifecycle"), "node lingers 0 s"),
    "short grace": (lambda o: without(pod(o, "Job", "gpt-tiny-1"), "terminationGracePeriodSeconds"),
                    "grace of 30 s is shorter than a checkpoint and the last scrapes"),
    "short ttl": (lambda o: spec(o, "Job", "gpt-tiny-1").update(ttlSecondsAfterFinished=0),
                  "is deleted before anybody has read its logs"),
    "claim and rolling update": (once, "a rolling update needs g twice, which is ReadWriteOnce"),
    "no shared memory": (lambda o: container(o, "Job", "gpt-tiny-1")["volumeMounts"].pop(4),
                         "trainer: /dev/shm is not a volume in memory"),
    "endless emptyDir": (lambda o: pod(o, "Deployment", "grafana")["volumes"][0].update(emptyDir={}),
                         "Deployment/grafana: volume data has no sizeLimit"),
    "budget of one": (single_replica, "StatefulSet/alertmanager has a single replica"),
    "budget of all": (lambda o: spec(o, "PodDisruptionBudget", "alertmanager").update(minAvailable=2),
                      "none of the 2 replicas of StatefulSet/alertmanager may ever be away"),
    "pushgateway": (lambda o: container(o, "Job", "gpt-tiny-1")["env"].append(
        {"name": "PUSH_TO", "value": "http://pushgateway:9091"}), "a Pushgateway keeps the last values"),
    "root": (lambda o: without(pod(o, "StatefulSet", "prometheus")["securityContext"], "runAsNonRoot"),
             "StatefulSet/prometheus: may run as root"),
    "no seccomp": (lambda o: without(pod(o, "Job", "gpt-tiny-1")["securityContext"], "seccompProfile"),
                   "Job/gpt-tiny-1: no seccomp profile"),
    "writable root": (lambda o: without(initial(o, "prepare")["securityContext"], "readOnlyRootFilesystem"),
                      "prepare: its root filesystem can be written"),
    "capabilities": (lambda o: container(o, "StatefulSet", "ledger")["securityContext"].update(
        capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}), "ledger: keeps capabilities"),
    "privileged": (lambda o: container(o, "StatefulSet", "ledger")["securityContext"].update(privileged=True),
                   "ledger: may gain privileges"),
    "host network": (lambda o: pod(o, "Job", "gpt-tiny-1").update(hostNetwork=True), "Job/gpt-tiny-1: hostNetwork"),
    "host path": (lambda o: pod(o, "Job", "gpt-tiny-1")["volumes"].append({"name": "d", "hostPath": {"path": "/data"}}),
                  "volume d is a directory of the machine"),
    "default account": (lambda o: pod(o, "Job", "gpt-tiny-1").update(serviceAccountName="default"),
                        "Job/gpt-tiny-1: uses the default ServiceAccount"),
    "a token for nothing": (lambda o: without(pod(o, "Job", "gpt-tiny-1"), "automountServiceAccountToken"),
                            "Job/gpt-tiny-1: gets a token that it has no use for"),
    "a token for all": (lambda o: without(find(o, "ServiceAccount", "trainer"), "automountServiceAccountToken"),
                        "ServiceAccount/trainer: gives its token to every pod that names it"),
    "a large role": (lambda o: find(o, "Role", "lrwatch-prometheus")["rules"][0]["resources"].append("secrets"),
                     "Role/lrwatch-prometheus: may get, list, watch pods, secrets"),
    "a role that writes": (lambda o: find(o, "Role", "lrwatch-prometheus")["rules"][0]["verbs"].append("delete"),
                           "Role/lrwatch-prometheus: may get, list, watch, delete pods"),
    "a ClusterRole": (lambda o: find(o, "Role", "lrwatch-prometheus").update(kind="ClusterRole"),
                      "ClusterRole/lrwatch-prometheus: is of the whole cluster"),
    "no pod security": (lambda o: find(o, "Namespace", "lrwatch-training")["metadata"]["labels"].update(
        {"pod-security.kubernetes.io/enforce": "baseline"}), "does not enforce restricted pod security"),
    "open namespace": (lambda o: o.remove(next(
        p for p in o if p["kind"] == "NetworkPolicy" and p["metadata"] == {
            "name": "default-deny", "namespace": "lrwatch-training"})),
        "Namespace/lrwatch-training: nothing denies what no policy allows"),
    "no policy": (lambda o: drop(o, "NetworkPolicy", "grafana"),
                  "Deployment/grafana: has no NetworkPolicy of its own in both directions"),
    "egress open": (lambda o: own_policy(o, "trainer").update(egress=[{}]),
                    "NetworkPolicy/trainer: allows egress with anybody"),
    "ingress open": (lambda o: without(own_policy(o, "prometheus")["ingress"][0], "from"),
                     "NetworkPolicy/prometheus: allows ingress with anybody"),
    "wrong port": (lambda o: own_policy(o, "ledger")["ingress"][0]["ports"][0].update(port=9999),
                   "StatefulSet/ledger: does not listen on an allowed port: 9999"),
    "service to nobody": (lambda o: spec(o, "Service", "ledger")["selector"].update({"app": "ledger"}),
                          "Service/ledger: selects no pod"),
    "service to no port": (lambda o: spec(o, "Service", "grafana")["ports"][0].update(targetPort="http"),
                           "Service/grafana: no container has a port http"),
    "no probe": (lambda o: without(container(o, "Deployment", "grafana"), "livenessProbe"),
                 "Deployment/grafana: grafana: no livenessProbe"),
    "no account": (lambda o: drop(o, "ServiceAccount", "ledger"), "needs ServiceAccount/ledger, which is not there"),
    "unknown Secret": (lambda o: pod(o, "Deployment", "grafana")["volumes"][2].update(secret={"secretName": "s"}),
                       "needs Secret/s, which is not there"),
    "no volume": (lambda o: pod(o, "Job", "gpt-tiny-1")["volumes"].pop(), "trainer: mounts tmp, which is no volume"),
    "endless history": (lambda o: container(o, "StatefulSet", "prometheus")["args"].remove(
        "--storage.tsdb.retention.size=45GB"), "keeps history without a bound in time and in size"),
    "history too large": (lambda o: spec(o, "StatefulSet", "prometheus")["volumeClaimTemplates"][0]["spec"][
        "resources"]["requests"].update(storage="40Gi"), "history may fill its volume of 40 GiB"),
    "every address": (lambda o: initial(o, "node")["args"].__setitem__(3, "--host=0.0.0.0"),
                      "node: listens on every address"),
    "loopback": (lambda o: initial(o, "node")["args"].pop(3), "node: is not bound to the pod's address"),
    "unverified": (lambda o: pod(o, "Job", "gpt-tiny-1")["initContainers"].pop(0),
                   "nothing verifies the contract before trainer starts"),
    "not asked for": (lambda o: container(o, "Job", "gpt-tiny-1").update(env=[]),
                      "trainer: does not ask for a signed contract itself"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_reviewer_rejects_is_rejected(overlays: dict[str, list[Object]], case: str) -> None:
    change, message = CASES[case]
    objects = copy.deepcopy(overlays["plain"])
    change(objects)
    assert any(message in found for found in policy.violations(objects)), policy.violations(objects)


def test_every_rule_is_shown_to_reject(overlays: dict[str, list[Object]]) -> None:
    rejected = set()
    for change, message in CASES.values():
        objects = copy.deepcopy(overlays["plain"])
        change(objects)
        rejected |= {found.split(":")[0] for found in policy.violations(objects) if message in found}
    assert rejected == {rule.__name__ for rule in policy.RULES}


def test_no_pod_is_overlooked(overlays: dict[str, list[Object]]) -> None:
    """A rule that sees no pod rejects nothing."""
    seen = [one["kind"] for one, _ in pods(overlays["plain"])]
    assert sorted(seen) == ["Deployment", "Job", "StatefulSet", "StatefulSet", "StatefulSet"]
    assert [one["kind"] for one, _ in pods(read(HOME / "examples" / "trainjob.yaml"))] == ["TrainingRuntime"]
