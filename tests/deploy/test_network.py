"""Who may talk to whom by the NetworkPolicies, both directions taken together: exactly the pairs that are meant."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploy.manifests import Object, find, matches, namespace, pods

NAMES = ("prometheus", "alertmanager", "grafana", "ledger", "trainer")
PORTS = (3000, 9090, 9093, 9094, 9477, 9478, 29400)
MEANT = {
    ("prometheus", "trainer", 9478), ("prometheus", "ledger", 9477), ("prometheus", "alertmanager", 9093),
    ("prometheus", "grafana", 3000), ("grafana", "prometheus", 9090), ("alertmanager", "alertmanager", 9094),
    *(("trainer", "trainer", port) for port in PORTS),
}  # fmt: skip


@dataclass(frozen=True)
class Pod:
    space: str
    labels: dict[str, str]


def cluster(objects: list[Object]) -> tuple[dict[str, Pod], dict[str, dict[str, str]], list[Object]]:
    """Pods by name, labels of namespaces, policies."""
    found = {t["metadata"]["labels"]["app.kubernetes.io/name"]: Pod(namespace(o), t["metadata"]["labels"])
             for o, t in pods(objects)}  # fmt: skip
    spaces = {
        o["metadata"]["name"]: {**o["metadata"]["labels"], "kubernetes.io/metadata.name": o["metadata"]["name"]}
        for o in objects if o["kind"] == "Namespace"
    }  # fmt: skip
    return found, spaces, [o for o in objects if o["kind"] == "NetworkPolicy"]


def allows(
    policies: list[Object], spaces: dict[str, dict[str, str]], way: str, mine: Pod, other: Pod, port: int,
    protocol: str = "TCP",
) -> bool:  # fmt: skip
    """Whether the policies of ``mine`` allow ``other``; a pod that no policy selects allows everything."""
    peers = "from" if way == "ingress" else "to"
    own = [p for p in policies if namespace(p) == mine.space and way.capitalize() in p["spec"]["policyTypes"]
           and matches(p["spec"]["podSelector"], mine.labels)]  # fmt: skip
    if not own:
        return True

    def meets(peer: dict[str, Any]) -> bool:
        if "ipBlock" in peer:
            return False  # of addresses outside the cluster
        where = matches(peer["namespaceSelector"], spaces[other.space]) if "namespaceSelector" in peer else (
            other.space == mine.space)  # fmt: skip
        return where and matches(peer.get("podSelector"), other.labels)

    for policy in own:
        for rule in policy["spec"].get(way) or ():
            ports = [(p.get("protocol", "TCP"), p["port"]) for p in rule.get("ports", ())]
            if (not ports or (protocol, port) in ports) and (peers not in rule or any(map(meets, rule[peers]))):
                return True
    return False


def talks(objects: list[Object]) -> set[tuple[str, str, int]]:
    known, spaces, policies = cluster(objects)
    return {
        (a, b, port) for a in known for b in known for port in PORTS
        if allows(policies, spaces, "egress", known[a], known[b], port)
        and allows(policies, spaces, "ingress", known[b], known[a], port)
    }  # fmt: skip


def test_exactly_the_pairs_that_are_meant_may_talk(overlays: dict[str, list[Object]]) -> None:
    assert set(cluster(overlays["plain"])[0]) == set(NAMES)
    assert talks(overlays["plain"]) == MEANT


@pytest.mark.parametrize(
    ("name", "pair"),
    [("trainer", ("prometheus", "trainer", 9478)), ("grafana", ("grafana", "prometheus", 9090)),
     ("alertmanager", ("prometheus", "alertmanager", 9093)), ("prometheus", ("prometheus", "ledger", 9477))],
)  # fmt: skip
def test_without_a_policy_a_pair_is_cut_off(
    overlays: dict[str, list[Object]], name: str, pair: tuple[str, str, int]
) -> None:
    objects = copy.deepcopy(overlays["plain"])
    objects.remove(find(objects, "NetworkPolicy", name))
    assert pair not in talks(objects)


def test_without_the_denial_pods_without_a_policy_are_open(overlays: dict[str, list[Object]]) -> None:
    objects = [o for o in copy.deepcopy(overlays["plain"]) if o["kind"] != "NetworkPolicy"]
    assert ("grafana", "trainer", 29400) in talks(objects)


def test_names_are_resolved_where_they_are_used(overlays: dict[str, list[Object]]) -> None:
    """Trainers find each other by name, Prometheus finds Alertmanager; the ledger asks nobody."""
    known, spaces, policies = cluster(overlays["plain"])
    spaces["kube-system"] = {"kubernetes.io/metadata.name": "kube-system"}
    dns = Pod("kube-system", {"k8s-app": "kube-dns"})
    asks = {name for name, pod in known.items() if allows(policies, spaces, "egress", pod, dns, 53, "UDP")}
    assert asks == {"prometheus", "alertmanager", "grafana", "trainer"}


def test_an_operators_prometheus_is_let_in_by_a_label_of_its_namespace(overlays: dict[str, list[Object]]) -> None:
    known, spaces, policies = cluster(overlays["operator"])
    theirs = Pod("monitoring", {"app.kubernetes.io/name": "prometheus", "prometheus": "k8s"})
    for labels, let_in in (({"team": "platform"}, False), ({"lrwatch-role": "monitoring"}, True)):
        for name, port in (("trainer", 9478), ("ledger", 9477)):
            spaces["monitoring"] = labels
            assert allows(policies, spaces, "ingress", known[name], theirs, port) is let_in
