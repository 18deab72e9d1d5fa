"""Images and the compose file, without an engine: what can be read, run, or judged by a real compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement

from lrwatch import __version__
from lrwatch.cli import main
from lrwatch.ops.keeper import RECEIVERS
from tests.conftest import ROOT

HOME = ROOT / "deploy" / "containers"
DOCKERFILES = ("tools", "trainer")


# -- Dockerfiles ------------------------------------------------------------------------------------------


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and argument of every instruction; comments and line continuations taken away."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", lines)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def complaints(text: str) -> Iterator[str]:
    """What a reviewer of a Dockerfile rejects."""
    steps = instructions(text)
    defaults = dict(rest.partition("=")[::2] for word, rest in steps if word == "ARG")
    for word, rest in steps:
        base = rest.split()[0]
        base = defaults.get("BASE", "") if base == "${BASE}" else base
        if word == "FROM" and (not re.search(r":[\w.-]*\d", base.rpartition("/")[2]) or base.endswith(":latest")):
            yield f"FROM {base} is not pinned"
        if word == "ADD":
            yield "ADD; use COPY"
        if word in ("ARG", "ENV") and re.search(r"(?i)passw|token|secret", rest):
            yield f"{word} {rest}: a secret stays in the image"
        if word == "RUN" and "apt-get install" in rest and "rm -rf /var/lib/apt/lists" not in rest:
            yield "RUN leaves the package lists in the image"
        for install in re.findall(r"pip install ([^&|;]*)", rest) if word == "RUN" else ():
            pinned = "--require-hashes" in install or "--no-index" in install or '"$TORCH"' in install
            if not pinned:
                yield f"pip install {install.strip()}: is not pinned"
    users = [rest for word, rest in steps if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield "runs as root, or as a name that Kubernetes cannot tell from it"
    if not any(word == "HEALTHCHECK" and not rest.startswith("NONE") for word, rest in steps):
        yield "no HEALTHCHECK"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_reviewer_has_no_complaint(name: str) -> None:
    assert list(complaints((HOME / f"{name}.Dockerfile").read_text())) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (":3.12.11-slim-bookworm", "", "FROM docker.io/library/python is not pinned"),
        (":3.12.11-slim-bookworm", ":latest", "FROM docker.io/library/python:latest is not pinned"),
        ("USER 10001:10001", "USER lrwatch", "runs as root, or as a name that Kubernetes cannot tell from it"),
        ("USER 10001:10001\n", "", "runs as root, or as a name that Kubernetes cannot tell from it"),
        ("HEALTHCHECK", "LABEL", "no HEALTHCHECK"),
        ("COPY lrwatch", "ADD lrwatch", "ADD; use COPY"),
        (" --require-hashes", "", "pip install -r /requirements/requirements.txt: is not pinned"),
        ("ENV PATH", "ENV API_TOKEN=x PATH", "a secret stays in the image"),
        ("rm -rf /var/lib/apt/lists/*", "true", "RUN leaves the package lists in the image"),
    ],
)
def test_what_a_reviewer_rejects_is_rejected(old: str, new: str, complaint: str) -> None:
    text = (HOME / "trainer.Dockerfile").read_text()
    assert old in text
    assert any(complaint in found for found in complaints(text.replace(old, new)))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there(name: str) -> None:
    ignored = (HOME / f"{name}.Dockerfile.dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for word, rest in instructions((HOME / f"{name}.Dockerfile").read_text()):
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists() and source.split("/")[0] in let_in


def test_what_is_copied_is_enough_for_the_wheel(tmp_path: Path) -> None:
    """The step that builds it, in a directory with nothing but what the image has there."""
    for word, rest in instructions((HOME / "tools.Dockerfile").read_text()):
        sources = [] if word != "COPY" or "--from" in rest or "/requirements/" in rest else rest.split()[:-1]
        for source in sources:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, tmp_path / source)
    words = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheel")]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "wheel").iterdir()] == [f"lrwatch-{__version__}-py3-none-any.whl"]


def pinned(name: str) -> dict[str, str]:
    """Package → version of a requirements file in which everything has a checksum."""
    text = (HOME / name).read_text()
    entries = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    assert len(entries) == sum("==" in line for line in text.splitlines())
    return {package.lower().replace("_", "-"): version for package, version, _ in entries}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["sign"]
    runtime, build = pinned("requirements.txt"), pinned("requirements-build.txt")
    for line in wanted:
        asked = Requirement(line)
        assert runtime[asked.name] in asked.specifier, line
    for line in project["build-system"]["requires"]:
        assert build[Requirement(line).name] in Requirement(line).specifier, line


@pytest.mark.long
def test_the_pins_can_be_installed() -> None:
    """For the interpreter of the images, on both kinds of machine; nothing is installed."""
    for machine in ("x86_64", "aarch64"):
        platforms = [f"--platform=manylinux_{v}_{machine}" for v in ("2_34", "2_28", "2_17")]
        words = ["--dry-run", "--ignore-installed", "-q", "--require-hashes", "--only-binary=:all:", "--target=t"]
        words += ["--python-version=3.12", *platforms, f"--platform=manylinux2014_{machine}"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", *words, "-r", str(HOME / "requirements.txt")],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_health_check_knows_health(name: str) -> None:
    """The command of the image, run here against a server that is well, one that is not, and none."""
    (check,) = [rest for word, rest in instructions((HOME / f"{name}.Dockerfile").read_text()) if word == "HEALTHCHECK"]
    program, *words = json.loads(check.partition(" CMD ")[2])
    assert program == "python"

    def ask(url: str) -> int:
        env = {**os.environ, "LRWATCH_HEALTH": url, "no_proxy": "127.0.0.1"}
        return subprocess.run([sys.executable, *words], env=env, capture_output=True).returncode

    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert (ask(f"{url}/metrics"), ask(f"{url}/elsewhere")) == (0, 1)
        server.shutdown()
    assert ask(f"{url}/metrics") == 1


def test_images_have_the_version_of_the_package() -> None:
    files = [HOME / "compose.yaml", *HOME.glob("*.Dockerfile"), *(ROOT / "deploy" / "kubernetes").rglob("*.yaml")]
    tags = {tag for f in files for tag in re.findall(r"lrwatch/(?:tools|trainer):([\w.-]+)", f.read_text())}
    assert tags == {__version__, f"{__version__}-cuda"}


# -- compose ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose(tool: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A compose with its own binary or as docker's plug-in; no engine is asked for anything."""

    def run(*words: str, file: Path = HOME / "compose.yaml") -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool("docker-compose"), "-f", str(file), *words], capture_output=True, text=True)

    return run


