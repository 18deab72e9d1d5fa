"""Every panel on a real Prometheus: real trainings that keep and break their contract, and stand-ins for what one
machine cannot show (accelerators, desync, a restart)."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lrwatch
from lrwatch.ops import api
from lrwatch.ops.stack import Settings, Stack
from tests.dashboards.asked import BOARDS, fill, targets, variables
from tests.ops.conftest import QUICK, becomes, until
from tests.ops.workers import Worker

torch = pytest.importorskip("torch")

HORIZON = 100_000  # so long that no test sees much of it
CONTRACT: dict[str, Any] = {
    "lrwatch": 1,
    "experiment": "tiny",
    "clock": {"horizon": HORIZON},
    "lr": {"base": 0.1, "schedule": [{"cosine": {"to": 0.01, "until": "horizon"}}]},
    "goal": {"metric": "val_loss", "target": 0.5, "mode": "min"},
    "cost": {"per_gpu_hour": 3600.0, "currency": "EUR"},
}
ACCELERATORS = {"Accelerator memory", "Fullest accelerators: worst five"}
"""The agent sees none on this machine: only the stand-ins have them."""
EMPTY = {
    ("debug", "healthy"): {*ACCELERATORS, "Evidence lost", "Findings"},
    ("debug", "broken"): {*ACCELERATORS, "Evidence lost"},
    ("on-call", "healthy"): {"Which run, which rank, since which step, what to do", "Out of memory"},
    ("on-call", "broken"): {"Out of memory"},
}  # fmt: skip
"""(dashboard, run) → panels that have nothing to show, all of them with a word for it in place of the data."""


class Training(threading.Thread):
    """A real optimizer under a real watch, an update every few milliseconds, until it is told to stop."""

    def __init__(self, folder: Path, name: str, factor: float):
        super().__init__(daemon=True)
        self.folder, self.factor, self.enough = folder / name, factor, threading.Event()

    def run(self) -> None:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        with lrwatch.watch(
            optimizer, CONTRACT, run_dir=self.folder, run_id=self.folder.name, linger_s=60.0
        ) as watch:
            for t in range(HORIZON):
                promised = 0.01 + 0.09 * (1 + math.cos(math.pi * t / HORIZON)) / 2
                optimizer.param_groups[0]["lr"] = self.factor * promised
                optimizer.step()
                watch.step(loss=1.0 + 1.0 / (1 + t), grad_norm=1.0 + 0.1 * math.sin(t))
                if t % 100 == 99:
                    watch.event("validation", val_loss=1.0 + 1.0 / (1 + t))
                    watch.event("checkpoint", scheduler_state=True)
                if self.enough.wait(0.01):
                    watch.close("stopped")
                    break

    def end(self) -> None:
        self.enough.set()
        self.join()


def finished(folder: Path, name: str, loss: float, factor: float = 1.0) -> None:
    """A run that came to its end: the ledger counts it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    contract = {**CONTRACT, "clock": {"horizon": 20}, "cost": {**CONTRACT["cost"], "budget": 1e-6}}
    with lrwatch.watch(optimizer, contract, run_dir=folder / name) as watch:
        for t in range(20):
            optimizer.param_groups[0]["lr"] = factor * (0.01 + 0.09 * (1 + math.cos(math.pi * t / 20)) / 2)
            optimizer.step()
            watch.step(loss=1.0)
        watch.event("validation", val_loss=loss)


def fleet(runs: Path) -> list[Worker]:
    """A run of two workers with accelerators, of which rank 1 went astray and was restarted, and is well again."""
    workers = []
    for rank in (0, 1):
        worker = Worker(runs, "fleet", rank, lrwatch_step=640.0, lrwatch_steps_total=640.0, lrwatch_attempt=2.0,
                        lrwatch_world_size=2.0, lrwatch_drift_ratio=0.0, lrwatch_gpu_seconds_total=100.0,
                        lrwatch_gpu_memory_allocated_bytes=6e10, lrwatch_gpu_memory_reserved_bytes=7e10,
                        lrwatch_gpu_oom_total=float(rank), lrwatch_dropped_rows_total=3.0,
                        lrwatch_agent_errors_total=1.0, lrwatch_skipped_steps_total=0.0,
                        lrwatch_contract_signed=1.0, lrwatch_last_step_timestamp_seconds=time.time())  # fmt: skip
        worker.samples['lrwatch_contract_info{sha256="aa"}'] = 1.0
        worker.samples['lrwatch_sync_step{every="64"}'] = 640.0
        worker.samples['lrwatch_sync_learning_rate{every="64"}'] = 1e-3
        workers.append(worker)
    workers[0].samples['lrwatch_run_state{state="running"}'] = 1.0
    return workers


