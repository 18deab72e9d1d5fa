"""What the custom resources that we use may hold: every other key is refused, as an API server would not store it.

Only the keys that exist in the definitions of prometheus-operator (v1, 0.91) and Kubeflow Trainer (v1alpha1) and that
somebody writing our manifests could want; a pod's specification is judged by Kubernetes' own schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import kubernetes_validate
from jsonschema import Draft202012Validator

from tests.deploy.manifests import Object, pods, where

DURATION: Final = r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"


def _map(required: str = "", **properties: Any) -> dict[str, Any]:
    """A mapping with these keys and no others."""
    return {
        "type": "object", "properties": properties, "required": required.split(), "additionalProperties": False,
    }  # fmt: skip


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_WORDS: Final = {"type": "object", "additionalProperties": _TEXT}
_TIME: Final = {"type": "string", "pattern": DURATION}
_META: Final = _map("name", name=_TEXT, namespace=_TEXT, labels=_WORDS, annotations=_WORDS)
_ACTIONS: Final = (
    "replace Replace keep Keep drop Drop hashmod HashMod labelmap LabelMap labeldrop LabelDrop labelkeep LabelKeep "
    "lowercase Lowercase uppercase Uppercase keepequal KeepEqual dropequal DropEqual"
).split()
_RELABEL: Final = _map(
    sourceLabels=_list(_TEXT), separator=_TEXT, targetLabel=_TEXT, regex=_TEXT, modulus=_COUNT, replacement=_TEXT,
    action={"enum": _ACTIONS},
)  # fmt: skip
_ENDPOINT: Final = _map(
    port=_TEXT, portNumber=_COUNT, path=_TEXT, scheme={"enum": ["http", "https"]}, params={"type": "object"},
    interval=_TIME, scrapeTimeout=_TIME, honorLabels=_FLAG, honorTimestamps=_FLAG, trackTimestampsStaleness=_FLAG,
    relabelings=_list(_RELABEL), metricRelabelings=_list(_RELABEL), followRedirects=_FLAG, enableHttp2=_FLAG,
    filterRunning=_FLAG, tlsConfig={"type": "object"}, authorization={"type": "object"},
)  # fmt: skip
_MONITOR: Final = _map(
    "podMetricsEndpoints selector",
    jobLabel=_TEXT, podTargetLabels=_list(_TEXT), podMetricsEndpoints=_list(_ENDPOINT),
    selector=_map(matchLabels=_WORDS, matchExpressions=_list({"type": "object"})),
    namespaceSelector=_map(any=_FLAG, matchNames=_list(_TEXT)), sampleLimit=_COUNT, targetLimit=_COUNT,
    labelLimit=_COUNT, labelNameLengthLimit=_COUNT, labelValueLengthLimit=_COUNT, keepDroppedTargets=_COUNT,
    bodySizeLimit=_TEXT, attachMetadata=_map(node=_FLAG), scrapeClass=_TEXT,
)  # fmt: skip
_RULE: Final = _map(
    "expr",
    record=_TEXT, alert=_TEXT, expr={"type": ["string", "integer"]}, labels=_WORDS, annotations=_WORDS,
    keep_firing_for={**_TIME, "minLength": 1}, **{"for": _TIME},
)  # fmt: skip
_GROUP: Final = _map(
    "name rules",
    name={"type": "string", "minLength": 1}, interval=_TIME, query_offset=_TIME, limit=_COUNT, labels=_WORDS,
    partial_response_strategy=_TEXT, rules=_list(_RULE),
)  # fmt: skip
_JOBS: Final = _map(
    "name template", name=_TEXT, replicas=_COUNT,
    template=_map("spec", metadata=_map(labels=_WORDS, annotations=_WORDS), spec=_map(
        "template", template={"type": "object"}, parallelism=_COUNT, completions=_COUNT, backoffLimit=_COUNT)),
)  # fmt: skip
_RUNTIME: Final = _map(
    "template",
    mlPolicy=_map(numNodes={"type": "integer", "minimum": 1}, torch=_map(numProcPerNode={})),
    podGroupPolicy={"type": "object"},
    template=_map("spec", spec=_map("replicatedJobs", replicatedJobs=_list(_JOBS), network={"type": "object"})),
)  # fmt: skip
_TRAIN_JOB: Final = _map(
    "runtimeRef",
    runtimeRef=_map("name", apiGroup=_TEXT, kind={"enum": ["TrainingRuntime", "ClusterTrainingRuntime"]}, name=_TEXT),
    trainer=_map(image=_TEXT, command=_list(_TEXT), args=_list(_TEXT), env=_list({"type": "object"}),
                 numNodes={"type": "integer", "minimum": 1}, numProcPerNode={}, resourcesPerNode={"type": "object"}),
    suspend=_FLAG, managedBy=_TEXT, labels=_WORDS, annotations=_WORDS, activeDeadlineSeconds=_COUNT,
)  # fmt: skip
SPECS: Final = {
    ("monitoring.coreos.com/v1", "PodMonitor"): _MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): _map("groups", groups=_list(_GROUP)),
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"): _RUNTIME,
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"): _TRAIN_JOB,
}


def problems(one: Object, version: str) -> Iterator[str]:
    """What is wrong with an object by its schema, custom or built in; ``version`` is Kubernetes'."""
    spec = SPECS.get((one["apiVersion"], one["kind"]))
    if spec is None:
        yield from _built_in(one, version, where(one))
        return
    schema = _map("apiVersion kind metadata spec", apiVersion=_TEXT, kind=_TEXT, metadata=_META, spec=spec)
    for error in Draft202012Validator(schema).iter_errors(one):
        yield f"{where(one)}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
    for _, template in pods([one]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-a-runtime"}, "spec": template["spec"]}
        yield from _built_in(pod, version, where(one))


def _built_in(one: Object, version: str, name: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{name}: {'.'.join(map(str, error.path))}: {error.message}"
