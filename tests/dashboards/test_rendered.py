"""The committed dashboards: rendered from the code, valid for Grafana's own types, asking only what is exported."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from lrwatch.checks import checks
from lrwatch.cli import main
from lrwatch.metrics import METRICS, by_name
from lrwatch.ops import render
from lrwatch.ops.dashboards import DASHBOARDS, build, promql
from lrwatch.ops.lint import metrics, unknown
from lrwatch.ops.rules import ALERTS, GROUPS
from lrwatch.ops.rules.base import Record
from lrwatch.ops.thresholds import resolve
from tests.dashboards.asked import BOARDS, ROOT, expressions, panels, targets, variables

UNITS = {"bytes", "dateTimeFromNow", "none", "ops", "percentunit", "s", "sci", "short"}
"""Identifiers among Grafana's units; one that it does not know is silently shown as a suffix."""
NOT_SHOWN = {
    "lrwatch_linger_seconds": "how long a final state stays readable: only LrwatchRunVanished asks",
    "lrwatch_step_deadline_seconds": "only LrwatchRunStalled asks",
    "lrwatch_sync_step": "which update lrwatch_sync_learning_rate is of: the rule behind the desync panel asks",
}
TOTALS_AS_TOTALS = {
    # A counter that is born above 0, and a handful of events, are lost to rate and increase.
    ("on-call", "Out of memory"), ("debug", "Evidence lost"), ("debug", "Checkpoints"),
    # The ledger's totals outlive its restarts; their growth is a plain difference.
    ("executive", "*"), ("debug", "Accelerator time"), ("debug", "Side by side"),
}  # fmt: skip
"""Where the linter's target-counter-agg does not hold, and why."""


def all_panels() -> list[tuple[str, dict[str, Any]]]:
    return [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]


def test_the_committed_files_are_what_the_code_renders() -> None:
    made = build.files(DASHBOARDS, resolve())
    committed = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    assert made == committed, "render them: python -m lrwatch.ops.dashboards"


def test_they_survive_grafanas_own_types() -> None:
    register_default_plugins()
    for board in BOARDS.values():
        again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
        assert again == board


def test_identities_are_stable() -> None:
    """Links in alerts, bookmarks and other dashboards hold them."""
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        "debug": "lrwatch-debug", "executive": "lrwatch-executive", "on-call": "lrwatch-on-call",
    }  # fmt: skip
    assert all(board["tags"] == ["lrwatch"] for board in BOARDS.values())
    assert list(variables(BOARDS["debug"])) == [
        "datasource", "experiment", "run", "rank", "group", "compare", "runbooks",
    ]  # fmt: skip


# -- what is asked ------------------------------------------------------------------------------------


def test_every_expression_parses_and_asks_only_what_is_exported() -> None:
    recorded = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, Record)}
    for where, expr in expressions():
        promql_parser.parse(expr)
        bare = expr.replace('{__name__=~"lrwatch_run_(info|state)",', "lrwatch_run_info{")
        assert unknown(bare, {*recorded, "ALERTS"}) == [], where


def test_every_metric_is_shown_or_said_not_to_be() -> None:
    shown = {
        re.sub("_(bucket|sum|count)$", "", name) if by_name().get(name) is None else name
        for _, _, _, target in targets()
        for name in metrics(target["expr"])
    }
    asked = {name for alert in ALERTS for name in metrics(alert.expr)}
    recorded = [rule for group in GROUPS for rule in group.rules if isinstance(rule, Record)]
    asked |= {name for rule in recorded for name in metrics(rule.expr)}
    names = {metric.name for metric in METRICS}
    assert names - shown == set(NOT_SHOWN)
    assert set(NOT_SHOWN) <= asked


def test_no_worker_is_compared_by_the_values_it_happens_to_show() -> None:
    """Scrapes are skewed: max - min over ranks of a learning rate alarms on every healthy decay."""
    for where, expr in expressions():
        assert not re.search(r"\b(min|avg|stddev|quantile)\b[^(]*\(\s*lrwatch_(learning_rate|step|loss)\b", expr), where


def test_the_code_of_drift_is_the_checks() -> None:
    assert next(check.code for check in checks().values() if check.slug == "drift") == promql.DRIFT


# -- the rules of dashboard-linter -----------------------------------------------------------------------