@dataclass
class Scene:
    stack: Stack
    runs: Path
    trainings: dict[str, Training]
    began: float

    @property
    def url(self) -> str:
        return self.stack.url("prometheus")

    def ask(self, expr: str, **values: str) -> list[dict[str, Any]]:
        """The answer at this moment."""
        return api.query(self.url, fill(expr, **{**self.chosen("broken"), **values}))

    def numbers(self, expr: str, **values: str) -> list[float]:
        """The values of the answer."""
        return [float(r["value"][1]) for r in self.ask(expr, **values)]

    def over_time(self, expr: str, **values: str) -> list[dict[str, Any]]:
        """The answer since the start, every second."""
        filled = fill(expr, **{**self.chosen("broken"), **values})
        asked = {"query": filled, "start": str(self.began), "end": str(time.time()), "step": "1"}
        return list(api.get(f"{self.url}/api/v1/query_range", **asked)["data"]["result"])

    @staticmethod
    def chosen(run: str) -> dict[str, str]:
        return {"run": run, "rank": "0", "group": ".*", "experiment": ".*", "compare": "healthy", "datasource": "p",
                "__range": "15m"}  # longer than this file takes anywhere

    def panel(self, board: str, title: str) -> str:
        """The expression of the first target of a panel."""
        return next(t["expr"] for b, name, _, t in targets() if (b, name) == (board, title))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[Scene]:
    tool("prometheus"), tool("prometheus-alertmanager")
    runs, stack = tmp_path_factory.mktemp("runs"), Stack(tmp_path_factory.mktemp("stack"))
    began = time.time()
    stack.up(Settings(runs=(runs,), scrape=1.0, thresholds=QUICK, wait=3.0, interval=1.0, owner=os.getpid()))
    trainings = {name: Training(runs, name, factor) for name, factor in (("healthy", 1.0), ("broken", 2.0))}
    # The first attempt of a worker that found drift, and was killed.
    gone = Worker(runs, "fleet", 1, lrwatch_attempt=1.0, lrwatch_world_size=2.0, lrwatch_step=10.0)
    gone.finding("LR101", first=3)
    workers: list[Worker] = []
    made = Scene(stack, runs, trainings, began)
    try:
        for training in trainings.values():
            training.start()
        until(lambda: api.query(made.url, 'lrwatch_finding_active{run_id="fleet"}'))
        gone.kill()
        workers = fleet(runs)
        finished(runs, "good", 0.4)
        finished(runs, "bad", 0.9, factor=3.0)
        ready = (
            'lrwatch_finding_active{run_id="broken",code="LR101"} == 1', 'lrwatch_loss{run_id="healthy"}',
            "sum(lrwatch_runs_total) == 2", 'count(lrwatch_gpu_oom_total{run_id="fleet"}) == 2',
            'lrwatch_checkpoints_total{run_id="broken",scheduler_state="true"} > 1',
            'lrwatch_sync_step{run_id="healthy"}', 'lrwatch_validation_metric{run_id="healthy"}',
            'ALERTS{run_id="broken",alertstate="firing",alertname="LrwatchFindingError"}',
            'rate(lrwatch_steps_total{run_id="healthy"}[5s]) > 0', 'run_every:lrwatch_sync_learning_rate:spread',
            # Rates and increases within the panels' windows need a few more scrapes.
            'count_over_time(lrwatch_grad_norm_baseline_ratio_count{run_id="broken"}[30s]) > 3',
        )  # fmt: skip
        for expr in ready:
            until(lambda expr=expr: api.query(made.url, expr))  # type: ignore[misc]
        yield made
    finally:
        for training in trainings.values():
            training.end()
        for worker in workers:
            worker.close()
        stack.down()


@pytest.mark.parametrize(
    ("board", "run"), [("executive", "broken"), *[(b, r) for b in ("on-call", "debug") for r in ("healthy", "broken")]]
)
def test_every_panel_has_data_or_says_why_not(scene: Scene, board: str, run: str) -> None:
    # The newest of what runs may be a scrape away.
    becomes(lambda: set(silent(scene, board, run)), EMPTY.get((board, run), set()))
    assert "no word for it" not in silent(scene, board, run).values()


def silent(scene: Scene, board: str, run: str) -> dict[str, str]:
    """The panels without data, and what they say instead."""
    said: dict[str, str] = {}
    for name, title, panel, target in targets():
        if name == board:
            ask = scene.ask if target.get("instant") else scene.over_time
            if ask(target["expr"], run=run):
                said[title] = ""
            else:
                said.setdefault(title, panel["fieldConfig"]["defaults"].get("noValue", "no word for it"))
    return {title: word for title, word in said.items() if word}


