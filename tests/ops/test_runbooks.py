"""Runbooks: every block of every page is executed against a running Prometheus and Alertmanager."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template

import numpy as np
import pytest

from lrwatch.checks import checks
from lrwatch.cli import main
from lrwatch.contract import load
from lrwatch.curve import Curve
from lrwatch.ops import api
from lrwatch.ops.rules import ALERTS
from lrwatch.ops.stack import Stack
from lrwatch.trace.model import Chunk, Event
from lrwatch.trace.writer import TraceWriter
from tests.ops.conftest import ROOT, until
from tests.ops.rules import ALERTS as FOLDER
from tests.ops.workers import Worker

PAGES = sorted(path for path in (FOLDER / "runbooks").glob("*.md") if path.stem != "README")
PARTS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Escalation", "Example"]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
RUN = "gpt-7"
PATIENCE = 60.0
"""Seconds in which a question of a page must have an answer."""
CONTRACT = """\
lrwatch: 1
experiment: gpt-small
clock: {axis: update, horizon: 400}
lr: {base: 3.0e-4, schedule: {cosine: {to: 3.0e-5, until: horizon}}}
goal: {metric: val_loss, target: 1.9}
"""


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of every fenced block."""
    return [(kind, text) for _, kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def recorded(run_dir: Path) -> None:
    """A run whose scheduler ran twice too fast, on two workers."""
    (run_dir / "contract.yaml").write_text(CONTRACT)
    contract = load(run_dir / "contract.yaml")
    steps = np.arange(200, dtype=np.int64)
    for rank in (0, 1):
        writer = TraceWriter(run_dir, rank)
        about = {"run": RUN, "experiment": "gpt-small", "world": 2, "contract": str(contract.identity),
                 "origin": "fresh", "lr_read": "used"}  # fmt: skip
        writer.write(Event("start", 0, rank, 0, 1e9, about))
        lr = Curve(contract, "lr", "0").at(2.0 * steps)
        columns = {"update": steps, "ts": 1e9 + steps, "lr/0": lr, "loss": 3 - steps / 200, "grad_norm": 1.0 + 0 * lr}
        writer.write(Chunk(columns, rank=rank, world=2))
        writer.write(Event("checkpoint", 100, rank, 0, 1e9 + 100, {"scheduler_state": True}))
        writer.close()


def summary(folder: Path, run: str, outcome: str, value: float, error: bool) -> None:
    """What a run left when it ended."""
    folder.mkdir(parents=True)
    content = {
        "lrwatch": "0", "run": run, "experiment": "gpt-small", "rank": 0, "world": 1, "outcome": outcome, "attempt": 1,
        "ended": time.time(), "gpu_seconds": 7200.0, "last_update": 399,
        "goal": {"metric": "val_loss", "target": 1.9, "mode": "min", "value": value, "best": value},
        "cost": {"per_gpu_hour": 2.5, "currency": "USD", "budget": 4.0},
        "findings": [{"severity": "error", "first_step": 7}] if error else [],
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(content))


def shown(rank: int) -> dict[str, float]:
    """Everything that a worker in trouble shows."""
    now = time.time()
    samples = {
        "lrwatch_learning_rate{group=\"0\"}": 1e-4 + rank * 1e-5, "lrwatch_learning_rate_expected{group=\"0\"}": 2e-4,
        "lrwatch_sync_step{every=\"64\"}": 64.0, "lrwatch_sync_learning_rate{every=\"64\"}": 1e-4 + rank * 1e-5,
        "lrwatch_step": 120.0, "lrwatch_steps_total": 120.0, "lrwatch_last_step_timestamp_seconds": now,
        "lrwatch_drift_ratio": 0.3, "lrwatch_nonfinite_steps_total{signal=\"loss\"}": 3.0,
        "lrwatch_skipped_steps_total": 9.0, f"lrwatch_contract_info{{sha256=\"{rank:064x}\"}}": 1.0,
        "lrwatch_attempt": 2.0, "lrwatch_world_size": 2.0, "lrwatch_gpu_seconds_total": 900.0,
        "lrwatch_gpu_memory_allocated_bytes": 6e10, "lrwatch_gpu_memory_reserved_bytes": 7e10,
        "lrwatch_gpu_oom_total": 1.0, "lrwatch_dropped_rows_total": 4.0, "lrwatch_agent_errors_total": 1.0,
    }  # fmt: skip
    if rank == 0:
        for name, bounds in (("grad_norm_baseline_ratio", ("10.0", "+Inf")), ("step_seconds", ("1.0", "+Inf"))):
            samples |= {f'lrwatch_{name}_bucket{{le="{le}"}}': 100.0 + i for i, le in enumerate(bounds)}
            samples |= {f"lrwatch_{name}_sum": 60.0, f"lrwatch_{name}_count": 101.0}
        samples |= {
            "lrwatch_loss": 7.0, "lrwatch_grad_norm": 30.0, "lrwatch_validation_metric{metric=\"val_loss\"}": 2.4,
            "lrwatch_checkpoint_timestamp_seconds": now - 600,
            "lrwatch_checkpoints_total{scheduler_state=\"true\"}": 2.0,
            "lrwatch_run_state{state=\"running\"}": 1.0, "lrwatch_run_info{experiment=\"gpt-small\"}": 1.0,
            "lrwatch_price_per_gpu_second{currency=\"USD\"}": 0.0007, "lrwatch_linger_seconds": 0.0,
        }  # fmt: skip
    return samples


@pytest.fixture(scope="module")
def scene(stack: Stack, runs: Path) -> Iterator[dict[str, str]]:
    """A run with every finding there is, one that was killed, a ledger with a past; returns the variables."""
    workers = [Worker(runs, RUN, rank, **shown(rank)) for rank in (0, 1)]
    codes = [(check.code, str(check.severity)) for check in checks().values()]
    for worker in workers:
        for code, severity in codes:
            worker.finding(code, severity, first=12, cause="rate")
    workers[1].samples |= {'lrwatch_finding_active{code="LR401",severity="info"}': 1.0}
    killed = Worker(runs, "lost", 0, **{'lrwatch_run_state{state="running"}': 1.0})
    recorded(runs / RUN)
    for i, (outcome, value) in enumerate([("converged", 1.8), ("finished", 2.2), ("finished", 2.4)]):
        summary(runs / f"done-{i}", f"done-{i}", outcome, value, error=i == 2)
    ask = stack.url("prometheus")
    until(lambda: len(api.query(ask, f'lrwatch_rank_up{{run_id=~"{RUN}|lost"}}')) == 3)
    killed.kill()
    until(lambda: api.query(ask, f'up{{instance="{killed.address}"}} == 0'))
    for needed in ("fleet:lrwatch_runs:grown", "experiment:lrwatch_runs_missed:fast_long", "run:lrwatch_steps:rate15m"):
        until(lambda needed=needed: api.query(ask, needed))
    yield {
        "RUN": RUN, "RUN_DIR": str(runs / RUN), "RUNS": str(runs), "CONTRACT": str(runs / RUN / "contract.yaml"),
        "PROMETHEUS": ask, "ALERTMANAGER": stack.url("alertmanager"),
    }  # fmt: skip
    for worker in workers:
        worker.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_works(
    page: Path, scene: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = 0
    for kind, text in blocks(page):
        if kind == "promql":
            asked += 1
            query = Template(text).substitute(scene)
            if text.startswith("# no result: "):
                api.query(scene["PROMETHEUS"], query)
            else:
                answered(scene["PROMETHEUS"], query)
        elif kind == "sh":
            asked += 1
            executed(text, scene, tmp_path, capfd)
        else:
            assert kind in ("text", "console"), f"a block of {kind} is not executed by anybody"
    assert asked >= 2


def answered(prometheus: str, query: str) -> None:
    """It has a result: at once, or after the scrape that follows one that failed."""
    deadline = time.monotonic() + PATIENCE
    while not api.query(prometheus, query):
        assert time.monotonic() < deadline, f"no result: {query}"
        time.sleep(0.2)


def executed(text: str, scene: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Run a block; a single lrwatch command in this process, which saves its start."""
    words = shlex.split(Template(text).substitute(scene))
    if words[0] == "lrwatch" and "||" not in words:
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        code, out = ended.value.code, capfd.readouterr()
        said = out.out + out.err
    else:
        path = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ["PATH"]])
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", text], cwd=tmp_path, env={**os.environ, **scene, "PATH": path},
            capture_output=True, text=True,
        )  # fmt: skip
        code, said = done.returncode, done.stdout + done.stderr
    allowed = (0, 1) if words[1:2] == ["verify"] else (0,)  # 1 is a finding
    assert code in allowed, f"{text}exit code {code}: {said}"
    assert said.strip(), f"{text}says nothing"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_has_every_part_and_an_example(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    for part, body in zip(PARTS, re.split(r"^## .*$", text, flags=re.MULTILINE)[1:], strict=True):
        assert len(body.split()) >= (1 if part == "Escalation" else 4), f"{part} says nothing"
    assert not re.search(r"TODO|TBD|FIXME|\.\.\.\s*$", text, re.MULTILINE)
    example = text.partition("## Example")[2]
    assert [kind for _, kind, _ in BLOCK.findall(example)] == ["text"] and page.stem in example


def test_pages_and_rules_lead_to_each_other() -> None:
    index = (FOLDER / "runbooks" / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"[{page.stem}]({page.name})" in index
    files = {rule: path.name for path in (FOLDER / "rules").glob("*.yml") for rule in path.read_text().split()}
    for alert in ALERTS:
        text = (FOLDER / "runbooks" / f"{alert.name}.md").read_text(encoding="utf-8")
        assert f"(../rules/{files[alert.name]})" in text
        assert f"Severity {alert.severity}," in text
    for slug, check in checks().items():
        text = (FOLDER / "runbooks" / f"{check.code}.md").read_text(encoding="utf-8")
        assert f"(../../docs/checks/{slug}.md)" in text


def test_a_planted_broken_block_is_found(
    scene: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "PATIENCE", 0.5)
    page = tmp_path / "x.md"
    page.write_text("```promql\nlrwatch_nope\n```\n")
    with pytest.raises(AssertionError, match="no result: lrwatch_nope"):
        test_every_block_works(page, scene, tmp_path, capfd)
    faults = {"lrwatch explain nope\n": "exit code 2", "false\n": "exit code 1", "true\n": "says nothing"}
    for text, said in faults.items():
        with pytest.raises(AssertionError, match=said):
            executed(text, scene, tmp_path, capfd)