def test_templates() -> None:
    """template-datasource, template-on-time-change-reload. Waived: template-job and -instance, target-job and
    -instance: a run and its ranks are named by run_id and rank; jobs and instances change with every restart."""
    for board in BOARDS.values():
        first, *others = variables(board).values()
        assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
        for variable in others:
            if variable["type"] == "query":
                assert (variable["refresh"], variable["datasource"]["uid"]) == (2, "${datasource}")
                assert variable["description"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels(board: dict[str, Any]) -> None:
    """panel-datasource, panel-title-description, panel-units, panel-no-targets, uneditable-dashboard."""
    assert board["editable"] is False
    assert board["timezone"] == "utc"
    titles = [panel["title"] for panel in panels(board)]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert re.fullmatch(r"[A-Z].*[.]", panel["description"], re.S), panel["title"]
        assert panel["targets"], panel["title"]
        units = [panel["fieldConfig"]["defaults"]["unit"]]
        for override in panel["fieldConfig"].get("overrides", []):
            units += [p["value"] for p in override["properties"] if p["id"] == "unit"]
        assert set(units) <= UNITS, panel["title"]


def test_targets() -> None:
    """target-rate-interval, target-counter-agg, target-logql (there is none)."""
    for name, title, panel, target in targets():
        where = f"{name}: {title}"
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, where
        expr = target["expr"]
        for function in ("rate", "increase"):
            for window in re.findall(rf"\b{function}\([^\[]*\[([^\]]*)\]", expr):
                assert window == "$__rate_interval", where
        raw = re.sub(r"\b(rate|increase)\([^\[]*\[[^\]]*\]\)", "", expr)
        if re.search(r"_total\b", raw):
            assert {(name, title), (name, "*")} & TOTALS_AS_TOTALS, where
        if panel["type"] in ("stat", "table"):
            assert target["instant"] is True, where


# -- how it looks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_nothing_overlaps(board: dict[str, Any]) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        own = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not own & cells, panel["title"]
        cells |= own


def test_the_first_row_of_on_call_answers() -> None:
    first = [panel["title"] for panel in BOARDS["on-call"]["panels"] if panel["gridPos"]["y"] == 0]
    assert first == ["Is it broken?", "Which run, which rank, since which step, what to do"]


def test_links_lead_from_run_to_debug_and_to_runbooks() -> None:
    text = json.dumps(BOARDS["on-call"])
    assert "$runbooks/${__value.raw}.md" in text
    debug = "/d/lrwatch-debug?${__url_time_range}&${datasource:queryparam}&var-run=${__data.fields.Run}&var-rank="
    assert debug in text
    for uid in re.findall(r"/d/([\w-]+)", json.dumps(BOARDS)):
        assert uid in {board["uid"] for board in BOARDS.values()}
    for board in BOARDS.values():
        (link,) = board["links"]
        assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
            "dashboards", ["lrwatch"], True, True,
        )  # fmt: skip


def test_alerts_lead_to_the_dashboard_of_their_run() -> None:
    links = {
        alert.name: render.rule(alert, resolve(), grafana="https://grafana.example/")["annotations"]["dashboard_url"]
        for alert in ALERTS
    }
    assert links["LrwatchFindingError"] == "https://grafana.example/d/lrwatch-on-call?var-run={{ $labels.run_id }}"
    assert links["LrwatchCostOverBudget"].endswith("/d/lrwatch-executive?var-experiment={{ $labels.experiment }}")
    assert links["LrwatchWatchdog"] == "https://grafana.example/d/lrwatch-executive"
    by_uid = {board["uid"]: board for board in BOARDS.values()}
    for link in links.values():
        uid, variable = re.fullmatch(r"https://grafana\.example/d/([\w-]+)(?:\?var-(\w+)=.*)?", link).groups()
        assert variable is None or variable in variables(by_uid[uid])
    assert "dashboard_url" not in render.rule(ALERTS[0], resolve())["annotations"]


def test_thresholds_are_the_alerts() -> None:
    """A panel turns red where its alert fires, also with other thresholds."""
    (board,) = (b for b in DASHBOARDS if b.name == "executive")
    made = json.loads(build.text(board, resolve(["convergence_objective=0.7"])))
    goal = next(p for p in made["panels"] if p["title"] == "Runs that reached their goal")
    assert goal["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"value": None, "color": "red"}, {"value": 0.7, "color": "green"},
    ]  # fmt: skip


# -- as files -----------------------------------------------------------------------------------------


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["ops", "dashboards", *words])
    return int(str(left.value.code))


def test_render_writes_dashboards_and_provisioning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ("render", "-o", str(out), "--datasource", "prom", "--url", "http://prometheus:9090",
             "--runbook-url", "https://wiki.example/runbooks/")  # fmt: skip
    assert run(*words) == 0
    assert capsys.readouterr().err == f"{out}: 5 files\n"
    board = json.loads((out / "dashboards" / "lrwatch-on-call.json").read_text())
    assert variables(board)["runbooks"]["query"] == "https://wiki.example/runbooks"
    assert variables(board)["datasource"]["current"]["value"] == "prom"
    assert (out / "provisioning" / "datasources" / "lrwatch.yaml").read_text() == (
        "apiVersion: 1\ndatasources:\n- name: lrwatch\n  uid: prom\n  type: prometheus\n  access: proxy\n"
        "  url: http://prometheus:9090\n  editable: false\n  jsonData:\n    httpMethod: POST\n"
    )
    assert "allowUiUpdates: false" in (out / "provisioning" / "dashboards" / "lrwatch.yaml").read_text()
    assert run(*words) == 0, "the same again changes nothing"
    assert run("render", "-o", str(out)) == 2
    assert "lrwatch-debug.json: already exists; pass --force to overwrite it" in capsys.readouterr().err
    assert run("render", "-o", str(out), "--set", "stall_deadline=30m", "--force") == 0
    assert '"value": 1800' in (out / "dashboards" / "lrwatch-on-call.json").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "stal_deadline=30m"), "no threshold 'stal_deadline'; did you mean 'stall_deadline'?"),
        (("--datasource", "prom"), "--datasource and --url: give both, or neither"),
    ],
)
def test_render_refuses(words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("render", "-o", str(tmp_path / "out"), *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
