"""What the Kubernetes manifests share with the rest of the house, rendered from its one source.

The manifests in ``deploy/kubernetes`` are written by hand; rules, routes, dashboards and what is scraped are not. They
are written below ``rendered`` directories, committed, and kustomize puts them into ConfigMaps and custom resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lrwatch.ops import render, routing
from lrwatch.ops.dashboards import files as dashboards
from lrwatch.ops.kubernetes import scraping
from lrwatch.ops.rules import GROUPS
from lrwatch.ops.rules.base import Group
from lrwatch.ops.thresholds import Values, resolve

PROMETHEUS_URL: Final = "http://prometheus:9090"
DATASOURCE: Final = "lrwatch"
NOTE: Final = "# Rendered by `lrwatch ops kubernetes render`; edit lrwatch/ops/, not this file.\n"
RECEIVERS: Final = "/etc/alertmanager/receivers"
"""Where the Secret with the receivers' addresses is mounted, a file each."""


def files(values: Values | None = None, runbooks: str = render.RUNBOOKS, extra: Sequence[Group] = ()) -> dict[str, str]:
    """Path below ``deploy/kubernetes`` → text.

    Args:
        values: thresholds, default those of the catalogue. runbooks: where the pages are read.
        extra: groups made of reviewed files.
    """
    values = resolve() if values is None else values
    rules = render.files(values, runbooks, extra)
    made = {f"monitoring/prometheus/rendered/{name}": text for name, text in rules.items()}
    made["monitoring/prometheus/rendered/prometheus.yml"] = NOTE + render.dump(scraping.prometheus())
    made["monitoring/prometheus/rendered/kustomization.yaml"] = NOTE + render.dump(_rules_component(sorted(rules)))
    made["monitoring/alertmanager/rendered/alertmanager.yml"] = routing.text(_routes())
    for name, text in dashboards.provisioning(DATASOURCE, PROMETHEUS_URL).items():
        made[f"monitoring/grafana/rendered/{name.replace('/', '-')}"] = NOTE + text
    boards = dashboards.boards(runbooks=runbooks)
    made |= {f"monitoring/dashboards/rendered/{name}": text for name, text in boards.items()}
    made["monitoring/dashboards/rendered/kustomization.yaml"] = NOTE + render.dump(_boards_component(sorted(boards)))
    groups = [group for group in (*GROUPS, *extra) if group.rules]
    operator = {
        "prometheus-rules.yaml": [_rule_resource(group, values, runbooks) for group in groups],
        "pod-monitors.yaml": scraping.monitors(),
    }
    for name, resources in operator.items():
        made[f"overlays/operator/rendered/{name}"] = NOTE + "---\n".join(map(render.dump, resources))
    return made


def _routes() -> routing.Routing:
    """Every receiver reads its address from a file, for an address is a secret; the file has the receiver's name."""
    page, ticket, record, deadman = (f"{RECEIVERS}/{name}" for name in ("page", "ticket", "record", "deadman"))
    return routing.Routing(page=page, ticket=ticket, record=record, deadman=deadman)


def _rule_resource(group: Group, values: Values, runbooks: str) -> dict[str, Any]:
    """A group of rules for the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": group.name.replace(".", "-"),
            "namespace": scraping.MONITORING,
            "labels": {"app.kubernetes.io/name": "lrwatch", "app.kubernetes.io/part-of": "lrwatch"},
        },
        "spec": {"groups": [render.group(group, values, runbooks)]},
    }


def _rules_component(names: list[str]) -> dict[str, Any]:
    """One ConfigMap with what Prometheus reads; a change makes a new name, and so a rollout."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "configMapGenerator": [
            {"name": "prometheus-config", "namespace": scraping.MONITORING, "files": ["prometheus.yml"]},
            {"name": "prometheus-rules", "namespace": scraping.MONITORING, "files": names},
        ],
    }


def _boards_component(names: list[str]) -> dict[str, Any]:
    """A ConfigMap per dashboard, with the label by which the sidecar of a Grafana chart finds it."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "configMapGenerator": [
            {
                "name": name.removesuffix(".json"),
                "namespace": scraping.MONITORING,
                "files": [name],
                "options": {"labels": {"grafana_dashboard": "1"}},
            }
            for name in names
        ],
    }
