"""Every overlay as a real kubectl builds it: strict schemas, what the programs themselves say of their configurations,
and one source for what is said in several places."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from lrwatch.agent.node import Node
from lrwatch.agent.publish import Publisher
from lrwatch.cli import main
from lrwatch.ops import kubernetes
from tests.conftest import ROOT
from tests.deploy import crds
from tests.deploy.manifests import HOME, Object, build, containers, find, pods, read

VERSIONS = ("1.30", "1.37")
"""Kubernetes from the first with ValidatingAdmissionPolicy v1 to the newest whose schemas we have."""
OVERLAYS = ("plain", "operator", "plain+gpu")
EXAMPLES = sorted((HOME / "examples").glob("*.yaml"))


# -- schemas ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_keeps_its_strict_schema(overlays: dict[str, list[Object]], version: str) -> None:
    objects = [*overlays["plain"], *(o for path in EXAMPLES for o in read(path))]
    objects += [o for name in ("operator", "plain+gpu") for o in overlays[name] if o not in overlays["plain"]]
    assert [p for one in objects for p in crds.problems(one, version)] == []


def broken(one: Object, path: str, value: Any) -> Object:
    made = copy.deepcopy(one)
    at: Any = made
    *way, last = path.split(".")
    for key in way:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    return made


@pytest.mark.parametrize(
    ("kind", "name", "path", "value", "message"),
    [
        ("StatefulSet", "prometheus", "spec.template.spec.containers.0.livenesProbe", {},
         "'livenesProbe' was unexpected"),
        ("Job", "gpt-tiny", "spec.template.spec.terminationGracePeriod", 5, "'terminationGracePeriod' was unexpected"),
        ("NetworkPolicy", "prometheus", "spec.policyTypes", "Egress", "'Egress' is not of type"),
        ("PodMonitor", "lrwatch", "spec.sampleLimits", 5, "'sampleLimits' was unexpected"),
        ("PodMonitor", "lrwatch", "spec.podMetricsEndpoints.0.interval", "15 s", "'15 s' does not match"),
        ("PodMonitor", "lrwatch", "spec.podMetricsEndpoints.0.relabelings.0.source_labels", [],
         "'source_labels' was unexpected"),
        ("PrometheusRule", "lrwatch-runs", "spec.groups.0.rules.0.four", "5m", "'four' was unexpected"),
        ("PrometheusRule", "lrwatch-runs", "spec.groups.0.rules.0.for", "five", "'five' does not match"),
        ("TrainJob", "gpt-tiny", "spec.trainer.nodes", 2, "'nodes' was unexpected"),
        ("TrainingRuntime", "lrwatch-gpt-tiny",
         "spec.template.spec.replicatedJobs.0.template.spec.template.spec.containers.0.envs", [],
         "'envs' was unexpected"),
        ("ValidatingAdmissionPolicy", "lrwatch-signed-contract", "spec.validations.0.expr", "true",
         "'expr' was unexpected"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_refused(
    overlays: dict[str, list[Object]], kind: str, name: str, path: str, value: Any, message: str
) -> None:
    objects = [*overlays["plain"], *overlays["operator"], *(o for example in EXAMPLES for o in read(example))]
    one = next(o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name))
    (problem,) = crds.problems(broken(one, path, value), "1.37")
    assert message in problem


# -- what the programs say --------------------------------------------------------------------------------


def ask(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def config_map(objects: list[Object], name: str, into: Path) -> list[Path]:
    """The files of a ConfigMap, as a pod sees them."""
    into.mkdir(exist_ok=True)
    for key, text in find(objects, "ConfigMap", name)["data"].items():
        (into / key).write_text(text)
    return sorted(into.iterdir())


@pytest.mark.tool("promtool")
def test_promtool_accepts_the_rules_of_both_overlays(
    overlays: dict[str, list[Object]], tool: Callable[[str], str], tmp_path: Path
) -> None:
    """And both have the rules that the repository has."""
    plain = config_map(overlays["plain"], "prometheus-rules", tmp_path / "plain")
    (tmp_path / "operator").mkdir()
    for one in overlays["operator"]:
        if one["kind"] == "PrometheusRule":
            name = one["metadata"]["name"].removeprefix("lrwatch-")
            (tmp_path / "operator" / f"{name}.yml").write_text(yaml.safe_dump(one["spec"], sort_keys=False))
    operator = sorted((tmp_path / "operator").iterdir())
    ask(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *plain)
    ask(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *operator)
    committed = {p.name: yaml.safe_load(p.read_text()) for p in (ROOT / "alerts" / "rules").glob("*.yml")}
    assert {p.name: yaml.safe_load(p.read_text()) for p in plain} == committed
    assert {p.name: yaml.safe_load(p.read_text()) for p in operator} == committed


@pytest.mark.tool("promtool-next")
def test_promtool_accepts_the_configuration(
    overlays: dict[str, list[Object]], tool: Callable[[str], str], tmp_path: Path
) -> None:
    """The promtool of a later Debian: the older one was built without kubernetes_sd_configs."""
    (path,) = config_map(overlays["plain"], "prometheus-config", tmp_path / "config")
    assert "SUCCESS" in ask(tool("promtool-next"), "check", "config", path)
    text = path.read_text()
    path.write_text(text.replace("role: pod", "role: pods"))
    done = subprocess.run([tool("promtool-next"), "check", "config", path], capture_output=True, text=True)
    assert done.returncode == 1 and "unknown Kubernetes SD role" in done.stdout + done.stderr


@pytest.mark.tool("amtool")
def test_amtool_accepts_the_routes(
    overlays: dict[str, list[Object]], tool: Callable[[str], str], tmp_path: Path
) -> None:
    """amtool before 0.26 knows no url_file: it is asked about addresses in its place. A newer one is asked as it is."""
    (path,) = config_map(overlays["plain"], "alertmanager-config", tmp_path / "config")
    newer = shutil.which("amtool-next", path=str(ROOT / ".tools" / "bin"))
    if newer:
        ask(newer, "check-config", path)
    text = path.read_text()
    files = ["page", "ticket", "record", "deadman"]
    assert [line.split("/")[-1] for line in text.splitlines() if "url_file" in line] == files
    path.write_text(text.replace("url_file: /", "url: http://file/"))
    ask(tool("amtool"), "check-config", path)
    for severity, receiver in (("critical", "lrwatch-page"), ("warning", "lrwatch-ticket"), ("info", "lrwatch-record")):
        words = ["alertname=LrwatchRunStalled", f"severity={severity}", "run_id=r"]
        out = ask(tool("amtool"), "config", "routes", "test", f"--config.file={path}", *words)
        assert out.splitlines()[0] == receiver


# -- one source -------------------------------------------------------------------------------------------


def test_what_is_rendered_is_what_the_source_says() -> None:
    made = {HOME / name: text for name, text in kubernetes.files().items()}
    committed = {p: p.read_text() for p in HOME.rglob("*") if p.is_file() and "rendered" in p.relative_to(HOME).parts}
    stale = [str(p.relative_to(ROOT)) for p in made.keys() | committed.keys() if made.get(p) != committed.get(p)]
    assert not stale, f"run `lrwatch ops kubernetes render -o deploy/kubernetes --force`: {stale}"


def test_both_overlays_scrape_alike(overlays: dict[str, list[Object]]) -> None:
    """A PodMonitor says what prometheus.yml says, but for what the operator does itself."""
    (config,) = (yaml.safe_load(t) for t in find(overlays["plain"], "ConfigMap", "prometheus-config")["data"].values())
    for job in config["scrape_configs"][:2]:
        spec = find(overlays["operator"], "PodMonitor", job["job_name"])["spec"]
        assert [job[f"{k}_limit"] for k in ("sample", "target", "label")] == [
            spec[f"{k}Limit"] for k in ("sample", "target", "label")
        ]
        (endpoint,) = spec["podMetricsEndpoints"]
        labels = {r["target_label"] for r in job["relabel_configs"] if "target_label" in r}
        assert labels == {"namespace", "instance", "environment", "sweep", "cluster"}
        assert {r["targetLabel"] for r in endpoint["relabelings"] if "targetLabel" in r} == {"job", *labels}
        assert len(endpoint["metricRelabelings"]) == len(job["metric_relabel_configs"]) == 5


def test_what_is_scraped_is_what_pods_offer(overlays: dict[str, list[Object]]) -> None:
    for name in OVERLAYS:
        offered = {
            (t["metadata"]["labels"]["app.kubernetes.io/component"], port["name"])
            for _, t in pods(overlays[name]) for c in containers(t) for port in c.get("ports", ())
        }  # fmt: skip
        assert {("trainer", "metrics"), ("ledger", "metrics")} <= offered
    for monitor in (o for o in overlays["operator"] if o["kind"] == "PodMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        assert any(labels.items() <= t["metadata"]["labels"].items() for _, t in pods(overlays["operator"]))


def test_grafana_has_every_dashboard(overlays: dict[str, list[Object]]) -> None:
    pod = find(overlays["plain"], "Deployment", "grafana")["spec"]["template"]["spec"]
    (mounted,) = (v["projected"]["sources"] for v in pod["volumes"] if v["name"] == "dashboards")
    boards = {path.stem for path in (ROOT / "dashboards").glob("*.json")}
    for name, objects in overlays.items():
        maps = {o["metadata"]["name"].rpartition("-")[0]: o["metadata"] for o in objects if o["kind"] == "ConfigMap"}
        assert boards <= maps.keys(), name
        assert all(maps[board]["labels"]["grafana_dashboard"] == "1" for board in boards)
    assert {source["configMap"]["name"].rpartition("-")[0] for source in mounted} == boards


def test_a_changed_file_makes_a_new_configuration(
    overlays: dict[str, list[Object]], tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Contracts, rules and routes are in ConfigMaps named by what they hold, so a change is a rollout."""
    shutil.copytree(HOME, tmp_path / "k8s")
    folder = tmp_path / "k8s" / "overlays" / "plain"
    before = {o["metadata"]["name"] for o in overlays["plain"] if o["kind"] == "ConfigMap"}
    for name in ("trainer/contract.yaml", "monitoring/prometheus/rendered/runs.yml",
                 "monitoring/alertmanager/rendered/alertmanager.yml"):  # fmt: skip
        with (tmp_path / "k8s" / name).open("a") as file:
            file.write("# one more line\n")
    after = build(tool("kubectl"), folder)
    new = {o["metadata"]["name"] for o in after if o["kind"] == "ConfigMap"} - before
    assert sorted(name.rpartition("-")[0] for name in new) == ["alertmanager-config", "contract", "prometheus-rules"]
    used = {v["configMap"]["name"] for _, t in pods(after) for v in t["spec"]["volumes"] if "configMap" in v}
    assert new <= used


