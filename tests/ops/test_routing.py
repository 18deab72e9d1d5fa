"""Who hears of which alert, and which alerts silence which others."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
import yaml

from lrwatch.errors import LrwatchError
from lrwatch.ops import routing
from lrwatch.ops.routing import Routing
from lrwatch.ops.rules import ALERTS, Alert
from lrwatch.ops.silence import Silence, matchers
from lrwatch.ops.thresholds import resolve
from tests.ops.rules import ALERTS as FOLDER

RECEIVER = {"critical": "lrwatch-page", "warning": "lrwatch-ticket", "info": "lrwatch-record", "none": "lrwatch-nobody"}


def test_the_committed_routes_are_current() -> None:
    assert (FOLDER / "alertmanager.yml").read_text() == routing.text(Routing()), (
        "run `lrwatch ops rules render -o alerts --force`"
    )


@pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a.name)
def test_every_alert_reaches_whom_its_severity_means(tool: Callable[[str], str], alert: Alert) -> None:
    receiver = "lrwatch-deadman" if alert.name == "LrwatchWatchdog" else RECEIVER[alert.severity]
    done = subprocess.run(
        [tool("amtool"), "config", "routes", "test", f"--config.file={FOLDER / 'alertmanager.yml'}",
         f"--verify.receivers={receiver}", f"alertname={alert.name}", f"severity={alert.severity}", "run_id=r1"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=LrwatchSweepAuthorized", "severity=none"], "lrwatch-nobody"),
        (["alertname=SomebodyElses", "severity=critical"], "lrwatch-nobody"),
    ],
)
def test_nobody_hears_of_the_rest(tool: Callable[[str], str], labels: list[str], receiver: str) -> None:
    done = subprocess.run(
        [tool("amtool"), "config", "routes", "test", f"--config.file={FOLDER / 'alertmanager.yml'}", *labels],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, receiver)


def test_pages_are_few_and_chosen() -> None:
    assert {a.name for a in ALERTS if a.severity == "critical"} == {
        "LrwatchFindingError", "LrwatchRunDown", "LrwatchRunVanished", "LrwatchRunStalled", "LrwatchDesync",
        "LrwatchContractMismatch", "LrwatchGpuOutOfMemory", "LrwatchCostOverBudgetStreak", "LrwatchConvergenceFastBurn",
    }  # fmt: skip


def test_the_shipped_routes_wait_for_every_inhibitor() -> None:
    assert routing.problems(Routing(), resolve()) == []


@pytest.mark.parametrize(
    ("routes", "settings", "message"),
    [
        (Routing(wait=20.0), [],
         "group_wait of 20s is shorter than two evaluations (15s each): an alert would leave before the one that "
         "inhibits it is known"),
        (Routing(), ["mismatch_for=2m"],
         "LrwatchContractMismatch inhibits LrwatchDesync but may be known 2m15s after the trouble begins, when "
         "LrwatchDesync has left after 1m: shorten mismatch_for, or wait longer with --group-wait"),
    ],
)  # fmt: skip
def test_an_inhibitor_that_comes_too_late_is_refused(routes: Routing, settings: list[str], message: str) -> None:
    assert message in routing.problems(routes, resolve(settings))


def test_every_inhibition_names_alerts_that_exist_and_never_itself() -> None:
    known = [a.name for a in ALERTS] + ["LrwatchSweepAuthorized"]
    for one in routing.INHIBITIONS:
        for side in (one.source, one.target):
            names = [m.partition('"')[2].rstrip('"') for m in side if m.startswith("alertname")]
            assert len(names) == 1 and any(re.fullmatch(names[0], name) for name in known)
        assert one.equal, "would silence everything"
        assert one.source != one.target


def test_a_label_that_both_lack_is_never_all_that_is_compared() -> None:
    """Alertmanager takes two absent labels for equal ones: each inhibition also compares one that both surely have."""
    for one in routing.INHIBITIONS:
        named = 'sweep=~".+"'
        assert {"run_id", "experiment"} & set(one.equal) or (named in one.source and named in one.target)


def test_a_webhook_has_to_be_an_address() -> None:
    with pytest.raises(LrwatchError, match=r"^lrwatch-page: a webhook is an http:// or https:// address, got 'pager'$"):
        routing.document(Routing(page="pager"))


def test_the_dead_mans_switch_is_not_told_of_an_end(tool: Callable[[str], str], tmp_path: object) -> None:
    made = yaml.safe_load(routing.text(replace(Routing(), page="http://a/", deadman="https://b/")))
    hooks = {r["name"]: r.get("webhook_configs") for r in made["receivers"]}
    assert hooks["lrwatch-page"] == [{"url": "http://a/", "send_resolved": True}]
    assert hooks["lrwatch-deadman"] == [{"url": "https://b/", "send_resolved": False}]
    assert hooks["lrwatch-ticket"] is None


# ---- silences


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": None}, "a silence is of one run or of one sweep: give --run or --sweep"),
        ({"sweep": "s"}, "a silence is of one run or of one sweep: give --run or --sweep"),
        ({"owner": " "}, "--owner: must not be empty; whoever finds the silence wants to know"),
        ({"reason": ""}, "--reason: must not be empty; whoever finds the silence wants to know"),
        ({"seconds": 86401.0},
         "--for 1d1s: at most 1d; what needs longer is a sweep that somebody reviews "
         "(`lrwatch ops rules render --sweeps`)"),
        ({"seconds": 0.0},
         "--for 0s: at most 1d; what needs longer is a sweep that somebody reviews "
         "(`lrwatch ops rules render --sweeps`)"),
        ({"alert": "LrwatchDesink"}, "--alert LrwatchDesink: no such alert; did you mean 'LrwatchDesync'?"),
        ({"alert": "LrwatchWatchdog"}, "--alert LrwatchWatchdog: no such alert"),
        ({"code": "LR3O2"}, "--code LR3O2: no such code of a finding"),
    ],
)  # fmt: skip
def test_a_silence_that_could_grow_old_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(LrwatchError) as caught:
        matchers(replace(Silence("ada", "known", 3600.0, run="r1"), **change))  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_a_silence_can_be_narrow() -> None:
    assert matchers(Silence("ada", "known", 86400.0, sweep="s", alert="LrwatchFindingWarning", code="LR302")) == [
        {"name": "alertname", "value": "LrwatchFindingWarning", "isRegex": False, "isEqual": True},
        {"name": "sweep", "value": "s", "isRegex": False, "isEqual": True},
        {"name": "code", "value": "LR302", "isRegex": False, "isEqual": True},
    ]
