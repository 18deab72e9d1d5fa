"""What a reviewer of manifests rejects, as functions: each yields one sentence per violation.

``RULES`` is all of them. ``test_policy.py`` breaks a manifest for each and sees it rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.deploy.manifests import (
    Object,
    containers,
    matches,
    namespace,
    pods,
    references,
    sidecars,
    where,
)

SECRETS = {"grafana-admin", "alertmanager-receivers"}
"""Made by whoever installs, by hand or by an external-secrets operator; docs/kubernetes.md says how."""
SCRAPE = 15
"""Seconds between scrapes."""
CHECKPOINT = 60
"""Seconds that a trainer may take for its last checkpoint."""
_SECRET = re.compile(r"pass(word|wd)?|token|secret|api_?key|credential", re.I)
_WRITTEN = re.compile(r"(?:password|token|api_?key)\s*[:=]\s*['\"]?[^\s'\"{$]", re.I)
_GIB = {"Mi": 1 / 1024, "Gi": 1.0, "Ti": 1024.0, "MB": 1e6 / 2**30, "GB": 1e9 / 2**30, "TB": 1e12 / 2**30}

Rule = Callable[[list[Object]], Iterator[str]]


def gib(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]+)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * _GIB[unit]


def images_are_pinned(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        for c in containers(template):
            name, _, tag = c["image"].rpartition(":")
            if "@sha256:" not in c["image"] and (not name or "/" in tag or tag == "latest"):
                yield f"{where(one)}: {c['name']}: image {c['image']} is not pinned"


def resources_are_bounded(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        for c in containers(template):
            for side in ("requests", "limits"):
                for what in ("cpu", "memory"):
                    if what not in c.get("resources", {}).get(side, {}):
                        yield f"{where(one)}: {c['name']}: no {side} of {what}"


def secrets_are_references(objects: list[Object]) -> Iterator[str]:
    for one in objects:
        if one["kind"] == "Secret":
            yield f"{where(one)}: a Secret among the manifests"
        if one["kind"] == "ConfigMap":
            for key, text in one.get("data", {}).items():
                if _SECRET.search(key) or _WRITTEN.search(text):
                    yield f"{where(one)}: {key} holds a secret"
                if "PRIVATE KEY" in text:
                    yield f"{where(one)}: {key} holds a private key"
    for one, template in pods(objects):
        for c in containers(template):
            for variable in c.get("env", ()):
                if _SECRET.search(variable["name"]) and "value" in variable and not variable["name"].endswith("__FILE"):
                    yield f"{where(one)}: {c['name']}: {variable['name']} is written out"


def selectors_do_not_change(objects: list[Object]) -> Iterator[str]:
    for one in objects:
        spec = one.get("spec") or {}
        chosen = spec.get("selector") or {}
        labels = chosen.get("matchLabels", chosen) if isinstance(chosen, dict) else {}
        if "app.kubernetes.io/version" in labels:
            yield f"{where(one)}: app.kubernetes.io/version in a selector, which cannot be changed"


def agents_let_jobs_end(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        if one["kind"] == "Job" and len(template["spec"]["containers"]) > 1:
            yield f"{where(one)}: an ordinary sidecar keeps the Job from completing; make it a native one"


def the_end_is_scraped(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        for c in sidecars(template):
            if not any(port["name"] == "metrics" for port in c.get("ports", ())):
                continue
            command = c.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
            lingers = int(command[-1])
            if lingers < 3 * SCRAPE:
                yield f"{where(one)}: {c['name']} lingers {lingers} s, three scrapes are {3 * SCRAPE} s"
            grace = template["spec"].get("terminationGracePeriodSeconds", 30)
            if grace < lingers + CHECKPOINT:
                yield f"{where(one)}: grace of {grace} s is shorter than a checkpoint and the last scrapes"
        if one["kind"] == "Job" and one["spec"].get("ttlSecondsAfterFinished", 10**9) < 3600:
            yield f"{where(one)}: is deleted before anybody has read its logs"


def volumes_survive_updates(objects: list[Object]) -> Iterator[str]:
    claims = {o["metadata"]["name"]: o["spec"]["accessModes"] for o in objects if o["kind"] == "PersistentVolumeClaim"}
    for one, template in pods(objects):
        names = [name for kind, name in references(template["spec"]) if kind == "PersistentVolumeClaim"]
        once = [name for name in names if "ReadWriteMany" not in claims.get(name, ())]
        rolling = one["spec"].get("strategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
        if one["kind"] == "Deployment" and once and rolling:
            yield f"{where(one)}: a rolling update needs {once[0]} twice, which is ReadWriteOnce"


def trainers_have_shared_memory(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        volumes = template["spec"].get("volumes", ())
        memory = {v["name"] for v in volumes if v.get("emptyDir", {}).get("medium") == "Memory"}
        for c in template["spec"]["containers"]:
            mounts = {m["mountPath"]: m["name"] for m in c.get("volumeMounts", ())}
            if c.get("command") == ["torchrun"] and mounts.get("/dev/shm") not in memory:
                yield f"{where(one)}: {c['name']}: /dev/shm is not a volume in memory"
        for v in volumes:
            if "emptyDir" in v and "sizeLimit" not in v["emptyDir"]:
                yield f"{where(one)}: volume {v['name']} has no sizeLimit"


def budgets_let_nodes_drain(objects: list[Object]) -> Iterator[str]:
    for budget in (o for o in objects if o["kind"] == "PodDisruptionBudget"):
        for one, template in pods(objects):
            same = namespace(one) == namespace(budget)
            if not same or not matches(budget["spec"]["selector"], template["metadata"]["labels"]):
                continue
            replicas = one["spec"].get("replicas", 1)
            if replicas < 2:
                yield f"{where(budget)}: {where(one)} has a single replica, so no node of it can be drained"
            elif budget["spec"].get("minAvailable", 0) >= replicas or budget["spec"].get("maxUnavailable") == 0:
                yield f"{where(budget)}: none of the {replicas} replicas of {where(one)} may ever be away"


def nothing_is_pushed(objects: list[Object]) -> Iterator[str]:
    for one in objects:
        if "pushgateway" in str(one.get("spec", "")).lower():
            yield f"{where(one)}: a Pushgateway keeps the last values of a run that is gone"


def pods_are_locked_down(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        pod = template["spec"].get("securityContext", {})
        if pod.get("runAsNonRoot") is not True or pod.get("runAsUser", 0) == 0:
            yield f"{where(one)}: may run as root"
        if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{where(one)}: no seccomp profile"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if template["spec"].get(key):
                yield f"{where(one)}: {key}"
        for volume in template["spec"].get("volumes", ()):
            if "hostPath" in volume:
                yield f"{where(one)}: volume {volume['name']} is a directory of the machine"
        for c in containers(template):
            mine = c.get("securityContext", {})
            if mine.get("readOnlyRootFilesystem") is not True:
                yield f"{where(one)}: {c['name']}: its root filesystem can be written"
            if mine.get("allowPrivilegeEscalation") is not False or mine.get("privileged"):
                yield f"{where(one)}: {c['name']}: may gain privileges"
            if mine.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{where(one)}: {c['name']}: keeps capabilities"


def tokens_are_for_who_needs_them(objects: list[Object]) -> Iterator[str]:
    allowed = {
        (s["namespace"], s["name"]) for o in objects if o["kind"] == "RoleBinding" for s in o["subjects"]
        if s["kind"] == "ServiceAccount"
    }  # fmt: skip
    for one, template in pods(objects):
        account = template["spec"].get("serviceAccountName", "default")
        if account == "default":
            yield f"{where(one)}: uses the default ServiceAccount"
        mounted = template["spec"].get("automountServiceAccountToken") is not False
        if mounted and (namespace(one), account) not in allowed:
            yield f"{where(one)}: gets a token that it has no use for"
    for one in objects:
        if one["kind"] == "ServiceAccount" and one.get("automountServiceAccountToken") is not False:
            yield f"{where(one)}: gives its token to every pod that names it"


def roles_are_small(objects: list[Object]) -> Iterator[str]:
    for one in objects:
        if one["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{where(one)}: is of the whole cluster"
        for rule in one.get("rules", ()) if one["kind"] in ("Role", "ClusterRole") else ():
            words = {*rule.get("verbs", ()), *rule.get("resources", ()), *rule.get("apiGroups", ())}
            if "*" in words or "secrets" in words or not set(rule["verbs"]) <= {"get", "list", "watch"}:
                yield f"{where(one)}: may {', '.join(rule['verbs'])} {', '.join(rule['resources'])}"


def namespaces_enforce(objects: list[Object]) -> Iterator[str]:
    for one in objects:
        if one["kind"] == "Namespace":
            for mode in ("enforce", "warn", "audit"):
                if one["metadata"].get("labels", {}).get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                    yield f"{where(one)}: does not {mode} restricted pod security"


def networks_are_closed(objects: list[Object]) -> Iterator[str]:
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    for space in sorted({namespace(one) for one, _ in pods(objects)}):
        closed = [p for p in policies if namespace(p) == space and p["spec"]["podSelector"] == {}]
        if not any(set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"} and "ingress" not in p["spec"]
                   and "egress" not in p["spec"] for p in closed):  # fmt: skip
            yield f"Namespace/{space}: nothing denies what no policy allows"
    for one, template in pods(objects):
        mine = [p for p in policies if namespace(p) == namespace(one) and p["spec"]["podSelector"]
                and matches(p["spec"]["podSelector"], template["metadata"]["labels"])]  # fmt: skip
        if {t for p in mine for t in p["spec"]["policyTypes"]} != {"Ingress", "Egress"}:
            yield f"{where(one)}: has no NetworkPolicy of its own in both directions"
    for p in policies:
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in p["spec"].get(way) or ():
                if not (rule.get(peers) or (way == "egress" and rule.get("ports"))):
                    yield f"{where(p)}: allows {way} with anybody"


def networks_allow_what_is_offered(objects: list[Object]) -> Iterator[str]:
    """A port that a policy lets in is one that the pods listen on, and every named port is let in by somebody."""
    for one, template in pods(objects):
        ports = {p["containerPort"]: p["name"] for c in containers(template) for p in c.get("ports", ())}
        allowed = set()
        for p in (o for o in objects if o["kind"] == "NetworkPolicy" and namespace(o) == namespace(one)):
            chosen = p["spec"]["podSelector"]
            if chosen and matches(chosen, template["metadata"]["labels"]):
                allowed |= {q["port"] for rule in p["spec"].get("ingress") or () for q in rule.get("ports", ())}
        for port in sorted(allowed ^ set(ports)):
            what = "listens on a port that no policy lets in" if port in ports else "does not listen on an allowed port"
            yield f"{where(one)}: {what}: {port}"


def services_lead_somewhere(objects: list[Object]) -> Iterator[str]:
    for service in (o for o in objects if o["kind"] == "Service"):
        found = [t for o, t in pods(objects) if namespace(o) == namespace(service)
                 and matches({"matchLabels": service["spec"]["selector"]}, t["metadata"]["labels"])]  # fmt: skip
        if not found:
            yield f"{where(service)}: selects no pod"
        names = {p["name"] for t in found for c in containers(t) for p in c.get("ports", ())}
        for port in service["spec"]["ports"]:
            if isinstance(port.get("targetPort"), str) and port["targetPort"] not in names:
                yield f"{where(service)}: no container has a port {port['targetPort']}"


def servers_are_probed(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        forever = one["kind"] in ("Deployment", "StatefulSet")
        serving = template["spec"]["containers"] if forever else sidecars(template)
        for c in serving:
            for probe in ("readinessProbe", "livenessProbe"):
                if probe not in c:
                    yield f"{where(one)}: {c['name']}: no {probe}"


def what_is_needed_is_there(objects: list[Object]) -> Iterator[str]:
    known = {(o["kind"], namespace(o), o["metadata"]["name"]) for o in objects}
    spaces = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"}
    for one in objects:
        if namespace(one) and namespace(one) not in spaces:
            yield f"{where(one)}: is in {namespace(one)}, which is not among the manifests"
    for one, template in pods(objects):
        for kind, name in references(template["spec"]):
            if not (kind == "Secret" and name in SECRETS) and (kind, namespace(one), name) not in known:
                yield f"{where(one)}: needs {kind}/{name}, which is not there"
        volumes = {v["name"] for v in template["spec"].get("volumes", ())}
        volumes |= {v["metadata"]["name"] for v in one["spec"].get("volumeClaimTemplates", ())}
        for c in containers(template):
            for mount in c.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    yield f"{where(one)}: {c['name']}: mounts {mount['name']}, which is no volume"


def history_fits(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        for c in template["spec"]["containers"]:
            arguments = dict(a.partition("=")[::2] for a in c.get("args", ()) if a.startswith("--storage.tsdb"))
            if not arguments:
                continue
            if "--storage.tsdb.retention.time" not in arguments or "--storage.tsdb.retention.size" not in arguments:
                yield f"{where(one)}: keeps history without a bound in time and in size"
                continue
            claims = one["spec"].get("volumeClaimTemplates", ())
            room = sum(gib(claim["spec"]["resources"]["requests"]["storage"]) for claim in claims)
            if gib(arguments["--storage.tsdb.retention.size"]) > 0.9 * room:
                yield f"{where(one)}: history may fill its volume of {room:g} GiB"


def addresses_are_the_pods(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        for c in containers(template):
            words = [*c.get("command", ()), *c.get("args", ()), *(str(e.get("value")) for e in c.get("env", ()))]
            if any(re.search(r"0\.0\.0\.0|\[::\]", word) for word in words):
                yield f"{where(one)}: {c['name']}: listens on every address"
            if c["image"].startswith("lrwatch/tools") and c.get("ports") and "--host=$(POD_IP)" not in c["args"]:
                yield f"{where(one)}: {c['name']}: is not bound to the pod's address"


def contracts_are_verified(objects: list[Object]) -> Iterator[str]:
    for one, template in pods(objects):
        for c in template["spec"]["containers"]:
            if c.get("command") != ["torchrun"]:
                continue
            first = (template["spec"].get("initContainers") or [{}])[0]
            if first.get("args", ())[:2] != ["contract", "verify"]:
                yield f"{where(one)}: nothing verifies the contract before {c['name']} starts"
            keys = [e.get("value") for e in c.get("env", ()) if e["name"] == "LRWATCH_CONTRACT_KEY"]
            if keys != [first.get("args", [None])[-1]]:
                yield f"{where(one)}: {c['name']}: does not ask for a signed contract itself"


RULES: tuple[Rule, ...] = (
    images_are_pinned, resources_are_bounded, secrets_are_references, selectors_do_not_change, agents_let_jobs_end,
    the_end_is_scraped, volumes_survive_updates, trainers_have_shared_memory, budgets_let_nodes_drain,
    nothing_is_pushed, pods_are_locked_down, tokens_are_for_who_needs_them, roles_are_small, namespaces_enforce,
    networks_are_closed, networks_allow_what_is_offered, services_lead_somewhere, servers_are_probed,
    what_is_needed_is_there, history_fits, addresses_are_the_pods, contracts_are_verified,
)  # fmt: skip


def violations(objects: list[Object]) -> list[str]:
    """What a reviewer would say."""
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(objects)]