def test_what_one_machine_cannot_show_is_drawn_of_stand_ins(scene: Scene) -> None:
    """Every panel that is empty above has data here."""
    shown = [("debug", title) for title in (*ACCELERATORS, "Evidence lost")]
    for board, title in [*shown, ("on-call", "Out of memory")]:
        panel = next(p for b, name, p, _ in targets() if (b, name) == (board, title))
        for target in panel["targets"]:
            until(lambda expr=target["expr"]: scene.over_time(expr, run="fleet"))  # type: ignore[misc]


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_has_values_and_every_annotation_is_asked(scene: Scene, board: str) -> None:
    for variable in variables(BOARDS[board]).values():
        if variable["type"] == "query":
            selector, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            asked = {"match[]": fill(selector, **scene.chosen("broken"))}
            values = api.get(f"{scene.url}/api/v1/label/{label}/values", **asked)["data"]
            assert {"run": "broken", "compare": "healthy", "experiment": "tiny", "rank": "0", "group": "0"}[
                variable["name"]
            ] in values
    for annotation in BOARDS[board]["annotations"].get("list", []):
        if "expr" in annotation:
            found = scene.over_time(annotation["expr"])
            assert bool(found) == (annotation["name"] in ("Findings", "Checkpoints")), annotation["name"]


def test_runs_without_a_contract_are_offered_too(scene: Scene) -> None:
    selector = variables(BOARDS["on-call"])["run"]["query"]["query"]
    asked = {"match[]": fill(selector.removeprefix("label_values(").rsplit(", ", 1)[0], experiment=".*")}
    assert "fleet" in api.get(f"{scene.url}/api/v1/label/run_id/values", **asked)["data"]


def test_the_first_row_of_on_call_answers(scene: Scene) -> None:
    broken = scene.panel("on-call", "Is it broken?")
    table = scene.panel("on-call", "Which run, which rank, since which step, what to do")
    becomes(lambda: scene.numbers(broken, run="healthy"), [0.0])
    becomes(lambda: scene.numbers(broken, run="broken"), [3.0])
    assert scene.ask(table, run="healthy") == []

    def drift() -> list[tuple[str, ...]]:
        labels = ("run_id", "rank", "severity", "cause")
        rows = [r for r in scene.ask(table, run="healthy|broken") if r["metric"]["code"] == "LR101"]
        return [(*(r["metric"].get(name, "") for name in labels), r["value"][1]) for r in rows]

    becomes(drift, [("broken", "0", "error", "factor", "0")])


def test_what_an_earlier_attempt_found_is_over(scene: Scene) -> None:
    """Attempt 1 had drift and is gone; attempt 2 keeps its contract, but one of its workers ran out of memory."""
    table = scene.panel("on-call", "Which run, which rank, since which step, what to do")
    becomes(lambda: scene.ask(table, run="fleet"), [])
    alerts = scene.panel("on-call", "Alerts that fire")
    becomes(
        lambda: {a["metric"]["alertname"] for a in scene.ask(alerts, run="fleet") if a["metric"].get("run_id")},
        {"LrwatchAgentUnhealthy", "LrwatchGpuOutOfMemory"},
    )


def test_the_executive_counts(scene: Scene) -> None:
    for title in ("Runs that reached their goal", "Runs with an error finding"):
        becomes(lambda title=title: scene.numbers(scene.panel("executive", title)), [0.5])  # type: ignore[misc]


def test_no_answer_is_lost_when_the_run_ends(scene: Scene) -> None:
    """Last in this file: it ends both trainings."""
    for training in scene.trainings.values():
        training.end()
    until(lambda: not api.query(scene.url, 'lrwatch_rank_up{run_id=~"broken|healthy"}'))
    broken = scene.panel("on-call", "Is it broken?")
    becomes(lambda: scene.numbers(broken, run="broken"), [3.0])
    becomes(lambda: scene.numbers(broken, run="healthy"), [0.0])
    assert [r["metric"] for r in scene.ask(scene.panel("debug", "State"), run="broken")] == [{"state": "stopped"}]
    for title in ("Step", "Last step", "Attempt", "Accelerator time", "Contract", "Findings"):
        assert scene.ask(scene.panel("debug", title), run="broken"), title
    assert [r["metric"]["run_id"] for r in scene.ask(scene.panel("on-call", "Runs"), run="broken")] == ["broken"]