def test_gpus_change_the_trainer_only(overlays: dict[str, list[Object]]) -> None:
    job = find(overlays["plain+gpu"], "Job", "gpt-tiny-1")
    (trainer,) = job["spec"]["template"]["spec"]["containers"]
    assert trainer["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert trainer["image"] == "lrwatch/trainer:0.1.0-cuda"
    assert {e["name"]: e.get("value") for e in trainer["env"]}["WORKERS"] == "8"
    shm = next(v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "32Gi"}
    others = [o for o in overlays["plain+gpu"] if o["kind"] != "Job"]
    assert others == [o for o in overlays["plain"] if o["kind"] != "Job"]


# -- what the containers are told -------------------------------------------------------------------------


def test_the_contract_that_is_shipped_is_signed() -> None:
    pytest.importorskip("cryptography")
    words = ["verify", str(HOME / "trainer/contract.yaml"), "--key", str(HOME / "trainer/trust/release.pub")]
    result = CliRunner().invoke(main, ["contract", *words])
    assert result.exit_code == 0, result.output


def test_every_command_line_is_one_that_lrwatch_knows(overlays: dict[str, list[Object]]) -> None:
    """With --help in the end, options are read and nothing is done; one that does not exist is an error."""
    seen = []
    for _, template in [p for name in OVERLAYS for p in pods(overlays[name])] + list(pods(read(EXAMPLES[-1]))):
        for c in containers(template):
            words = c.get("args", [])
            if c.get("command") == ["torchrun"]:
                words = words[words.index("lrwatch") + 1 :]
            elif not c["image"].startswith("lrwatch/tools") or "command" in c:
                continue
            result = CliRunner().invoke(main, [*words, "--help"])
            assert result.exit_code == 0, result.output
            seen.append(words[0])
    assert set(seen) == {"contract", "ops", "train", "ledger"}
    assert CliRunner().invoke(main, ["ops", "node", "/runs/a", "--hosts=x", "--help"]).exit_code == 2


def test_the_snapshots_of_a_machine_stay_there(overlays: dict[str, list[Object]], tmp_path: Path) -> None:
    """What the container `prepare` does, on this machine: twice, as two machines of a run do it."""
    job = find(overlays["plain"], "Job", "gpt-tiny-1")
    prepare = next(c for c in containers(job["spec"]["template"]) if c["name"] == "prepare")
    own = tmp_path / "snapshots"
    own.mkdir()
    script = prepare["args"][0].replace("/runs/", f"{tmp_path}/runs/").replace("-sn /snapshots", f"-sn {own}")
    (tmp_path / "runs").mkdir()
    for _ in range(2):
        subprocess.run([*prepare["command"], script], env={"PATH": "/usr/bin:/bin", "RUN_ID": "r1"}, check=True)
    run_dir = tmp_path / "runs" / "r1"
    Publisher(run_dir, 3, lambda: b'lrwatch_rank_up{run_id="r1",rank="3"} 1.0\n').publish()
    assert [p.name for p in own.iterdir()] == ["rank00003.prom"]
    assert 'lrwatch_rank_up{run_id="r1",rank="3"} 1.0' in Node(run_dir).text()


def test_the_ordinals_are_as_many_as_the_replicas(overlays: dict[str, list[Object]]) -> None:
    """Addresses of single pods are written out: Alertmanager's peers, and the machines of a run."""
    manager = find(overlays["plain"], "StatefulSet", "alertmanager")
    (container,) = manager["spec"]["template"]["spec"]["containers"]
    peers = [a for a in container["args"] if a.startswith("--cluster.peer=")]
    assert peers == [f"--cluster.peer=alertmanager-{i}.alertmanager:9094" for i in range(manager["spec"]["replicas"])]
    job = find(overlays["plain"], "Job", "gpt-tiny-1")["spec"]
    machines = {e["name"]: e.get("value") for e in job["template"]["spec"]["containers"][0]["env"]}["MACHINES"]
    assert int(machines) == job["completions"] == job["parallelism"]


def test_render_writes_a_whole_installation(tmp_path: Path, tool: Callable[[str], str]) -> None:
    where, run = tmp_path / "k8s", CliRunner().invoke
    assert run(main, ["ops", "kubernetes", "render", "-o", str(where), "--set", "stall_deadline=45m"]).exit_code == 0
    objects = build(tool("kubectl"), where / "overlays" / "plain")
    assert "45m" in find(objects, "ConfigMap", "prometheus-rules")["data"]["runs.yml"]
    again = run(main, ["ops", "kubernetes", "render", "-o", str(where)])
    assert (again.exit_code, "already exists; pass --force" in again.stderr) == (2, True)
    (where / "trainer" / "contract.yaml").write_text("mine")
    assert run(main, ["ops", "kubernetes", "render", "-o", str(where), "--force"]).exit_code == 0
    assert (where / "trainer" / "contract.yaml").read_text() == "mine"
