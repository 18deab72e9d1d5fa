"""`lrwatch ops grafana` against a stand-in that keeps a state and judges every request by our schemas."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lrwatch.ops.dashboards import shipped
from tests.conftest import ROOT
from tests.grafana import conformance
from tests.grafana.endpoints import ENDPOINTS
from tests.grafana.server import TOKEN, FakeGrafana

PYTHON = ROOT / ".tools" / "grafana" / "bin" / "python"


@dataclass
class Said:
    code: int
    out: str
    err: str


class Speaker:
    """A process in the environment of grafana-client that runs command lines."""

    def __init__(self) -> None:
        paths = json.dumps([sysconfig.get_path("purelib"), str(ROOT)])
        script = str(Path(__file__).with_name("speaker.py"))
        self.process = subprocess.Popen(
            [str(PYTHON), script, paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *words: str, env: Mapping[str, str]) -> Said:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"words": ["ops", "grafana", *words], "env": dict(env)}) + "\n")
        self.process.stdin.flush()
        return Said(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    if not PYTHON.exists():
        message = "grafana-client is not in .tools/grafana: run make tools"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    made = Speaker()
    yield made
    made.close()


class Client:
    """The command line, the stand-in, and a token."""

    def __init__(self, speaker: Speaker, fake: FakeGrafana):
        self._speaker, self.fake = speaker, fake
        self.env = {"GRAFANA_URL": fake.url, "GRAFANA_TOKEN": TOKEN}

    def __call__(self, *words: str, **env: str) -> Said:
        return self._speaker.run(*words, env={**self.env, **env})

    def refused(self, *words: str, **env: str) -> str:
        """What it says when it cannot."""
        said = self(*words, **env)
        assert (said.code, said.out) == (2, ""), said
        return said.err.removeprefix("lrwatch: ").rstrip()


@pytest.fixture
def grafana(speaker: Speaker) -> Iterator[Client]:
    fake = FakeGrafana()
    yield Client(speaker, fake)
    fake.close()
    assert fake.problems == []


SOURCE = ("--prometheus", "http://prometheus:9090")
ALL = """\
create  folder       lrwatch-folder
create  data source  lrwatch-prometheus
create  dashboard    lrwatch-debug
create  dashboard    lrwatch-executive
create  dashboard    lrwatch-on-call
"""


def test_apply_diff_apply_delete(grafana: Client) -> None:
    assert grafana("diff", *SOURCE) == Said(1, ALL, "")
    assert grafana.fake.writes == []
    assert grafana("apply", *SOURCE) == Said(0, ALL, "")
    kept = ALL.replace("create", "keep  ")
    before = grafana.fake.state()
    assert grafana("diff", *SOURCE) == Said(0, kept, "")
    assert grafana("apply", *SOURCE) == Said(0, kept, "")
    assert grafana.fake.state() == before, "the same again changes nothing"
    source = grafana.fake.sources["lrwatch-prometheus"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", False)
    board = grafana.fake.boards["lrwatch-on-call"]
    assert board["meta"]["folderUid"] == "lrwatch-folder"
    assert board["dashboard"]["templating"]["list"][0]["current"]["value"] == "lrwatch-prometheus"
    gone = grafana("delete", "--dry-run")
    assert gone.out == (
        "delete  dashboard    lrwatch-debug\ndelete  dashboard    lrwatch-executive\n"
        "delete  dashboard    lrwatch-on-call\ndelete  data source  lrwatch-prometheus\n"
        "delete  folder       lrwatch-folder\n"
    )
    assert grafana.fake.state() == before
    assert grafana("delete") == gone
    assert grafana.fake.state() == ({}, {}, {}, {})
    assert grafana("delete") == Said(0, "nothing of lrwatch's is there\n", "")


def test_drift_is_shown_and_removed(grafana: Client) -> None:
    grafana("apply", *SOURCE)
    board = grafana.fake.boards["lrwatch-on-call"]["dashboard"]
    lr = next(p for p in board["panels"] if p["title"].startswith("Learning rate, used"))
    lr["fieldConfig"]["defaults"]["unit"] = "short"
    board["version"] += 1
    grafana.fake.folders["lrwatch-folder"]["title"] = "ML"
    said = grafana("diff", *SOURCE)
    assert said.code == 1
    where = f"panels[{board['panels'].index(lr)}] (Learning rate, used and expected)"
    assert f'          {where}.fieldConfig.defaults.unit: "short" there, "sci" here\n' in said.out
    assert '          title: "ML" there, "lrwatch" here\n' in said.out
    said = grafana("apply", *SOURCE)
    assert "update  dashboard    lrwatch-on-call  1 differences\n" in said.out
    assert grafana("diff", *SOURCE).code == 0


def test_what_is_not_ours_is_left_alone(grafana: Client) -> None:
    """A dashboard under our uid, by somebody else; a stranger in our folder; a default data source."""
    foreign = {"uid": "lrwatch-debug", "title": "My own", "tags": ["mine"], "version": 3, "id": 7}
    grafana.fake.boards["lrwatch-debug"] = {"dashboard": dict(foreign), "meta": {"folderUid": ""}}
    said = grafana.refused("apply", *SOURCE)
    assert said == (
        "dashboard lrwatch-debug: it has no tag lrwatch, so it is not ours; --force overwrites it; nothing was written"
    )
    assert grafana.fake.writes == []
    assert "refuse  dashboard    lrwatch-debug" in grafana("diff", *SOURCE).out
    assert grafana("apply", *SOURCE, "--force").code == 0
    assert grafana.fake.boards["lrwatch-debug"]["dashboard"]["title"] == "lrwatch / debug"

    grafana.fake.boards["stranger"] = {"dashboard": {"uid": "stranger", "title": "Theirs"},
                                       "meta": {"folderUid": "lrwatch-folder"}}  # fmt: skip
    source = grafana.fake.sources["lrwatch-prometheus"]
    source["isDefault"], source["jsonData"]["timeInterval"] = True, "15s"
    moved = grafana("apply", "--prometheus", "http://elsewhere:9090")
    assert "update  data source  lrwatch-prometheus  1 differences\n" in moved.out
    source = grafana.fake.sources["lrwatch-prometheus"]
    assert (source["url"], source["isDefault"]) == ("http://elsewhere:9090", True)
    assert source["jsonData"] == {"httpMethod": "POST", "timeInterval": "15s"}
    said = grafana("delete")
    assert "keep    folder       lrwatch-folder\n          1 not of ours in it: 'Theirs'\n" in said.out
    assert set(grafana.fake.boards) == {"stranger"}


def test_who_saves_at_the_same_moment_is_not_overwritten(grafana: Client) -> None:
    """Somebody saves between our reading and our writing."""
    grafana("apply")
    board = grafana.fake.boards["lrwatch-debug"]["dashboard"]
    board["title"] = "changed"
    grafana.fake.meanwhile = lambda: board.update(version=board["version"] + 1)
    said = grafana("apply")
    assert (said.code, said.out) == (2, "keep    folder       lrwatch-folder\n")
    assert said.err.endswith(
        "cannot save dashboard lrwatch-debug: somebody changed it since it was read; look at `diff` and run the "
        "command again, or pass --force (412: The dashboard has been changed by someone else)\n"
    )
    assert grafana.fake.boards["lrwatch-debug"]["dashboard"]["title"] == "changed"
    assert grafana("apply", "--force").code == 0
    assert grafana.fake.boards["lrwatch-debug"]["dashboard"]["title"] == "lrwatch / debug"


def test_what_a_file_provisions_is_changed_there(grafana: Client) -> None:
    grafana("apply", *SOURCE)
    grafana.fake.boards["lrwatch-debug"]["dashboard"]["title"] = "changed"
    grafana.fake.boards["lrwatch-debug"]["meta"]["provisioned"] = True
    assert grafana.refused("apply", *SOURCE, "--force").startswith(
        "dashboard lrwatch-debug: it is provisioned from a file: change it there; nothing was written"
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (401, "the token is not accepted; make a new one, and set GRAFANA_TOKEN or --token-file (401: as told)"),
        (403, "the token may not do that; it needs the role Editor, for data sources Admin, or the permissions that "
              "docs/grafana.md lists (403: as told)"),
        (409, "the name or the uid is taken by something else; rename that, or use --datasource or --folder "
              "(409: as told)"),
        (500, "the server failed; what was done stays done, and the command can be run again (500: as told)"),
        ((503, "<html>down</html>"), "the server failed; what was done stays done, and the command can be run again "
                                     "(503)"),
        ((404, "<html>no</html>"), "no Grafana API at this address (404); is a sub-path missing?"),
        ((200, "<html>log in</html>"), "the answer is no JSON of Grafana's API; a proxy with a login page in front of "
                                       "it? give the address under which /api answers"),
    ],
)  # fmt: skip
def test_refusals_are_explained(grafana: Client, fault: Any, said: str) -> None:
    grafana.fake.faults["GET", "/folders"] = fault
    assert grafana.refused("apply") == f"{grafana.fake.url}: cannot read folder lrwatch-folder: {said}"


def test_silence_and_absence(grafana: Client, tmp_path: Path) -> None:
    grafana.fake.faults["GET", "/folders"] = 1.5
    assert grafana.refused("apply", "--timeout", "500ms") == (
        f"{grafana.fake.url}: cannot read folder lrwatch-folder: no answer within 0.5 s; --timeout allows more"
    )
    closed = grafana.refused("apply", GRAFANA_URL="http://127.0.0.1:9")
    assert closed.startswith("http://127.0.0.1:9: cannot read folder lrwatch-folder: ")
    assert "refused" in closed
    assert "Invalid API key" in grafana.refused("diff", GRAFANA_TOKEN="wrong")
    assert grafana.refused("diff", GRAFANA_TOKEN="") == (
        "no token: set GRAFANA_TOKEN, or name a file with --token-file (of a service account, role Editor)"
    )
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert grafana("diff", "--token-file", str(tmp_path / "token"), GRAFANA_TOKEN="").code == 1
    (tmp_path / "token").write_text("two words\n")
    assert "must hold one token and nothing else" in grafana.refused("diff", "--token-file", str(tmp_path / "token"))
    assert grafana.refused("diff", GRAFANA_URL="grafana.example").startswith("grafana.example: not an address")
    assert grafana.refused("diff", "--url", "http://me:secret@host") == (
        "host: no credentials and no query in the address; set GRAFANA_TOKEN"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as the agent leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "run 1"
    (folder / "trace").mkdir(parents=True)
    rows = [
        {"event": "start", "update": 0, "ts": 1000.0, "lrwatch": 1, "run": "run 1", "rank": 0, "groups": ["0"]},
        *({"update": i, "ts": 1001.0 + i, "lr/0": 0.1} for i in range(4)),
        {"event": "checkpoint", "update": 4, "ts": 1005.5, "scheduler_state": False},
        {"event": "end", "update": 4, "ts": 1006.0, "outcome": "finished"},
    ]
    (folder / "trace" / "rank00000-seg0000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    finding = {"code": "LR101", "severity": "error", "message": "group 0 used 0.1", "first_step": 2}
    (folder / "summary.json").write_text(json.dumps({"findings": [finding]}))
    return folder


def test_annotations_of_a_finished_run(grafana: Client, finished: Path) -> None:
    words = ("--run", str(finished))
    said = grafana("apply", *words)
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == "create  annotations  run 1"
    on_debug = [a for a in grafana.fake.annotations.values() if a["dashboardUID"] == "lrwatch-debug"]
    assert [(a["time"], a["text"]) for a in on_debug] == [
        (1_000_000, "start at update 0"),
        (1_003_000, "LR101 error: group 0 used 0.1"),
        (1_005_500, "checkpoint at update 4, without the scheduler's state"),
        (1_006_000, "end at update 4: finished"),
    ]
    assert len(grafana.fake.annotations) == 8
    assert all(a["tags"] == ["lrwatch", "run 1", "lrwatch-trace"] for a in grafana.fake.annotations.values())
    before = grafana.fake.state()
    assert grafana("apply", *words).out.splitlines()[-1] == "keep    annotations  run 1"
    assert grafana.fake.state() == before
    # One of ours is lost, one is out of date, one is somebody's.
    theirs = {"id": 999, "dashboardUID": "lrwatch-debug", "time": 5, "text": "coffee", "tags": ["lrwatch", "run 1"]}
    grafana.fake.annotations[999] = theirs
    first = next(iter(grafana.fake.annotations.values()))
    first["text"] = "start at update 9"
    said = grafana("diff", *words)
    assert said.out.endswith(
        "update  annotations  run 1  2 differences\n          + start at update 0\n          - start at update 9\n"
    )
    grafana("apply", *words)
    assert len(grafana.fake.annotations) == 9
    grafana("delete", *words)
    assert grafana.fake.annotations == {999: theirs}


def test_bad_input_is_refused_before_anything_is_asked(grafana: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert grafana.refused("apply", "--dashboards", str(tmp_path / "empty")).startswith(
        f"{tmp_path / 'empty'}: no *.json there; `lrwatch ops dashboards render -o"
    )
    (tmp_path / "board.json").write_text('{"uid": "other", "tags": []}')
    assert "not one of lrwatch's: its uid must begin with lrwatch-" in grafana.refused(
        "apply", "--dashboards", str(tmp_path)
    )
    assert grafana.refused("apply", *SOURCE, "--datasource", "x") == "--prometheus and --datasource: give one of them"
    assert "no such file or directory" in grafana.refused("apply", "--run", str(tmp_path / "gone"))
    assert grafana.fake.writes == []


def test_without_the_extra_it_says_so() -> None:
    """This environment has no grafana_client, on purpose."""
    from lrwatch.errors import MissingExtra
    from lrwatch.ops.grafana.client import Grafana

    with pytest.raises(MissingExtra, match=r"lrwatch ops grafana needs an optional dependency: .*lrwatch\[grafana\]"):
        Grafana("http://127.0.0.1:1", "token")


def test_conformance_finds_what_differs() -> None:
    """A description made of our own schemas conforms; one thing changed in it is named."""
    kinds = {"GET": "get", "POST": "post", "PUT": "put", "DELETE": "delete"}
    api: dict[str, Any] = {"paths": {}, "definitions": {}}
    for endpoint, ours in ENDPOINTS.items():
        method, path = endpoint.split(" ")
        parameters = [{"in": "query", "name": name, **schema} for name, schema in ours.get("query", {}).items()]
        if "body" in ours:
            number = str(len(api["definitions"]))
            api["definitions"][number] = copy.deepcopy(ours["body"])
            parameters.append({"in": "body", "name": "body", "schema": {"$ref": f"#/definitions/{number}"}})
        answer = {"schema": {"properties": ours.get("answer", {})}}
        api["paths"].setdefault(path, {})[kinds[method]] = {"parameters": parameters, "responses": {"200": answer}}
    assert list(conformance.problems(api)) == []
    body = api["definitions"][api["paths"]["/folders"]["post"]["parameters"][0]["schema"]["$ref"].rpartition("/")[2]]
    body["properties"]["title"] = {"type": "integer"}
    del api["paths"]["/search"]["get"]["parameters"][0]
    assert list(conformance.problems(api)) == [
        "POST /folders: body.title: integer there, string here", "GET /search: query tag: not in the description",
    ]  # fmt: skip


def test_the_shipped_dashboards_fit_the_apis_limits() -> None:
    assert all(len(board["uid"]) <= 40 for board in shipped.load())
