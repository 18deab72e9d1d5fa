"""All scenarios at the same time, each with real trainers and a run of its own, watched by one stack."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lrwatch import contract as contracts
from lrwatch.gameday.sabotage import BEGUN, MENDED, SEEN, STARTED, train
from lrwatch.gameday.scenarios import UNAPPROVED, Scenario, document
from lrwatch.ops import api
from lrwatch.ops.stack import Settings as Watched
from lrwatch.ops.stack import Stack
from lrwatch.trainer.settings import Settings

WITHIN: Final = 60.0
"""Seconds in which an alert must have been heard, and in which it must have resolved."""
START: Final = 90.0
"""Seconds without any progress, after which a trainer that has to import torch and share a core is given up."""
QUIET: Final = 20.0
"""Seconds for which the healthy run is listened to."""
WAITS: Final = (
    "run_down_for=6s", "run_vanished_for=8s", "stall_for=1s", "stall_quiet=3s", "worker_down_for=6s", "scrape_gap=8s",
    "desync_hold=8s", "mismatch_for=1s", "unapproved_for=1s", "duplicate_for=6s", "agent_window=20s", "oom_window=10s",
)  # fmt: skip
"""The rules are those that are shipped; only these waits are shorter, so that a game takes minutes. On a busy machine
several scrapes in a row, a second apart, may time out after one: that is no fault of a scenario."""
_PRELOAD: Final = ["torch._dynamo", "torch.nn.parallel", "lrwatch.trainer.loop", "lrwatch.agent.watch"]
_FINDINGS: Final = ("LrwatchFindingError", "LrwatchFindingWarning")


@dataclass
class Outcome:
    """What became of a scenario. Times in seconds: ``detected`` from the trouble's beginning to the webhook,
    ``resolved`` from its end to the webhook; None: not within ``WITHIN``.
    """

    scenario: Scenario
    detected: float | None = None
    resolved: float | None = None
    receiver: str = ""
    alerts: list[str] = field(default_factory=list)
    false_alerts: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Heard by the right one, resolved, and nothing else was heard."""
        if self.problem or self.false_alerts:
            return False
        expects = self.scenario.expects
        if expects is None:
            return True
        return self.detected is not None and self.resolved is not None and self.receiver == expects.receiver


class Trainers:
    """The processes of one scenario."""

    def __init__(self, context: Any, scenario: Scenario, folder: Path):
        self._context, self.scenario, self.folder = context, scenario, folder
        self.processes: list[Any] = []
        self._meeting: str | None = None

    def start(self, run: str, contract: Path, *, inject: Sequence[str] = (), **more: Any) -> Path:
        """Start a run, or resume one; returns its directory."""
        s = self.scenario
        run_dir = self.folder / run
        settings = Settings(
            contract=contract, run_dir=run_dir, run_id=run, device="cpu", checkpoint_every=20, quiet=True,
            inject=tuple(inject), validate_every=s.validate_every, **more,
        )  # fmt: skip
        if s.workers > 1:
            self._meeting = f"file://{tempfile.mkdtemp(prefix='lrwatch-')}/workers"
        act = None if more.get("stop_after_micro") else s.act
        self.processes = [
            self._context.Process(target=train, args=(settings, rank, self._meeting, s, act))
            for rank in range(s.workers)
        ]
        for process in self.processes:
            process.start()
        return run_dir

    def wait(self) -> None:
        """Until they end by themselves."""
        for process in self.processes:
            process.join(START)

    def send(self, number: int) -> None:
        """A signal to all of them that live."""
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid, number)

    def end(self) -> None:
        """Stop them: politely, then not."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        for process in self.processes:
            process.join(15)
            if process.is_alive():
                process.kill()
                process.join()
        if self._meeting is not None:
            shutil.rmtree(Path(self._meeting.removeprefix("file://")).parent, ignore_errors=True)


def play(
    scenarios: Sequence[Scenario], folder: Path, *, jobs: int = 4, say: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Play them, ``jobs`` at a time; returns the outcomes in the same order.

    Everything is written below ``folder``, the stack ends with this process. Raises ``LrwatchError`` when the stack
    cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    approved = folder / "approved"
    approved.mkdir(exist_ok=True)
    for s in scenarios:
        (folder / "contracts").mkdir(exist_ok=True)
        texts = {s.name: document(s), **({f"{s.name}-cheaper": document(s, 1e6)} if s.mend == "cheaper" else {})}
        for name, contract in texts.items():
            path = folder / "contracts" / f"{name}.yaml"
            path.write_text(contract)
            if s.name not in UNAPPROVED:
                sha = contracts.load(path).sha256
                approval = f"sha256: {sha}\nexperiment: game-{s.name}\nowner: game\nticket: GAME\n"
                (approved / f"{name}.yml").write_text(approval)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    stack = Stack(folder / "stack")
    stack.up(
        Watched(
            runs=(folder / "runs",), labels={"environment": "production"}, scrape=1.0, thresholds=WAITS, wait=3.0,
            interval=1.0, settle=2.0, approved=approved, owner=os.getpid(),
        )
    )  # fmt: skip
    try:
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            games = [pool.submit(Game(s, folder, stack, context).play) for s in scenarios]
            outcomes = []
            for game in games:
                outcomes.append(game.result())
                say(outcomes[-1])
        return outcomes
    finally:
        stack.down()


def _written(run_dir: Path) -> int:
    """Bytes of the run's traces."""
    return sum(path.stat().st_size for path in run_dir.glob("trace/*"))