@pytest.fixture(scope="module")
def services(compose: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    done = compose("config", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["services"])


def test_no_secret_is_a_file_here(compose: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Files below deploy/ go into images and wheels; secrets come from the environment."""
    secrets = json.loads(compose("config", "--format", "json").stdout)["secrets"]
    assert set(secrets) == {"grafana_password", *RECEIVERS}
    assert all(set(one) == {"name", "environment"} for one in secrets.values())


def test_compose_refuses_what_it_does_not_know(
    compose: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    copy = tmp_path / "compose.yaml"
    copy.write_text((HOME / "compose.yaml").read_text().replace("shm_size:", "shm_sizes:"))
    done = compose("config", "-q", file=copy)
    assert done.returncode != 0 and "shm_sizes" in done.stderr


def flaws(services: dict[str, Any]) -> Iterator[str]:
    """What a reviewer of a compose file rejects."""
    for name, one in services.items():
        tag = one["image"].rpartition(":")[2]
        if "/" in tag or tag == "latest":
            yield f"{name}: {one['image']} is not pinned"
        if not one.get("read_only") or one.get("cap_drop") != ["ALL"]:
            yield f"{name}: is not locked down"
        if one.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name}: may gain privileges"
        if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", one.get("user", "")):
            yield f"{name}: may be root"
        if not {"cpus", "memory"} <= one.get("deploy", {}).get("resources", {}).get("limits", {}).keys():
            yield f"{name}: has no limits"
        ours = one["image"].startswith("lrwatch/")  # whose image has a health check
        if not ours and "healthcheck" not in one:
            yield f"{name}: has no health check"
        for port in one.get("ports", ()):
            if port.get("host_ip") != "127.0.0.1":
                yield f"{name}: port {port['target']} is open to the network"
        for variable, value in (one.get("environment") or {}).items():
            if re.search(r"PASSW|TOKEN|SECRET", variable) and not variable.endswith("__FILE"):
                yield f"{name}: {variable}={value} is written out"


def test_nobody_rejects_the_services(services: dict[str, Any]) -> None:
    assert list(flaws(services)) == []
    assert set(services) == {
        "verify-contract", "trainer", "node", "ledger", "prometheus", "alertmanager", "notifications", "grafana",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "flaw"),
    [
        ("grafana", {"image": "grafana/grafana"}, "grafana: grafana/grafana is not pinned"),
        ("grafana", {"read_only": False}, "grafana: is not locked down"),
        ("ledger", {"cap_drop": None}, "ledger: is not locked down"),
        ("ledger", {"security_opt": None}, "ledger: may gain privileges"),
        ("trainer", {"user": "root"}, "trainer: may be root"),
        ("trainer", {"deploy": {}}, "trainer: has no limits"),
        ("prometheus", {"ports": [{"target": 9090}]}, "prometheus: port 9090 is open to the network"),
        ("grafana", {"environment": {"GF_SECURITY_ADMIN_PASSWORD": "x"}},
         "grafana: GF_SECURITY_ADMIN_PASSWORD=x is written out"),
    ],
)  # fmt: skip
def test_a_flaw_is_found(services: dict[str, Any], name: str, change: dict[str, Any], flaw: str) -> None:
    assert flaw in list(flaws({**services, name: {**services[name], **change}}))


def test_what_is_mounted_is_there(services: dict[str, Any]) -> None:
    for name, one in services.items():
        for volume in one.get("volumes") or ():
            assert volume["type"] == "volume" or Path(volume["source"]).exists(), f"{name}: {volume['source']}"


def test_every_command_is_one_that_lrwatch_knows(services: dict[str, Any]) -> None:
    for name in ("verify-contract", "trainer", "node", "ledger"):
        result = CliRunner().invoke(main, [*services[name]["command"], "--help"])
        assert result.exit_code == 0, f"{name}: {result.output}"


@pytest.mark.tool("promtool")
def test_prometheus_asks_services_that_listen(
    services: dict[str, Any], tool: Callable[[str], str], tmp_path: Path
) -> None:
    text = (HOME / "prometheus.yml").read_text()
    (tmp_path / "rules").mkdir()
    for rules in (ROOT / "alerts" / "rules").glob("*.yml"):
        shutil.copy(rules, tmp_path / "rules")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/rules", str(tmp_path / "rules")))
    words = [tool("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load(text)
    groups = [g for job in config["scrape_configs"] for g in job["static_configs"]]
    groups += config["alerting"]["alertmanagers"][0]["static_configs"]
    reached = {target for group in groups for target in group["targets"]}
    assert reached == {"node:9478", "ledger:9477", "alertmanager:9093", "127.0.0.1:9090"}
    for target in reached - {"127.0.0.1:9090"}:
        name, port = target.split(":")
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"])
        own = [a for a in services[name]["command"] if a == f"--port={port}"]
        assert own or name == "alertmanager"


def test_every_receiver_has_an_address(services: dict[str, Any]) -> None:
    routes = yaml.safe_load((ROOT / "deploy/kubernetes/monitoring/alertmanager/rendered/alertmanager.yml").read_text())
    files = {w["url_file"] for r in routes["receivers"] for w in r.get("webhook_configs", ())}
    assert {s["target"] for s in services["alertmanager"]["secrets"]} == files
    assert {Path(f).name for f in files} == set(RECEIVERS)
    defaults = dict(line.split("=", 1) for line in (HOME / ".env").read_text().splitlines() if "=" in line)
    assert defaults == {f"{name.upper()}_URL": f"http://notifications:8080/{name}" for name in RECEIVERS}


def test_notifications_are_printed() -> None:
    source = (HOME / "notifications.py").read_text()
    started = 'HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()'
    here = 's = HTTPServer(("127.0.0.1", 0), Handler); print(s.server_port); [s.handle_request() for _ in "123"]'
    assert started in source
    source = source.replace(started, here)
    labels, annotations = {"alertname": "LrwatchRunStalled"}, {"description": "r1 stands."}
    alert = {"status": "firing", "labels": labels, "annotations": annotations}
    with subprocess.Popen([sys.executable, "-u", "-c", source], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        url = f"http://127.0.0.1:{int(running.stdout.readline())}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{url}/page", json.dumps({"version": "4", "alerts": [alert]}).encode())
        opener.open(f"{url}/page", b"torn")
        opener.open(url)
        said = running.stdout.read().splitlines()
    assert said == [
        "/page firing LrwatchRunStalled r1 stands.", "/page is no notification of an Alertmanager",
    ]  # fmt: skip


def test_the_commands_in_the_comments_name_the_files() -> None:
    for path in (*HOME.glob("*.Dockerfile"), HOME / "compose.yaml"):
        for line in re.findall(r"^#\s+(docker .*)", path.read_text(), re.M):
            words = line.split()
            if "-f" in words:
                assert (ROOT / words[words.index("-f") + 1]) == path
