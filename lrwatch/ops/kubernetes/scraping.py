"""What is scraped on Kubernetes, once: as Prometheus' own configuration and as PodMonitors for the operator.

A target is a container port called ``metrics`` of a pod that belongs to lrwatch. What a pod is allowed to say of itself
is in its labels, which admission can check; what its processes say of cluster, namespace, environment or sweep does not
count.
"""

from __future__ import annotations

from typing import Any, Final

from lrwatch.ops.rules.base import DISCOVERY
from lrwatch.ops.stackfiles import owned

MONITORING: Final = "lrwatch-monitoring"
TRAINING: Final = "lrwatch-training"
EVERY: Final = "15s"
TIMEOUT: Final = "10s"
LIMITS: Final = {"sample_limit": 10_000, "target_limit": 5_000, "label_limit": 40, "label_value_length_limit": 512}
"""A target beyond them is refused as a whole, which the alert on its ``up`` says; nobody else pays for it."""
JOBS: Final = {"lrwatch": "trainer", "lrwatch-ledger": "ledger"}
"""Name of the job in Prometheus → the component that its pods are of."""
_FROM_POD: Final = {"environment": "lrwatch-environment", "sweep": "lrwatch-sweep"}
"""Label of the samples → label of the pod."""


def prometheus() -> dict[str, Any]:
    """``prometheus.yml`` of the overlay without an operator."""
    managers = [f"alertmanager-{i}.alertmanager:9093" for i in range(2)]  # all of them: they agree among themselves
    return {
        "global": {"scrape_interval": EVERY, "scrape_timeout": TIMEOUT, "evaluation_interval": EVERY},
        "rule_files": ["/etc/prometheus/rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": managers}]}]},
        "scrape_configs": [
            *(_job(name, component) for name, component in JOBS.items()),
            _static("prometheus", "127.0.0.1:9090"),
            _static("alertmanager", *managers),
            _static("grafana", "grafana:3000"),
        ],
    }


def _static(name: str, *targets: str) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": list(targets)}]}


def _job(name: str, component: str) -> dict[str, Any]:
    discovery = owned(DISCOVERY)
    pod = "__meta_kubernetes_pod_"
    mine = [
        {"action": "keep", "source_labels": [f"{pod}label_app_kubernetes_io_part_of",
                                             f"{pod}label_app_kubernetes_io_component"],
         "regex": f"lrwatch;{component}"},
        {"action": "keep", "source_labels": [f"{pod}container_port_name"], "regex": "metrics"},
        {"action": "drop", "source_labels": [f"{pod}phase"], "regex": "Succeeded|Failed"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{pod}name"], "target_label": "instance"},
    ]  # fmt: skip
    return {
        "job_name": name,
        **LIMITS,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [TRAINING]}}],
        "relabel_configs": [*mine, *_from_pod(), *discovery["relabel_configs"]],
        "metric_relabel_configs": discovery["metric_relabel_configs"],
    }


def _from_pod() -> list[dict[str, Any]]:
    return [
        {"source_labels": [f"__meta_kubernetes_pod_label_{theirs.replace('-', '_')}"], "target_label": ours}
        for ours, theirs in _FROM_POD.items()
    ]


def monitors() -> list[dict[str, Any]]:
    """A PodMonitor per job. The operator itself keeps the port, drops pods that have ended and sets the namespace."""
    return [_monitor(name, component) for name, component in JOBS.items()]


def _monitor(name: str, component: str) -> dict[str, Any]:
    discovery = owned(DISCOVERY)
    mine = [
        {"target_label": "job", "replacement": name},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "instance"},
        {"action": "labeldrop", "regex": "pod|container"},  # instance says it; a series must not have it thrice
    ]
    ours = {"app.kubernetes.io/part-of": "lrwatch", "app.kubernetes.io/component": component}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {
            "name": name,
            "namespace": MONITORING,
            "labels": {"app.kubernetes.io/name": "lrwatch", "app.kubernetes.io/part-of": "lrwatch"},
        },
        "spec": {
            "namespaceSelector": {"matchNames": [TRAINING]},
            "selector": {"matchLabels": ours},
            **{_camel(key): value for key, value in LIMITS.items()},
            "podMetricsEndpoints": [
                {
                    "port": "metrics",
                    "interval": EVERY,
                    "scrapeTimeout": TIMEOUT,
                    "relabelings": [_operator(r) for r in [*mine, *_from_pod(), *discovery["relabel_configs"]]],
                    "metricRelabelings": [_operator(r) for r in discovery["metric_relabel_configs"]],
                }
            ],
        },
    }


def _operator(rule: dict[str, Any]) -> dict[str, Any]:
    return {_camel(key): value for key, value in rule.items()}


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)