class Game:
    """One scenario from its start to its end."""

    def __init__(self, scenario: Scenario, folder: Path, stack: Stack, context: Any):
        self.scenario, self.stack = scenario, stack
        self.contracts = folder / "contracts"
        self.trainers = Trainers(context, scenario, folder / "runs")
        self.outcome = Outcome(scenario)
        self.begun = self.mended = 0.0

    def play(self) -> Outcome:
        """Never raises: what goes wrong with the game itself is its ``problem``."""
        try:
            self._play()
        except Exception as error:
            self.outcome.problem = f"{type(error).__name__}: {error}"
        finally:
            with contextlib.suppress(Exception):
                self.trainers.end()
        self._listen()
        return self.outcome

    def _play(self) -> None:
        s = self.scenario
        if s.expects is None:
            run_dir = self.trainers.start(s.name, self._contract())
            self._until(lambda: (run_dir / STARTED).exists(), START)
            time.sleep(QUIET)
            return
        run_dir = self._trouble()
        if self._until(lambda: self._heard("firing", self.begun), WITHIN):
            at, self.outcome.receiver = self._first("firing", self.begun)
            self.outcome.detected = at - self.begun
            mending = time.time()
            self._mend(run_dir)
            if self._until(lambda: self._heard("resolved", mending), WITHIN):
                # One of several workers may be gone, and the alert with it, before all of them are.
                self.outcome.resolved = max(0.0, self._first("resolved", mending)[0] - self.mended)

    def _trouble(self) -> Path:
        """Start what goes wrong, and wait until it does."""
        s = self.scenario
        if s.resumed:
            self.trainers.start(s.name, self._contract(), stop_after_micro=60)
            self.trainers.wait()
            (self.trainers.folder / s.name / BEGUN).unlink(missing_ok=True)
        for n in range(1, s.runs):
            self.trainers.start(f"{s.name}-{n}", self._contract())
            self.trainers.wait()
        name = s.name if s.runs == 1 else f"{s.name}-{s.runs}"
        run_dir = self.trainers.start(name, self._contract(), inject=s.inject, resume=s.resumed)
        if s.signal or (s.act and s.act.seen):
            self._until(lambda: len(self._workers(name)) == s.workers, START)
            (run_dir / SEEN).touch()
        self._until((run_dir / BEGUN).exists, START, lambda: _written(run_dir))
        if s.runs > 1:  # it is finished runs that are too dear
            self.trainers.wait()
            self.begun = time.time()
        elif s.signal:
            self.trainers.send(getattr(signal, f"SIG{s.signal}"))
            self.begun = time.time()
        elif (run_dir / BEGUN).exists():
            self.begun = float((run_dir / BEGUN).read_text())
        else:
            raise TimeoutError(f"no update for {START:.0f} s; see {run_dir}/log-rank0")
        return run_dir

    def _mend(self, run_dir: Path) -> None:
        """End the trouble."""
        s = self.scenario
        self.mended = time.time()
        if s.mend == "continue":
            (run_dir / MENDED).touch()
            self.trainers.send(signal.SIGCONT)
        elif s.mend == "resume":
            self.trainers.start(s.name, self._contract(), resume=True)
        elif s.mend == "cheaper":
            self.trainers.start(f"{s.name}-cheaper", self.contracts / f"{s.name}-cheaper.yaml")
            self.trainers.wait()
            self.mended = time.time()
        else:
            self.trainers.end()
            self.mended = time.time()

    def _workers(self, run: str) -> list[Any]:
        """What Prometheus has of the run's workers: one that it never saw cannot be missed."""
        return api.query(self.stack.url("prometheus"), f'lrwatch_step{{run_id="{run}"}}')

    def _contract(self) -> Path:
        return self.contracts / f"{self.scenario.name}.yaml"

    @staticmethod
    def _until(what: Callable[[], object], seconds: float, progress: Callable[[], int] = lambda: 0) -> bool:
        """Wait for ``what``, not longer than ``seconds`` without ``progress``."""
        deadline, seen = time.monotonic() + seconds, progress()
        while not what():
            if (now := progress()) != seen:
                deadline, seen = time.monotonic() + seconds, now
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    # -- listening ----------------------------------------------------------------------------------

    def _mine(self) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """(when, receiver, alert) of everything that was said about this scenario's runs."""
        name = self.scenario.name
        for line in self.stack.notifications():
            for alert in line["alerts"]:
                labels = alert["labels"]
                run, experiment = labels.get("run_id", ""), labels.get("experiment", "")
                mine = run == name or (self.scenario.runs > 1 and run.startswith(f"{name}-"))
                if mine or experiment == f"game-{name}":
                    yield line["at"], line["receiver"], alert

    def _said(self, status: str, since: float) -> Iterator[tuple[float, str]]:
        expects = self.scenario.expects
        assert expects is not None
        for at, receiver, alert in self._mine():
            labels = alert["labels"]
            right = labels["alertname"] == expects.alert and (not expects.codes or labels.get("code") in expects.codes)
            if right and alert["status"] == status and at >= since:
                yield at, receiver

    def _heard(self, status: str, since: float) -> bool:
        return next(self._said(status, since), None) is not None

    def _first(self, status: str, since: float) -> tuple[float, str]:
        return next(self._said(status, since))

    def _listen(self) -> None:
        """Sort what was said into what was expected and what was not."""
        s, expects = self.scenario, self.scenario.expects
        codes = (*(expects.codes if expects else ()), *s.along)
        for _, receiver, alert in self._mine():
            labels = alert["labels"]
            name, code = labels["alertname"], labels.get("code", "")
            shown = f"{name} {code}".strip()
            if receiver not in ("page", "ticket") or alert["status"] != "firing" or shown in self.outcome.alerts:
                continue
            self.outcome.alerts.append(shown)
            wanted = expects is not None and name == expects.alert and (not expects.codes or code in expects.codes)
            if not (wanted or name in s.along or (code in codes and name in _FINDINGS)):
                self.outcome.false_alerts.append(shown)


