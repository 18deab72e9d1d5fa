"""Alerts on their real way: metrics → Prometheus → Alertmanager → whoever is to be woken."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrwatch.errors import LrwatchError
from lrwatch.ops import api
from lrwatch.ops.silence import Silence, create
from lrwatch.ops.stack import Stack
from tests.ops.conftest import becomes, until
from tests.ops.workers import Worker

Scene = dict[str, Worker]


@pytest.fixture(scope="module")
def scene(stack: Stack, runs: Path) -> Iterator[Scene]:
    """Everything that goes wrong in this file, at the same time."""
    made: Scene = {}

    def worker(run: str, rank: int = 0, folder: Path = runs, **samples: float) -> Worker:
        made[f"{run}/{rank}"] = Worker(folder, run, rank, **samples)
        return made[f"{run}/{rank}"]

    def seen(expr: str, series: int = 1) -> None:
        until(lambda: len(api.query(stack.url("prometheus"), expr)) == series)

    worker("finding", **{'lrwatch_run_info{experiment="gpt"}': 1.0}).finding("LR101", first=120, cause="rate")
    for rank, (sha256, rate) in enumerate([("a" * 64, 1e-4), ("b" * 64, 2e-4)]):
        trainer = worker("mismatch", rank)
        trainer.samples['lrwatch_sync_step{every="64"}'] = 64.0
        trainer.samples['lrwatch_sync_learning_rate{every="64"}'] = rate
        trainer.samples[f'lrwatch_contract_info{{sha256="{sha256}"}}'] = 1.0
    worker("innocent").finding("LR101")
    trial = worker("trial", folder=runs / "sweep")
    trial.finding("LR101")
    trial.finding("LR303")
    # It says itself that it belongs to the sweep.
    worker("liar").samples['lrwatch_finding_active{code="LR101",severity="error",sweep="lr-range"}'] = 1.0
    worker("silenced").finding("LR103", "warning")
    for run in ("killed", "ended"):
        worker(run, **{'lrwatch_run_state{state="running"}': 1.0})
    # A spike, and one evaluation later the NaN that explains it.
    worker("nan").finding("LR302", "warning")
    seen('ALERTS{run_id="nan",code="LR302",alertstate="firing"}')
    made["nan/0"].finding("LR301")
    made["nan/0"].finding("LR103", "warning")  # of another kind: the schedule's
    # One that Prometheus never saw cannot be missed.
    seen('lrwatch_run_state{run_id=~"killed|ended"}', 2)
    made["killed/0"].kill()
    made["ended/0"].target.unlink()  # as an agent ends: first nobody is to scrape it any more
    # All workers of a run begin at once; which of them is scraped first, and how often in vain, is chance.
    seen('last_over_time(lrwatch_contract_info{run_id="mismatch"}[1m])', 2)
    for rank in (0, 1):
        made[f"mismatch/{rank}"].finding("LR101")
    here = stack.url("prometheus")
    until(lambda: made["ended/0"].address not in {target["labels"]["instance"] for target in api.targets(here)})
    made["ended/0"].kill()
    yield made
    for each in made.values():
        if each.thread.is_alive():
            each.close()


def sent(stack: Stack, run: str) -> list[tuple[str, str, str]]:
    """(receiver, alert, code) of everything that was said about a run while it fired, in the order of delivery."""
    return [
        (line["receiver"], alert["labels"]["alertname"], alert["labels"].get("code", ""))
        for line in stack.notifications()
        for alert in line["alerts"]
        if alert["labels"].get("run_id") == run and alert["status"] == "firing"
    ]


def resolved(stack: Stack, run: str) -> list[str]:
    return [
        alert["labels"]["alertname"]
        for line in stack.notifications()
        for alert in line["alerts"]
        if alert["labels"].get("run_id") == run and alert["status"] == "resolved"
    ]


def states(stack: Stack, run: str) -> dict[str, str]:
    """Alert and code → active or suppressed, as Alertmanager sees it."""
    return {
        alert["labels"]["alertname"] + alert["labels"].get("code", ""): alert["status"]["state"]
        for alert in api.alerts(stack.url("alertmanager"))
        if alert["labels"].get("run_id") == run
    }


def test_a_finding_pages_with_step_cause_and_runbook_and_resolves(stack: Stack, scene: Scene) -> None:
    until(lambda: sent(stack, "finding"))
    assert sent(stack, "finding")[0] == ("page", "LrwatchFindingError", "LR101")
    told = next(a for line in stack.notifications() for a in line["alerts"] if a["labels"].get("run_id") == "finding")
    assert told["annotations"]["description"] == (
        "Run finding of experiment gpt has finding LR101, first at step 120, likely cause rate, on 1 worker (rank 0)."
    )
    page = told["annotations"]["runbook_url"]
    assert page == stack.url("keeper") + "/runbooks/LR101.md"
    with urllib.request.urlopen(page) as answer:
        assert answer.read().startswith(b"# LR101")
    scene["finding/0"].finding("LR101", active=0.0)
    until(lambda: resolved(stack, "finding"))


def test_a_nan_silences_the_signs_of_instability_that_were_seen_before_it(stack: Stack, scene: Scene) -> None:
    until(lambda: len(sent(stack, "nan")) >= 2)
    assert set(sent(stack, "nan")) == {
        ("page", "LrwatchFindingError", "LR301"), ("ticket", "LrwatchFindingWarning", "LR103"),
    }  # fmt: skip
    becomes(lambda: states(stack, "nan").get("LrwatchFindingWarningLR302"), "suppressed")


def test_a_contract_mismatch_silences_drift_and_desync_of_the_same_run_only(stack: Stack, scene: Scene) -> None:
    until(lambda: sent(stack, "mismatch") and sent(stack, "innocent"))
    becomes(lambda: states(stack, "mismatch"), {
        "LrwatchContractMismatch": "active", "LrwatchFindingErrorLR101": "suppressed", "LrwatchDesync": "suppressed",
    })  # fmt: skip
    assert set(sent(stack, "mismatch")) == {("page", "LrwatchContractMismatch", "")}
    assert set(sent(stack, "innocent")) == {("page", "LrwatchFindingError", "LR101")}


def test_an_authorised_sweep_may_leave_its_schedule_but_not_diverge(stack: Stack, scene: Scene) -> None:
    until(lambda: sent(stack, "trial"))
    assert set(sent(stack, "trial")) == {("page", "LrwatchFindingError", "LR303")}
    becomes(lambda: states(stack, "trial"), {
        "LrwatchFindingErrorLR101": "suppressed", "LrwatchFindingErrorLR303": "active",
    })  # fmt: skip


def test_a_process_cannot_authorise_itself(stack: Stack, scene: Scene) -> None:
    until(lambda: sent(stack, "liar"))
    assert set(sent(stack, "liar")) == {("page", "LrwatchFindingError", "LR101")}


def test_a_silence_covers_one_run(stack: Stack, scene: Scene) -> None:
    until(lambda: states(stack, "silenced"))
    made, _, hit = create(stack.url("alertmanager"), Silence("ada", "known", 60.0, run="silenced"))
    assert hit == 1
    becomes(lambda: states(stack, "silenced"), {"LrwatchFindingWarningLR103": "suppressed"})
    listed = api.get(stack.url("alertmanager") + f"/api/v2/silence/{made}")
    assert (listed["createdBy"], listed["comment"]) == ("ada", "known")
    assert {m["name"]: m["value"] for m in listed["matchers"]} == {"alertname": "Lrwatch.+", "run_id": "silenced"}
    becomes(lambda: states(stack, "innocent"), {"LrwatchFindingErrorLR101": "active"})


def test_the_dead_mans_switch_is_heard_again_and_again(stack: Stack) -> None:
    until(lambda: sum(line["receiver"] == "deadman" for line in stack.notifications()) >= 3)
    told = [line for line in stack.notifications() if line["receiver"] == "deadman"]
    assert {a["labels"]["alertname"] for line in told for a in line["alerts"]} == {"LrwatchWatchdog"}


def test_a_killed_trainer_is_down_and_one_that_ended_is_not(stack: Stack, scene: Scene) -> None:
    until(lambda: sent(stack, "killed"))
    assert set(sent(stack, "killed")) == {("page", "LrwatchRunDown", "")}
    assert sent(stack, "ended") == []


def test_what_cannot_be_reached_is_said_in_one_sentence() -> None:
    message = r"^http://127\.0\.0\.1:9/api/v2/silences: \[Errno \d+\] Connection refused$"
    with pytest.raises(LrwatchError, match=message):
        create("http://127.0.0.1:9", Silence("ada", "known", 60.0, run="r"))
    with pytest.raises(LrwatchError, match=r"^alerts/api/v2/silences: an address begins with http:// or https://$"):
        create("alerts", Silence("ada", "known", 60.0, run="r"))
